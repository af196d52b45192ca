'use strict';
// Streams of live logs for the benches: a project, a gateway, viewers (bench-sse), writers.
const crypto = require('node:crypto');
const path = require('node:path');
const { spawn } = require('node:child_process');
const b = require('./lib.js');

const user = 'bbbbbbbb-0000-4000-8000-000000000001';
const tool = process.env.MESHHOOK_BENCH_SSE || path.join(path.dirname(b.binary), 'bench', 'bench-sse');
const now = () => performance.timeOrigin + performance.now();

const token = (env) => {
  const b64 = (v) => Buffer.from(JSON.stringify(v)).toString('base64url');
  const text = `${b64({ alg: 'HS256', typ: 'JWT' })}.${b64({ sub: user, role: 'authenticated', aud: 'authenticated', exp: Math.floor(Date.now() / 1000) + 7200 })}`;
  return `${text}.${crypto.createHmac('sha256', env.SUPABASE_JWT_SECRET).update(text).digest('base64url')}`;
};

// A fresh project, whose slug is returned.
async function project(db) {
  const slug = `live-${process.pid}`;
  await db.query('select meshhook.create_project($1, $1, $2)', [slug, user]);
  return slug;
}

// A gateway with room for all; resolves when it is ready.
async function gateway(ctx) {
  Object.assign(ctx.env, { MESHHOOK_GATEWAY_STREAMS_OF_USER: '100000', MESHHOOK_GATEWAY_STREAMS_OF_PROJECT: '100000',
    MESHHOOK_GATEWAY_CONNECTIONS: '12000' });
  const child = ctx.gateway();
  const port = Number(ctx.env.MESHHOOK_GATEWAY_PORT);
  await b.ready(port);
  return { pid: child.pid, port, stop: () => b.stop([child]) };
}

// n viewers of the channels, in turn; every: sample the lines of each every-th one.
async function viewers(env, port, n, channels, every = 0) {
  const paths = channels.map((c) => `/api/logs/stream?channels=${c}`);
  const child = spawn(tool, [String(port), String(n), ...(every ? ['-s', String(every)] : []), ...paths],
    { env: { ...env, SSE_HEADER: `Authorization: Bearer ${token(env)}` }, stdio: ['pipe', 'pipe', 'inherit'] });
  let text = '', wake;
  child.stdout.on('data', (d) => {
    text += d;
    wake?.();
  });
  child.on('exit', () => wake?.());
  const line = async () => {
    for (let at; ; await new Promise((r) => (wake = r))) {
      if ((at = text.lastIndexOf('\n{')) >= 0 || text.startsWith('{') || text.startsWith('open\n')) {
        if (text.endsWith('\n')) break;
      }
      if (child.exitCode !== null) throw new Error('bench-sse ended');
    }
    const all = text.trim().split('\n');
    text = '';
    return all;
  };
  await line();
  return {
    // what came since the last mark, with the samples as [number, ms]
    mark: async () => {
      child.stdin.write('mark\n');
      const all = await line();
      const samples = all.slice(0, -1).map((l) => l.split(' ').map(Number)).map(([n_, us]) => [n_, us / 1000]);
      return { ...JSON.parse(all.at(-1)), samples };
    },
    end: () => new Promise((r) => {
      child.on('exit', r);
      child.kill();
    }),
  };
}

// A line's message: its number in 16 digits, and as much text as lines have.
const message = (n) => `@${String(n).padStart(16, '0')} request served in 12 ms, 3 rows, cache hit`;

module.exports = { now, project, gateway, viewers, message };
