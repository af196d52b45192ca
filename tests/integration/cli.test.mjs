// The real binary against the real stack: what an operator types, and what comes of it.
import { spawn, spawnSync, execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test, { after, before } from 'node:test';
import pg from 'pg';

const root = path.resolve(path.dirname(new URL(import.meta.url).pathname), '..', '..');
const binary = process.env.MESHHOOK_BIN || path.join(root, 'build', 'meshhook');
const slug = `cli-${process.pid}`;
const env = { ...process.env, MESHHOOK_PROJECT: slug, NO_COLOR: '1' };
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'meshhook-cli-'));
const flow = path.join(dir, 'flow.json');
let db;

function mh(args, { env: more = {}, input = '' } = {}) {
  const r = spawnSync(binary, args, { env: { ...env, ...more }, input, encoding: 'utf8' });
  return { status: r.status, out: r.stdout, err: r.stderr };
}
function ok(args, options) {
  const r = mh(args, options);
  assert.equal(r.status, 0, `meshhook ${args.join(' ')}: ${r.status}\n${r.err}`);
  return r.out;
}
const json = (args, options) => ok([...args, '-o', 'json'], options).trim().split('\n').filter(Boolean).map((l) => JSON.parse(l));
const one = (args, options) => json(args, options)[0];
function fails(status, args, text, options) {
  const r = mh(args, options);
  assert.equal(r.status, status, `meshhook ${args.join(' ')}: ${r.status}\n${r.out}${r.err}`);
  assert.match(r.err, text);
  assert.doesNotMatch(r.err, /Sanitizer|runtime error/);
}

const connect = async () => {
  const c = new pg.Client(process.env.SUPABASE_DB_URL);
  c.on('error', () => {}); // a restart is part of the test
  await c.connect();
  return c;
};

before(async () => {
  db = await connect();
  fs.writeFileSync(flow, JSON.stringify({
    name: 'flow',
    nodes: [{ id: 'go', type: 'manual' }, { id: 'hook', type: 'webhook' },
      { id: 'wait', type: 'delay', for: '1h' }],
    edges: [{ from: 'go', to: 'wait' }, { from: 'hook', to: 'wait' }],
  }));
  ok(['project', 'create', slug, '--name', 'Tests, "quoted"']);
  ok(['workflow', 'publish', flow]);
});
after(async () => {
  await db.end();
  fs.rmSync(dir, { recursive: true, force: true });
});

// Append lines to a run's log as commit does: rows and counter in one transaction. `end`: the run, too.
async function lines(c, run, items, { end = false, notify = false } = {}) {
  await c.query('begin');
  const { rows: [r] } = await c.query('select log_seq, project_id from meshhook.runs where id = $1 for no key update', [run]);
  for (const [i, [level, message, attrs]] of items.entries())
    await c.query('insert into meshhook.logs (channel_id, seq, project_id, level, message, attrs) values ($1, $2, $3, $4, $5, $6)',
      [run, Number(r.log_seq) + 1 + i, r.project_id, level, message, attrs ?? null]);
  if (end) await c.query(`insert into meshhook.run_events (run_id, seq, project_id, type, payload)
    select id, last_seq + 1, project_id, 'run.succeeded', '{}' from meshhook.runs where id = $1`, [run]);
  await c.query(`update meshhook.runs set log_seq = log_seq + $2, last_seq = last_seq + $3::bool::int,
    final_log_seq = case when $3 then log_seq + $2 end, status = case when $3 then 'succeeded' else status end,
    ended_at = case when $3 then now() end where id = $1`, [run, items.length, end]);
  await c.query('commit');
  if (notify) await c.query(`select pg_notify('meshhook_logs', $1)`, [run]);
}
const start = () => one(['run', 'start', 'flow', '--trigger', 'go']).run_id;

