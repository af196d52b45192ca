// Watching and broadcasting where several transactions meet: a watch is ordered against every
// commit, what waits holds nobody else up. What one transaction can show is in tests/pgtap/live.sql.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import pg from 'pg';

const slug = `live-${process.pid}`;
const clients = [];
let db, project;

const connect = async () => {
  const c = new pg.Client({ connectionString: process.env.SUPABASE_DB_URL });
  await c.connect();
  await c.query("set lock_timeout = '5s'");
  clients.push(c);
  return c;
};
const one = async (c, text, args) => (await c.query(text, args)).rows[0];
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
const log = (c, resource, message = 'm') => c.query("select meshhook.log($1, 'app', $2, 'info', $3)", [slug, resource, message]);
const watch = (c, channel) => one(c, 'select * from meshhook.watch($1, gen_random_uuid())', [channel]);
const flush = (c) => one(c, 'select * from meshhook_engine.flush_broadcasts()');
const pending = async (p) => (await Promise.race([p.then(() => false), sleep(150).then(() => true)]));
// Every message of a channel, as [from, to]; 'hint' where its lines were too many.
const heard = async (channel) => (await db.query(`select event, (payload ->> 'from')::int as "from",
    coalesce(payload ->> 'to', payload ->> 'last_seq')::int as "to", payload
  from realtime.messages where topic ~ ('^mh:\\d+:' || $1 || '$') order by 3`, [channel])).rows;
const fill = (c) => c.query('update meshhook_engine.live set tokens = 25, refilled_at = clock_timestamp()');

before(async () => {
  db = await connect();
  await db.query('update meshhook_engine.live set quota = 100, share = 0.5, interval_ms = 50');
  project = (await one(db, 'select meshhook.create_project($1, $1) as id', [slug])).id;
  const definition = { nodes: [{ id: 'hand', type: 'manual' }] };
  const plan = { hand: { events: [], steps: [], messages: [], ends: null } };
  await db.query('select meshhook_engine.publish_version(meshhook.push_workflow($1, $2, $3), $3, $4)', [slug, 'flow', definition, plan]);
});
after(async () => {
  await db.query('select meshhook.purge_project($1)', [slug]);
  await db.query('delete from meshhook_engine.watched');
  await Promise.all(clients.map((c) => c.end()));
});

test('a watch waits for the commit before it, and knows its lines', async () => {
  const [writer, reader] = [await connect(), await connect()];
  const channel = `logs:app:${project}:before`;
  await fill(db);
  await log(db, 'before');
  await writer.query('begin');
  await log(writer, 'before');
  await writer.query('set constraints all immediate'); // it has asked who watches
  const watched = watch(reader, channel);
  assert.ok(await pending(watched), 'the watch waits');
  await writer.query('commit');
  assert.equal((await watched).last_seq, '2');
  assert.deepEqual(await heard(channel), [], 'nobody was to be told');
  await fill(db);
  await log(db, 'before');
  assert.deepEqual((await heard(channel)).map((m) => [m.from, m.to]), [[3, 3]]);
});

test('a commit behind a watch finds it', async () => {
  const [writer, reader] = [await connect(), await connect()];
  const channel = `logs:app:${project}:behind`;
  await log(db, 'behind');
  await fill(db);
  await reader.query('begin');
  assert.equal((await watch(reader, channel)).last_seq, '1');
  const written = log(writer, 'behind');
  assert.ok(await pending(written), 'the commit waits');
  await reader.query('commit');
  await written;
  assert.deepEqual((await heard(channel)).map((m) => [m.from, m.to]), [[2, 2]]);
});

test('a second reader, and a renewal, wait for nobody', async () => {
  const [writer, reader] = [await connect(), await connect()];
  const channel = `logs:app:${project}:renewed`;
  await log(db, 'renewed');
  await one(reader, 'select * from meshhook.watch($1)', [channel]);
  await writer.query('begin');
  await log(writer, 'renewed');
  await writer.query('set constraints all immediate');
  assert.equal((await one(reader, 'select * from meshhook.watch($1)', [channel])).last_seq, '1');
  await writer.query('commit');
});

