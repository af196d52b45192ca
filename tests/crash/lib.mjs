// A world to break: a database connection, workers and gateways as real processes, a real HTTP
// target with its log, and the checks that must hold afterwards whatever was killed.
import { spawn, execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import assert from 'node:assert/strict';
import pg from 'pg';

const here = path.dirname(new URL(import.meta.url).pathname);
export const binary = process.env.MESHHOOK_BIN;
export const rounds = Number(process.env.MESHHOOK_TEST_COUNT || 100);
export const seed = Number(process.env.MESHHOOK_TEST_SEED || Date.now() % 1000000);
export const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

// mulberry32: small, seeded, good enough to choose what to kill.
export function random(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

// Wait until fact() is true; never a fixed sleep. Fails after `ms` with `what` was awaited.
export async function until(what, fact, ms = 60000) {
  const end = Date.now() + ms;
  for (;;) {
    const v = await fact();
    if (v) return v;
    if (Date.now() > end) throw new Error(`after ${ms} ms still not: ${what}`);
    await sleep(30);
  }
}

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'meshhook-crash-'));
const keep = process.env.MESHHOOK_TEST_KEEP;
process.on('exit', () => keep || fs.rmSync(dir, { recursive: true, force: true }));

export class World {
  #children = new Set();

  static async open(slug) {
    const w = new World();
    w.slug = `${slug}-${process.pid}`;
    w.env = { ...process.env, MESHHOOK_HTTP_ALLOW: '127.0.0.0/8', MESHHOOK_WORKER_LEASE: '1s',
      MESHHOOK_LOG_FORMAT: 'json', MESHHOOK_PROJECT: w.slug };
    w.db = await w.connect();
    w.run(['project', 'create', w.slug]);
    return w;
  }

  async connect(url = process.env.SUPABASE_DB_URL) {
    const c = new pg.Client({ connectionString: url });
    c.on('error', () => {});
    await c.connect();
    return c;
  }

  run(argv, env = {}) {
    return execFileSync(binary, argv, { env: { ...this.env, ...env }, encoding: 'utf8' });
  }

  // A process of ours; `env` may name a test point to die at.
  spawn(argv, env = {}) {
    const log = path.join(dir, `${argv[0]}-${this.#children.size}-${Date.now()}.log`);
    const fd = fs.openSync(log, 'w');
    const c = spawn(binary, argv, { env: { ...this.env, ...env }, stdio: ['ignore', fd, fd] });
    fs.closeSync(fd);
    c.log = log;
    c.over = new Promise((resolve) => c.on('exit', (code, signal) => {
      this.#children.delete(c);
      resolve({ code, signal });
    }));
    this.#children.add(c);
    return c;
  }
  worker(env) { return this.spawn(['worker'], env); }

