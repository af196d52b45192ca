// What a worker does with data that the database refuses, with poison, with signals, and with a
// schema that is not for it.
import test from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { World, checkRun, until } from '../crash/lib.mjs';

const edges = (...ids) => ids.slice(1).map((id, i) => ({ from: ids[i], to: id }));
const log = (id) => ({ id, type: 'log', message: id });
const start = { id: 'start', type: 'manual' };
const flow = (name, ...nodes) => ({ name, nodes: [start, ...nodes], edges: edges('start', ...nodes.map((n) => n.id)) });
const call = (port, query = '') => ({ id: 'call', type: 'http_call', method: 'POST', url: `http://127.0.0.1:${port}/x${query}` });

const admin = (w) => w.connect(process.env.MESHHOOK_STACK_SUPERUSER_DB_URL);
const row = async (w, sql, ...args) => (await w.db.query(sql, args)).rows[0];
const run = (w, id) => row(w, 'select status, error from meshhook.runs where id = $1', id);
const ended = (w, id) => until(`run ${id} ended`, async () => (await run(w, id)).status !== 'running');
const dead = async (w, id) => (await row(w, "select message from pgmq.q_mh_dead where message ->> 'r' = $1", id))?.message;

async function stopped(c) {
  c.kill('SIGTERM');
  const { code } = await c.over;
  assert.equal(code, 0, fs.readFileSync(c.log, 'utf8'));
}

// The database refuses events of a type for a step, as it would text that it can't store.
async function refusing(w, types, step, fn) {
  const c = await admin(w);
  try {
    await c.query(`create function public.refuse() returns trigger language plpgsql as $$ begin
      if new.type = any ('${types}'::text[]) and new.payload ->> 'step' = '${step}' then
        raise exception 'unsupported Unicode escape sequence' using errcode = '22P05';
      end if;
      return new; end $$`);
    await c.query('create trigger refuse before insert on meshhook.run_events for each row execute function public.refuse()');
    await fn();
  } finally {
    await c.query('drop trigger if exists refuse on meshhook.run_events');
    await c.query('drop function if exists public.refuse');
    await c.end();
  }
}

test('a step whose data is refused fails alone, with the reason', { timeout: 300000 }, async () => {
  const w = await World.open('halve');
  try {
    w.publish(flow('good', log('a'), log('b')));
    w.publish(flow('bad', log('a'), log('cursed'), log('c')));
    await refusing(w, '{step.succeeded}', 'cursed', async () => {
      const good = [], bad = [];
      for (let i = 0; i < 40; i++) (i % 13 === 5 ? bad : good).push(await w.start(i % 13 === 5 ? 'bad' : 'good'));
      const c = w.worker();
      for (const id of [...good, ...bad]) await ended(w, id);
      await stopped(c);
      for (const id of good) assert.equal((await run(w, id)).status, 'succeeded');
      for (const id of bad) {
        const { status, error } = await run(w, id);
        assert.equal(status, 'failed');
        assert.equal(error.code, '22P05');
        assert.equal(error.step, 'cursed');
        assert.equal(await dead(w, id), undefined);
        await checkRun(w, id, 'failed');
      }
    });
  } finally { await w.close(); }
});

test('a message that can not be recorded at all is a dead letter, and ends its run', { timeout: 300000 }, async () => {
  const w = await World.open('dead');
  try {
    w.publish(flow('damned', log('damned'), log('b')));
    await refusing(w, '{step.succeeded,step.failed}', 'damned', async () => {
      const id = await w.start('damned');
      const c = w.worker();
      await ended(w, id);
      await stopped(c);
      assert.equal((await run(w, id)).status, 'failed');
      const letter = await dead(w, id);
      assert.equal(letter.message.n, 'damned');
      assert.equal(letter.error.code, '22P05');
      await checkRun(w, id, 'failed');
    });
  } finally { await w.close(); }
});

test('a message delivered too often without progress is poison', { timeout: 300000 }, async () => {
  const w = await World.open('poison');
  try {
    w.publish(flow('plain', log('a')));
    const id = await w.start('plain');
    const well = await w.start('plain');
    const c = await admin(w);
    await c.query("update pgmq.q_mh_work set read_ct = 10 where message ->> 'r' = $1", [id]);
    await c.query("update pgmq.q_mh_work set read_ct = 9 where message ->> 'r' = $1", [well]);
    await c.end();
    const k = w.worker();
    await ended(w, id);
    await ended(w, well);
    await stopped(k);
    assert.equal((await run(w, id)).error.code, 'POISON');
    assert.equal((await dead(w, id)).message.n, 'a');
    assert.equal((await run(w, well)).status, 'succeeded');
    await checkRun(w, id, 'failed');
  } finally { await w.close(); }
});