test('a transaction with a snapshot of its own is heard, and does not fail because others were', async () => {
  const writer = await connect();
  const channel = `logs:app:${project}:snapshot`;
  await log(db, 'other');
  await log(db, 'snapshot');
  for (const isolation of ['repeatable read', 'serializable']) {
    await db.query('delete from meshhook_engine.watched');
    const start = Number((await one(db, "select last_seq from meshhook.channels where project_id = $1 and resource = 'snapshot'", [project])).last_seq);
    await writer.query(`begin isolation level ${isolation}`);
    await writer.query('select 1 from meshhook_engine.watched');
    await watch(db, channel); // which its snapshot can't show
    await db.query('update meshhook_engine.watched set due_at = clock_timestamp()');
    await flush(db);
    await log(writer, 'snapshot');
    await writer.query('commit');
    await fill(db);
    for (let i = 0; i < 500 && !(await heard(channel)).some((m) => m.to === start + 1); i++) { await flush(db); await sleep(10); }
    assert.deepEqual((await heard(channel)).at(-1).to, start + 1, isolation);
  }
});

test('what is rolled back is not heard', async () => {
  const writer = await connect();
  const channel = `logs:app:${project}:rollback`;
  await log(db, 'rollback');
  await watch(db, channel);
  await fill(db);
  await writer.query('begin');
  await log(writer, 'rollback', 'never');
  await writer.query('set constraints all immediate');
  await writer.query('rollback');
  await flush(db);
  assert.deepEqual(await heard(channel), []);
  assert.equal((await one(db, 'select count(*)::int as n from meshhook_engine.spent')).n, 0, 'nor paid for');
});

test("a caller's open transaction holds up no flush, and nobody else's lines and runs", async () => {
  const [slow, quick] = [await connect(), await connect()];
  const start = async (c) => (await one(c, "select meshhook.start_run($1, 'flow') as id", [slug])).id;
  await quick.query("set lock_timeout = '1s'");
  const [a, b] = [await start(db), await start(db)];
  await log(db, 'held');
  for (const channel of [`runs:${slug}`, `logs:run:${slug}:${a}`, `logs:run:${slug}:${b}`, `logs:app:${slug}:held`]) await watch(db, channel);
  await fill(db);
  await slow.query('begin');
  const c = await start(slow);
  await slow.query('select meshhook.cancel_run($1)', [a]);
  await log(slow, 'held');
  await slow.query('set constraints all immediate');
  await fill(quick);
  await quick.query('select meshhook.cancel_run($1)', [b]);
  const d = await start(quick);
  await flush(quick);
  await watch(quick, `runs:${slug}`);
  const told = async () => (await heard(`runs:${project}`)).flatMap((m) => m.payload.runs.map((r) => [r.id, r.status]));
  for (let i = 0; i < 500 && (await told()).length < 2; i++) { await sleep(20); await fill(quick); await flush(quick); }
  assert.deepEqual((await told()).sort(), [[b, 'cancelled'], [d, 'running']].sort());
  assert.deepEqual((await heard(`logs:run:${project}:${b}`)).map((m) => m.to), [2]);
  await slow.query('commit');
  for (let i = 0; i < 500 && (await told()).length < 4; i++) { await sleep(20); await fill(quick); await flush(quick); }
  assert.deepEqual((await told()).slice(2).sort(), [[a, 'cancelled'], [c, 'running']].sort());
  assert.deepEqual((await heard(`logs:app:${project}:held`)).map((m) => [m.from, m.to]), [[2, 2]]);
});

test('one flushes at a time; another comes back', async () => {
  const [first, second] = [await connect(), await connect()];
  await watch(db, `runs:${slug}`);
  await first.query('begin');
  await flush(first);
  assert.deepEqual(await flush(second), { sent: 0, wait_ms: 50 });
  await first.query('commit');
  assert.equal((await flush(second)).wait_ms, 1000);
});

