// Following through everything that breaks: clients killed, connections cut in the middle of a frame,
// the gateway killed, Realtime muted, Postgres restarted, while 16 writers commit late and out of order.
// Each follower gets every line once, in order, whichever way it follows.
import { execFileSync, spawn } from 'node:child_process';
import crypto from 'node:crypto';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { World, binary, random, rounds, seed, sleep, until } from './lib.mjs';

const root = path.resolve(path.dirname(new URL(import.meta.url).pathname), '..', '..');
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'meshhook-follow-'));
process.on('exit', () => fs.rmSync(dir, { recursive: true, force: true }));

const WRITERS = 16;
const EACH = 2; // followers of each way
const MUTE_MS = rounds > 100 ? 22000 : 1000;

function jwt(claims) {
  const text = [{ alg: 'HS256', typ: 'JWT' }, { exp: Math.floor(Date.now() / 1000) + 36000, ...claims }]
    .map((v) => Buffer.from(JSON.stringify(v)).toString('base64url')).join('.');
  return `${text}.${crypto.createHmac('sha256', process.env.SUPABASE_JWT_SECRET).update(text).digest('base64url')}`;
}

// What stands before REST, Realtime and the gateway, and cuts what goes through it.
class Cutter {
  #pairs = new Set();

  static async open(gateway) {
    const c = new Cutter();
    const api = Number(new URL(process.env.SUPABASE_URL).port);
    c.server = net.createServer((client) => {
      client.setNoDelay(true).on('error', () => {});
      client.once('data', (head) => {
        const port = /^\w+ \/(api|realtime)\//.test(head.toString('latin1')) ? gateway() : api;
        const server = net.connect({ host: '127.0.0.1', port, noDelay: true });
        const pair = { client, server, streams: port !== api };
        c.#pairs.add(pair);
        server.on('error', () => {});
        server.on('data', (bytes) => {
          if (!pair.cut) return void client.write(bytes);
          client.write(bytes.subarray(0, bytes.length / 2));
          client.destroySoon();
          server.destroy();
        });
        client.on('data', (bytes) => server.write(bytes));
        server.write(head);
        for (const [one, other] of [[client, server], [server, client]])
          one.on('close', () => { other.destroySoon(); c.#pairs.delete(pair); });
      });
    });
    await new Promise((ok) => c.server.listen(0, '127.0.0.1', ok));
    c.url = `http://127.0.0.1:${c.server.address().port}`;
    return c;
  }

  // In the middle of what comes next, or soon where nothing comes. Says how many streams that were.
  cut() {
    const pairs = [...this.#pairs];
    for (const pair of pairs) {
      pair.cut = true;
      setTimeout(() => { pair.client.destroy(); pair.server.destroy(); }, 100);
    }
    return pairs.filter((p) => p.streams).length;
  }
  streams() { return [...this.#pairs].filter((p) => p.streams).length; }
  close() { this.cut(); this.server.close(); }
}

// One reader over many processes, each of which goes on where its cursor file says.
class Follower {
  constructor(way, args, env, channel) {
    Object.assign(this, { way, args, env, channel, runs: [], seq: 0 });
    this.cursor = path.join(dir, `${way}-${crypto.randomUUID()}`);
    this.start();
  }
  start() {
    const run = { lines: [], err: '' };
    const child = spawn(binary, ['logs', this.channel, '-f', '-o', 'json', '--cursor-file', this.cursor, ...this.args],
      { env: this.env });
    let rest = '';
    child.stdout.on('data', (d) => {
      const parts = (rest + d).split('\n');
      rest = parts.pop();
      for (const p of parts) run.lines.push(JSON.parse(p));
      this.seq = Math.max(this.seq, run.lines.at(-1)?.seq ?? 0);
    });
    child.stderr.on('data', (d) => { run.err += d; });
    run.over = new Promise((ok) => child.on('close', (code, signal) => ok(Object.assign(run, { code, signal }))));
    run.child = child;
    this.runs.push(run);
  }
  async kill(signal) {
    const run = this.runs.at(-1);
    run.child.kill(signal);
    await run.over;
    assert.ok(run.signal === signal || (signal === 'SIGTERM' && run.code === 130), `${this.way}: ${run.code} ${run.err}`);
  }

  // Nothing but what was printed between the last cursor and a kill -9 may come a second time.
  check(truth) {
    let due = 1;
    for (const [i, run] of this.runs.entries()) {
      const seqs = run.lines.map((l) => l.seq);
      assert.doesNotMatch(run.err, /gap|Sanitizer|runtime error|error:/, `${this.way}: ${run.err}`);
      if (seqs.length === 0) continue;
      const killed = this.runs.slice(0, i).some((r) => r.signal === 'SIGKILL');
      assert.ok(seqs[0] === due || (killed && seqs[0] < due), `${this.way}: ${seqs[0]} came where ${due} was due`);
      seqs.forEach((s, k) => assert.equal(s, seqs[0] + k, `${this.way}: after ${seqs[k - 1]} came ${s}`));
      for (const l of run.lines) assert.equal(l.message, truth.get(l.seq), `${this.way}: line ${l.seq}`);
      due = Math.max(due, seqs.at(-1) + 1);
    }
    assert.equal(due, truth.size + 1, `${this.way}: ended at ${due - 1}`);
  }
}

// Transactions that stay open for a while, of several lines, some of which are rolled back.
async function write(w, slug, channels, over, rnd) {
  let c;
  for (let n = 0; !over();) {
    try {
      c ??= await w.connect();
      await c.query('begin');
      for (let i = 0; i <= rnd() * 3; i++)
        await c.query(`select meshhook.log($1, 'proof', $2, 'info', $3)`,
          [slug, channels[Math.floor(rnd() * channels.length)], `${crypto.randomUUID()} ${n++}`]);
      await sleep(20 + rnd() * 200);
      await c.query(rnd() < 0.1 ? 'rollback' : 'commit');
    } catch {
      c?.end().catch(() => {});
      c = null;
      await sleep(50);
    }
  }
  await c?.end();
}

async function gatewayOn(w, port) {
  const g = w.spawn(['gateway'], { MESHHOOK_GATEWAY_PORT: String(port), MESHHOOK_LOCAL_REALTIME: '1',
    MESHHOOK_JWT_SECRET: process.env.SUPABASE_JWT_SECRET });
  await until('the gateway is there', () => fetch(`http://127.0.0.1:${port}/readyz`).then((r) => r.ok, () => false));
  return g;
}

test('every follower gets every line once, whatever breaks', { timeout: rounds > 100 ? 3600000 : 900000 }, async (t) => {
  t.diagnostic(`MESHHOOK_TEST_SEED=${seed}`);
  const rnd = random(seed);
  const w = await World.open('follow');
  const user = crypto.randomUUID();
  await w.db.query(`select meshhook.add_member($1, $2, 'viewer')`, [w.slug, user]);
  await w.db.query(`select meshhook.log($1, 'proof', 'a', 'info', 'first')`, [w.slug]);

  const { rows: [{ id: project }] } = await w.db.query('select id from meshhook.projects where slug = $1', [w.slug]);
  const port = Number(process.env.MESHHOOK_GATEWAY_PORT); // nobody else's while this one is dead
  let gateway = await gatewayOn(w, port);
  const cutter = await Cutter.open(() => port);
  const env = { ...w.env, MESHHOOK_TOKEN: jwt({ sub: user, role: 'authenticated', aud: 'authenticated' }) };
  const service = jwt({ role: 'service_role' });
  const fault = (what) => fetch(`http://127.0.0.1:${port}/realtime/v1/faults`,
    { method: 'POST', headers: { apikey: service }, body: JSON.stringify(what) }).catch(() => {});
  const ways = {
    db: [],
    gateway: ['--via', 'gateway', '--gateway', cutter.url],
    realtime: ['--via', 'realtime', '--supabase-url', cutter.url],
  };
  const followers = Object.entries(ways).flatMap(([way, args]) =>
    Array.from({ length: EACH }, () => new Follower(way, args, env, `logs:proof:${w.slug}:a`)));
  let over = false, forced = 0;
  const writers = Array.from({ length: WRITERS }, () => write(w, w.slug, ['a', 'a', 'b'], () => over, rnd));

  const breaks = {
    async kill() {
      const some = followers.filter(() => rnd() < 0.5);
      await Promise.all(some.map((f) => f.kill(rnd() < 0.5 ? 'SIGKILL' : 'SIGTERM')));
      for (const f of some) f.start();
      return some.length;
    },
    async cut() { // every connection there is
      const n = cutter.cut();
      const { rowCount } = await w.db.query(`select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'meshhook logs'`);
      return n + rowCount;
    },
    async gateway() {
      const n = cutter.streams();
      gateway.kill('SIGKILL');
      await gateway.over;
      gateway = await gatewayOn(w, port);
      return n;
    },
    async sockets() {
      const whats = [{ kill: true }, { disconnect: true }, { close: 1012 }, { crash: `mh:1:logs:proof:${project}:a` }];
      await fault(whats[Math.floor(rnd() * whats.length)]);
      return EACH;
    },
    async drop() { await fault({ drop: 1 + Math.floor(rnd() * 5) }); return 0; },
    async mute() { await fault({ mute_ms: MUTE_MS }); return 0; },
    async postgres() {
      await w.db.end();
      execFileSync(path.join(root, 'scripts', 'stack'), ['restart-db', 'immediate'], { stdio: 'ignore' });
      w.db = await w.connect();
      return followers.length;
    },
  };
  const draw = ['kill', 'kill', 'cut', 'cut', 'cut', 'gateway', 'sockets', 'drop', 'mute'];
  await until('all have begun', () => followers.every((f) => f.seq > 0));
  for (let i = 0; forced < rounds; i++) {
    forced += await breaks[i % 30 === 10 ? 'postgres' : draw[Math.floor(rnd() * draw.length)]]();
    await sleep(50 + rnd() * 150);
  }
  await sleep(MUTE_MS); // a muted Realtime has a word again
  over = true;
  await Promise.all(writers);
  const ended = Date.now();

  const { rows } = await w.db.query(`select l.seq::int, l.message from meshhook.logs l join meshhook.channels c on c.id = l.channel_id
    join meshhook.projects p on p.id = c.project_id where p.slug = $1 and c.resource = 'a' order by l.seq`, [w.slug]);
  const truth = new Map(rows.map((r) => [r.seq, r.message]));
  assert.deepEqual([rows.at(0).seq, rows.at(-1).seq], [1, rows.length]);
  await until(`all are at ${rows.length}: ${followers.map((f) => f.seq)}`, () => followers.every((f) => f.seq === rows.length), 120000);
  for (const f of followers) await f.kill('SIGTERM');
  for (const f of followers) f.check(truth);
  t.diagnostic(`${forced} forced reconnects, ${rows.length} lines, ${followers.length} followers in ${followers.reduce((n, f) => n + f.runs.length, 0)} runs, all at the end after ${Date.now() - ended} ms`);
  cutter.close();
  await w.close();
});
