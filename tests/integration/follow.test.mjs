// meshhook logs: one behaviour whatever the way. Lines exactly once and in order, or a gap.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import test, { after, before } from 'node:test';
import tls from 'node:tls';
import pg from 'pg';

const binary = process.env.MESHHOOK_BIN;
const slug = `follow-${process.pid}`;
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'meshhook-follow-'));
const env = { ...process.env, NO_COLOR: '1' };
const ways = { db: [], gateway: ['--via', 'gateway'], realtime: ['--via', 'realtime'] };
let db, project;

// A user, as Supabase Auth signs it up.
async function signUp(name) {
  const r = await fetch(`${env.SUPABASE_URL}/auth/v1/signup`, {
    method: 'POST',
    headers: { apikey: env.SUPABASE_PUBLISHABLE_KEY, 'content-type': 'application/json' },
    body: JSON.stringify({ email: `${name}-${slug}@example.test`, password: 'correct horse' }),
  });
  assert.equal(r.status, 200);
  return r.json();
}

// The gateway, where the API port passes Realtime on to.
let gateway;
async function startGateway() {
  gateway = spawn(binary, ['gateway'], { stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...env, MESHHOOK_LOCAL_REALTIME: '1', MESHHOOK_LOG_FORMAT: 'json' } });
  gateway.log = '';
  gateway.stderr.on('data', (d) => { gateway.log += d; });
  gateway.over = new Promise((ok) => gateway.on('exit', ok));
  await until('the gateway is ready', () => /"gateway.ready"/.test(gateway.log) && /"realtime.ready"/.test(gateway.log));
}

// A token with other claims than Auth gave it.
function sign(claims) {
  const text = [{ alg: 'HS256', typ: 'JWT' }, claims].map((v) => Buffer.from(JSON.stringify(v)).toString('base64url')).join('.');
  return `${text}.${crypto.createHmac('sha256', env.SUPABASE_JWT_SECRET).update(text).digest('base64url')}`;
}

async function signIn(name) {
  const r = await fetch(`${env.SUPABASE_URL}/auth/v1/token?grant_type=password`, {
    method: 'POST',
    headers: { apikey: env.SUPABASE_PUBLISHABLE_KEY, 'content-type': 'application/json' },
    body: JSON.stringify({ email: `${name}-${slug}@example.test`, password: 'correct horse' }),
  });
  assert.equal(r.status, 200);
  return r.json();
}

async function connect() {
  const c = new pg.Client(process.env.SUPABASE_DB_URL);
  c.on('error', () => {});
  await c.connect();
  return c;
}
async function until(what, fact, ms = 60000) {
  const end = Date.now() + ms;
  while (!(await fact())) {
    if (Date.now() > end) throw new Error(`after ${ms} ms still not: ${what}`);
    await new Promise((r) => setTimeout(r, 20));
  }
}
const upTo = (n, from = 1) => Array.from({ length: n - from + 1 }, (_, i) => from + i);
const write = (resource, n, text = 'line', c = db) => c.query(
  `select meshhook.log($1, 'etl', $2, 'info', $3 || ' ' || i, jsonb_build_object('i', i)) from generate_series(1, $4) i`,
  [slug, resource, text, n]);
const channel = (resource) => `logs:etl:${slug}${resource ? ':' + resource : ''}`;

function logs(args, more = {}) {
  const r = spawnSync(binary, ['logs', '-o', 'json', ...args], { env: { ...env, ...more }, encoding: 'utf8' });
  assert.doesNotMatch(r.stderr, /Sanitizer|runtime error/);
  return { status: r.status, err: r.stderr, lines: r.stdout.split('\n').filter(Boolean).map((l) => JSON.parse(l)) };
}
const seqs = (r) => r.lines.map((l) => l.seq);