test('what kills its workers is found, and takes nobody along', { timeout: 600000 }, async () => {
  const w = await World.open('culprit');
  try {
    await w.startTarget('--delay-ms', '300');
    w.publish(flow('good', call(w.port), log('b')));
    w.publish(flow('bad', log('cursed')));
    const good = [];
    for (let i = 0; i < 30; i++) good.push(await w.start('good'));
    const bad = await w.start('bad');
    for (let i = 0; i < 10; i++) good.push(await w.start('good'));
    let deaths = 0, last;
    while (!last) {
      const c = w.worker({ MESHHOOK_TESTPOINT: 'step=cursed' });
      let died = false;
      c.over.then(() => { died = true; });
      await until('it died, or gave the culprit up', async () => died || (await run(w, bad)).status !== 'running');
      if (died) deaths++;
      else last = c;
    }
    for (const id of good) await ended(w, id);
    await stopped(last);
    assert.equal(deaths, 10, 'the culprit is delivered ten times');
    assert.equal((await run(w, bad)).error.code, 'POISON');
    await checkRun(w, bad, 'failed');
    for (const id of good) {
      assert.equal((await run(w, id)).status, 'succeeded');
      await checkRun(w, id);
    }
  } finally { await w.close(); }
});

test('parallel calls of a run that end at different times are not stale', { timeout: 300000 }, async () => {
  const w = await World.open('siblings');
  try {
    await w.startTarget();
    const ids = [...'abcdefgh'];
    w.publish({ name: 'fan', nodes: [start, ...ids.map((id, i) => ({ ...call(w.port, `?delay=${20 + 40 * i}`), id })),
      { id: 'join', type: 'transform', output: Object.fromEntries(ids.map((id) => [id, `{{ steps.${id}.output.status }}`])) }],
    edges: ids.flatMap((id) => [{ from: 'start', to: id }, { from: id, to: 'join' }]) });
    const c = w.worker();
    const runs = [];
    for (let i = 0; i < 5; i++) runs.push(await w.start('fan'));
    for (const id of runs) await ended(w, id);
    await stopped(c);
    for (const id of runs) await checkRun(w, id);
    const over = fs.readFileSync(c.log, 'utf8').split('\n').filter(Boolean).map((l) => JSON.parse(l)).find((l) => l.event === 'worker.stopped');
    assert.ok(over.items >= 40 && over.stale === 0, JSON.stringify(over));
  } finally { await w.close(); }
});

// What is ready together is recorded together, and none of it beside a commit of the same run that is on its way.
test('many parallel steps of a run are decided once, in whole batches', { timeout: 300000 }, async () => {
  const w = await World.open('wide');
  try {
    const logs = Array.from({ length: 800 }, (_, i) => log(`n${i}`));
    w.publish({ name: 'wide', nodes: [start, ...logs], edges: logs.map((n) => ({ from: 'start', to: n.id })) });
    const id = await w.start('wide');
    const c = w.spawn(['worker', '--drain', '--batch', '100']);
    assert.equal((await c.over).code, 0);
    await checkRun(w, id);
    const over = fs.readFileSync(c.log, 'utf8').split('\n').filter(Boolean).map((l) => JSON.parse(l)).find((l) => l.event === 'worker.stopped');
    assert.ok(over.items <= 12 && over.stale === 0, JSON.stringify(over));
  } finally { await w.close(); }
});

test('whichever statement can not be sent, the run ends right', { timeout: 600000 }, async () => {
  const w = await World.open('fault');
  try {
    w.publish(flow('waits', log('a'), { id: 'wait', type: 'delay', for: '50ms' }, log('b')));
    let n = 1;
    for (let touched = true; touched; n++) {
      const id = await w.start('waits');
      const c = w.spawn(['worker', '--drain'], { MESHHOOK_TESTFAULT: String(n), MESHHOOK_WORKER_LEASE: '1s' });
      const { code } = await c.over;
      const text = fs.readFileSync(c.log, 'utf8');
      assert.equal(code, 0, `send ${n}: ${text}`);
      await checkRun(w, id);
      touched = text.includes('"fault.hit"');
    }
    assert.ok(n > 8, `only ${n} sends`);
  } finally { await w.close(); }
});

test('SIGTERM lets a call end and records it', { timeout: 300000 }, async () => {
  const w = await World.open('drain');
  try {
    await w.startTarget('--delay-ms', '700');
    w.publish(flow('slow', call(w.port)));
    const id = await w.start('slow');
    const c = w.worker();
    await until('the call is out', () => w.requests().length === 1);
    await stopped(c);
    assert.equal((await run(w, id)).status, 'succeeded');
    assert.equal(w.requests().length, 1);
  } finally { await w.close(); }
});

