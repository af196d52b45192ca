'use strict';
// What the benches share: a stack of their own, processes, seeding, figures.
//
// A figure is a line: name, value, unit, and for a ratio what it is measured against (`limit`)
// and their quotient (`ratio`), both taken in the same session.
const { execFileSync, spawn } = require('node:child_process');
const { createRequire } = require('node:module');
const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');

const root = path.resolve(__dirname, '..');
const pg = createRequire(path.join(root, 'tests', 'package.json'))('pg');
const binary = process.env.MESHHOOK_BINARY || path.join(root, 'build', 'meshhook');
const logs = path.join(root, '.stack', 'bench-logs');

const args = process.argv.slice(2);
const json = args.includes('json');
const quick = args.includes('--quick');
if (args.includes('-h') || args.includes('--help')) {
  const head = fs.readFileSync(process.argv[1], 'utf8').split('\n').slice(1);
  const end = head.findIndex((l) => !l.startsWith('//'));
  process.stdout.write(head.slice(0, end).map((l) => l.replace(/^\/\/ ?/, '')).join('\n') + '\n');
  process.stdout.write('\noptions: -o json   one object a line\n         --quick   a tenth of the time, for a look\n');
  process.exit(0);
}

const note = (text) => process.stderr.write(`${text}\n`);
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
const median = (xs) => [...xs].sort((a, b) => a - b)[Math.floor(xs.length / 2)];
const quantile = (xs, q) => {
  const s = [...xs].sort((a, b) => a - b);
  return s[Math.min(s.length - 1, Math.floor(s.length * q))];
};
const round = (x) => (Math.abs(x) >= 100 ? Math.round(x) : Math.round(x * 100) / 100);

function figure(name, value, unit, extra = {}) {
  const line = { name, value: round(value), unit };
  if (extra.limit !== undefined) {
    line.limit = round(extra.limit);
    line.ratio = Math.round((value / extra.limit) * 1000) / 1000;
  }
  if (extra.spread) line.spread = extra.spread.map(round);
  if (json) return console.log(JSON.stringify(line));
  const ratio = line.ratio === undefined ? '' : `  ratio ${line.ratio} of ${line.limit}`;
  const spread = extra.spread ? `  (${line.spread.join(' .. ')})` : '';
  console.log(`${name.padEnd(24)} ${String(line.value).padStart(10)} ${unit}${ratio}${spread}`);
}

// A stack of the benches' own, beside any that is in use.
function stack() {
  const env = {
    ...process.env,
    MESHHOOK_STACK_PORT_BASE: process.env.MESHHOOK_STACK_PORT_BASE || '54700',
    MESHHOOK_STACK_DIR: process.env.MESHHOOK_STACK_DIR || path.join(root, '.stack', 'bench'),
  };
  const script = path.join(root, 'scripts', 'stack');
  execFileSync(script, ['start', '--without', 'api,gateway,monitor'], { env, stdio: ['ignore', 'ignore', 'inherit'] });
  for (const line of execFileSync(script, ['env'], { env, encoding: 'utf8' }).split('\n')) {
    const m = /^export ([A-Z_]+)=(?:'(.*)'|"(.*)"|(.*))$/.exec(line);
    if (m) env[m[1]] = m[2] ?? m[3] ?? m[4];
  }
  env.MESHHOOK_HTTP_ALLOW = '127.0.0.0/8';
  env.MESHHOOK_LOG_LEVEL = 'warn';
  return {
    env,
    stop: () => execFileSync(script, ['stop'], { env, stdio: 'ignore' }),
  };
}

const connect = async (url) => {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  return client;
};

function run(env, argv, input) {
  return execFileSync(binary, argv, { env, input, encoding: 'utf8' });
}

let n_logs = 0;
function start(env, argv) {
  fs.mkdirSync(logs, { recursive: true });
  const log = fs.openSync(path.join(logs, `${argv[0]}-${process.pid}-${n_logs++}.log`), 'w');
  const child = spawn(binary, argv, { env, stdio: ['ignore', log, log] });
  child.over = new Promise((resolve) => child.on('exit', (code) => resolve(code)));
  return child;
}
const stop = async (children) => {
  for (const c of children) c.kill('SIGTERM');
  await Promise.all(children.map((c) => c.over));
};

// What a process has used: seconds of CPU in all, and KB of memory now.
const usage = (pid) => {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  const rss = /VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1];
  return { cpu: (Number(stat[11]) + Number(stat[12])) / 100, rss: Number(rss) };
};

