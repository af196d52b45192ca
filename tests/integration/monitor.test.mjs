// Two monitors on the real database: one leads, whatever happens to it; what it measures is kept.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, test } from "node:test";
import pg from "pg";

const pool = new pg.Pool({ connectionString: process.env.SUPABASE_DB_URL, max: 2 });
const sql = async (text, ...values) => (await pool.query(text, values)).rows;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const children = new Set();

async function until(what, fn, ms = 15000) {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(20)) {
    const value = await fn();
    if (value) return value;
  }
  assert.fail(`not after ${ms} ms: ${what}`);
}

// A monitor; events are those of its log.
function monitor(...args) {
  const child = spawn(process.env.MESHHOOK_BIN, ["monitor", "--interval", "300ms", "--lease", "1s", ...args], {
    env: { ...process.env, MESHHOOK_LOG_FORMAT: "json" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const m = { child, events: [], text: "" };
  let rest = "";
  child.stderr.on("data", (d) => {
    m.text += d;
    rest += d;
    const lines = rest.split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("{")) m.events.push(JSON.parse(line));
  });
  m.over = new Promise((resolve) => child.on("exit", (code, signal) => resolve({ code, signal })));
  m.last = () => m.events.findLast((e) => e.event === "monitor.leads" || e.event === "monitor.standby");
  m.leads = () => m.last()?.event === "monitor.leads";
  children.add(child);
  return m;
}
const ended = async (m) => {
  m.child.kill("SIGTERM");
  const { code } = await m.over;
  assert.equal(code, 0, m.text);
};

after(async () => {
  for (const c of children) c.kill("SIGKILL");
  await pool.end();
});

const newest = async () => (await sql("select max(at) as at from meshhook.queue_metrics where project_id is null"))[0].at;
const measured = async (since) => until("a tick", async () => (await newest()) > since);

test("one of two leads; when it is killed the other takes over, and measures", async () => {
  const one = monitor();
  await until("one leads", one.leads);
  const two = monitor();
  await until("the other is ready", () => two.events.find((e) => e.event === "monitor.ready"));
  await sleep(600);
  assert.equal(two.leads(), false, "two lead");
  const first = one.last().fence;
  one.child.kill("SIGKILL");
  const killed = Date.now();
  await until("the other leads", two.leads);
  assert.ok(Date.now() - killed < 3000, "it took too long");
  assert.ok(two.last().fence > first, "the fence didn't grow");
  await measured(new Date());
  await ended(two);
});

test("one that was stopped beyond its lease stands by, and writes nothing meanwhile", async () => {
  const one = monitor();
  await until("one leads", one.leads);
  const two = monitor();
  await until("the other is ready", () => two.events.find((e) => e.event === "monitor.ready"));
  one.child.kill("SIGSTOP");
  await until("the other leads", two.leads);
  one.child.kill("SIGCONT");
  await until("the first stands by", () => one.last().event === "monitor.standby");
  assert.ok(two.leads());
  // in order: the next one need not wait for the lease
  await ended(two);
  await until("the first leads again", one.leads, 1000);
  await ended(one);
});

test("a database that goes away and comes back", async () => {
  const one = monitor();
  await until("one leads", one.leads);
  for (let i = 0; i < 3; i++) {
    await sql(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'meshhook monitor'`);
    await measured(new Date());
  }
  await ended(one);
});

test("what holds the oldest snapshot is named", async () => {
  const holder = new pg.Client({ connectionString: process.env.SUPABASE_DB_URL });
  await holder.connect();
  const { rows } = await holder.query("select pg_backend_pid() as pid");
  await holder.query("begin isolation level repeatable read");
  await holder.query("select 1 from meshhook.projects");
  const one = monitor();
  await until("the holder is in the metrics", async () => {
    const [m] = await sql("select data from meshhook.queue_metrics where project_id is null order by at desc limit 1");
    return m?.data.xmin_age_seconds?.[rows[0].pid] > 4;
  });
  await holder.end();
  await ended(one);
});
