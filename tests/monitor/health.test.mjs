// What the monitor says of the ways out: how long a log line takes, what members hear of their
// project's health, channels that fail, and failed runs of one workflow, whoever dies meanwhile.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import crypto from "node:crypto";
import { createServer } from "node:http";
import { after, afterEach, before, test } from "node:test";
import { createClient } from "@supabase/supabase-js";
import pg from "pg";
import ws from "ws";

const { MESHHOOK_BIN: binary, SUPABASE_URL: url, SUPABASE_PUBLISHABLE_KEY: key, MESHHOOK_GATEWAY_PORT: port } = process.env;
const pool = new pg.Pool({ connectionString: process.env.SUPABASE_DB_URL, max: 4 });
const sql = async (text, ...values) => (await pool.query(text, values)).rows;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const slug = `health-${process.pid}`;
const env = { ...process.env, MESHHOOK_LOG_FORMAT: "json", MESHHOOK_WORKER_POLL: "50ms" };
for (const name of ["MESHHOOK_PROJECT", "MESHHOOK_TESTPOINT", "MESHHOOK_HTTP_ALLOW"]) delete env[name];
const children = new Set();
const receivers = new Set();

async function until(what, fn, ms = 60000) {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(20)) {
    const value = await fn();
    if (value) return value;
  }
  assert.fail(`not after ${ms} ms: ${typeof what === "function" ? what() : what}`);
}

function start(what, more = {}, ...args) {
  const child = spawn(binary, [what, ...args], { env: { ...env, ...more }, stdio: ["ignore", "ignore", "pipe"] });
  const p = { child, text: "" };
  children.add(p);
  child.stderr.on("data", (d) => (p.text += d));
  p.over = new Promise((resolve) => child.on("close", (code, signal) => {
    children.delete(p);
    assert.ok(!/Sanitizer|runtime error/.test(p.text), p.text);
    resolve(signal ?? code);
  }));
  p.said = (event) => p.text.split("\n").filter((line) => line.includes(`"event":"${event}"`)).map((line) => JSON.parse(line));
  p.stop = (signal = "SIGTERM") => {
    child.kill(signal);
    return p.over;
  };
  return p;
}
const monitor = (more = {}) =>
  start("monitor", { MESHHOOK_HTTP_ALLOW: "127.0.0.1/32", ...more }, "--interval", "300ms", "--lease", "1s");
async function gateway(more = {}) {
  const g = start("gateway", { MESHHOOK_LOCAL_REALTIME: "on", ...more });
  await until(() => `a gateway: ${g.text}`, () => g.said("gateway.listening").length);
  return g;
}

// meshhook ARGS; fed is its standard input. Its records.
function meshhook(args, fed = "") {
  return new Promise((resolve, reject) => {
    const child = execFile(binary, [...args, "-o", "json"], { env }, (error, stdout, stderr) => {
      if (error) return reject(new Error(`${args.join(" ")}: ${stderr}`));
      resolve(stdout.trim().split("\n").filter(Boolean).map((line) => JSON.parse(line)));
    });
    child.stdin.end(fed);
  });
}

async function receiver(status = () => 200) {
  const r = { got: [], status };
  r.server = createServer((req, res) => {
    let body = "";
    req.on("data", (d) => (body += d));
    req.on("end", () => {
      r.got.push({ id: req.headers["webhook-id"], round: r.round, ...JSON.parse(body).data });
      res.writeHead(r.status());
      res.end();
    });
  });
  await new Promise((resolve) => r.server.listen(0, "127.0.0.1", resolve));
  r.url = `http://127.0.0.1:${r.server.address().port}/hook`;
  receivers.add(r);
  return r;
}
let n = 0;
async function channel(r) {
  const name = `out-${process.pid}-${++n}`;
  await meshhook(["alert", "channel", "add", "webhook", name, "--interval", "0s", "--repeat", "0s", "--per-minute", "600"], r.url);
  return name;
}