// A process: its lines as they come, its notices, its end.
const children = new Set();
const follow = (args) => run(['-f', ...args]);
function run(args) {
  const c = spawn(binary, ['logs', '-o', 'json', ...args], { env });
  const f = { child: c, lines: [], err: '' };
  children.add(c);
  let rest = '';
  c.stdout.on('data', (d) => {
    const parts = (rest + d).split('\n');
    rest = parts.pop();
    f.lines.push(...parts.map((p) => JSON.parse(p)));
  });
  c.stderr.on('data', (d) => { f.err += d; });
  f.over = new Promise((resolve) => c.on('close', (code) => {
    if (/Sanitizer|runtime error/.test(f.err)) console.error(f.err);
    resolve(/Sanitizer|runtime error/.test(f.err) ? -1 : code);
  }));
  return f;
}

before(async () => {
  db = await connect();
  const owner = await signUp('owner');
  ({ rows: [{ id: project }] } = await db.query('select meshhook.create_project($1, $1, $2) as id', [slug, owner.user.id]));
  const flow = { nodes: [{ id: 'go', type: 'manual' }, { id: 'wait', type: 'delay', for: '1h' }], edges: [{ from: 'go', to: 'wait' }] };
  fs.writeFileSync(path.join(dir, 'flow.json'), JSON.stringify({ name: 'flow', ...flow }));
  env.MESHHOOK_PROJECT = slug;
  execFileSync(binary, ['workflow', 'publish', path.join(dir, 'flow.json')], { env });
  env.MESHHOOK_TOKEN = owner.access_token;
  await startGateway();
  env.MESHHOOK_GATEWAY_URL = `http://127.0.0.1:${env.MESHHOOK_GATEWAY_PORT}`;
});
after(async () => {
  for (const c of children) c.kill('SIGKILL');
  gateway.kill('SIGTERM');
  assert.equal(await gateway.over, 0);
  assert.doesNotMatch(gateway.log, /Sanitizer|runtime error/);
  await db.end();
  fs.rmSync(dir, { recursive: true, force: true });
});

const fault = async (what) => {
  const r = await fetch(`${env.MESHHOOK_GATEWAY_URL}/realtime/v1/faults`,
    { method: 'POST', headers: { apikey: env.SUPABASE_SERVICE_ROLE_KEY }, body: JSON.stringify(what) });
  assert.ok(r.ok, `${r.status}`);
};

// Its broadcast is lost and no other comes: the watch that is renewed every 15 s knows. Meanwhile the rest is tested.
let lost;
test('realtime: a line is lost without a word', async () => {
  await write('lost', 1);
  lost = follow([channel('lost'), '--via', 'realtime', '-v', '--log-format', 'json']);
  await until('joined', () => /"realtime.joined"/.test(lost.err) && lost.lines.length > 0);
  await fault({ drop: 1, topic: `mh:1:logs:etl:${project}:lost` });
  lost.since = Date.now();
  await write('lost', 1);
  await new Promise((ok) => setTimeout(ok, 500));
  assert.equal(lost.lines.length, 1);
});

// Who is removed from the project reads no further; that takes up to 10 s. On Realtime the first line after it
// tells them that the topic moved.
const removed = {};
test('a member follows, and is removed', async () => {
  const guest = await signUp('guest');
  await db.query(`select meshhook.add_member($1, $2, 'viewer')`, [slug, guest.user.id]);
  for (const way of ['gateway', 'realtime']) await write(`left-${way}`, 1);
  for (const way of ['gateway', 'realtime'])
    removed[way] = follow([channel(`left-${way}`), ...ways[way], '--token', guest.access_token, '-v', '--log-format', 'json']);
  for (const f of Object.values(removed)) await until('a line', () => f.lines.length === 1);
  await until('joined', () => /"realtime.joined"/.test(removed.realtime.err));
  await db.query('select meshhook.remove_member($1, $2)', [slug, guest.user.id]);
  removed.since = Date.now();
  await write('left-realtime', 1);
  await until('the topic moved', () => removed.realtime.child.exitCode !== null, 10000);
});

