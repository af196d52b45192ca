// Leases, stale commits and deadlocks.
import test from 'node:test';
import assert from 'node:assert/strict';
import { World, checkRun, checkKeys, checkQueueEmpty, random, rounds, seed, sleep, until } from './lib.mjs';

const fan = (port, n) => ({
  name: 'fan',
  nodes: [{ id: 'start', type: 'manual' },
    ...Array.from({ length: n }, (_, i) => ({ id: `c${i}`, type: 'http_call', method: 'POST',
      url: `http://127.0.0.1:${port}/c${i}`, body: { run: '{{ run.id }}' }, timeout: '20s' })),
    { id: 'join', type: 'transform', output: Object.fromEntries(Array.from({ length: n }, (_, i) => [`c${i}`, `{{ steps.c${i}.output.status }}`])) }],
  edges: Array.from({ length: n }, (_, i) => [{ from: 'start', to: `c${i}` }, { from: `c${i}`, to: 'join' }]).flat(),
});

test('8 parallel calls of one run over 2 workers are 8 requests', { timeout: 900000 }, async () => {
  const w = await World.open('fan');
  try {
    w.env.MESHHOOK_WORKER_LEASE = '30s';
    await w.startTarget();
    w.publish(fan(w.port, 8));
    const workers = [w.worker({ MESHHOOK_WORKER_BATCH: '2' }), w.worker({ MESHHOOK_WORKER_BATCH: '2' })];
    const runs = [];
    for (let i = 0; i < rounds; i++) runs.push(await w.start('fan'));
    await until('all runs ended', async () => (await w.pending()) === 0, 300000);
    for (const c of workers) { c.kill('SIGTERM'); await c.over; }
    const requests = w.requests();
    checkKeys(requests);
    for (const run of runs) {
      await checkRun(w, run);
      assert.equal(requests.filter((r) => JSON.parse(r.body).run === run).length, 8, 'a stale commit keeps its HTTP result');
    }
    await checkQueueEmpty(w);
  } finally { await w.close(); }
});

test('a worker stopped beyond its lease and continued changes nothing', { timeout: 300000 }, async () => {
  const w = await World.open('stopped');
  try {
    await w.startTarget('--delay-ms', '700');
    w.publish(fan(w.port, 1));
    for (let i = 0; i < Math.max(3, Math.floor(rounds / 30)); i++) {
      const before = w.requests().length;
      const first = w.worker();
      const run = await w.start('fan');
      await until('the first worker called', async () => w.requests().length > before);
      first.kill('SIGSTOP');
      const second = w.worker();
      await until('the run ended by the second', async () => (await w.pending()) === 0);
      const events = await w.events(run);
      first.kill('SIGCONT');
      first.kill('SIGTERM');
      assert.equal((await first.over).code, 0, `the continued worker ends well; ${first.log}`);
      assert.deepEqual(await w.events(run), events, 'the continued worker changed the record');
      await checkRun(w, run);
      second.kill('SIGTERM');
      await second.over;
    }
    checkKeys(w.requests());
  } finally { await w.close(); }
});

