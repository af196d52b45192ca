// The last line of a run arrives whatever became of its broadcast, and broadcasting keeps to the
// quota. The reader here is the one of docs/logs.md, its clock fifty times as fast: it listens to
// the rows of realtime.messages, which is what Realtime would deliver.
import crypto from 'node:crypto';
import test from 'node:test';
import assert from 'node:assert/strict';
import { World, random, rounds, seed, sleep, until } from './lib.mjs';

class Reader {
  constructor(w, channel, loses = () => false) {
    Object.assign(this, { w, channel, loses, cursor: 0, lines: [], seen: new Set(), renewed: 0, fetched: 0 });
  }
  async renew() {
    const { rows: [r] } = await this.w.db.query('select * from meshhook.watch($1, $2)', [this.channel, this.id ??= crypto.randomUUID()]);
    this.renewed = Date.now();
    if (!this.topic) {
      for (const id of await this.messages(r.topic)) this.seen.add(id.id); // subscribed from here
      Object.assign(this, r);
      return this.fetch();
    }
    Object.assign(this, r);
    if (Number(r.last_seq) > this.cursor) await this.fetch();
  }
  async messages(topic) {
    return (await this.w.db.query('select id, event, payload from realtime.messages where topic = $1 order by inserted_at', [topic])).rows;
  }
  async fetch() {
    this.fetched++;
    const run = this.channel.split(':').at(-1);
    const { rows } = await this.w.db.query('select seq::int from meshhook.logs where channel_id = $1 and seq > $2 order by seq', [run, this.cursor]);
    this.take(rows.map((l) => l.seq));
  }
  take(seqs) {
    for (const seq of seqs) if (seq > this.cursor) { this.lines.push(seq); this.cursor = seq; }
  }
  async listen() {
    for (const m of await this.messages(this.topic)) {
      if (this.seen.has(m.id)) continue;
      this.seen.add(m.id);
      if (this.loses(m)) continue;
      if (m.event === 'log' && m.payload.from <= this.cursor + 1) this.take(m.payload.lines.map((l) => l.seq));
      else await this.fetch();
    }
  }
  async follow() {
    await this.renew();
    await until(`${this.channel} ended`, async () => {
      if (Date.now() - this.renewed > 300) await this.renew();
      else await this.listen();
      return this.ended && this.cursor === Number(this.last_seq);
    }, 120000);
    assert.deepEqual(this.lines, this.lines.map((_, i) => i + 1), `${this.channel}: each line once`);
    return this;
  }
}

const flow = { name: 'short', nodes: [{ id: 'start', type: 'manual' }, { id: 'wait', type: 'delay', for: '40ms' }, { id: 'end', type: 'log', message: 'the last' }],
  edges: [{ from: 'start', to: 'wait' }, { from: 'wait', to: 'end' }] };
const poor = 'update meshhook_engine.live set tokens = -100, refilled_at = clock_timestamp()';
const rich = 'update meshhook_engine.live set tokens = quota * share / 2, refilled_at = clock_timestamp()';

test(`the last line of a run arrives (seed ${seed})`, { timeout: 1800000 }, async () => {
  const w = await World.open('last');
  const r = random(seed + 7);
  try {
    w.publish(flow);
    let worker;
    const how = { lost: 0, killed: 0, between: 0 };
    for (let i = 0; i < rounds; i++) {
      const cause = Object.keys(how)[i % 3];
      how[cause]++;
      await w.db.query(cause === 'killed' ? poor : rich);
      if (cause === 'killed') {
        if (worker) { worker.kill('SIGKILL'); await worker.over; }
        worker = w.worker({ MESHHOOK_TESTPOINT: `after_commit:${1 + Math.floor(r() * 2)}` });
      } else worker ??= w.worker();
      const run = await w.start('short');
      const channel = `logs:run:${w.slug}:${run}`;
      if (cause === 'lost') await new Reader(w, channel, () => r() < 0.7).follow();
      else if (cause === 'between') { // at a moment of its own choosing, most of them around a commit
        await sleep(r() * 80);
        await new Reader(w, channel).follow();
      } else {
        const dies = worker.over;
        const followed = new Reader(w, channel).follow();
        assert.equal((await dies).signal, 'SIGKILL');
        worker = w.worker(); // whom the debt keeps from sending, too
        await followed;
      }
      const { rows: [row] } = await w.db.query('select status, final_log_seq from meshhook.runs where id = $1', [run]);
      assert.equal(row.status, 'succeeded');
    }
    assert.ok(Object.values(how).every((n) => n > 0));
  } finally {
    await w.db.query(rich);
    await w.close();
  }
});