const uuid7 = () => {
  const b = crypto.randomBytes(16);
  b.writeUIntBE(Date.now(), 0, 6);
  b[6] = (b[6] & 0x0f) | 0x70;
  b[8] = (b[8] & 0x3f) | 0x80;
  return b.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
};

// An empty world: no run, no message of an earlier bench.
async function clean(db) {
  await db.query(`truncate meshhook.runs, meshhook.steps, meshhook.logs, meshhook_engine.timers,
    meshhook_engine.backlog, meshhook_engine.admission, meshhook_engine.counter_deltas,
    meshhook.counters, meshhook_engine.histogram_deltas, meshhook_engine.histograms, meshhook_engine.deliveries, meshhook_engine.watched, meshhook_engine.watchers,
    meshhook_engine.run_news, meshhook_engine.spent, pgmq.q_mh_work, pgmq.q_mh_dead`);
}

// A chain of n pure steps, each with an output of about 230 bytes, as in limit.sql.
function chain(name, n) {
  const nodes = [{ id: 'start', type: 'manual' }];
  const edges = [];
  for (let i = 1; i <= n; i++) {
    nodes.push({ id: `s${i}`, type: 'transform', output: { n: '{{ run.id }}', pad: 'x'.repeat(200) } });
    edges.push({ from: i === 1 ? 'start' : `s${i - 1}`, to: `s${i}` });
  }
  return { name, nodes, edges };
}

// A project with one published workflow; returns {project, version}.
async function publish(env, db, slug, definition, window = 1000000) {
  const { rows } = await db.query('select id from meshhook.projects where slug = $1', [slug]);
  if (!rows.length) run(env, ['project', 'create', slug]);
  await db.query('update meshhook.projects set window_size = $2 where slug = $1', [slug, window]);
  const file = path.join(logs, `${slug}-${definition.name}.json`);
  fs.mkdirSync(logs, { recursive: true });
  fs.writeFileSync(file, JSON.stringify(definition));
  run(env, ['workflow', 'push', file, '--project', slug]);
  run(env, ['workflow', 'publish', definition.name, '--project', slug]);
  const v = await db.query(
    `select v.id as version, p.id as project from meshhook.projects p
       join meshhook.workflows w on w.project_id = p.id and w.name = $2
       join meshhook.versions v on v.workflow_id = w.id and v.version = w.published_version
      where p.slug = $1`, [slug, definition.name]);
  return v.rows[0];
}

// n runs of a version, in batches of 1,000 a transaction.
async function startRuns(db, version, n, trigger = 'start', input = '{}') {
  for (let left = n; left > 0; left -= 1000) {
    await db.query(
      `select meshhook_engine.start_runs(array_agg($1::uuid), array_agg($3::text),
         array_agg($4::jsonb), array_agg(meshhook_engine.uuid7())) from generate_series(1, $2::int)`,
      [version, Math.min(left, 1000), trigger, input]);
  }
}

// Steps recorded so far: every step of a chain appends two events.
async function stepsDone(db) {
  const { rows } = await db.query('select coalesce(sum(last_seq), 0)::float8 as n from meshhook.runs');
  return rows[0].n / 2;
}

// The rate of steps over `seconds`, once workers are under way.
async function stepRate(db, seconds) {
  const begun = await stepsDone(db);
  for (let i = 0; i < 200 && (await stepsDone(db)) === begun; i++) await sleep(25);
  await sleep(300);
  const from = performance.now(); // a count holds for when it was asked for, however long it takes
  const a = await stepsDone(db);
  await sleep(Math.max(0, seconds * 1000 - (performance.now() - from)));
  const to = performance.now();
  const b = await stepsDone(db);
  return (b - a) / ((to - from) / 1000);
}

// A webhook's request, signed as Standard Webhooks 1.0 says, as bytes for a keep-alive connection.
function signedRequest(port, hook, secret, id, body) {
  const at = Math.floor(Date.now() / 1000);
  const mac = crypto.createHmac('sha256', Buffer.from(secret.replace(/^whsec_/, ''), 'base64'))
    .update(`${id}.${at}.${body}`).digest('base64');
  return Buffer.from(`POST /hooks/${hook} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n` +
    `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n` +
    `webhook-id: ${id}\r\nwebhook-timestamp: ${at}\r\nwebhook-signature: v1,${mac}\r\n\r\n${body}`);
}