test(`adversarial batches never deadlock (seed ${seed})`, { timeout: 1800000 }, async () => {
  const w = await World.open('deadlock');
  const turns = rounds * 10;
  try {
    w.publish({ name: 'one', nodes: [{ id: 'start', type: 'manual' }, { id: 'end', type: 'log', message: 'x' }], edges: [{ from: 'start', to: 'end' }] });
    const runs = [];
    for (let i = 0; i < 8; i++) runs.push(await w.start('one'));
    const r = random(seed + 3);
    const shuffled = (xs) => xs.map((x) => [r(), x]).sort((p, q) => p[0] - q[0]).map((p) => p[1]);
    const seen = {};
    // Each turn appends an event and a line to the same runs, and lines to the same channels, in an order of its own.
    const turn = async (c) => {
      const ids = shuffled(runs).slice(0, 5);
      const n = ids.map((_, i) => i + 1);
      await c.query('begin');
      try {
        for (const ch of shuffled(['x', 'y', 'z'])) await c.query("select meshhook.log($1, 'etl', $2, 'info', 'line')", [w.slug, ch]);
        const { rows } = await c.query('select id, last_seq from meshhook.runs where id = any ($1)', [ids]);
        const base = ids.map((id) => rows.find((x) => x.id === id).last_seq);
        await c.query(`select * from meshhook_engine.commit(0, $1, $2, $3, $3, $4, null, '{}', '{}', '{}', $5, $6, $7, $8,
          '{}','{}','{}','{}','{}','{}','{}','{}', $5, $3, $9, $7, $8, '{}', '{}', '{}','{}','{}','{}','{}','{}', '{}','{}')`,
          [ids, base, n.map(() => 1), n.map(() => null), n, base.map((b) => b + 1), n.map(() => 'step.waiting'),
            n.map(() => ({ step: 'end', attempt: 1 })), n.map(() => 9)]);
        await c.query(r() < 0.8 ? 'commit' : 'rollback');
        seen.ok = (seen.ok ?? 0) + 1;
      } catch (e) {
        seen[e.code] = (seen[e.code] ?? 0) + 1;
        await c.query('rollback');
      }
    };
    // Meanwhile everything is watched, some of it by readers who come and go, and flushed by two.
    const project = (await w.db.query('select id from meshhook.projects where slug = $1', [w.slug])).rows[0].id;
    await w.db.query('update meshhook_engine.live set quota = 20000, interval_ms = 5');
    for (const ch of ['x', 'y', 'z']) await w.db.query("select meshhook.log($1, 'etl', $2, 'info', 'line')", [w.slug, ch]);
    const channels = [...['x', 'y', 'z'].map((c) => `logs:etl:${project}:${c}`), ...runs.map((id) => `logs:run:${project}:${id}`)];
    const begun = new Map();
    for (const ch of channels) begun.set(ch, Number((await w.db.query('select last_seq from meshhook.watch($1, gen_random_uuid())', [ch])).rows[0].last_seq));
    const attempt = async (c, text, args) => {
      try { await c.query(text, args); } catch (e) { seen[e.code] = (seen[e.code] ?? 0) + 1; }
    };
    let left = turns;
    const flush = async (c) => { while (left > 0) await attempt(c, 'select * from meshhook_engine.flush_broadcasts()'); };
    const watch = async (c) => {
      while (left > 0) {
        const lapse = r() < 0.1;
        const channel = shuffled([...channels, `runs:${project}`])[0];
        await attempt(c, 'select * from meshhook.watch($1, gen_random_uuid())', [channel]);
        if (lapse) await attempt(c, `update meshhook_engine.watchers set until = now() where reader in (
          select reader from meshhook_engine.watchers where channel_id <> $1 limit 50 for update skip locked)`, [project]);
        await sleep(2);
      }
    };
    const clients = await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(() => w.connect()));
    await Promise.all(clients.map(async (c, i) => {
      if (i >= 6) await flush(c);
      else if (i >= 4) await watch(c);
      else while (left-- > 0) await turn(c);
    }));
    await Promise.all(clients.map((c) => c.end()));
    await until('all was sent', async () => (await w.db.query('select wait_ms from meshhook_engine.flush_broadcasts()')).rows[0].wait_ms === 1000);
    await w.db.query('update meshhook_engine.live set quota = 100, interval_ms = 50');
    for (const ch of channels) { // what was sent about a channel tiles its lines
      const { rows } = await w.db.query(`select coalesce((payload ->> 'from')::int, 0) as "from", coalesce(payload ->> 'to', payload ->> 'last_seq')::int as "to"
        from realtime.messages where topic = 'mh:1:' || $1 order by 2`, [ch]);
      let at = begun.get(ch);
      for (const m of rows) { assert.ok(m.from === at + 1 || m.from === 0, `${ch}: ${JSON.stringify(m)} after ${at}`); at = m.to; }
      const { rows: [last] } = await w.db.query('select last_seq::int as n from meshhook.watch($1)', [ch]);
      assert.equal(at, last.n, `${ch}: told to ${at}`);
    }
    assert.equal(seen['40P01'], undefined, `deadlocks: ${JSON.stringify(seen)}`);
    assert.ok(seen.ok > turns * 0.9, JSON.stringify(seen));
    const { rows } = await w.db.query(`select c.resource, c.last_seq::int as last, count(l.seq)::int as n, max(l.seq)::int as max
      from meshhook.channels c join meshhook.projects p on p.id = c.project_id left join meshhook.logs l on l.channel_id = c.id
      where p.slug = $1 group by 1, 2`, [w.slug]);
    for (const c of rows) assert.ok(c.last === c.n && c.n === c.max, `channel ${c.resource} has a hole: ${JSON.stringify(c)}`);
  } finally { await w.close(); }
});