test('what the deadline cuts off is given back, and does not count as a delivery', { timeout: 300000 }, async () => {
  const w = await World.open('giveback');
  try {
    await w.startTarget('--delay-ms', '60000');
    w.publish(flow('slow', call(w.port)));
    const id = await w.start('slow');
    const c = w.worker({ MESHHOOK_WORKER_DRAIN: '200ms', MESHHOOK_WORKER_LEASE: '1m' });
    await until('the call is out', () => w.requests().length === 1);
    await stopped(c);
    const c2 = await admin(w);
    const { rows } = await c2.query("select read_ct, vt <= clock_timestamp() as ready from pgmq.q_mh_work where message ->> 'r' = $1", [id]);
    await c2.query("select meshhook_engine.cancel_run($1, 'test')", [id]);
    await c2.end();
    assert.deepEqual(rows, [{ read_ct: 0, ready: true }]);
    const k = w.worker(); // which finds the run over, and deletes its message
    await until('the queue is empty', async () => (await row(w, "select count(*)::int as n from pgmq.q_mh_work")).n === 0);
    await stopped(k);
  } finally { await w.close(); }
});

test('a second signal does not wait', { timeout: 300000 }, async () => {
  const w = await World.open('signal');
  try {
    await w.startTarget('--delay-ms', '60000');
    w.publish(flow('slow', call(w.port)));
    const id = await w.start('slow');
    const c = w.worker();
    await until('the call is out', () => w.requests().length === 1);
    c.kill('SIGTERM');
    await until('it drains', () => fs.readFileSync(c.log, 'utf8').includes('worker.draining'));
    c.kill('SIGINT');
    assert.equal((await c.over).code, 130);
    await w.db.query("select meshhook.cancel_run($1, 'test')", [id]);
  } finally { await w.close(); }
});

test('leases of long calls are extended', { timeout: 300000 }, async () => {
  const w = await World.open('extend');
  try {
    await w.startTarget('--delay-ms', '7500');
    w.publish(flow('slow', call(w.port)));
    const id = await w.start('slow');
    const lease = { MESHHOOK_WORKER_LEASE: '3s' };
    const two = [w.worker(lease), w.worker(lease)];
    await ended(w, id);
    assert.equal((await run(w, id)).status, 'succeeded');
    assert.equal(w.requests().length, 1);
    for (const c of two) await stopped(c);
  } finally { await w.close(); }
});

test('--drain carries out what there is, timers that are due soon too, and ends', { timeout: 300000 }, async () => {
  const w = await World.open('empty');
  try {
    w.publish(flow('waits', { id: 'wait', type: 'delay', for: '300ms' }, log('b')));
    w.publish(flow('sleeps', { id: 'wait', type: 'delay', for: '24h' }, log('b')));
    const ids = [];
    for (let i = 0; i < 5; i++) ids.push(await w.start('waits'));
    const tomorrow = await w.start('sleeps');
    const c = w.spawn(['worker', '--drain']);
    assert.equal((await c.over).code, 0);
    for (const id of ids) assert.equal((await run(w, id)).status, 'succeeded');
    assert.equal((await run(w, tomorrow)).status, 'running');
    await w.db.query("select meshhook.cancel_run($1, 'test')", [tomorrow]);
  } finally { await w.close(); }
});

test('--drain does not end while what another worker holds may come back', { timeout: 300000 }, async () => {
  const w = await World.open('others');
  try {
    await w.startTarget('--delay-ms', '1500');
    w.publish(flow('slow', call(w.port), log('b')));
    const id = await w.start('slow');
    const first = w.worker({ MESHHOOK_WORKER_LEASE: '4s' });
    await until('the call is out', () => w.requests().length === 1);
    first.kill('SIGSTOP'); // the call's end is not recorded, however long the next one takes to begin
    const c = w.spawn(['worker', '--drain']);
    await until('it looks for work', async () => (await row(w,
      'select count(*)::int as n from meshhook.workers where pid = $1', c.pid)).n === 1);
    first.kill('SIGKILL');
    assert.equal((await c.over).code, 0);
    assert.equal((await run(w, id)).status, 'succeeded');
    assert.equal(w.requests().length, 2);
  } finally { await w.close(); }
});

test('a schema that is not for this program is refused, and so is a wrong password: exit 78', { timeout: 300000 }, async () => {
  const w = await World.open('schema');
  const c = await admin(w);
  try {
    await c.query('update meshhook_engine.schema_version set oldest_program = 99');
    let k = w.worker();
    assert.equal((await k.over).code, 78);
    assert.match(fs.readFileSync(k.log, 'utf8'), /supabase db push/);
    const url = new URL(process.env.MESHHOOK_WORKER_DB_URL ?? process.env.SUPABASE_DB_URL);
    url.password = 'hunter2';
    k = w.worker({ MESHHOOK_WORKER_DB_URL: url.href });
    assert.equal((await k.over).code, 78);
    assert.doesNotMatch(fs.readFileSync(k.log, 'utf8'), /hunter2/);
  } finally {
    await c.query('update meshhook_engine.schema_version set oldest_program = 1');
    await c.end();
    await w.close();
  }
});