for (const [way, via] of Object.entries(ways)) {
  const is = (name, fn) => test(`${way}: ${name}`, fn);

  is('a service channel, of three parts or four, by slug or id', async () => {
    const r = `${way}-names`;
    await write(r, 3);
    await write('', 2, 'bare');
    assert.deepEqual(seqs(logs([channel(r), ...via])), [1, 2, 3]);
    assert.deepEqual(seqs(logs([`logs:etl:${project}:${r}`, ...via])), [1, 2, 3]);
    assert.equal(logs([channel(''), ...via]).lines.at(-1).message, 'bare 2');
    assert.deepEqual(logs([channel(r), ...via]).lines[0].attrs, { i: 1 });
    let e = logs([channel('nobody'), ...via]);
    assert.equal(e.status, 1);
    assert.match(e.err, /no channel logs:etl:/);
    for (const bad of ['logs:', 'logs:etl', 'logs:etl:', 'logs:run:x', 'logs:etl:p:r:', 'logs:etl:p:a b', 'logs:run:p:r', 'nonsense']) {
      e = logs([bad, ...via]);
      assert.equal(e.status, 2, bad);
    }
  });

  is('tail, since, until, level, include', async () => {
    const r = `${way}-filters`;
    await write(r, 10, 'old');
    await new Promise((ok) => setTimeout(ok, 30));
    const { rows: [{ t }] } = await db.query('select clock_timestamp() as t');
    await new Promise((ok) => setTimeout(ok, 30));
    await db.query(`select meshhook.log($1, 'etl', $2, 'warn', 'new', null)`, [slug, r]);
    const at = (args) => seqs(logs([channel(r), ...args, ...via]));
    assert.deepEqual(at(['--tail', '3']), [9, 10, 11]);
    assert.deepEqual(at(['--tail', '99']), upTo(11));
    assert.deepEqual(at(['--since', t.toISOString()]), [11]);
    assert.deepEqual(at(['--since', '2099-01-01T00:00:00Z']), []);
    assert.deepEqual(at(['--until', t.toISOString()]), upTo(10));
    assert.deepEqual(at(['--level', 'warn']), [11]);
    assert.deepEqual(at(['--include', 'old 1', '--tail', '1']), [10]);
    assert.deepEqual(at(['--include', 'old 1', '--exclude', '*0']), [1]);
  });

  is('a cursor file resumes, whatever ended the call before', async () => {
    const r = `${way}-cursor`, file = path.join(dir, r);
    const go = [channel(r), '--cursor-file', file, ...via];
    await write(r, 5);
    assert.deepEqual(seqs(logs(go)), upTo(5));
    assert.deepEqual(seqs(logs(go)), []);
    await write(r, 3);
    const cursor = JSON.parse(fs.readFileSync(file, 'utf8'));
    assert.equal(cursor.channel, `logs:etl:${project}:${r}`);
    assert.equal(cursor.seq, 5);
    const f = follow(go);
    await until('three more', () => f.lines.length === 3);
    await write(r, 1);
    await until('one more', () => f.lines.length === 4);
    f.child.kill('SIGTERM');
    assert.equal(await f.over, 130);
    assert.deepEqual(f.lines.map((l) => l.seq), [6, 7, 8, 9]);
    assert.equal(JSON.parse(fs.readFileSync(file, 'utf8')).seq, 9);
    assert.deepEqual(fs.readdirSync(dir).filter((n) => n.startsWith(r)), [r]); // nothing beside it

    await write('another', 1);
    let e = logs([channel('another'), '--cursor-file', file, ...via]);
    assert.equal(e.status, 2);
    assert.match(e.err, /keep a file for each channel/);
    fs.writeFileSync(file, '{"channel":');
    e = logs(go);
    assert.equal(e.status, 1);
    assert.match(e.err, /this is no cursor/);
  });

  is('lines that retention took are a gap; with --strict the end', async () => {
    const r = `${way}-expired`, file = path.join(dir, r);
    await write(r, 10);
    await db.query(`delete from meshhook.logs where seq in (1, 2, 3, 6, 10)
      and channel_id = (select id from meshhook.channels where resource = $1 and project_id = $2)`, [r, project]);
    const l = logs([channel(r), '--cursor-file', file, ...via]);
    assert.equal(l.status, 0, l.err);
    assert.deepEqual(seqs(l), [4, 5, 7, 8, 9]);
    assert.match(l.err, /gap \(expired\): 3 lines are gone, 1 to 3.*\ngap \(expired\): 1 lines are gone, 6 to 6.*\ngap \(expired\): 1 lines are gone, 10 to 10/);
    assert.equal(JSON.parse(fs.readFileSync(file, 'utf8')).seq, 10);
    fs.rmSync(file);
    const s = logs([channel(r), '--tail', '6', '--strict', '--cursor-file', file, ...via]);
    assert.equal(s.status, 4);
    assert.deepEqual(seqs(s), [5]);
    assert.equal(JSON.parse(fs.readFileSync(file, 'utf8')).seq, 5);
  });

  is('a run is followed to its end, by id or in full; --no-exit-on-run-end stays', async () => {
    const start = async () => (await db.query(`select meshhook.start_run($1, 'flow') as id`, [slug])).rows[0].id;
    const id = await start();
    const f = follow([id, ...via]);
    await until('the first line', () => f.lines.length > 0);
    await db.query('select meshhook.cancel_run($1)', [id]);
    const at = Date.now();
    assert.equal(await f.over, 0, f.err);
    assert.ok(Date.now() - at < 12000, `ended after ${Date.now() - at} ms`);
    const { rows: [{ n }] } = await db.query('select final_log_seq as n from meshhook.runs where id = $1', [id]);
    assert.deepEqual(f.lines.map((l) => l.seq), upTo(n));
    assert.deepEqual(seqs(logs([`logs:run:${slug}:${id}`, '-f', ...via])), upTo(n));
    assert.deepEqual(seqs(logs([id, '-f', '--tail', '1', ...via])), [n]);
    const stays = follow([id, '--no-exit-on-run-end', ...via]);
    await until('its lines', () => stays.lines.length === n);
    await new Promise((ok) => setTimeout(ok, 300));
    stays.child.kill('SIGINT');
    assert.equal(await stays.over, 130);
    assert.equal(logs(['00000000-0000-7000-8000-000000000000', ...via]).status, 1);
    if (way === 'gateway') assert.equal(logs(['latest', ...via]).status, 2);
    else assert.deepEqual(seqs(logs(['latest', ...via])), upTo(n));
  });

  is('a new epoch, and a number beyond the end, are a reset', async () => {
    const r = `${way}-reset`, file = path.join(dir, r);
    const go = [channel(r), '--cursor-file', file, ...via];
    await write(r, 4);
    assert.deepEqual(seqs(logs(go)), upTo(4));
    await db.query('update meshhook.channels set epoch = epoch + 1 where resource = $1 and project_id = $2', [r, project]);
    let l = logs(go);
    assert.match(l.err, /gap \(reset\)/);
    assert.deepEqual(seqs(l), upTo(4));
    await db.query('update meshhook.channels set last_seq = 2 where resource = $1 and project_id = $2', [r, project]);
    await db.query('delete from meshhook.logs where seq > 2 and channel_id = (select id from meshhook.channels where resource = $1 and project_id = $2)', [r, project]);
    l = logs(go);
    assert.match(l.err, /gap \(reset\)/);
    assert.deepEqual(seqs(l), [1, 2]);
    assert.equal(logs(['--strict', ...go]).status, 0);
  });
}