for (const kind of ['worker', 'gateway', 'monitor']) {
  test(`a ${kind} sends what others left`, { timeout: 300000 }, async () => {
    const channel = `logs:app:${project}:left-to-${kind}`;
    await log(db, `left-to-${kind}`);
    await watch(db, channel);
    const { begun } = await one(db, 'select clock_timestamp() as begun');
    const child = spawn(process.env.MESHHOOK_BIN, [kind], { stdio: 'ignore',
      env: { ...process.env, MESHHOOK_GATEWAY_PORT: '0' } });
    const over = new Promise((resolve) => child.on('exit', resolve));
    try {
      await db.query('update meshhook_engine.live set tokens = -100000, refilled_at = clock_timestamp()');
      await log(db, `left-to-${kind}`, 'first');
      await log(db, `left-to-${kind}`, 'second');
      assert.deepEqual(await heard(channel), []);
      await fill(db);
      for (let i = 0; i < 4000 && !(await heard(channel)).length; i++) await sleep(25);
      assert.deepEqual((await heard(channel)).map((m) => [m.from, m.to]), [[2, 3]]);
      // The stack's own gateway may have been faster: this one asks, too.
      const asks = async () => (await one(db, `select count(*)::int as n from pg_stat_activity
        where application_name = $1 and backend_start > $2 and query ~ 'flush_broadcasts'`, [`meshhook ${kind}`, begun])).n;
      let asked = 0;
      for (let i = 0; i < 6000 && !asked; i++) { asked = await asks(); await sleep(10); }
      assert.ok(asked);
    } finally {
      child.kill('SIGTERM');
      await over;
    }
  });
}

test('a worker that ends leaves nothing due', { timeout: 300000 }, async () => {
  const definition = { name: 'quick', nodes: [{ id: 'hand', type: 'manual' }, { id: 'a', type: 'delay', for: '1ms' }, { id: 'b', type: 'log', message: 'x' }],
    edges: [{ from: 'hand', to: 'a' }, { from: 'a', to: 'b' }] };
  const file = path.join(os.tmpdir(), `${slug}.json`);
  fs.writeFileSync(file, JSON.stringify(definition));
  const env = { ...process.env, MESHHOOK_DB_URL: process.env.SUPABASE_DB_URL, MESHHOOK_PROJECT: slug };
  const meshhook = (...argv) => execFileSync(process.env.MESHHOOK_BIN, argv, { env, stdio: 'pipe' });
  try {
    meshhook('workflow', 'push', file);
    meshhook('workflow', 'publish', 'quick');
    for (let i = 0; i < 5; i++) {
      const run = (await one(db, "select meshhook.start_run($1, 'quick') as id", [slug])).id;
      await watch(db, `logs:run:${slug}:${run}`);
      await fill(db);
      meshhook('worker', '--drain');
      const { final_log_seq: last } = await one(db, 'select final_log_seq from meshhook.runs where id = $1', [run]);
      assert.ok(last > 3);
      assert.equal((await heard(`logs:run:${project}:${run}`)).at(-1).to, last);
    }
  } finally { fs.rmSync(file); }
});

test('meshhook recover: a new epoch for what goes on', async () => {
  const run = (await one(db, "select meshhook.start_run($1, 'flow') as id", [slug])).id;
  const before = await watch(db, `logs:run:${slug}:${run}`);
  const text = execFileSync(process.env.MESHHOOK_BIN, ['recover', '-o', 'json'], { encoding: 'utf8',
    env: { ...process.env, MESHHOOK_DB_URL: process.env.SUPABASE_DB_URL } });
  const done = JSON.parse(text);
  assert.ok(done.runs >= 1 && done.channels >= 1, text);
  const behind = await watch(db, `logs:run:${slug}:${run}`);
  assert.notEqual(behind.epoch, before.epoch);
  assert.equal(behind.last_seq, before.last_seq);
});
