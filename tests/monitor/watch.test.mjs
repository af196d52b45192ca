// queue stats --watch on a terminal, as people see it: what is on the screen, whatever its size,
// and that it is given back; elsewhere, objects and rows.
import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import pg from "pg";

const here = path.dirname(new URL(import.meta.url).pathname);
const binary = process.env.MESHHOOK_BIN;
const slug = `watch-${process.pid}`;
const pool = new pg.Pool({ connectionString: process.env.SUPABASE_DB_URL, max: 2 });
const sql = async (text, ...values) => (await pool.query(text, values)).rows;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const children = new Set();
const env = { ...process.env, MESHHOOK_PROJECT: slug, TERM: "xterm-256color" };
delete env.NO_COLOR;
let monitor;

async function until(what, fn, ms = 60000) {
  let value;
  for (const end = Date.now() + ms; Date.now() < end; await sleep(20)) if ((value = await fn())) return value;
  assert.fail(`not after ${ms} ms: ${typeof what === "string" ? what : what()}`);
}
const mh = (...args) => execFileSync(binary, args, { encoding: "utf8", env });
function start(...args) {
  const child = spawn(binary, args, { env, stdio: "ignore" });
  children.add(child);
  child.stop = () => new Promise((resolve) => { child.on("exit", resolve); child.kill("SIGTERM"); });
  return child;
}

// As much of a terminal as frames make use of: what is on its screen, and its modes.
class Screen {
  constructor(columns, rows) {
    Object.assign(this, { columns, rows, x: 0, y: 0, lines: [], modes: new Set(), colours: new Set(), wrapped: false, unknown: [] });
  }
  put(text) {
    for (const [, params, final, other] of text.matchAll(/\x1b\[([?\d;]*)([a-zA-Z])|([^])/gu)) {
      const line = this.lines[this.y] ??= [];
      if (final === "H") this.x = this.y = 0;
      else if (final === "K") line.length = this.x;
      else if (final === "J") { if (params === "2") this.lines = []; else { line.length = this.x; this.lines.length = this.y + 1; } }
      else if (final === "h" || final === "l") final === "h" ? this.modes.add(params) : this.modes.delete(params);
      else if (final === "m") this.colours.add(params);
      else if (final !== undefined) this.unknown.push(final);
      else if (other === "\r") this.x = 0;
      else if (other === "\n") this.y = Math.min(this.y + 1, this.rows - 1);
      else { if (this.x >= this.columns) this.wrapped = true; line[this.x++] = other; }
    }
  }
  get text() { return this.lines.map((l) => Array.from(l ?? [], (c) => c ?? " ").join("").trimEnd()); }
  has(pattern) { return this.text.some((l) => pattern.test(l)); }
}

function terminal(columns, rows, { args = [], more = {} } = {}) {
  const child = spawn("python3", [path.join(here, "terminal.py"), columns, rows, binary, "queue", "stats", "--watch", ...args], { env: { ...env, ...more }, stdio: "pipe" });
  children.add(child);
  const t = { screen: new Screen(columns, rows), raw: "", err: "", frames: 0 };
  let rest = "";
  child.stdout.setEncoding("utf8");
  child.stdout.on("data", (d) => {
    t.raw += d;
    rest += d;
    const whole = rest.lastIndexOf("\x1b[?2026l"); // whole frames; a sequence may be cut anywhere
    const n = whole >= 0 ? whole + 8 : 0;
    t.screen.put(rest.slice(0, n));
    if (n) t.frames++;
    rest = rest.slice(n);
  });
  child.stderr.on("data", (d) => { t.err += d; });
  t.over = new Promise((resolve) => child.on("close", () => {
    t.screen.put(rest);
    resolve(JSON.parse(t.err.trim().split("\n").at(-1)));
  }));
  t.say = (line) => child.stdin.write(`${line}\n`);
  t.sees = (pattern, ms) => until(() => `${pattern} on\n${t.screen.text.join("\n")}\n${t.err}`, () => t.screen.has(pattern), ms);
  t.resize = (c, r) => { t.screen = new Screen(c, r); t.say(`size ${c} ${r}`); };
  return t;
}
function given_back(t, end, status) {
  assert.deepEqual(end, { status, restored: true }, t.err);
  for (const mode of ["?1049", "?25"]) {
    const last = [...t.raw.matchAll(/\x1b\[(\?\d+)([hl])/g)].filter((m) => m[1] === mode).at(-1)[2];
    assert.equal(last, mode === "?25" ? "h" : "l", mode);
  }
  assert.ok(t.raw.lastIndexOf("\x1b[?7h") > t.raw.lastIndexOf("\x1b[?7l"), "lines wrap again");
  assert.deepEqual(t.screen.unknown, []);
}

before(async () => {
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "meshhook-watch-")), "flow.json");
  fs.writeFileSync(file, JSON.stringify({ name: "flow", nodes: [{ id: "go", type: "manual" }, { id: "say", type: "log", message: "x" }], edges: [{ from: "go", to: "say" }] }));
  mh("project", "create", slug);
  mh("workflow", "publish", file);
  monitor = start("monitor", "--interval", "500ms");
  mh("run", "start", "flow");
  await until("a tick with this project", async () => (await sql(`select from meshhook.queue_metrics m join meshhook.projects p on p.id = m.project_id
    where p.slug = $1 and m.data ? 'arrivals_total'`, slug)).length > 1);
});
after(async () => {
  for (const c of children) c.kill("SIGKILL");
  await pool.end();
});