const newest = async () =>
  (await sql("select at, data from meshhook.queue_metrics where project_id is null order by at desc limit 1"))[0]?.data ?? {};
const lag = async () => (await newest()).log_lag_seconds;
const lines = async () =>
  Number((await sql("select coalesce(max(last_seq), 0) as n from meshhook.channels where id = meshhook_engine.canary_id()"))[0].n);

before(async () => {
  await sql("select meshhook.create_project($1, 'Health')", slug);
});
afterEach(async () => {
  for (const p of children) {
    p.child.kill("SIGCONT");
    await p.stop("SIGKILL");
  }
  for (const r of receivers) {
    r.server.closeAllConnections();
    r.server.close();
  }
  receivers.clear();
  await sql("delete from meshhook.alert_channels");
});
after(async () => {
  await sql("select meshhook.purge_project($1)", slug);
  await pool.end();
});

test("log lag: small while lines come, growing while they don't, and the log says why", async (t) => {
  let g = await gateway();
  const m = monitor({ MESHHOOK_MONITOR_GATEWAY_URL: `http://127.0.0.1:${port}/` });
  await until(() => `a lag: ${m.text}`, async () => (await lag()) < 1);
  const from = await lines();
  const since = Date.now();
  t.diagnostic(`lag ${1000 * (await lag())} ms`);
  // the gateway is gone
  await g.stop("SIGKILL");
  await until("the lag grows", async () => (await lag()) > 3);
  assert.equal(m.said("canary.unreachable").length, 1, m.text);
  g = await gateway();
  await until("lines come again", async () => (await lag()) < 1);
  await until("it says so", () => m.said("canary.follows").length === 1);
  // the gateway is there, and hangs
  g.child.kill("SIGSTOP");
  await until("the lag grows again", async () => (await lag()) > 6);
  await until("it says so", () => m.said("canary.late").length === 1);
  assert.equal(m.said("canary.unreachable").length, 1, "a gateway that hangs was taken for one that is gone");
  g.child.kill("SIGCONT");
  await until("the line came, late", () => m.said("canary.came").length === 1);
  assert.ok(m.said("canary.came")[0].ms > 5000);
  await until("and the next in time", async () => (await lag()) < 1);
  assert.ok((await lines()) - from <= (Date.now() - since) / 4500 + 3, "more lines than one each 4.5 s");
  assert.equal(await m.stop(), 0);
});

test("no lag without a gateway to ask; one with another key refuses", async () => {
  const from = await lines();
  const off = monitor();
  await until("it leads", () => off.said("monitor.leads").length);
  const [{ since }] = await sql("select clock_timestamp()::text as since");
  await until("it measures", async () => (await sql("select 1 from meshhook.queue_metrics where project_id is null and at > $1::timestamptz limit 3", since)).length === 3);
  assert.equal(await lag(), undefined);
  assert.equal(await lines(), from);
  await off.stop();
  await gateway({ MESHHOOK_INTAKE_KEY: Buffer.alloc(32, 7).toString("base64") });
  const m = monitor({ MESHHOOK_MONITOR_GATEWAY_URL: `http://127.0.0.1:${port}` });
  await until(() => `refused: ${m.text}`, () => m.said("canary.refused").length === 1);
  assert.equal(m.said("canary.refused")[0].status, 401);
  await m.stop();
  const keyless = monitor({ MESHHOOK_MONITOR_GATEWAY_URL: "http://127.0.0.1:1", MESHHOOK_INTAKE_KEY: "" });
  assert.equal(await keyless.over, 78);
});