test('exit statuses are what help says', () => {
  const bare = { SUPABASE_DB_URL: '', MESHHOOK_DB_URL: '' };
  fails(2, ['rnu'], /did you mean "meshhook run"/);
  fails(2, ['run', 'list', '--limit', 'x'], /--limit: "x" is no whole number/);
  fails(2, ['run', 'show', 'nonsense'], /no run's id/);
  fails(78, ['run', 'list'], /MESHHOOK_DB_URL is not set/, { env: bare });
  fails(78, ['run', 'list'], /MESHHOOK_PROJCT: no such setting; did you mean MESHHOOK_PROJECT\?/, { env: { MESHHOOK_PROJCT: 'x' } });
  fails(78, ['run', 'list'], /MESHHOOK_LOG_LEVEL: "loud" is none of/, { env: { MESHHOOK_LOG_LEVEL: 'loud' } });
  fails(3, ['run', 'list'], /password authentication failed/, { env: { MESHHOOK_DB_URL: process.env.SUPABASE_DB_URL.replace(/:[^:@/]+@/, ':wrong@') } });
  fails(1, ['run', 'list'], /Connection refused/, { env: { MESHHOOK_DB_URL: 'postgresql://u:hunter2@127.0.0.1:1/x' } });
  fails(1, ['run', 'list'], /no project "nobody"/, { env: { MESHHOOK_PROJECT: 'nobody' } });
  // what needs no setting does not care
  ok(['version'], { env: { ...bare, MESHHOOK_PROJCT: 'x' } });
});

test('a process that is set up wrong ends and says why', () => {
  const { MESHHOOK_WORKER_DB_URL: worker, MESHHOOK_GATEWAY_DB_URL: gateway, MESHHOOK_SECRET_KEY: key } = process.env;
  const wrong = (url) => url.replace(/:[^:@/]+@/, ':wrong@');
  const other = /may not do this process's work/, refused = /password authentication failed/;
  fails(78, ['worker', '--drain'], other, { env: { MESHHOOK_WORKER_DB_URL: gateway } });
  fails(78, ['gateway', '--port', '0'], other, { env: { MESHHOOK_GATEWAY_DB_URL: worker } });
  fails(78, ['monitor'], other, { env: { MESHHOOK_MONITOR_DB_URL: worker } });
  fails(78, ['gateway', '--port', '0'], refused, { env: { MESHHOOK_GATEWAY_DB_URL: wrong(gateway) } });
  fails(78, ['monitor'], refused, { env: { MESHHOOK_MONITOR_DB_URL: wrong(gateway) } });
  fails(78, ['worker'], /two keys have the same id/, { env: { MESHHOOK_SECRET_KEY: `${key},${key}` } });
  for (const name of ['worker', 'gateway', 'monitor'])
    fails(78, [name, '--http-allow', '10.0.0.0/99'], /is not a network/);
});

test('no error repeats a password', () => {
  for (const url of ['postgresql://u:hunter2@127.0.0.1:1/x', 'hunter2', 'postgresql://u:hunter2@[bad/x', 'host=127.0.0.1 port=1 password=hunter2'])
    for (const args of [['run', 'list'], ['doctor'], ['logs', 'latest', '-f']]) {
      const r = mh(args, { env: { MESHHOOK_DB_URL: url } });
      assert.notEqual(r.status, 0);
      assert.doesNotMatch(r.out + r.err, /hunter2/);
    }
});

test('projects: created once, listed in every format', () => {
  fails(1, ['project', 'create', slug], /exists already/);
  fails(2, ['project', 'create', 'No Slug'], /is no slug/);
  const p = json(['project', 'list']).find((x) => x.slug === slug);
  assert.equal(p.name, 'Tests, "quoted"');
  assert.equal(p.workflows, 1);
  assert.match(ok(['project', 'list']), new RegExp(`^PROJECT .*NAME *\n(.*\n)*${slug} `, 'm'));
  assert.match(ok(['project', 'list', '-o', 'csv']), /,"Tests, ""quoted"""\r\n/);
});

test('workflows: validated, published once per definition, shown', () => {
  const bad = path.join(dir, 'bad.json');
  fs.writeFileSync(bad, JSON.stringify({ name: 'bad', nodes: [{ id: 'go', type: 'manual' }], edges: [{ from: 'go', to: 'og' }] }));
  const r = mh(['workflow', 'validate', bad, flow]);
  assert.equal(r.status, 1);
  assert.match(r.out, /bad\.json: \/edges\/0\/to: .*"og"/);
  assert.match(r.out, /flow\.json: valid, workflow "flow", 3 nodes/);
  assert.equal(one(['workflow', 'validate', '-'], { input: fs.readFileSync(flow, 'utf8') }).valid, true);
  fails(1, ['workflow', 'publish', bad], /1 problem\n {2}\/edges\/0\/to/);
  const again = one(['workflow', 'publish', 'flow']);
  assert.equal(again.version, 1);
  assert.equal(one(['workflow', 'list']).draft_differs, false);
  assert.deepEqual(JSON.parse(ok(['workflow', 'show', 'flow', '--definition'])), JSON.parse(fs.readFileSync(flow, 'utf8')));
  assert.equal(one(['workflow', 'show', 'flow']).version, 1);
  fails(1, ['workflow', 'show', 'flow', '--version', '9'], /no workflow "flow" with this version/);
});

test('endpoints: the secret is printed once and stored sealed', async () => {
  const e = one(['endpoint', 'create', 'leads', 'flow']);
  assert.match(e.secret, /^whsec_[A-Za-z0-9+/]{43}=$/);
  assert.equal(e.path, `/hooks/${slug}/leads`);
  assert.equal(e.trigger, 'hook');
  const listed = ok(['endpoint', 'list', '-o', 'json']);
  assert.doesNotMatch(listed, /whsec|sealed/);
  const { rows } = await db.query('select sealed from meshhook_engine.endpoint_secrets where endpoint_id = $1', [e.id]);
  assert.match(rows[0].sealed, /^v1\./);
  assert.ok(!rows[0].sealed.includes(e.secret.slice(6)));
  fails(1, ['endpoint', 'create', 'leads', 'flow'], /exists already/);
  fails(2, ['endpoint', 'create', 'x', 'flow', '--trigger', 'go'], /has no webhook "go"\n {2}it has: hook/);
  fails(78, ['endpoint', 'create', 'x', 'flow'], /MESHHOOK_INTAKE_KEY is not set/, { env: { MESHHOOK_INTAKE_KEY: '' } });
});

test('endpoints: set changes what is given, and the audit log says so', async () => {
  const e = one(['endpoint', 'create', 'changed', 'flow', '--rate', '5']);
  const audit = async () => (await db.query(
    `select action, detail from meshhook.audit_log where subject = $1 and action like 'endpoint%' order by id`, [e.id])).rows.slice(2);
  assert.deepEqual(one(['endpoint', 'set', 'changed', '--mapping', 'body.a', '--header', 'X-A', '--keep-body', '3', '--burst', '9']),
    { slug: 'changed', scheme: 'standard', enabled: true, mapping: 'body.a', headers: ['x-a'], rate: 5, burst: 9, keep_body_days: 3, max_body_bytes: 1048576 });
  assert.deepEqual(await audit(), [{ action: 'endpoints.update',
    detail: { mapping: [null, 'body.a'], headers: [[], ['x-a']], keep_body_days: [null, 3], burst: [null, 9] } }]);
  // another option of its scheme leaves the secret, another scheme doesn't
  assert.equal(one(['endpoint', 'set', e.id, '--scheme-option', 'tolerance=60']).secret, undefined);
  assert.deepEqual((await audit())[1].detail, { scheme: [{ type: 'standard' }, { type: 'standard', tolerance: 60 }] });
  const set = one(['endpoint', 'set', 'changed', '--scheme', 'github', '--mapping', 'none', '--header', 'none', '--rate', 'none', '--enabled', 'no']);
  assert.match(set.secret, /^[0-9a-f]{64}$/);
  assert.deepEqual({ ...set, secret: 0 }, { slug: 'changed', scheme: 'github', enabled: false, mapping: null, headers: [], rate: null,
    burst: 9, keep_body_days: 3, max_body_bytes: 1048576, secret: 0 });
  const { rows } = await db.query(`select secret_version as v, expires_at <= now() as over from meshhook_engine.endpoint_secrets
    where endpoint_id = $1 order by 1`, [e.id]);
  assert.deepEqual(rows, [{ v: 1, over: true }, { v: 2, over: null }]);
  assert.doesNotMatch(JSON.stringify(await audit()), new RegExp(set.secret));
  assert.equal(one(['endpoint', 'set', 'changed', '--scheme', 'none']).secret, undefined);
  const before = (await audit()).length;
  fails(2, ['endpoint', 'set', 'changed'], /nothing to change/);
  fails(2, ['endpoint', 'set', 'changed', '--trigger', 'hook'], /--trigger/);
  fails(2, ['endpoint', 'set', 'changed', '--mapping', 'a.['], /--mapping: column/);
  fails(2, ['endpoint', 'set', 'changed', '--rate', 'fast'], /no whole number/);
  fails(2, ['endpoint', 'set', 'changed', '--header', 'Cookie'], /never Authorization or Cookie/);
  fails(2, ['endpoint', 'set', 'changed', '--scheme', 'stripe'], /--secret-file/);
  fails(2, ['endpoint', 'set', 'changed', '--secret-file', flow], /endpoint rotate/);
  fails(1, ['endpoint', 'set', 'nobody', '--rate', '1'], /no endpoint "nobody"/);
  assert.equal((await audit()).length, before, 'what fails changes nothing');
});

test('runs: started with an input, shown, listed, cancelled, replayed', async () => {
  const input = path.join(dir, 'input.json');
  fs.writeFileSync(input, '{"a": 1, "big": 12345678901234567890.10}');
  const run = one(['run', 'start', 'flow', '--input', input, '--trigger', 'go', 'b=x=y', 'c:=[true]']).run_id;
  const { rows: [{ text }] } = await db.query(`select payload->>'input' as text from meshhook.run_events where run_id = $1 and seq = 1`, [run]);
  assert.equal(text, '{"a": 1, "b": "x=y", "c": [true], "big": 12345678901234567890.10}');
  const shown = one(['run', 'show', 'latest']);
  assert.equal(shown.id, run);
  assert.equal(shown.status, 'running');
  assert.equal(shown.workflow, 'flow');
  assert.equal(shown.version, 1);
  assert.equal(shown.error, null);
  assert.ok(json(['run', 'list', '--status', 'running']).some((x) => x.id === run));
  const twice = ['k1', 'k1'].map((k) => one(['run', 'start', 'flow', '--trigger', 'go', '--dedupe-key', k]).run_id);
  assert.equal(twice[0], twice[1]);
  fails(1, ['run', 'start', 'nothing'], /no workflow "nothing"/);
  fails(2, ['run', 'start', 'flow', 'novalue'], /is not KEY=VALUE/);

  // --wait tells how it ended, and fails unless it succeeded
  const waiting = spawn(binary, ['run', 'start', 'flow', '--trigger', 'go', '--wait', '-o', 'json', '--dedupe-key', 'w'], { env });
  let out = '';
  waiting.stdout.on('data', (d) => { out += d; });
  const over = new Promise((r) => waiting.on('exit', r));
  let id;
  while (!id) id = (await db.query(`select d.run_id from meshhook_engine.deliveries d join meshhook.runs r on r.id = d.run_id
    join meshhook.projects p on p.id = r.project_id where p.slug = $1 and d.dedupe_key = 'w'`, [slug])).rows[0]?.run_id;
  assert.equal(one(['run', 'cancel', id, '--reason', 'enough']).cancelled, true);
  assert.equal(await over, 1);
  assert.equal(JSON.parse(out).status, 'cancelled');
  fails(1, ['run', 'cancel', id], /over already/);

  const events = json(['run', 'events', id]);
  assert.deepEqual(events.map((e) => e.seq), events.map((_, i) => i + 1));
  assert.deepEqual(Object.keys(events[0]), ['seq', 'type', 'payload', 'ts']);
  assert.equal(events.at(-1).type, 'run.cancelled');
  assert.deepEqual(json(['run', 'events', id, '--after', '1']), events.slice(1));

  const saved = path.join(dir, 'history.json');
  assert.equal(one(['replay', id, '--save', saved]).result, 'ok');
  assert.equal(one(['replay', saved], { env: { SUPABASE_DB_URL: '' } }).events, events.length);
  const history = JSON.parse(fs.readFileSync(saved, 'utf8'));
  history.events.at(-1).payload.reason = 'another';
  fs.writeFileSync(saved, JSON.stringify(history));
  const wrong = mh(['replay', saved, '-o', 'json']);
  assert.equal(wrong.status, 1);
  assert.equal(JSON.parse(wrong.out).seq, events.length);
});

test('logs: filters, tail, times, formats', async () => {
  const run = start();
  await lines(db, run, [[5, 'fine print'], [9, 'POST https://a.example answered 200'], [13, 'step a: slow', { step: 'a', ms: 41 }],
    [17, 'bad \u001b[31mred\u001b[0m\nnext', { step: 'b' }]], { end: true });
  const texts = (args) => json(['logs', run, ...args]).map((l) => l.message);
  const all = texts([]);
  assert.equal(all.length, 5);
  assert.deepEqual(texts(['--level', 'warn']), all.slice(3));
  assert.deepEqual(texts(['--tail', '2']), all.slice(3));
  assert.deepEqual(texts(['--tail', '1', '--level', 'warn']), all.slice(4));
  assert.deepEqual(texts(['--include', 'POST']), ['POST https://a.example answered 200']);
  assert.deepEqual(texts(['--include', 'POST * 200', '--include', 'slow']), ['POST https://a.example answered 200', 'step a: slow']);
  assert.deepEqual(texts(['--include', 'POST']), texts(['--include', 'POST*']));
  assert.deepEqual(texts(['--exclude', 'slow', '--exclude', 'POST*']), [all[0], all[1], all[4]]);
  assert.deepEqual(texts(['--since', '1h']), all);
  assert.deepEqual(texts(['--since', '2100-01-01T00:00:00Z']), []);
  assert.deepEqual(texts(['--until', '1h']), []);
  assert.deepEqual(Object.keys(json(['logs', run])[0]), ['seq', 'ts', 'level', 'message', 'attrs']);
  const text = ok(['logs', run]);
  assert.match(text, /^\d\d:\d\d:\d\d\.\d{3} {2}ERROR {2}\[b\] bad \\x1b\[31mred\\x1b\[0m\\nnext$/m);
  assert.match(ok(['logs', run, '--timestamps']), /^\d{4}-\d\d-\d\dT[\d:.]+Z {2}WARN {3}\[a\] slow$/m);
  assert.match(ok(['logs', run, '-o', 'csv']), /^seq,ts,level,message,attrs\r\n/);
  assert.match(ok(['logs', run, '-o', 'csv']), /,error,"bad \u001b\[31mred\u001b\[0m\nnext",/);
  assert.match(ok(['logs', run, '-o', 'table']), /^ +3 {2}[\d:.]+ {2}INFO /m);
  fails(2, ['logs', run, '--since', 'yesterday'], /is no time/);
  fails(2, ['logs', run, '--level', 'wran'], /did you mean "warn"/);
  fails(1, ['logs', '00000000-0000-7000-8000-000000000000', '-f'], /no run/);
});

test('logs: coloured on a terminal, not with --no-color or NO_COLOR', async () => {
  const run = start();
  await lines(db, run, [[13, 'careful'], [17, 'broken \u001b]0;title\u0007']], { end: true });
  const onTerminal = (args, more) => execFileSync('script', ['-qec', [binary, ...args].join(' '), '/dev/null'],
    { env: { ...env, TERM: 'xterm', ...more }, encoding: 'utf8' });
  const coloured = onTerminal(['logs', run], { NO_COLOR: '' });
  assert.match(coloured, /\u001b\[33mcareful\u001b\[0m/);
  assert.match(coloured, /\u001b\[31mbroken \\x1b\]0;title\\x07\u001b\[0m/);
  assert.doesNotMatch(onTerminal(['logs', run, '--no-color'], { NO_COLOR: '' }), /\u001b/);
  assert.doesNotMatch(onTerminal(['logs', run], { NO_COLOR: '1' }), /\u001b/);
  assert.doesNotMatch(onTerminal(['logs', run, '-o', 'csv'], { NO_COLOR: '1' }), /\u001b/);
});

// A follower: its lines as they come, its notices, its end.
function follow(run, args = [], more = {}) {
  const c = spawn(binary, ['logs', run, '-f', '-o', 'json', ...args], { env: { ...env, ...more } });
  const f = { child: c, seqs: [], err: '' };
  let rest = '';
  c.stdout.on('data', (d) => {
    const parts = (rest + d).split('\n');
    rest = parts.pop();
    f.seqs.push(...parts.map((p) => JSON.parse(p).seq));
  });
  c.stderr.on('data', (d) => { f.err += d; });
  f.over = new Promise((resolve) => c.on('close', (code) => resolve(code)));
  return f;
}
async function until(what, fact, ms = 60000) {
  const end = Date.now() + ms;
  while (!(await fact())) {
    if (Date.now() > end) throw new Error(`after ${ms} ms still not: ${what}`);
    await new Promise((r) => setTimeout(r, 20));
  }
}
const upTo = (n) => Array.from({ length: n }, (_, i) => i + 1);

test('logs -f: ends with the run, with and without NOTIFY', async () => {
  for (const notify of [true, false]) {
    const run = start();
    const f = follow(run);
    await until('the first line', () => f.seqs.length === 1);
    for (let i = 0; i < 30; i++)
      await lines(db, run, [[9, `line ${i}`]], { notify });
    await until('31 lines', () => f.seqs.length === 31);
    await lines(db, run, Array.from({ length: 1200 }, (_, i) => [9, `last ${i}`]), { notify, end: true });
    assert.equal(await f.over, 0, f.err);
    assert.deepEqual(f.seqs, upTo(1231));
    assert.equal(f.err, '');
  }
});

test('logs -f: SIGINT exits 130', async () => {
  const run = start();
  const f = follow(run);
  await until('the first line', () => f.seqs.length === 1);
  f.child.kill('SIGINT');
  assert.equal(await f.over, 130);
});

test('logs -f: cut connections lose and double nothing', async () => {
  const run = start();
  const f = follow(run);
  await until('the first line', () => f.seqs.length === 1);
  for (let i = 0; i < 60; i++) {
    await lines(db, run, [[9, `line ${i}`]], { notify: i % 2 === 0 });
    if (i % 20 === 10)
      await db.query(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'meshhook logs'`);
  }
  await lines(db, run, [[9, 'end']], { end: true });
  assert.equal(await f.over, 0, f.err);
  assert.deepEqual(f.seqs, upTo(62));
  assert.match(f.err, /The connection was lost; trying again/);
  assert.match(f.err, /Connected again\./);
});

test('logs -f: a restart of Postgres loses and doubles nothing', async () => {
  const run = start();
  const f = follow(run);
  await until('the first line', () => f.seqs.length === 1);
  await lines(db, run, Array.from({ length: 40 }, (_, i) => [9, `before ${i}`]));
  await db.end();
  execFileSync(path.join(root, 'scripts', 'stack'), ['restart-db', 'immediate'], { stdio: 'ignore' });
  db = await connect();
  await lines(db, run, Array.from({ length: 40 }, (_, i) => [9, `after ${i}`]), { end: true });
  assert.equal(await f.over, 0, f.err);
  assert.deepEqual(f.seqs, upTo(81));
  assert.match(f.err, /The connection was lost/);
  assert.equal(mh(['logs', run, '-f', '-q', '-o', 'json']).out.trim().split('\n').length, 81);
});

test('logs -f: a new epoch is reported, never silence', async () => {
  const run = start();
  const f = follow(run);
  await until('the first line', () => f.seqs.length === 1);
  await db.query('update meshhook.runs set log_epoch = log_epoch + 1 where id = $1', [run]);
  await lines(db, run, [[9, 'x']], { end: true });
  assert.equal(await f.over, 0, f.err);
  assert.match(f.err, /The log was reset/);
  assert.deepEqual(f.seqs, [1, 1, 2]);
});

test('queue stats: counts without reading deep tables whole', async () => {
  const s = one(['queue', 'stats']);
  for (const k of ['queue', 'ready', 'in_flight', 'backlog', 'timers', 'dead', 'workers'])
    assert.equal(typeof s[k], 'number', k);
  const mine = s.projects.find((p) => p.project === slug);
  const { rows: [{ n }] } = await db.query(`select sum(queued)::int as n from meshhook_engine.admission a
    join meshhook.projects p on p.id = a.project_id where p.slug = $1`, [slug]);
  assert.equal(mine.queued, n);
  assert.match(ok(['queue', 'stats']), new RegExp(`^${slug} +${n} +1000 +0$`, 'm'));
});

// What somebody types at a prompt, and what the terminal showed of it.
async function typed(args, keys) {
  const child = spawn('python3', [path.join(root, 'tests', 'monitor', 'terminal.py'), '80', '24', binary, ...args], { env });
  let shown = '', err = '';
  child.stderr.on('data', (d) => { err += d; });
  const closed = new Promise((resolve) => child.on('close', resolve));
  for await (const d of child.stdout.setEncoding('utf8')) {
    if (!shown.includes('): ') && (shown + d).includes('): ')) child.stdin.write(`type ${keys}\n`);
    shown += d;
  }
  await closed;
  return { shown, ...JSON.parse(err.trim().split('\n').at(-1)) };
}

test('a secret that is typed is shown nowhere, and can be corrected', async () => {
  const set = await typed(['secret', 'set', 'TYPED'], 'wrong\\x15typed-\\u00e9\\x7fsecret\\r');
  assert.deepEqual([set.status, set.restored], [0, true], set.shown);
  assert.match(set.shown, /Value \(it is not shown\): \r\n/);
  assert.doesNotMatch(set.shown, /wrong|typed-/);
  ok(['secret', 'set', 'PIPED'], { input: 'typed-secret\n' });
  const { rows } = await db.query(`select length(v.sealed) as n from meshhook_engine.secret_values v
    join meshhook.secrets s on s.id = v.secret_id where s.name in ('TYPED', 'PIPED') and s.project_id =
      (select id from meshhook.projects where slug = $1)`, [slug]);
  assert.equal(new Set(rows.map((r) => r.n)).size, 1, 'both have the same length');
  assert.equal(rows.length, 2);
  const left = await typed(['secret', 'set', 'LEFT'], 'half a sec\\x03');
  assert.deepEqual([left.status, left.restored], [-2, true], left.shown);
  assert.doesNotMatch(ok(['secret', 'list']), /LEFT/);
});

test('a name that is mistyped is said, not passed over', () => {
  fails(1, ['run', 'list', '--workflow', 'flwo'], /no workflow "flwo" in/);
  const early = mh(['alert', 'silence', 'backlgo', '--for', '1s']);
  assert.match(early.err, /There is no rule "backlgo" yet/);
  assert.equal(early.status, 0);
  fails(2, ['alert', 'silence', 'backlog', '--for', '1'], /--for: "1" is no duration/);
  fails(1, ['alert', 'resend', '--channel', 'nobody'], /no channel "nobody"/);
  fails(1, ['alert', 'rules', 'set', 'backlog', '--for', '1m'], /is the installation's.*\n.*--installation/);
  fails(2, ['alert', 'rules', 'add', 'typo', 'queue_visble > 1'], /no metric "queue_visble"\n.*did you mean queue_visible\?/);
  fails(2, ['alert', 'rules', 'add', 'typo', 'rate(nothing_total[5m]) > 1'], /no metric "nothing_total"/);
  fails(2, ['alert', 'test', '--condition', 'attempt_time_seconds > 1'], /no metric/); // a histogram is only served
  fails(2, ['queue', 'slo', '--since', '31d'], /30 days/);
  fails(2, ['-V'], /no option -V\n {2}see: meshhook help\n/);
});

test('doctor: all is well here; elsewhere it says what to do', () => {
  const all = mh(['doctor', '-o', 'json']);
  const found = all.out.split('\n').filter(Boolean).map((l) => JSON.parse(l));
  const names = found.map((f) => f.check);
  for (const k of ['database', 'clocks', 'pooler', 'version', 'schema', 'pgmq', 'roles', 'rights', 'partitions', 'exposure', 'api', 'connections', 'worker', 'gateway', 'monitor', 'intake-key', 'secret-key'])
    assert.ok(names.includes(k), `no check ${k}`);
  for (const f of found) {
    assert.notEqual(f.result, 'failed', JSON.stringify(f));
    assert.equal(f.mend === null, f.result === 'ok');
  }
  assert.equal(all.status, 0);
  const empty = mh(['doctor', '-o', 'json'], { env: { MESHHOOK_DB_URL: process.env.SUPABASE_DB_URL.replace(/[^/]+$/, 'template1') } });
  assert.equal(empty.status, 1);
  assert.match(empty.out, /"check":"schema","result":"failed".*"mend":"supabase db push"/);
  const login = mh(['doctor', '-o', 'json'], { env: { MESHHOOK_WORKER_DB_URL: process.env.SUPABASE_DB_URL.replace(/\/\/[^@]+@/, '//meshhook_worker:wrong@') } });
  assert.equal(login.status, 1);
  assert.match(login.out, /"check":"worker","result":"failed".*alter role/);
  const mixed = mh(['doctor', '-o', 'json'], { env: { MESHHOOK_MONITOR_DB_URL: process.env.MESHHOOK_WORKER_DB_URL } });
  assert.equal(mixed.status, 1);
  assert.match(mixed.out, /"check":"monitor","result":"failed".*MESHHOOK_MONITOR_DB_URL: log in as meshhook_monitor/);
  const worker = mh(['doctor', '-o', 'json'], { env: { MESHHOOK_DB_URL: process.env.MESHHOOK_WORKER_DB_URL } });
  assert.match(worker.out, /"check":"schema","result":"failed".*log in as the operator/);
});

test('doctor: keys are those that sealed what is there', () => {
  const asked = (env, check) => {
    const r = mh(['doctor', '-o', 'json'], { env });
    return [r.status, ...r.out.split('\n').filter(Boolean).map((l) => JSON.parse(l)).filter((f) => f.check === check).map((f) => `${f.result}: ${f.detail}`)];
  };
  const other = Buffer.alloc(32, 7).toString('base64');
  execFileSync(binary, ['secret', 'set', 'DOCTOR'], { input: 'long enough a value', env });
  for (const [check, name] of [['intake-key', 'MESHHOOK_INTAKE_KEY'], ['secret-key', 'MESHHOOK_SECRET_KEY']]) {
    let [status, found, ...more] = asked({}, check);
    assert.deepEqual([status, more], [0, []]);
    assert.match(found, /^ok: opens what it sealed, [1-9]\d* values?$/);
    [status, found] = asked({ [name]: other }, check);
    assert.equal(status, 1, 'the same name, another key');
    assert.match(found, /^failed: .*[1-9]\d* values that are sealed under key "k1"/);
    [status, found] = asked({ [name]: `new:${other}` }, check);
    assert.equal(status, 1, 'another name');
    assert.match(found, /^failed: .*"k1"/);
    [status, found] = asked({ [name]: `new:${other},k1:${env[name]}` }, check);
    assert.equal(status, 0, 'the old one is among them');
    [status, found] = asked({ [name]: '' }, check);
    assert.equal(status, 0, 'it may be elsewhere');
    assert.match(found, /^unknown: .* is not set here; [1-9]\d* values are sealed/);
  }
});

test('expr: as the engine evaluates', () => {
  const doc = '{"items": [{"n": 1.50, "s": "x"}, {"n": 20000000000000000001, "s": "\\u001b"}]}';
  assert.equal(ok(['expr', 'items[].n', '-o', 'json'], { input: doc }), '[1.50,20000000000000000001]\n');
  assert.equal(ok(['expr', '-r', 'items[0].s'], { input: doc }), 'x\n');
  fails(1, ['expr', 'items['], /expression: column/, { input: doc });
  fails(1, ['expr', '@'], /standard input: line 1/, { input: '{' });
});

test('a signed webhook starts a run that a worker carries to its end', async () => {
  const hooked = path.join(dir, 'hooked.json');
  fs.writeFileSync(hooked, JSON.stringify({
    name: 'hooked',
    nodes: [{ id: 'hook', type: 'webhook' }, { id: 'say', type: 'log', message: 'hello {{ input.name }}' }],
    edges: [{ from: 'hook', to: 'say' }],
  }));
  ok(['workflow', 'publish', hooked]);
  const endpoint = one(['endpoint', 'create', 'hooked', 'hooked']);
  const log = path.join(dir, 'gateway.log');
  const fd = fs.openSync(log, 'w');
  const gateway = spawn(binary, ['gateway', '--port', '0', '--log-format', 'json'], { env, stdio: ['ignore', fd, fd] });
  const gone = new Promise((r) => gateway.on('exit', r));
  let port;
  await until('the gateway is ready', () => {
    const text = fs.readFileSync(log, 'utf8');
    port = /"event":"gateway.listening".*"port":(\d+)/.exec(text)?.[1];
    return port && text.includes('gateway.ready');
  });
  const body = '{"name": "Ada"}';
  const id = 'msg_1';
  const at = Math.floor(Date.now() / 1000);
  const key = Buffer.from(endpoint.secret.slice('whsec_'.length), 'base64');
  const signature = `v1,${crypto.createHmac('sha256', key).update(`${id}.${at}.${body}`).digest('base64')}`;
  const reply = await fetch(`http://127.0.0.1:${port}${endpoint.path}`, {
    method: 'POST', body,
    headers: { 'content-type': 'application/json', 'webhook-id': id, 'webhook-timestamp': String(at), 'webhook-signature': signature },
  });
  assert.equal(reply.status, 202);
  const { run_id: run } = await reply.json();
  const f = follow(run);
  const worker = spawn(binary, ['worker'], { env, stdio: 'ignore' });
  const drained = new Promise((r) => worker.on('exit', r));
  assert.equal(await f.over, 0, f.err);
  worker.kill('SIGTERM');
  assert.equal(await drained, 0);
  assert.equal(one(['run', 'show', run]).status, 'succeeded');
  assert.ok(json(['logs', run]).some((l) => l.message === 'hello Ada'));
  assert.equal(one(['replay', run]).result, 'ok');
  gateway.kill('SIGTERM');
  assert.equal(await gone, 0);
});