// A message is one event, and each delivery of it another; Realtime throws receivers out above the
// quota, averaged over up to a minute.
test('a run at 5,000 lines/s with 20 viewers, and 5 on its project\'s runs, keeps to the quota', { timeout: 900000 }, async () => {
  const w = await World.open('quota');
  const seconds = rounds >= 1000 ? 60 : 15;
  const quota = 100;
  const clients = [];
  try {
    w.publish(flow);
    const run = await w.start('short'); // no worker has it yet
    const project = (await w.db.query('select id from meshhook.projects where slug = $1', [w.slug])).rows[0].id;
    await w.db.query('delete from pgmq.q_mh_work');
    await w.db.query(rich);
    await w.db.query("delete from meshhook_engine.watched");
    await w.db.query('update meshhook_engine.live set quota = $1, share = 0.5, interval_ms = 50', [quota]);
    w.worker(); w.worker();
    const writer = await w.connect();
    const starter = await w.connect();
    clients.push(writer, starter);
    const viewers = Array.from({ length: 20 }, () => [`logs:run:${project}:${run}`, crypto.randomUUID()]);
    for (let i = 0; i < 5; i++) viewers.push([`runs:${project}`, crypto.randomUUID()]);
    const renew = async () => { for (const v of viewers) await w.db.query('select from meshhook.watch($1, $2)', v); };
    await renew();
    const { rows: [{ begun, seq }] } = await w.db.query('select clock_timestamp() as begun, log_seq as seq from meshhook.runs where id = $1', [run]);
    let writing = true;
    const write = (async () => { // 100 lines a commit, 50 commits a second
      let base = (await writer.query('select last_seq from meshhook.runs where id = $1', [run])).rows[0].last_seq;
      const n = Array.from({ length: 100 }, (_, i) => i + 1);
      const ones = n.map(() => 1);
      let due = Date.now();
      while (writing) {
        await writer.query(`select * from meshhook_engine.commit(0, array[$1::uuid], array[$2::int], '{1}', '{100}', '{null}', null, '{}', '{}', '{}',
          '{1}', array[$2::int + 1], '{step.waiting}', array['{}'::jsonb], '{}','{}','{}','{}','{}','{}','{}','{}',
          $3, $4, $5, $6, $7, '{}', '{}', '{}','{}','{}','{}','{}','{}', '{}','{}')`,
        [run, base++, ones, n, ones.map(() => 9), n.map((i) => `line ${i} of a hundred, as long as lines are`), n.map(() => null)]);
        due += 20;
        await sleep(Math.max(0, due - Date.now()));
      }
    })();
    const start = (async () => { while (writing) { await starter.query('select meshhook.start_run($1, $2)', [w.slug, 'short']); await sleep(50); } })();
    const from = Date.now();
    for (let t = 0; t < seconds; t += 5) { await sleep(5000); await renew(); }
    writing = false;
    await Promise.all([write, start]);
    const lasted = (Date.now() - from) / 1000;
    const { rows: [last] } = await w.db.query('select log_seq as n from meshhook.runs where id = $1', [run]);
    await until('the last line is told', async () => (await w.db.query(`select from realtime.messages
      where topic ~ $1 and (payload ->> 'to' = $2 or payload ->> 'last_seq' = $2)`, [run, String(last.n)])).rowCount);
    await sleep(2000);
    const { rows } = await w.db.query(`select extract(epoch from inserted_at at time zone 'UTC')::float8 as at, event,
        case when topic ~ ':runs:' then 6 else 21 end as events, (payload ->> 'from')::int as "from",
        coalesce(payload ->> 'to', payload ->> 'last_seq')::int as "to", topic
      from realtime.messages where topic ~ $1 and inserted_at >= $2::timestamptz at time zone 'UTC' order by 1`, [project, begun]);
    const events = rows.reduce((sum, m) => sum + m.events, 0);
    let most = 0; // in any second
    for (const [i, m] of rows.entries()) {
      let sum = 0;
      for (let j = i; j < rows.length && rows[j].at < m.at + 1; j++) sum += rows[j].events;
      most = Math.max(most, sum);
    }
    const lines = rows.filter((m) => m.topic.includes(run));
    const runs = rows.filter((m) => m.topic.includes(':runs:'));
    const rate = (last.n - seq) / lasted;
    console.log(`# ${Math.round(rate)} lines/s; ${events} events in ${lasted} s, ${most} in the busiest second of a quota of ${quota}; ` +
      `${lines.length} messages about the run, ${runs.length} about runs`);
    assert.ok(rate > 1000, `it wrote ${rate} lines/s: too slow a machine to prove much`);
    assert.ok(most <= quota, `${most} events in a second`);
    // a quarter of a second's worth was in the bucket; two messages may be owed for; and the end is told later
    const told = rows.filter((m) => m.at < rows[0].at + lasted);
    assert.ok(told.reduce((sum, m) => sum + m.events, 0) <= quota * (0.5 * lasted + 0.25) + 2 * 27, `${events} in ${lasted} s: half the quota, and what the bucket held`);
    assert.ok(lines.length > seconds / 2, `the run is told about ${lines.length} times`);
    assert.ok(runs.length > seconds / 2, `and runs ${runs.length} times`);
    assert.equal(lines.at(-1).to, last.n, 'up to the last line');
  } finally {
    for (const c of clients) await c.end();
    await w.close();
  }
});