test("members hear of their project's health at each tick, others don't", async () => {
  const client = () => createClient(url, key, { auth: { persistSession: false }, realtime: { transport: ws } });
  const signUp = async (who) => {
    const supabase = client();
    const { data } = await supabase.auth.signUp({ email: `${who}-${process.pid}@example.com`, password: "correct horse" });
    await supabase.realtime.setAuth();
    return { supabase, id: data.user.id };
  };
  await gateway();
  const m = monitor();
  const [viewer, stranger] = [await signUp("hv"), await signUp("hs")];
  await sql("select meshhook.add_member($1, $2)", slug, viewer.id);
  await sql("insert into meshhook.counters (project_id, metric, value) select id, 'run.started', 7 from meshhook.projects where slug = $1", slug);
  const watch = (who) => who.supabase.schema("meshhook").rpc("watch", { channel: `health:${slug}`, reader: crypto.randomUUID() }).single();
  assert.equal((await watch(stranger)).error.code, "PT403");
  const { data, error } = await watch(viewer);
  assert.equal(error, null);
  const heard = [];
  const join = (who, status) =>
    who.supabase.channel(data.topic, { config: { private: true } })
      .on("broadcast", { event: "health" }, ({ payload }) => heard.push({ who, payload })).subscribe(status);
  let joined, refused;
  join(viewer, (status) => (joined ||= status === "SUBSCRIBED"));
  join(stranger, (status) => (refused ||= status === "CHANNEL_ERROR"));
  await until("the member joins, the other doesn't", () => joined && refused);
  await until("three ticks are heard of", () => heard.length >= 3);
  assert.ok(heard.every((h) => h.who === viewer));
  const { payload } = heard.at(-1);
  assert.equal(payload.data.arrivals_total, 7);
  assert.match(payload.channel, /^health:[0-9a-f-]{36}$/);
  assert.ok(Math.abs(Date.now() - new Date(payload.at)) < 60000);
  assert.equal(new Set(heard.map((h) => h.payload.at)).size, heard.length, "a tick was told twice");
  for (const who of [viewer, stranger]) await who.supabase.realtime.disconnect();
  await m.stop();
});

test("a channel that fails is told of by another, never by itself", async () => {
  const [bad, good] = [await receiver(() => 500), await receiver()];
  const failing = await channel(bad);
  await channel(good);
  const m = monitor();
  await until("it leads", () => m.said("monitor.leads").length);
  await sql(`insert into meshhook.outbox (channel_id, group_key, dedup_key, kind, body, fence)
    select c.id, 'g' || g, 'g', 'new', '{"status": "firing", "alerts": [{"rule": "first"}]}', 0
    from meshhook.alert_channels c, generate_series(1, 6) g where c.name = $1`, failing);
  const about = (x) => x.alerts.some((a) => a.rule === "delivery-failing");
  const told = await until(() => `told: ${m.text}`, () => good.got.find(about));
  assert.deepEqual(told.alerts.map((a) => a.labels), [{ channel: failing }]);
  bad.status = () => 200;
  await until("what waited is delivered", async () => (await sql("select 1 from meshhook.outbox where state <> 'sent'")).length === 0, 180000);
  assert.equal(bad.got.filter(about).length, 0);
  await m.stop();
});

// A workflow whose runs fail at a step, as fast as they are started.
async function flow(name) {
  const draft = {
    name,
    nodes: [{ id: "start", type: "manual" }, { id: "call", type: "http_call", url: "http://127.0.0.1:9/{{ input.n }}" }],
    edges: [{ from: "start", to: "call" }],
  };
  await meshhook(["workflow", "push", "-", "--project", slug], JSON.stringify(draft));
  await meshhook(["workflow", "publish", name, "--project", slug]);
}
const fail = async (name, count) =>
  (await sql("select meshhook.start_run($1, $2, jsonb_build_object('n', i)) as id from generate_series(1, $3) i", slug, name, count)).map((r) => r.id);
const over = (ids) => until("the runs fail", async () =>
  (await sql("select 1 from meshhook.runs where id = any ($1) and status = 'failed'", ids)).length === ids.length, 120000);

