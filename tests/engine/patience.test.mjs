// What a worker waits for, since no run is at fault; and what must not wait for its next look.
import test from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { World, until } from '../crash/lib.mjs';

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
