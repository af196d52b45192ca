// What tests of the monitor need: monitors, receivers of what they send, channels and rules by the
// command line, and ways to the database that can be cut.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { createServer } from "node:http";
import net from "node:net";
import pg from "pg";

export const pool = new pg.Pool({ connectionString: process.env.SUPABASE_DB_URL, max: 4 });
export const sql = async (text, ...values) => (await pool.query(text, values)).rows;
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export const rounds = Number(process.env.MESHHOOK_TEST_COUNT ?? 100);

// Until it is so; on a busy machine that may take long.
export async function until(what, fn, ms = 60000) {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(20)) {
    const value = await fn();
    if (value) return value;
  }
  assert.fail(`not after ${ms} ms: ${typeof what === "function" ? what() : what}`);
}

export const env = { ...process.env, MESHHOOK_LOG_FORMAT: "json", MESHHOOK_HTTP_ALLOW: "127.0.0.1/32" };
for (const name of ["MESHHOOK_PROJECT", "MESHHOOK_TESTPOINT"]) delete env[name];

const children = new Set();
const receivers = new Set();
const wires = new Set();

export const monitor = (more = {}, ...args) => start(["monitor", "--interval", "300ms", "--lease", "1s", ...args], more);
export function start(argv, more = {}) {
  const all = { ...env, ...more };
  const child = spawn(all.MESHHOOK_BIN, argv, { env: all, stdio: ["ignore", "ignore", "pipe"] });
  const m = { child, text: "" };
  child.stderr.on("data", (d) => (m.text += d));
  m.over = new Promise((resolve) => child.on("exit", (code, signal) => {
    children.delete(child);
    resolve({ code, signal });
  }));
  m.events = (...names) => m.text.split("\n").filter((l) => l.startsWith("{")).map((l) => JSON.parse(l)).filter((e) => names.includes(e.event));
  m.said = (event) => m.text.includes(`"event":"${event}"`);
  m.last = () => m.events("monitor.leads", "monitor.standby").at(-1);
  m.leads = () => m.last()?.event === "monitor.leads";
  children.add(child);
  return m;
}
export const ended = async (m) => {
  m.child.kill("SIGTERM");
  const { code } = await m.over;
  assert.equal(code, 0, m.text);
  assert.doesNotMatch(m.text, /Sanitizer|runtime error/);
};

// meshhook ARGS; fed is its standard input. Its one record, or all of them.
export function meshhook(args, fed = "") {
  return new Promise((resolve, reject) => {
    const child = execFile(process.env.MESHHOOK_BIN, args[1] === "unsilence" ? args : [...args, "-o", "json"], { env }, (error, stdout, stderr) => {
      if (error && error.code !== 1) return reject(new Error(`${args.join(" ")}: ${stderr}`));
      const records = stdout.trim().split("\n").filter(Boolean).map((line) => JSON.parse(line));
      resolve({ code: error?.code ?? 0, stderr, records, record: records[0] });
    });
    child.stdin.end(fed);
  });
}

// Keeps what it was sent; answer(request) says what it answers, 200 unless it does.
export async function receiver(answer = () => {}) {
  const r = { got: [], answer };
  const listener = (req, res) => {
    let body = "";
    req.on("data", (d) => (body += d));
    req.on("end", async () => {
      const one = { method: req.method, url: req.url, headers: req.headers, body, at: Date.now(), ok: false };
      one.json = body.startsWith("{") ? JSON.parse(body) : undefined;
      r.got.push(one);
      const said = (await r.answer(one)) ?? { status: 200 };
      if (said.reset) return req.socket.destroy();
      if (said.hang) return;
      one.ok = said.status < 300;
      res.writeHead(said.status, said.headers);
      res.end("receiver");
    });
  };
  const listen = (port) => new Promise((resolve) => {
    r.server = createServer(listener).listen(port, "127.0.0.1", () => resolve(r.server.address().port));
  });
  r.port = await listen(0);
  r.url = `http://127.0.0.1:${r.port}`;
  r.down = () => new Promise((resolve) => {
    r.server.close(resolve);
    r.server.closeAllConnections();
  });
  r.up = () => listen(r.port);
  receivers.add(r);
  return r;
}

// So many ticks that began after this.
export async function ticks(n) {
  const [{ at }] = await sql("select clock_timestamp()::text as at");
  await until(`${n} ticks`, async () =>
    (await sql("select 1 from meshhook.queue_metrics where project_id is null and at > $1::timestamptz limit $2", at, n)).length === n);
}
// Nothing is on its way, and what became of each message is recorded.
export const settled = () => until("all is sent", async () =>
  (await sql("select 1 from meshhook.outbox where state in ('queued', 'sending')")).length === 0);

let n = 0;
export const name = (what) => `${what}-${process.pid}-${++n}`;

export async function channel(r, ...options) {
  const called = name("hook");
  const { record } = await meshhook(
    ["alert", "channel", "add", "webhook", called, "--interval", "0s", "--repeat", "0s", ...options],
    `${r.url}/hook/very-secret-path`);
  return { name: called, ...record };
}
// A rule that holds as soon as it is there, for whatever this expression is.
export async function rule(expr = 'workers_alive{kind="monitor"} >= 0', ...options) {
  const called = name("rule");
  await meshhook(["alert", "rules", "add", called, expr, ...options]);
  return called;
}
export const about = (one, rule) => one.json?.data?.alerts?.some((a) => a.rule === rule);
export const history = async (rule) =>
  (await sql("select change from meshhook.alert_history where rule = $1 order by id", rule)).map((h) => h.change);

// After a test: nothing of it goes on.
export async function clean() {
  for (const c of children) c.kill("SIGKILL");
  for (const r of receivers) if (r.server.listening) await r.down();
  for (const w of wires) await w.close();
  for (const set of [children, receivers, wires]) set.clear();
  await sql("delete from meshhook.alert_channels");
  await sql("delete from meshhook.silences");
  await sql("delete from meshhook_engine.chores"); // the next monitor has all of them to do
  await sql("delete from meshhook.alert_rules where name like 'rule-%'");
}

// A way to the database that can be cut: "refuse" ends all connections and takes none, "silent"
// keeps them and lets nothing through, "open" is as if nothing were.
export async function wire(url) {
  const to = new URL(url);
  const { port, hostname } = to;
  const w = { mode: "open", pairs: new Set() };
  w.server = net.createServer((near) => {
    if (w.mode === "refuse") return near.destroy();
    const far = net.connect(Number(port), hostname);
    const pair = [near, far];
    w.pairs.add(pair);
    for (const [a, b] of [[near, far], [far, near]]) {
      a.on("data", (d) => w.mode === "open" && b.write(d));
      a.on("error", () => b.destroy());
      a.on("close", () => {
        b.destroy();
        w.pairs.delete(pair);
      });
    }
  });
  await new Promise((resolve) => w.server.listen(0, "127.0.0.1", resolve));
  to.hostname = "127.0.0.1";
  to.port = String(w.server.address().port);
  w.url = to.href;
  w.cut = () => [...w.pairs].flat().forEach((s) => s.destroy());
  w.set = (mode) => {
    // what was swallowed is not made up for: such a connection is dead
    if (mode === "refuse" || w.mode === "silent") w.cut();
    w.mode = mode;
  };
  w.close = () => {
    w.cut();
    return new Promise((resolve) => w.server.close(resolve));
  };
  wires.add(w);
  return w;
}
