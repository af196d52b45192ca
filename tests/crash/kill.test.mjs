// kill -9 at every named test point and at random, with two workers and a gateway: every run ends
// right, events contiguous, no (step, attempt) recorded twice, one Idempotency-Key a step.
import test from 'node:test';
import assert from 'node:assert/strict';
import { World, checkRun, checkKeys, checkQueueEmpty, random, rounds, seed, signed, sleep, until } from './lib.mjs';

const points = ['after_claim', 'before_decide', 'after_decide', 'before_http', 'after_http', 'before_commit',
  'after_commit_sent', 'after_commit'];
const intakePoints = ['intake_before_commit', 'intake_after_commit', 'intake_before_reply'];

// Everything an engine does: pure steps, a branch, retries, a delay, parallel calls, a join.
const flow = (port) => ({
  name: 'everything',
  nodes: [
    { id: 'hook', type: 'webhook' }, { id: 'start', type: 'manual' },
    { id: 'clean', type: 'transform', output: { n: '{{ input.n }}' } },
    { id: 'route', type: 'branch', cases: [{ name: 'odd', when: 'input.odd' }] },
    { id: 'slow', type: 'delay', for: '50ms' },
    { id: 'fast', type: 'log', message: 'n is {{ steps.clean.output.n }}' },
    ...['a', 'b'].map((id) => ({ id, type: 'http_call', method: 'POST', url: `http://127.0.0.1:${port}/${id}`,
      body: { run: '{{ run.id }}', n: '{{ steps.clean.output.n }}' }, timeout: '5s',
      retry: { attempts: 6, backoff: '20ms', cap: '100ms' } })),
    { id: 'join', type: 'transform', output: { a: '{{ steps.a.output.status }}', b: '{{ steps.b.output.status }}' } },
  ],
  edges: [
    { from: 'hook', to: 'clean' }, { from: 'start', to: 'clean' }, { from: 'clean', to: 'route' },
    { from: 'route', to: 'slow', on: 'odd' }, { from: 'route', to: 'fast', on: 'else' },
    { from: 'slow', to: 'a' }, { from: 'fast', to: 'a' }, { from: 'slow', to: 'b' }, { from: 'fast', to: 'b' },
    { from: 'a', to: 'join' }, { from: 'b', to: 'join' },
  ],
});

// Two workers that die again and again as `die(i)` says; new ones take their place.
async function withDyingWorkers(w, deaths, die, feed) {
  let died = 0;
  const slot = async () => {
    while (died < deaths) {
      const { env, after } = die(died);
      const c = w.worker(env);
      const timer = setTimeout(() => c.kill('SIGKILL'), after ?? 4000);
      const { signal } = await c.over;
      clearTimeout(timer);
      assert.equal(signal, 'SIGKILL', `a worker ended by itself; its log: ${c.log}`);
      died++;
    }
  };
  const slots = Promise.all([slot(), slot()]);
  const runs = [];
  let feeding = true;
  const fed = (async () => {
    while (feeding) {
      if (await w.pending() < 20) runs.push(await feed(runs.length));
      else await sleep(10);
    }
  })();
  await slots.finally(() => { feeding = false; });
  await fed;
  const calm = [w.worker(), w.worker()];
  await until('all runs ended', async () => (await w.pending()) === 0, 300000);
  for (const c of calm) { c.kill('SIGTERM'); assert.equal((await c.over).code, 0, `drain; ${c.log}`); }
  return runs;
}

async function checkAll(w, runs) {
  const byStep = checkKeys(w.requests());
  for (const run of runs) {
    await checkRun(w, run);
    for (const s of ['/a', '/b']) assert.ok(byStep.has(`${run}/${s}`), `run ${run} never called ${s}`);
  }
  await checkQueueEmpty(w);
}

test(`kill -9 at each named point (seed ${seed})`, { timeout: 1800000 }, async () => {
  const w = await World.open('points');
  try {
    await w.startTarget('--fail-first', '1');
    w.publish(flow(w.port));
    const r = random(seed);
    const runs = await withDyingWorkers(w, rounds,
      (i) => ({ env: { MESHHOOK_TESTPOINT: `${points[i % points.length]}:${1 + Math.floor(r() * 6)}` } }),
      (i) => w.start('everything', { n: i, odd: i % 2 === 1 }));
    await checkAll(w, runs);
  } finally { await w.close(); }
});

test(`kill -9 at random (seed ${seed})`, { timeout: 1800000 }, async () => {
  const w = await World.open('random');
  try {
    await w.startTarget('--fail-first', '1');
    w.publish(flow(w.port));
    const r = random(seed + 1);
    const runs = await withDyingWorkers(w, rounds, () => ({ env: {}, after: 60 + r() * 500 }),
      (i) => w.start('everything', { n: i, odd: i % 2 === 1 }));
    await checkAll(w, runs);
  } finally { await w.close(); }
});

test(`kill -9 of the gateway at each point of intake (seed ${seed})`, { timeout: 1800000 }, async () => {
  const w = await World.open('intake');
  try {
    await w.startTarget();
    w.publish(flow(w.port));
    const { secret } = JSON.parse(w.run(['endpoint', 'create', 'in', 'everything', '-o', 'json']));
    const url = `http://127.0.0.1:${process.env.MESHHOOK_GATEWAY_PORT}/hooks/${w.slug}/in`;
    const answers = new Map(); // webhook-id -> run id, once answered
    const r = random(seed + 2);
    let sent = 0;
    for (let i = 0; i < Math.ceil(rounds / 4); i++) {
      const g = w.spawn(['gateway'], { MESHHOOK_TESTPOINT: `${intakePoints[i % 3]}:${1 + Math.floor(r() * 3)}` });
      // A sender repeats, under the same id, until it has an answer.
      const send = async (id, body) => {
        const res = await fetch(url, { method: 'POST', headers: signed(secret, body, id), body }).catch(() => null);
        if (res?.status !== 202) return false;
        const { run_id } = await res.json();
        assert.equal(answers.get(id) ?? run_id, run_id, `another run for ${id}`);
        answers.set(id, run_id);
        return true;
      };
      const ids = Array.from({ length: 5 }, () => `msg_${i}_${sent++}`);
      let over = false;
      g.over.then(() => { over = true; });
      await until('the gateway died', async () => {
        for (const id of ids) await send(id, JSON.stringify({ n: id, odd: false }));
        if (!over && ids.every((id) => answers.has(id))) ids.push(`msg_${i}_${sent++}`);
        return over;
      }, 120000);
      const g2 = w.spawn(['gateway']);
      await until('every webhook was answered', async () => {
        let all = true;
        for (const id of ids) all = (await send(id, JSON.stringify({ n: id, odd: false }))) && all;
        return all;
      }, 120000);
      g2.kill('SIGTERM');
      assert.equal((await g2.over).code, 0, `gateway drains; ${g2.log}`);
    }
    const { rows } = await w.db.query(`select count(*)::int as n from meshhook.runs r join meshhook.projects p
      on p.id = r.project_id where p.slug = $1`, [w.slug]);
    assert.equal(rows[0].n, answers.size, 'one run a webhook-id');
    const worker = w.worker();
    await until('all runs ended', async () => (await w.pending()) === 0);
    worker.kill('SIGTERM');
    await worker.over;
    for (const run of answers.values()) await checkRun(w, run);
  } finally { await w.close(); }
});
