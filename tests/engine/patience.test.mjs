// What a worker waits for, since no run is at fault; and what must not wait for its next look.
import test from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { World, binary, until } from '../crash/lib.mjs';

const start = { id: 'start', type: 'manual' };
const log = (id, message = id) => ({ id, type: 'log', message });
const flow = (name, ...nodes) => ({ name, nodes: [start, ...nodes],
  edges: nodes.map((n, i) => ({ from: i > 0 ? nodes[i - 1].id : 'start', to: n.id })) });
const ended = (w) => until('all runs ended', async () => (await w.pending()) === 0, 40000);
const statuses = async (w) => (await w.db.query(`select distinct r.status from meshhook.runs r
  join meshhook.projects p on p.id = r.project_id where p.slug = $1`, [w.slug])).rows.map((r) => r.status);

async function stopped(c) {
  c.kill('SIGTERM');
  assert.equal((await c.over).code, 0, fs.readFileSync(c.log, 'utf8'));
}

// While a migration is under way, say, the worker may not call this; fn is told its log.
async function without(w, name, event, c) {
  await until(`${event} is logged`, () => fs.readFileSync(c.log, 'utf8').includes(`"event":"${event}"`));
  await w.db.query(`grant execute on function ${name} to meshhook_worker`);
}

test('a version that can not be read for a while fails no run, nor does it fill the worker for good', { timeout: 60000 }, async () => {
  const name = 'meshhook_engine.load_version(uuid)';
  const w = await World.open('version');
  try {
    w.publish(flow('simple', log('a')));
    for (let i = 0; i < 5; i++) await w.start('simple');
    await w.db.query(`revoke execute on function ${name} from meshhook_worker`);
    const c = w.worker({ MESHHOOK_WORKER_CALLS: '4' });
    await without(w, name, 'version.not_loaded', c);
    await ended(w);
    assert.deepEqual(await statuses(w), ['succeeded']);
    await stopped(c);
  } finally {
    await w.db.query(`grant execute on function ${name} to meshhook_worker`);
    await w.close();
  }
});

test('secrets that can not be read for a while fail no step', { timeout: 60000 }, async () => {
  const name = 'meshhook_engine.use_secrets(uuid[], text[], uuid[])';
  const w = await World.open('unread');
  try {
    await w.startTarget();
    execFileSync(binary, ['secret', 'set', 'KEY'], { env: w.env, input: 'sesame-opens' });
    w.publish(flow('secretive', { id: 'call', type: 'http_call', method: 'POST', url: `http://127.0.0.1:${w.port}/x`,
      headers: { 'x-key': '{{ secrets.KEY }}' } }));
    await w.start('secretive');
    await w.db.query(`revoke execute on function ${name} from meshhook_worker`);
    const c = w.worker();
    await without(w, name, 'secret.not_read', c);
    await ended(w);
    assert.deepEqual(await statuses(w), ['succeeded']);
    assert.equal(w.requests().length, 1);
    await stopped(c);
  } finally {
    await w.db.query(`grant execute on function ${name} to meshhook_worker`);
    await w.close();
  }
});

test('what is in a full window does not wait for the next look', { timeout: 60000 }, async () => {
  const w = await World.open('full');
  try {
    w.publish(flow('single', log('a')));
    await w.db.query('select count(meshhook.start_run($1, $2)) from generate_series(1, 1300)', [w.slug, 'single']);
    const c = w.worker({ MESHHOOK_WORKER_POLL: '1m', MESHHOOK_WORKER_POLL_FAST: '1m', MESHHOOK_WORKER_LEASE: '30s' });
    await ended(w);
    await stopped(c);
  } finally { await w.close(); }
});

test('a window of few is filled again as soon as there is room', { timeout: 60000 }, async () => {
  const w = await World.open('few');
  try {
    w.publish(flow('single', log('a')));
    await w.db.query('update meshhook.projects set window_size = 5 where slug = $1', [w.slug]);
    await w.db.query('select count(meshhook.start_run($1, $2)) from generate_series(1, 60)', [w.slug, 'single']);
    const c = w.worker({ MESHHOOK_WORKER_POLL: '1m', MESHHOOK_WORKER_POLL_FAST: '1m', MESHHOOK_WORKER_LEASE: '30s' });
    await ended(w);
    await stopped(c);
  } finally { await w.close(); }
});

test('large outputs go into commits that the database takes', { timeout: 60000 }, async () => {
  const w = await World.open('large');
  try {
    const nodes = Array.from({ length: 5 }, (_, i) => ({ id: `t${i}`, type: 'transform', output: { of: '{{ input }}' } }));
    w.publish(flow('large', ...nodes));
    await w.db.query(`select count(meshhook.start_run($1, $2, jsonb_build_object('x', repeat('meshhook', 131072))))
      from generate_series(1, 12)`, [w.slug, 'large']);
    const c = w.worker({ MESHHOOK_WORKER_LEASE: '30s' });
    await ended(w);
    assert.deepEqual(await statuses(w), ['succeeded']);
    const { rows: [{ n }] } = await w.db.query(`select count(distinct e.xmin::text)::int as n from meshhook.run_events e
      join meshhook.projects p on p.id = e.project_id where p.slug = $1 and e.type = 'run.succeeded'`, [w.slug]);
    assert.ok(n >= 3, `60 MB in ${n} commits`);
    await stopped(c);
    await w.db.query('select meshhook.purge_project($1)', [w.slug]);
  } finally { await w.close(); }
});

test('what others put into the queue is buried, and stops nobody', { timeout: 60000 }, async () => {
  const w = await World.open('foreign');
  try {
    w.publish(flow('plain', log('a')));
    const id = await w.start('plain');
    const foreign = [{ r: 'what' }, { r: id, p: id, o: 5 }, { hello: 1 }, 7, null, { r: id, p: 'x' }];
    for (const m of foreign) await w.db.query("select pgmq.send('mh_work', $1)", [JSON.stringify({ m, from: w.slug, ...m })]);
    await w.db.query("select pgmq.send('mh_work', '7'), pgmq.send('mh_work', 'null')");
    const c = w.worker();
    await ended(w);
    const left = async () => (await w.db.query('select count(*)::int as n from pgmq.q_mh_work')).rows[0].n;
    await until('the queue is empty', async () => (await left()) === 0);
    assert.deepEqual(await statuses(w), ['succeeded']);
    const { rows: [{ n }] } = await w.db.query(`select count(*)::int as n from pgmq.q_mh_dead
      where message -> 'message' ->> 'from' = $1 and message -> 'error' ->> 'code' = 'MESSAGE'`, [w.slug]);
    assert.equal(n, foreign.length);
    await stopped(c);
  } finally { await w.close(); }
});
