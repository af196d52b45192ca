// How long steps wait and take, as a real worker measures it at a target that sleeps; and that
// histograms count what was recorded, however often workers are killed.
import test from 'node:test';
import assert from 'node:assert/strict';
import { World, checkRun, random, seed, sleep, until } from '../crash/lib.mjs';

const start = { id: 'start', type: 'manual' };
const edges = (...ids) => ids.slice(1).map((id, i) => ({ from: ids[i], to: id }));
const done = (w) => until('all runs ended', async () => (await w.pending()) === 0);
// A worker may be at it, and has what it takes.
const fold = (w) => until('all is folded', async () => {
  await w.db.query('select meshhook_engine.compact_counters()');
  return (await w.db.query('select from meshhook_engine.histogram_deltas limit 1')).rowCount === 0;
});

// {step_time_seconds: {p50, p95, p99}, step_wait_seconds: {...}} of the world's project
async function percentiles(w) {
  const { rows } = await w.db.query(`select metric, jsonb_object_agg(label_value, value) as q
    from meshhook_engine.probe_histograms(clock_timestamp()) where project = (select id from meshhook.projects where slug = $1)
    group by metric`, [w.slug]);
  return Object.fromEntries(rows.map((r) => [r.metric, r.q]));
}

test('percentiles are those of what the target took, within a sixteenth', { timeout: 300000 }, async () => {
  const w = await World.open('histogram');
  try {
    await w.startTarget();
    w.publish({ name: 'nap', nodes: [start, { id: 'call', type: 'http_call', method: 'POST', timeout: '20s',
      url: `http://127.0.0.1:${w.port}/?delay={{ input.ms }}` }], edges: edges('start', 'call') });
    // in an order that is not theirs: 30 of 40 take 0.6 s, 8 take 1.5 s, 2 take 4 s
    const naps = Array.from({ length: 40 }, (_, i) => ({ ms: i % 20 === 7 ? 4000 : i % 5 === 3 ? 1500 : 600 }));
    assert.deepEqual([600, 1500, 4000].map((ms) => naps.filter((n) => n.ms === ms).length), [30, 8, 2]);
    const first = Date.now();
    for (const nap of naps) await w.start('nap', nap);
    const last = Date.now();
    await sleep(1000);
    const ready = Date.now();
    w.worker();
    await done(w);
    await fold(w);
    const { step_time_seconds: time, step_wait_seconds: wait } = await percentiles(w);
    // beside the nap: connecting, and the commit before this one; under ASan; and what all came late by
    const asked = w.requests().map((r) => new Date(r.t).getTime());
    const { rows: [{ end }] } = await w.db.query(`select extract(epoch from max(ended_at)) * 1000 as end from meshhook.runs
      where project_id = (select id from meshhook.projects where slug = $1)`, [w.slug]);
    const late = 0.4 + Math.max(0, Number(end) - Math.min(...asked) - 4000) / 1000;
    const took = (q, ms) => assert.ok(time[q] >= ms / 1000 * 15 / 16 && time[q] <= (ms / 1000 + late) * 17 / 16,
      `${q} of ${ms} ms is ${time[q]} s, ${late} s late`);
    took('p50', 600);
    took('p95', 1500);
    took('p99', 4000);
    assert.ok(wait.p50 >= (ready - last) / 1000 * 15 / 16, `they waited: ${wait.p50}`);
    assert.ok(wait.p99 <= (Math.max(...asked) - first) / 1000 * 17 / 16, `and no longer: ${wait.p99}`);
  } finally { await w.close(); }
});

// What two workers do at once of one run makes part of their batches stale.
test('workers of two projects are killed, and each recorded attempt is counted once', { timeout: 600000 }, async () => {
  const w = await World.open('histogram-kill');
  const worlds = [w, await World.open('histogram-other')];
  const rand = random(seed);
  const worker = () => w.spawn(['worker', '--inline', '0', '--batch', '10']);
  // of all projects: nobody else works here
  const totals = async () => {
    await fold(w);
    const { rows } = await w.db.query('select metric, sum(n)::int as n from meshhook_engine.histogram_totals() group by 1');
    return Object.fromEntries(rows.map((r) => [r.metric, r.n]));
  };
  try {
    const before = await totals();
    await w.startTarget('--delay-ms', '20');
    const call = (id, query) => ({ id, type: 'http_call', method: 'POST', url: `http://127.0.0.1:${w.port}/${id}${query}`,
      retry: { attempts: 3, backoff: '50ms' } });
    const nodes = [start, { id: 'a', type: 'log', message: 'a' }, call('b', ''), call('c', '?fail=1'), call('d', ''),
      { id: 'join', type: 'transform', output: { e: 1 } }, { id: 'nap', type: 'delay', for: '100ms' }];
    const between = edges('start', 'a').concat(['b', 'c', 'd'].flatMap((id) => edges('a', id, 'join')), edges('join', 'nap'));
    const runs = [];
    for (const x of worlds) x.publish({ name: 'fan', nodes, edges: between });
    for (let i = 0; i < 30; i++) for (const x of worlds) runs.push([x, await x.start('fan')]);
    const workers = [worker(), worker()];
    for (let kills = 0; kills < 8 && (await w.pending()) > 0; kills++) {
      await sleep(100 + 400 * rand());
      const i = Math.floor(rand() * 2);
      workers[i].kill('SIGKILL');
      await workers[i].over;
      workers[i] = worker();
    }
    for (const x of worlds) await done(x);
    for (const [x, run] of runs) await checkRun(x, run);
    const { rows: recorded } = await w.db.query(`select count(*)::int as n from meshhook.run_events
      where project_id in (select id from meshhook.projects where slug = any($1)) and type in ('step.succeeded', 'step.failed', 'step.waiting')
      group by project_id`, [worlds.map((x) => x.slug)]);
    assert.ok(recorded.length === 2 && recorded.every(({ n }) => n > 30 * 6), 'six steps, one of them mostly twice');
    const n = recorded[0].n + recorded[1].n;
    const after = await totals();
    assert.deepEqual([after.attempt_wait_seconds - before.attempt_wait_seconds, after.attempt_time_seconds - before.attempt_time_seconds], [n, n]);
  } finally { for (const x of worlds) await x.close(); }
});