test("each failed run of a workflow is told, with its step, its error and a link", async () => {
  const r = await receiver();
  await flow("boom");
  await flow("other");
  await channel(r);
  const m = monitor({ MESHHOOK_CONSOLE_URL: "https://console.example" });
  start("worker");
  const [made] = await meshhook(["alert", "rules", "add", "boom-failed", "--run-failed", "boom", "--project", slug, "--severity", "critical"]);
  assert.equal(made.expr, 'runs_failed{workflow="boom"}');
  const [id] = await fail("boom", 1);
  await fail("other", 1);
  const told = await until(() => `told: ${m.text}`, () => r.got.find((x) => x.alerts.some((a) => a.run === id)));
  const [alert] = told.alerts;
  assert.equal(alert.step, "call");
  assert.equal(alert.error.code, "SSRF");
  assert.match(alert.error.message, /loopback/);
  assert.equal(alert.summary, "A run of boom failed at step call: SSRF");
  assert.equal(alert.link, `https://console.example/p/${slug}/runs/${id}`);
  const [was] = await meshhook(["alert", "test", "boom-failed", "--project", slug, "--since", "1h"]);
  assert.deepEqual(was.labels, { run: id, step: "call", code: "SSRF" });
  assert.equal((await meshhook(["alert", "history", "--rule", "boom-failed", "--project", slug]))[0].alert, id);
  await assert.rejects(meshhook(["alert", "rules", "add", "x", "--run-failed", "boom", "--installation"]), /of a project/);
  await assert.rejects(meshhook(["alert", "rules", "add", "x", "--run-failed", "nothing", "--project", slug]), /no workflow "nothing"/);
  assert.equal(r.got.flatMap((x) => x.alerts).filter((a) => a.run).length, 1);
  await meshhook(["alert", "rules", "remove", "boom-failed", "--project", slug]).catch(() => {});
});

// Killed again and again, at each point on the way, while runs fail.
test("failed runs while monitors are killed: none is lost, none told twice but as a marked repeat", async (t) => {
  const r = await receiver();
  await flow("crash");
  await channel(r);
  await meshhook(["alert", "rules", "add", "crash-failed", "--run-failed", "crash", "--project", slug]);
  start("worker");
  const ids = [];
  const points = ["monitor.told_failed", "deliver.taken", "deliver.answered", "deliver.recorded", "monitor.told_failed:2", ""];
  for (const [round, point] of points.entries()) {
    r.round = round;
    const m = monitor(point ? { MESHHOOK_TESTPOINT: point } : {});
    await until("it leads", () => m.said("monitor.leads").length);
    ids.push(...(await fail("crash", 8)));
    await sleep(300);
    ids.push(...(await fail("crash", 8)));
    if (!point) await sleep(1000), await m.stop("SIGKILL");
    // runs that failed together are told together, so the second telling may want one more
    await until(() => `killed at ${point}: ${m.text}`, async () => !children.has(m) || !ids.push(...(await fail("crash", 1))), 60000);
    assert.equal(await m.over, "SIGKILL", `${point}: ${m.text}`);
  }
  await over(ids);
  r.round = points.length;
  const last = monitor();
  const runs = () => r.got.flatMap((x) => x.alerts.filter((a) => a.run).map((a) => ({ run: a.run, again: x.again, id: x.id, round: x.round })));
  await until(() => `all are told: ${new Set(runs().map((x) => x.run)).size} of ${ids.length}`, () => new Set(runs().map((x) => x.run)).size === ids.length, 180000);
  await until("all is sent", async () => (await sql("select 1 from meshhook.outbox where state in ('queued', 'sending')")).length === 0, 180000);
  await last.stop();
  for (const id of ids) {
    const told = runs().filter((x) => x.run === id);
    // once more for each monitor that was killed with it
    assert.equal(told.filter((x) => !x.again).length <= 1 && told.length <= 2 + told.at(-1).round - told[0].round, true, JSON.stringify(told));
    assert.equal(new Set(told.map((x) => x.id)).size, 1, "a repeat has the first one's id");
  }
  t.diagnostic(`${ids.length} runs, ${r.got.length} messages, ${r.got.filter((x) => x.again).length} marked as repeats`);
});
