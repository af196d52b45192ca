// What a gateway serves to Prometheus, read by a strict parser, with a database that hangs and
// goes away; and what its heartbeats count for the objectives.
import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import pg from "pg";
import { Webhook } from "standardwebhooks";

const root = path.resolve(path.dirname(new URL(import.meta.url).pathname), "..", "..");
const binary = process.env.MESHHOOK_BIN;
const slug = `metrics-${process.pid}`;
const pool = new pg.Pool({ connectionString: process.env.SUPABASE_DB_URL, max: 2 });
const sql = async (text, ...values) => (await pool.query(text, values)).rows;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const children = new Set();
let monitor, endpoint, far;

async function until(what, fn, ms = 60000) {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(20)) {
    const value = await fn();
    if (value) return value;
  }
  assert.fail(`not after ${ms} ms: ${what}`);
}
const mh = (args, input = "") => execFileSync(binary, args, { input, encoding: "utf8", env: { ...process.env, MESHHOOK_PROJECT: slug } });

function launch(args, env = {}) {
  const child = spawn(binary, args, { env: { ...process.env, MESHHOOK_LOG_FORMAT: "json", ...env }, stdio: ["ignore", "ignore", "pipe"] });
  const p = { child, text: "" };
  children.add(child);
  child.stderr.on("data", (d) => { p.text += d; });
  p.over = new Promise((resolve) => child.on("close", (code) => {
    assert.doesNotMatch(p.text, /Sanitizer|runtime error/);
    resolve(code);
  }));
  p.stop = () => (child.kill("SIGTERM"), p.over);
  return p;
}
async function gateway(env = {}) {
  const g = launch(["gateway"], { MESHHOOK_GATEWAY_PORT: "0", MESHHOOK_LOCAL_REALTIME: "", ...env });
  const port = await until("the gateway is ready", () => g.text.includes("gateway.ready") && /"event":"gateway.listening".*"port":(\d+)/.exec(g.text)?.[1]);
  g.url = `http://127.0.0.1:${port}`;
  g.metrics = async () => {
    const r = await fetch(`${g.url}/metrics`);
    assert.equal(r.status, 200);
    assert.equal(r.headers.get("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    const text = await r.text();
    const parsed = spawnSync("/usr/bin/python3", [path.join(root, "tests/monitor/openmetrics.py")], { input: text, encoding: "utf8" });
    assert.equal(parsed.status, 0, `${parsed.stderr}\n${text}`);
    return JSON.parse(parsed.stdout);
  };
  g.hook = async (body = "{}") => {
    const at = new Date();
    const id = `msg_${Math.random()}`;
    const r = await fetch(g.url + endpoint.path, { method: "POST", body, headers: { "content-type": "application/json",
      "webhook-id": id, "webhook-timestamp": String(Math.floor(at / 1000)), "webhook-signature": new Webhook(endpoint.secret).sign(id, at, body) } });
    await r.text();
    return r.status;
  };
  return g;
}

// A way to the database that holds all that comes back, or is cut.
async function way() {
  const there = new URL(process.env.MESHHOOK_GATEWAY_DB_URL);
  const pairs = new Set();
  const w = { held: false, refuses: false, scrapes: 0 };
  const server = net.createServer((a) => {
    if (w.refuses) return a.destroy();
    const b = net.connect(there.port, there.hostname);
    pairs.add([a, b]);
    a.pipe(b);
    a.on("data", (d) => { w.scrapes += d.toString("latin1").split("meshhook_engine.scrape(").length - 1; });
    b.on("data", (d) => (w.held ? undefined : a.write(d)));
    for (const [x, y] of [[a, b], [b, a]]) x.on("close", () => y.destroy()), x.on("error", () => y.destroy());
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = new URL(there);
  url.hostname = "127.0.0.1";
  url.port = server.address().port;
  w.url = url.href;
  w.cut = () => { w.refuses = true; for (const [a, b] of pairs) a.destroy(), b.destroy(); pairs.clear(); };
  w.end = () => (w.cut(), server.close());
  return w;
}
const value = (families, name, labels = {}) => Object.values(families).flatMap((f) => f.samples)
  .find(([n, l]) => n === name && Object.entries(labels).every(([k, v]) => l[k] === v))?.[2];

before(async () => {
  const flow = { name: "flow", nodes: [{ id: "hook", type: "webhook" }, { id: "go", type: "manual" }, { id: "say", type: "log", message: "x" }],
    edges: [{ from: "hook", to: "say" }, { from: "go", to: "say" }] };
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "meshhook-metrics-")), "flow.json");
  fs.writeFileSync(file, JSON.stringify(flow));
  mh(["project", "create", slug]);
  mh(["workflow", "publish", file]);
  endpoint = JSON.parse(mh(["endpoint", "create", "in", "flow", "-o", "json"]));
  monitor = launch(["monitor", "--interval", "300ms"]);
  mh(["run", "start", "flow", "--trigger", "go"]);
  await until("a tick with this project", async () => (await sql(`select from meshhook.queue_metrics m join meshhook.projects p on p.id = m.project_id
    where p.slug = $1 and m.data ? 'arrivals_total'`, slug)).length > 0);
  far = await way();
});
after(async () => {
  for (const c of children) c.kill("SIGKILL");
  far.end();
  await pool.end();
});

test("the newest metrics are served, each with its type, unit and help, and name no tenant", async () => {
  const g = await gateway();
  let m;
  const found = (name) => Object.keys(m).filter((n) => n === `meshhook_${name.replace(/_total$/, "")}` || n === `meshhook_${name}_seconds`);
  // some are there at times only: what was measured last is served a second later, at most
  await until("all is served", async () => {
    const [{ data }] = await sql("select data from meshhook.queue_metrics where project_id is null order by at desc limit 1");
    m = await g.metrics();
    return Object.keys(data).every((name) => found(name).length === 1 && m[found(name)[0]].type === (name.endsWith("_total") ? "counter" : "gauge"));
  });
  for (const [name, f] of Object.entries(m)) {
    assert.match(name, /^meshhook_/);
    assert.notEqual(f.help, "", `${name} is in no table: core/measure.c`);
    if (/_(seconds|bytes)$/.test(name)) assert.equal(f.unit, /[a-z]+$/.exec(name)[0], name);
    for (const [, labels] of f.samples) assert.equal("project" in labels, false, name);
  }
  assert.equal(value(m, "meshhook_workers_alive", { kind: "monitor" }) >= 1, true);
  assert.ok(value(m, "meshhook_oldest_age_seconds", { queue: "work" }) >= 0);
  assert.ok(value(m, "meshhook_arrivals_total") >= 1);
  await until("a young age", async () => value(await g.metrics(), "meshhook_queue_metrics_age_seconds") < 3);
  assert.equal(await g.stop(), 0);
});

test("what attempts waited and took is counted in histograms, whose bounds are always the same", async () => {
  const g = await gateway({ MESHHOOK_METRICS_PROJECTS: "1" });
  const read = async (name) => {
    const f = (await g.metrics())[`meshhook_${name}`];
    assert.deepEqual([f.type, f.unit], ["histogram", "seconds"]);
    const of = (end) => f.samples.filter(([n]) => n === `meshhook_${name}_${end}`);
    for (const [, labels] of f.samples) assert.deepEqual(Object.keys(labels).filter((l) => l !== "le"), []);
    return { buckets: Object.fromEntries(of("bucket").map(([, l, n]) => [l.le, n])), sum: of("sum")[0][2], count: of("count")[0][2] };
  };
  const [wait, time] = [await read("attempt_wait_seconds"), await read("attempt_time_seconds")];
  // buckets of core/histogram.h: 147 ends at 1.572864 s, where 148 begins; the last one is of days
  await sql(`insert into meshhook_engine.histogram_deltas (project_id, cells, counts)
    select id, '{147,148,287,650}', '{3,1,1,7}' from meshhook.projects where slug = $1`, slug);
  const middles = 3 * (1.441792 + 1.572864) / 2 + (1.572864 + 1.703936) / 2 + (257698.03776 + 274877.906944) / 2;
  const more = await until("they are folded, and served", async () => {
    const m = await read("attempt_wait_seconds");
    return m.count > wait.count && m;
  });
  const rise = (le) => more.buckets[le] - wait.buckets[le];
  assert.deepEqual(Object.keys(more.buckets), Object.keys(wait.buckets));
  assert.deepEqual(Object.keys(more.buckets), Object.keys(time.buckets));
  assert.deepEqual(Object.keys(more.buckets), Object.keys((await read("http_seconds")).buckets));
  assert.deepEqual(["1.048576", "1.572864", "2.097152", "4294.967296", "+Inf"].map(rise), [0, 3, 4, 4, 5]);
  assert.ok(Math.abs(more.sum - wait.sum - middles) < 0.001, `${more.sum - wait.sum} is not ${middles}`);
  assert.equal((await read("attempt_time_seconds")).count, time.count + 7);
  assert.equal(await g.stop(), 0);
});

test("every metric in the dashboard is served, and every one that is measured is in it", async () => {
  const dashboard = JSON.parse(fs.readFileSync(path.join(root, "docs/grafana.json"), "utf8"));
  const table = [...fs.readFileSync(path.join(root, "core/measure.c"), "utf8").matchAll(/^\t\{ "(\w+)"/gm)].map((m) => m[1]);
  const g = await gateway();
  await g.hook(); // an answer
  const served = new Set(Object.values(await g.metrics()).flatMap((f) => f.samples.map(([name]) => name)));
  // what is there only while something is wrong, or now and then
  const now_and_then = /^(archive_failing|database_bytes|delivery_failing|log_lag_seconds|slot_idle|step_(time|wait)_seconds|upkeep_failing|xmin_age|xmin_age_seconds)$/;
  for (const name of table.filter((n) => now_and_then.test(n))) served.add(`meshhook_${name}`);
  const shown = new Set();
  const ids = dashboard.panels.map((p) => p.id);
  assert.equal(new Set(ids).size, ids.length);
  for (const p of dashboard.panels.filter((x) => x.type !== "row")) {
    assert.ok(p.title && p.description && p.targets.length, `panel ${p.id}`);
    for (const t of p.targets) {
      assert.deepEqual(t.datasource, { type: "prometheus", uid: "${datasource}" });
      for (const [name] of t.expr.matchAll(/\bmeshhook_\w+/g)) {
        assert.ok(served.has(name), `${p.title}: ${name} is not served`);
        shown.add(name);
      }
    }
  }
  const page = fs.readFileSync(path.join(root, "docs/monitoring.md"), "utf8");
  for (const name of table) {
    assert.ok(["", "_seconds", "_bucket"].some((end) => shown.has(`meshhook_${name}${end}`)), `no panel shows ${name}`);
    assert.ok(new RegExp(`\`(meshhook_)?${name}\``).test(page), `docs/monitoring.md doesn't have ${name}`);
  }
  assert.equal(await g.stop(), 0);
});

test("by project, where that is wanted", async () => {
  const g = await gateway({ MESHHOOK_METRICS_PROJECTS: "1" });
  const m = await g.metrics();
  const n = value(m, "meshhook_arrivals_total", { project: slug });
  assert.ok(n === 1 || n === 2, `${n}`); // the webhook of the test before
  assert.ok(value(m, "meshhook_runs_running", { project: slug }) >= 1);
  assert.ok(m.meshhook_arrivals.samples.every(([, labels]) => "project" in labels), "no sum beside its parts");
  assert.equal(await g.stop(), 0);
});

test("a database that hangs or is gone: its own metrics are served, soon; then the others again", async () => {
  const g = await gateway({ MESHHOOK_GATEWAY_DB_URL: far.url });
  const has = async () => /^meshhook_queue_visible/m.test(await (await fetch(`${g.url}/metrics`)).text());
  assert.equal(await has(), true);
  await sleep(1100); // what was read is good for a second
  far.held = true;
  const began = Date.now();
  const all = await Promise.all(Array.from({ length: 20 }, has));
  assert.ok(all.every((x) => !x));
  assert.ok(Date.now() - began < 20000, "they wait for each other"); // 2 s each
  const soon = Date.now();
  for (let i = 0; i < 10; i++) assert.equal(await has(), false);
  assert.ok(Date.now() - soon < 10000, "it waits again for what doesn't come");
  far.cut();
  await until("it is told that the database is gone", async () => value(await g.metrics(), "meshhook_database_up") === 0);
  assert.equal(await has(), false);
  far.held = far.refuses = false;
  await until("it is back", has);
  assert.equal(await g.stop(), 0);
});

test("however many ask, the database is asked once a second", async () => {
  far.held = far.refuses = false;
  const g = await gateway({ MESHHOOK_GATEWAY_DB_URL: far.url });
  const began = Date.now();
  far.scrapes = 0;
  for (let i = 0; i < 30; i++) await Promise.all(Array.from({ length: 10 }, async () => (await fetch(`${g.url}/metrics`)).text()));
  const seconds = (Date.now() - began) / 1000;
  assert.ok(far.scrapes >= 1 && far.scrapes <= seconds + 1, `${far.scrapes} in ${seconds} s`);
  assert.equal(await g.stop(), 0);
});

test("heartbeats count what intake took and what failed by our own fault; clients' faults are not ours", async () => {
  const counted = async () => Object.fromEntries((await sql(`select metric, sum(value)::int as n from (
    select metric, value from meshhook.counters where project_id = '00000000-0000-0000-0000-000000000000'
    union all select metric, delta from meshhook_engine.counter_deltas where project_id = '00000000-0000-0000-0000-000000000000') c
    where metric like 'intake.%' group by 1`)).map((r) => [r.metric, r.n]));
  far.held = far.refuses = false;
  const { "intake.accepted": a = 0, "intake.failed": f = 0 } = await counted();
  const g = await gateway({ MESHHOOK_GATEWAY_DB_URL: far.url });
  for (let i = 0; i < 5; i++) assert.equal(await g.hook(), 202);
  assert.equal((await fetch(`${g.url}/hooks/${slug}/nobody`, { method: "POST", body: "{}" })).status, 404);
  assert.equal((await fetch(g.url + endpoint.path, { method: "POST", body: "{}" })).status, 401);
  far.cut();
  await until("it says so", async () => (await fetch(`${g.url}/readyz`)).status === 503);
  await sleep(2100); // from then on it is an outage
  assert.equal(await g.hook(), 503);
  assert.equal(await g.hook(), 503);
  far.refuses = false;
  await until("it is back", async () => (await fetch(`${g.url}/readyz`)).status === 200);
  assert.equal(await g.hook(), 202);
  assert.equal(await g.stop(), 0);
  assert.deepEqual(await counted(), { "intake.accepted": a + 6, "intake.failed": f + 2 });
  await until("they are metrics", async () => (await sql(`select from meshhook.queue_metrics where project_id is null
    and (data ->> 'intake_accepted_total')::int = $1 and (data ->> 'intake_failed_total')::int = $2`, a + 6, f + 2)).length > 0);
  await monitor.stop();
});