  // A sanitizer's report in any log is a failure wherever it happened.
  async close() {
    for (const c of [...this.#children]) { c.kill('SIGKILL'); await c.over; }
    if (this.target) { this.target.kill('SIGKILL'); this.target = null; }
    await this.db.end();
    for (const f of fs.readdirSync(dir)) {
      const text = fs.readFileSync(path.join(dir, f), 'utf8');
      assert.ok(!/(ERROR: \w*Sanitizer|runtime error:)/.test(text), `${f}:\n${text.slice(0, 4000)}`);
    }
  }

  async startTarget(...flags) {
    this.targetLog = path.join(dir, `target-${Date.now()}.jsonl`);
    fs.writeFileSync(this.targetLog, '');
    this.target = spawn(process.execPath, [path.join(here, '..', 'target', 'target.mjs'), '--port', '0',
      '--log', this.targetLog, ...flags], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.port = await new Promise((resolve) => this.target.stdout.once('data', (d) => resolve(JSON.parse(d).port)));
  }
  requests() {
    return fs.readFileSync(this.targetLog, 'utf8').split('\n').filter(Boolean).map((l) => JSON.parse(l));
  }

  publish(definition) {
    const file = path.join(dir, `${definition.name}.json`);
    fs.writeFileSync(file, JSON.stringify(definition));
    this.run(['workflow', 'push', file]);
    this.run(['workflow', 'publish', definition.name]);
  }

  async start(workflow, input = {}) {
    const { rows } = await this.db.query('select meshhook.start_run($1, $2, $3) as id', [this.slug, workflow, input]);
    return rows[0].id;
  }

  async pending(db = this.db) {
    const { rows } = await db.query(`select count(*)::int as n from meshhook.runs r
      join meshhook.projects p on p.id = r.project_id where p.slug = $1 and r.status = 'running'`, [this.slug]);
    return rows[0].n;
  }

  async events(run) {
    return (await this.db.query('select seq, type, payload from meshhook.run_events where run_id = $1 order by seq', [run])).rows;
  }
}

// What must be true of a run that ended, whatever died on the way.
export async function checkRun(w, run, status = 'succeeded') {
  const { rows: [row] } = await w.db.query('select * from meshhook.runs where id = $1', [run]);
  const events = await w.events(run);
  assert.equal(row.status, status, `run ${run}: ${JSON.stringify(row.error)}`);
  assert.deepEqual(events.map((e) => e.seq), events.map((_, i) => i + 1), `run ${run}: seqs have a hole`);
  assert.equal(row.last_seq, events.length, `run ${run}: last_seq`);
  const results = events.filter((e) => /^step\.(succeeded|failed)$/.test(e.type))
    .map((e) => `${e.payload.step}#${e.payload.attempt}`);
  assert.equal(new Set(results).size, results.length, `run ${run}: a result twice: ${results}`);
  assert.equal(events.filter((e) => /^run\.(succeeded|failed|cancelled)$/.test(e.type)).length, 1, `run ${run}: ends once`);
  const { rows: lines } = await w.db.query('select seq::int from meshhook.logs where channel_id = $1 order by seq', [run]);
  assert.deepEqual(lines.map((l) => l.seq), lines.map((_, i) => i + 1), `run ${run}: its lines have a hole`);
  assert.equal(row.final_log_seq, lines.length, `run ${run}: final_log_seq`);
  w.run(['replay', run]);
  return events;
}

// One Idempotency-Key a step, whatever was repeated; none is anybody else's.
export function checkKeys(requests, keyOf = (r) => `${JSON.parse(r.body).run}/${r.path}`) {
  const byStep = new Map();
  const byKey = new Map();
  for (const r of requests) {
    assert.ok(r.idempotency_key, `no Idempotency-Key on ${r.path}`);
    const step = keyOf(r);
    assert.equal(byStep.get(step) ?? r.idempotency_key, r.idempotency_key, `a new key for ${step}`);
    assert.equal(byKey.get(r.idempotency_key) ?? step, step, `one key for two steps`);
    byStep.set(step, r.idempotency_key);
    byKey.set(r.idempotency_key, step);
  }
  return byStep;
}

// Nothing of the world's project is left to do, and nothing is counted that isn't there.
export async function checkQueueEmpty(w) {
  const { rows: [n] } = await w.db.query(`with p as (select id from meshhook.projects where slug = $1)
    select (select count(*)::int from pgmq.q_mh_work, p where message ->> 'p' = p.id::text) as queue,
      (select count(*)::int from meshhook_engine.backlog b, p where b.project_id = p.id) as backlog,
      (select count(*)::int from meshhook_engine.timers t, p where t.project_id = p.id) as timers,
      (select coalesce(sum(queued), 0)::int from meshhook_engine.admission a, p where a.project_id = p.id) as counted`, [w.slug]);
  assert.deepEqual(n, { queue: 0, backlog: 0, timers: 0, counted: 0 });
}

export function signed(secret, body, id = `msg_${crypto.randomUUID()}`) {
  const at = Math.floor(Date.now() / 1000);
  const mac = crypto.createHmac('sha256', Buffer.from(secret.slice('whsec_'.length), 'base64'))
    .update(`${id}.${at}.${body}`).digest('base64');
  return { 'content-type': 'application/json', 'webhook-id': id, 'webhook-timestamp': String(at), 'webhook-signature': `v1,${mac}` };
}