test("a screen of 80 columns and 24 lines, then another; q ends it", async () => {
  const t = terminal(80, 24);
  await t.sees(/^MeshHook queue  127\.0\.0\.1:\d+ .* \d\d:\d\d:\d\d UTC$/);
  await t.sees(/^measured [01] s ago, every 500 ms .*(no alerts|firing)$/);
  for (const label of ["ready", "in flight", "backlog", "delayed", "workers"]) assert.ok(t.screen.has(new RegExp(`^${label} +[\\d>k]+  `)), label);
  await t.sees(/^ready +[\d>k]+  .*[▁-█]/);
  await t.sees(/^PROJECT +QUEUED +BACKLOG +OLDEST +STEPS\/S +FAILED +ALERTS  LAST MINUTE$/);
  assert.equal(t.screen.text.length, 24);
  assert.match(t.screen.text[23], /^q quits/);
  assert.ok(t.screen.modes.has("?1049") && !t.screen.modes.has("?25"));
  assert.ok(t.screen.colours.has("2"), "labels are dim");
  t.resize(120, 40);
  await t.sees(/WAIT P95/);
  assert.equal(t.screen.text.length, 40);
  t.resize(120, 600); // whatever other projects there are
  await t.sees(new RegExp(`^${slug} +1 `));
  t.resize(66, 12);
  await until("a frame of 66 columns", () => t.screen.has(/^q quits/) && t.screen.text.every((l) => l.length <= 66));
  t.screen.wrapped = false; // by the last frame of 120, which came before
  const frames = t.frames;
  await until("another frame", () => t.frames > frames);
  assert.equal(t.screen.text.length, 12);
  assert.equal(t.screen.wrapped, false);
  t.say("type q");
  given_back(t, await t.over, 0);
});

test("Ctrl-C, a signal and being put aside give the terminal back", async () => {
  const t = terminal(80, 24);
  await t.sees(/^q quits/);
  t.say("type \\x1a"); // Ctrl-Z
  await until("it stopped", () => t.err.includes("stopped"));
  await until("it left the screen", () => t.raw.endsWith("\x1b[?1049l"));
  t.screen = new Screen(80, 24);
  t.say("signal SIGCONT");
  await t.sees(/^q quits/);
  assert.ok(t.screen.modes.has("?1049"));
  t.say("type \\x03");
  given_back(t, await t.over, 130);
  const u = terminal(80, 24);
  await u.sees(/^q quits/);
  u.say("signal SIGTERM");
  given_back(u, await u.over, 143);
});