// What a hosted project has in front, with a certificate made for this run.
async function tlsFront() {
  const pem = (name) => {
    const [cert, key] = ['cert', 'key'].map((n) => path.join(dir, `${name}-${n}.pem`));
    execFileSync('openssl', ['req', '-x509', '-batch', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
      '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', cert], { stdio: 'ignore' });
    return { cert: fs.readFileSync(cert), key: fs.readFileSync(key) };
  };
  const good = pem('good'), bad = pem('bad');
  const sockets = new Set();
  const server = tls.createServer(good, (client) => {
    const api = net.connect(Number(new URL(env.SUPABASE_URL).port), '127.0.0.1');
    for (const s of [client, api]) s.on('error', () => {}).on('close', () => { client.destroy(); api.destroy(); });
    sockets.add(client);
    client.once('data', (head) => { client.isRealtime = /^GET \/realtime\//.test(head.toString('latin1')); });
    client.pipe(api).pipe(client);
  });
  server.on('tlsClientError', () => {});
  await new Promise((ok) => server.listen(0, ok));
  return { ca: path.join(dir, 'good-cert.pem'), port: server.address().port,
    // what is connected stays so, but for the WebSockets
    turnBad() {
      server.setSecureContext(bad);
      for (const s of sockets) if (s.isRealtime) s.destroy();
    },
    close() { server.close(); for (const s of sockets) s.destroy(); } };
}

test('realtime: over TLS, verified against the name', async (t) => {
  const front = await tlsFront();
  t.after(() => front.close());
  const url = (host) => ['--via', 'realtime', '--supabase-url', `https://${host}:${front.port}`];
  await write('tls', 1);
  for (const args of [url('localhost'), [...url('127.0.0.1'), '--http-ca-file', front.ca]]) {
    const r = run([channel('tls'), ...args]);
    assert.equal(await r.over, 1);
    assert.match(r.err, /certificate is not trusted/);
  }

  const f = follow([channel('tls'), ...url('localhost'), '--http-ca-file', front.ca, '-v', '--log-format', 'json']);
  await until('joined', () => /"realtime.joined"/.test(f.err));
  await write('tls', 1);
  await until('a line', () => f.lines.length === 2);

  // the WebSocket alone meets a wrong certificate when it comes again; lines come all the same
  front.turnBad();
  await until('two refusals', () => f.err.match(/"realtime.parted"/g)?.length >= 3);
  assert.equal(f.err.match(/"realtime.joined"/g).length, 1);
  await write('tls', 1);
  await until('another line', () => f.lines.length === 3);
  f.child.kill('SIGTERM');
  assert.equal(await f.over, 130);
});

test('realtime: a refresh token is used up, and its successor kept', async () => {
  const file = path.join(dir, 'refresh');
  const { refresh_token: first } = await signIn('owner');
  fs.writeFileSync(file, `${first}\n`);
  await write('refresh', 2);
  const go = [channel('refresh'), '--via', 'realtime', '--refresh-token-file', file];
  const bare = { MESHHOOK_TOKEN: '' };
  for (let i = 0; i < 2; i++) {
    const before = fs.readFileSync(file, 'utf8');
    const l = logs(go, bare);
    assert.deepEqual(seqs(l), [1, 2], l.err);
    assert.notEqual(fs.readFileSync(file, 'utf8'), before);
    assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  }
  fs.writeFileSync(file, 'nonsense');
  const l = logs(go, bare);
  assert.equal(l.status, 3);
  assert.equal(logs([channel('refresh'), '--via', 'realtime'], bare).status, 78);
});

// Auth as it is, but for tokens that live for 62 s only: then the gateway asks for another after two.
test('gateway: the token is renewed while the stream goes on', async (t) => {
  const seen = [];
  const file = path.join(dir, 'renew');
  const short = (jwt) => sign({ ...JSON.parse(Buffer.from(jwt.split('.')[1], 'base64url')), exp: Math.floor(Date.now() / 1000) + 62 });
  const front = http.createServer(async (req, res) => {
    seen.push(`${req.method} ${req.url.replace(/[0-9a-f-]{36}|\?.*/g, '*')}`);
    const chunks = [];
    for await (const chunk of req) chunks.push(chunk);
    const auth = req.url.startsWith('/auth/');
    const gone = new AbortController();
    res.on('close', () => gone.abort());
    const up = await fetch(`${auth ? env.SUPABASE_URL : env.MESHHOOK_GATEWAY_URL}${req.url}`,
      { signal: gone.signal, method: req.method, headers: req.headers, body: req.method === 'POST' ? Buffer.concat(chunks) : undefined });
    res.writeHead(up.status, { 'content-type': up.headers.get('content-type') ?? 'text/plain' });
    if (auth) {
      const answer = await up.json();
      res.end(JSON.stringify({ ...answer, access_token: short(answer.access_token), expires_in: 62 }));
    } else {
      try { for await (const piece of up.body ?? []) res.write(piece); } catch { /* cut */ }
      res.end();
    }
  });
  t.after(() => { front.close(); front.closeAllConnections(); });
  await new Promise((ok) => front.listen(0, '127.0.0.1', ok));
  const url = `http://127.0.0.1:${front.address().port}`;
  fs.writeFileSync(file, (await signIn('owner')).refresh_token);
  await write('renew', 1);
  const f = follow([channel('renew'), '--via', 'gateway', '--gateway', url, '--supabase-url', url, '--refresh-token-file', file]);
  await until('a renewal', () => seen.includes('POST /api/logs/stream/*/token'));
  await write('renew', 1);
  await until('a line', () => f.lines.length === 2);
  f.child.kill('SIGTERM');
  assert.equal(await f.over, 130, f.err);
  // one stream to learn where the channel stands, one to follow it, and no third
  assert.deepEqual(seen.filter((r) => r.startsWith('GET')), Array(2).fill('GET /api/logs/stream*'));
  const renewals = seen.filter((r) => r.startsWith('POST /api')).length; // one, unless that took more than 2 s
  assert.ok([renewals, renewals + 1].includes(seen.filter((r) => r.startsWith('POST /auth')).length - 1), `${seen}`);
});

test('realtime: the line that was lost came with the next watch', async () => {
  await until('it', () => lost.lines.length === 2, 28000 - (Date.now() - lost.since));
  lost.child.kill('SIGTERM');
  assert.equal(await lost.over, 130);
  assert.doesNotMatch(lost.err, /gap|parted/);
});

test('who was removed was told nothing more', async () => {
  const { since, ...followers } = removed;
  const late = setTimeout(() => Object.values(followers).forEach((f) => f.child.kill('SIGKILL')), Math.max(10000, 28000 - (Date.now() - since)));
  await write('left-gateway', 1);
  assert.equal(await followers.gateway.over, 1);
  assert.match(followers.gateway.err, /no channel logs:etl:/);
  assert.equal(await followers.realtime.over, 3);
  assert.match(followers.realtime.err, /not a channel of a project of yours/);
  for (const f of Object.values(followers)) assert.deepEqual(f.lines.map((l) => l.seq), [1]);
  clearTimeout(late);
});

test('a token that expires, and is not renewed, is the end: 3', async () => {
  await write('expires', 1);
  const claims = JSON.parse(Buffer.from(env.MESHHOOK_TOKEN.split('.')[1], 'base64url'));
  const all = Object.entries(ways).filter(([way]) => way !== 'db').map(([, via]) =>
    follow([channel('expires'), ...via, '--token', sign({ ...claims, exp: Math.floor(Date.now() / 1000) + 7 })]));
  for (const f of all) {
    assert.equal(await f.over, 3, f.err);
    assert.match(f.err, /expired/);
    assert.equal(f.lines.length, 1);
  }
});