// One keep-alive connection; send(bytes) resolves with {status, body} of the next response.
function connection(port) {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
  const waiting = [];
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
    for (;;) {
      const head = text.indexOf('\r\n\r\n');
      if (head < 0) return;
      const length = Number(/content-length: *(\d+)/i.exec(text.slice(0, head))?.[1] ?? 0);
      if (text.length < head + 4 + length) return;
      const reply = { status: Number(text.slice(9, 12)), body: text.slice(head + 4, head + 4 + length) };
      text = text.slice(head + 4 + length);
      waiting.shift()(reply);
    }
  });
  const broken = () => { while (waiting.length) waiting.shift()({ status: 0, body: '' }); };
  socket.on('error', broken);
  socket.on('close', broken);
  return {
    send: (bytes) => new Promise((resolve) => { waiting.push(resolve); socket.write(bytes); }),
    end: () => socket.destroy(),
  };
}

// A target that answers 200 and says when each Idempotency-Key arrived (ms, performance.now()).
async function target(delay = 0) {
  const arrived = new Map();
  const server = http.createServer({ keepAliveTimeout: 60000 }, (req, res) => {
    arrived.set(req.headers['idempotency-key'], performance.now());
    req.resume();
    const answer = () => { res.setHeader('content-type', 'application/json'); res.end('{"ok":true}'); };
    if (delay) setTimeout(answer, delay); else answer();
  });
  await new Promise((r) => server.listen(0, '127.0.0.1', 4096, r));
  return {
    port: server.address().port, arrived,
    of: (runId) => { for (const [k, t] of arrived) if (k.includes(runId)) return t; return undefined; },
    end: () => { server.closeAllConnections(); server.close(); },
  };
}

// hook -> http_call to the target
const caller = (name, port) => ({
  name,
  nodes: [
    { id: 'hook', type: 'webhook' },
    { id: 'call', type: 'http_call', method: 'POST', url: `http://127.0.0.1:${port}/`, body: { lead: '{{ input.lead }}' }, timeout: '30s' },
  ],
  edges: [{ from: 'hook', to: 'call' }],
});

// An endpoint for a published workflow; its secret.
function endpoint(env, project, slug, workflow) {
  return JSON.parse(run(env, ['endpoint', 'create', slug, workflow, '--project', project, '-o', 'json'])).secret;
}

async function ready(port) {
  for (let i = 0; i < 400; i++) {
    const c = connection(port);
    const reply = await Promise.race([c.send('GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n'), sleep(1000)]);
    c.end();
    if (reply?.status === 200) return;
    await sleep(25);
  }
  throw new Error(`no gateway on port ${port} after 10 s`);
}

// Webhooks at a steady rate; ms from each 202 to the first byte that its http_call sent.
async function startLatencies({ port, hook, secret, target: t, rate, n }) {
  const conns = Array.from({ length: 8 }, () => connection(port));
  const answered = [];
  const sent = [];
  for (let i = 0; i < n; i++) {
    const due = performance.now() + 1000 / rate;
    const bytes = signedRequest(port, hook, secret, `msg_${uuid7()}`, '{"lead":"ada"}');
    sent.push(conns[i % 8].send(bytes).then((reply) => {
      const at = performance.now();
      if (reply.status === 202) answered.push([JSON.parse(reply.body).run_id, at]);
    }));
    await sleep(Math.max(0, due - performance.now()));
  }
  await Promise.all(sent);
  for (let i = 0; i < 400 && t.arrived.size < answered.length; i++) await sleep(25);
  conns.forEach((c) => c.end());
  if (answered.length < n) throw new Error(`${n - answered.length} of ${n} webhooks were not answered with 202`);
  const late = answered.map(([id, at]) => (t.of(id) ?? Infinity) - at);
  if (late.includes(Infinity)) throw new Error('a run never called');
  return late;
}

async function main(body) {
  const s = stack();
  const db = await connect(s.env.MESHHOOK_STACK_SUPERUSER_DB_URL);
  const children = [];
  const process_ = (what) => (...flags) => {
    const c = start(s.env, [what, ...flags]);
    children.push(c);
    return c;
  };
  try {
    await body({ env: s.env, db, worker: process_('worker'), gateway: process_('gateway'), monitor: process_('monitor') });
  } finally {
    for (const c of children) c.kill('SIGKILL');
    await db.end();
    if (!args.includes('--keep')) s.stop();
  }
}

module.exports = {
  root, binary, quick, note, sleep, median, quantile, figure, stack, connect, run, start, stop, usage, uuid7,
  clean, chain, publish, startRuns, stepsDone, stepRate, main,
  signedRequest, connection, target, caller, endpoint, ready, startLatencies,
};
