// Deltas of counters and histograms are folded once each, whatever their transactions and those
// that fold them come to, while an old snapshot keeps all that is dead (docs/decisions/0003).
import test from 'node:test';
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import pg from 'pg';
import { random, seed, until } from '../crash/lib.mjs';

const project = crypto.randomUUID();
const clients = new Set();

async function connect() {
  const c = new pg.Client({ connectionString: process.env.SUPABASE_DB_URL });
  c.on('error', () => {}); // it is killed
  await c.connect();
  clients.add(c);
  return c;
}

async function bring(c, n) {
  await c.query(`insert into meshhook_engine.counter_deltas (project_id, metric, delta)
    select $1, 'brought', 1 from generate_series(1, $2::int)`, [project, n]);
  await c.query(`insert into meshhook_engine.histogram_deltas (project_id, cells, counts)
    select $1, '{286}', '{1}' from generate_series(1, $2::int)`, [project, n]);
}

const fold = (c) => c.query('select meshhook_engine.compact_counters()');

const one = async (c, text, ...values) => Object.values((await c.query(text, values)).rows[0])[0];

// What there is of waits of three days: histograms keep no project's for long.
const waits = (c) => one(c, `select coalesce(sum(n), 0)::int from meshhook_engine.histogram_totals()
  where metric = 'attempt_wait_seconds' and bucket = 286`);

// Once all that is committed is folded: what the project's counter and the histogram come to.
async function sums(c) {
  await until('all deltas are folded', async () => {
    await fold(c);
    return one(c, `select not exists (select from meshhook_engine.counter_deltas where project_id = $1)
      and not exists (select from meshhook_engine.histogram_deltas where project_id = $1)`, project);
  }, 20000);
  return [await one(c, 'select value::int from meshhook.counters where project_id = $1', project), await waits(c)];
}

test('deltas are folded once each, those of late commits too', { timeout: 120000 }, async () => {
  const rand = random(seed);
  let [brought, folds, over] = [0, 0, false];
  const more = (n, from = folds) => until(`${n} more folds`, () => folds >= from + n, 30000);

  async function writer() {
    const c = await connect();
    for (let i = 0; i < 60; i++) {
      const n = 1 + Math.floor(3 * rand());
      await c.query('begin; savepoint part');
      await bring(c, n);
      const back = rand() < 0.2;
      await c.query(back ? 'rollback to part' : 'release part');
      await bring(c, 1);
      if (rand() < 0.2) await more(2);
      await c.query('commit');
      brought += back ? 1 : n + 1;
    }
  }
  async function folder() {
    let c = await connect();
    while (!over) {
      const dice = rand();
      await c.query('begin');
      await fold(c);
      await bring(c, 1);
      if (dice < 0.2) {
        await c.query('rollback');
      } else if (dice < 0.3) {
        await c.query('select pg_terminate_backend(pg_backend_pid())').catch(() => {});
        c = await connect();
      } else {
        await c.query('commit');
        brought++;
        folds++;
      }
    }
  }

  try {
    const [db, holder, late] = await Promise.all([connect(), connect(), connect()]);
    const old = await waits(db);
    const check = async () => assert.deepEqual(await sums(db), [brought, old + brought], `seed ${seed}`);
    await holder.query('begin isolation level repeatable read');
    const xid = await one(holder, 'select pg_current_xact_id()::text');
    await late.query('begin');
    await bring(late, 7);
    const folders = [folder(), folder()];
    await Promise.all([writer(), writer(), writer()]);
    await more(10);
    over = true;
    await Promise.all(folders);
    await check();
    assert.equal(await one(db, 'select upto > $1::xid8 and $1::xid8 = any (open) from meshhook_engine.fold_floor', xid), true,
      'what is still open does not keep the floor down');
    await late.query('commit');
    await bring(db, 60000); // more than a fold takes
    brought += 7 + 60000;
    await check();
    // one that has written before it folds, as a tick has, and after it
    await late.query('begin; select pg_current_xact_id()');
    await bring(db, 1);
    await fold(late);
    await bring(late, 1);
    await late.query('commit');
    brought += 2;
    await check();
    // a floor of another cluster's, whose transactions had got further
    await db.query(`update meshhook_engine.fold_floor set upto = '1000000000000', open = '{}'`);
    await bring(db, 1);
    brought++;
    await check();
    assert.ok(await one(db, `select upto < '1000000000000' from meshhook_engine.fold_floor`));
  } finally { await Promise.all([...clients].map((c) => c.end().catch(() => {}))); }
});