test("a monitor that is gone, and a database that is", async () => {
  await monitor.stop();
  const there = new URL(env.SUPABASE_DB_URL);
  const way = new URL(there);
  const pairs = new Set();
  let refuses = false;
  const server = net.createServer((a) => {
    if (refuses) return a.destroy();
    const b = net.connect(there.port, there.hostname);
    pairs.add([a, b]);
    for (const [x, y] of [[a, b], [b, a]]) x.pipe(y), x.on("close", () => y.destroy()), x.on("error", () => y.destroy());
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  server.unref();
  way.port = server.address().port;
  const t = terminal(80, 24, { more: { MESHHOOK_DB_URL: way.href, SUPABASE_DB_URL: "" } });
  await t.sees(/^no monitor has measured for \d+ s /);
  const clock = t.screen.text[0];
  await until("its clock goes on", () => t.screen.text[0] !== clock);
  refuses = true;
  for (const [a, b] of pairs) a.destroy(), b.destroy();
  await t.sees(/^the database is away: /);
  refuses = false;
  await t.sees(/^no monitor has measured for \d+ s /);
  monitor = start("monitor", "--interval", "500ms");
  await t.sees(/^measured [01] s ago/);
  t.say("type q");
  given_back(t, await t.over, 0);
  server.close();
});

test("no colours where they are not wanted, and none of it where it is no terminal", async () => {
  const t = terminal(80, 24, { more: { NO_COLOR: "1" } });
  await t.sees(/^q quits/);
  assert.equal(t.screen.colours.size, 0);
  t.say("type q");
  given_back(t, await t.over, 0);
  const dumb = terminal(80, 24, { args: ["--count", "1"], more: { TERM: "dumb" } });
  assert.deepEqual(await dumb.over, { status: 0, restored: true });
  assert.match(dumb.raw, /^MeshHook queue/);
  assert.doesNotMatch(dumb.raw, /\x1b/);
  const plain = mh("queue", "stats", "--watch", "--count", "2");
  assert.doesNotMatch(plain, /\x1b/);
  assert.equal(plain.match(/^MeshHook queue/gm).length, 2);
});

test("an object, or rows, each time it is measured", async () => {
  const objects = mh("queue", "stats", "--watch", "--count", "3", "-o", "json").trim().split("\n").map((l) => JSON.parse(l));
  assert.equal(objects.length, 3);
  assert.equal(new Set(objects.map((o) => o.at)).size, 3);
  for (const o of objects) {
    assert.ok(o.age_s >= 0 && o.age_s < 20, `${o.age_s}`);
    const mine = o.projects.find((p) => p.project === slug);
    assert.deepEqual([o.ready >= 1, mine.queue, mine.running, mine.steps_per_s], [true, 1, 1, mine.steps_per_s]);
  }
  const csv = mh("queue", "stats", "--watch", "--count", "1", "-o", "csv").split("\r\n");
  assert.match(csv[0], /^at,project,queue,ready,/);
  assert.ok(csv.some((l) => l.includes(`,${slug},1,`)));
  const worker = start("worker");
  await until("it is carried out", async () => (await sql("select from meshhook.runs r join meshhook.projects p on p.id = r.project_id where p.slug = $1 and r.status = 'succeeded'", slug)).length);
  const steps = () => Math.max(...mh("queue", "stats", "--watch", "--count", "1", "-o", "json").trim().split("\n").map((l) => JSON.parse(l).projects.find((p) => p.project === slug)?.running ?? 1));
  await until("no run is left", () => steps() === 0);
  await worker.stop();
});

test("what can't be done is said, and the terminal left alone", async () => {
  const wrong = terminal(80, 24, { more: { MESHHOOK_DB_URL: "postgresql://u:hunter2@127.0.0.1:1/x", SUPABASE_DB_URL: "" } });
  assert.deepEqual(await wrong.over, { status: 1, restored: true });
  assert.match(wrong.raw, /error:.*Connection refused/s);
  assert.doesNotMatch(wrong.raw, /\x1b\[\?|hunter2/);
  const r = spawnSync(binary, ["queue", "stats", "--count", "2"], { env, encoding: "utf8" });
  assert.equal(r.status, 2);
  assert.match(r.stderr, /--count goes with --watch/);
});

test("queue slo: objectives against a target", async () => {
  const rows = (...args) => mh("queue", "slo", ...args, "-o", "json").trim().split("\n").map((l) => JSON.parse(l));
  assert.deepEqual(rows().map((r) => [r.objective, r.scope]), [["intake", "installation"], ["runs", "installation"], ["log_delivery", "installation"]]);
  const [, runs] = rows(slug, "--since", "1h", "--target", "99%");
  assert.deepEqual([runs.scope, runs.good, runs.total, runs.availability, runs.target_share, runs.budget_left], ["project", 1, 1, 1, 0.99, 1]);
  assert.match(mh("queue", "slo", slug, "--target", "99.95"), /^runs +100\.000 % +99\.95 % +1 +1 +100 % /m);
  for (const [args, text] of [[["--target", "100"], /no share in percent/], [["--since", "x"], /no duration/], [["nobody"], /no project "nobody"/]]) {
    const r = spawnSync(binary, ["queue", "slo", ...args], { env, encoding: "utf8" });
    assert.notEqual(r.status, 0);
    assert.match(r.stderr, text);
  }
});
