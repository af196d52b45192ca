// The leader of the monitors dies, or is stopped beyond its lease, at any moment and at each point of
// judging and telling. Whatever it was in: each change of a condition is recorded once and told by one
// message, which comes once more at most, then marked, and the messages of a group in their order.
//
// Rounds would take 20 s, for so long messages are held. So once the leader is dead its lease and its
// hold are brought to their end, and one that is stopped is so when it holds none; but for some rounds.
import assert from 'node:assert/strict';
import { after, afterEach, test } from 'node:test';
import { channel, clean, ended, history, monitor, pool, receiver, rule, sql, until } from './lib.mjs';
import { random, rounds, seed, sleep } from '../crash/lib.mjs';

const r = random(seed + 4);
const pick = (xs) => xs[Math.floor(r() * xs.length)];
const points = ['judge.decided', 'judge.recorded', 'deliver.taken', 'deliver.answered', 'deliver.recorded'];
afterEach(clean);
after(() => pool.end());

// What a test can switch on and off: a rule's condition, and what makes it true or false.
const process_ = (kind, info) => [
  `insert into meshhook.workers (id, kind, host, pid, version, seen_at, info)
   values (gen_random_uuid(), '${kind}', 'crash-test', 1, 'x', now() + interval '1 day', '${info}')`,
  `delete from meshhook.workers where host = 'crash-test' and kind = '${kind}'`,
];
const signals = [
  ['sse_connections > 100000', ...process_('gateway', '{"streams": 1000000}')],
  ['worker_load > 100000', ...process_('worker', '{"held": 1000000}')],
  ['dead_letters > BASE', 'insert into pgmq.q_mh_dead (vt, message) values (now(), \'{"crash": "test"}\')',
    'delete from pgmq.q_mh_dead where message ? \'crash\'', 'select count(*)::int as n from pgmq.q_mh_dead'],
  ['queue_delayed > BASE', `insert into meshhook_engine.timers (run_id, kind, step, attempt, due_at, project_id, message)
     values (gen_random_uuid(), 'crash', 'x', 1, now() + interval '1 day', gen_random_uuid(), '{}')`,
    'delete from meshhook_engine.timers where kind = \'crash\'', 'select count(*)::int as n from meshhook_engine.timers'],
];

const all = [];
// Those that need no test point begin in no time as the release does.
const quick = { MESHHOOK_BIN: process.env.MESHHOOK_RELEASE_BIN ?? process.env.MESHHOOK_BIN };
async function start(point) {
  const m = monitor(point ? { MESHHOOK_TESTPOINT: point } : quick, '--interval', '200ms');
  all.push(m);
  await until('a monitor is ready', () => m.said('monitor.ready'));
  return m;
}

const sending = async () => (await sql("select 1 from meshhook.outbox where state = 'sending'")).length > 0;
// The leader is no more: its time is over. One that is stopped may still send what it holds.
const pass = async (m, how) => {
  await sql("update meshhook_engine.leader set until = '-infinity' where fence = $1", m.last().fence);
  if (how !== 'stop') await sql("update meshhook.outbox set due_at = now() where state = 'sending' and fence = $1", m.last().fence);
};
async function stop(m, anyhow) {
  m.child.kill('SIGSTOP');
  while (!anyhow && (await sending())) {
    m.child.kill('SIGCONT');
    await sleep(10);
    m.child.kill('SIGSTOP');
  }
}

test(`the leader is lost ${rounds} times: no change is lost, none told twice but marked (seed ${seed})`,
  { timeout: 120000 + rounds * 5000 }, async (t) => {
    for (const [, , off] of signals) await sql(off);
    let round = 0;
    const inbox = await receiver((one) => {
      one.round = round;
      return sleep(r() * 60);
    });
    await channel(inbox, '--per-minute', '600');
    const watched = [];
    for (const [condition, on, off, base] of signals) {
      const n = base ? (await sql(base))[0].n : 0;
      watched.push({ name: await rule(condition.replace('BASE', n)), on, off, is: 'resolved', flips: 0 });
    }
    const messages = (w) => inbox.got.filter((one) => one.ok && one.json.data.alerts.some((a) => a.rule === w.name));
    const lost = {};
    let leader = await start();
    await until('it leads', leader.leads);
    for (let i = 0; i < rounds; i++) {
      round = i;
      const how = pick(['kill', 'stop', 'point']);
      const point = how === 'point' ? pick(points) : undefined;
      let next = await start(point);
      if (point) { // it has to lead first
        await ended(leader);
        leader = next;
        await until('the one with a test point leads', leader.leads);
        next = await start();
      }
      const flipped = watched.filter(() => r() < 0.4);
      if (!flipped.length) flipped.push(pick(watched));
      for (const w of flipped) {
        w.is = w.is === 'firing' ? 'resolved' : 'firing';
        w.flips++;
        await sql(w.is === 'firing' ? w.on : w.off);
      }
      if (!point) {
        await sleep(r() * 300);
        if (how === 'kill') leader.child.kill('SIGKILL');
        else await stop(leader, i % 25 === 24);
      }
      if (how !== 'stop') assert.equal((await leader.over).signal, 'SIGKILL', leader.text);
      if (i % 10 !== 9) await pass(leader, how);
      await until('another leads', next.leads);
      for (const w of flipped)
        await until(() => `${w.name} is ${w.is}, told after ${how} ${point ?? ''}: ${messages(w).map((m) => m.json.type)}`, () =>
          messages(w).at(-1)?.json.type === `alert.${w.is}`);
      if (how === 'stop') {
        leader.child.kill('SIGCONT');
        await until('it stands by', () => !leader.leads());
        await ended(leader);
      }
      leader = next;
      lost[point ?? how] = (lost[point ?? how] ?? 0) + 1;
    }
    await until('all is sent', async () => !(await sql("select 1 from meshhook.outbox where state in ('queued', 'sending')")).length);
    await ended(leader);
    let repeats = 0;
    for (const w of watched) {
      const wanted = Array.from({ length: w.flips }, (_, i) => (i % 2 ? 'resolved' : 'firing'));
      assert.deepEqual(await history(w.name), wanted, 'recorded');
      const came = messages(w);
      const first = came.filter((m, i) => came.findIndex((x) => x.headers['webhook-id'] === m.headers['webhook-id']) === i);
      assert.deepEqual(first.map((m) => m.json.type), wanted.map((is) => `alert.${is}`), 'told');
      for (const m of came.filter((one) => !first.includes(one))) {
        assert.equal(m.json.data.again, true, 'a repeat without its mark');
        repeats++;
      }
      for (const m of first) { // once more for each leader that is lost with it
        const same = came.filter((x) => x.headers['webhook-id'] === m.headers['webhook-id']);
        assert.ok(same.length <= 2 + same.at(-1).round - m.round, `repeated ${same.length - 1} times within ${same.at(-1).round - m.round + 1} rounds`);
      }
    }
    for (const m of all) assert.doesNotMatch(m.text, /Sanitizer|runtime error/);
    t.diagnostic(`${JSON.stringify(lost)}, ${watched.reduce((n, w) => n + w.flips, 0)} changes, ${repeats} marked repeats`);
  });
