// Two monitors on the real database: one leads, whatever happens to it; what it measures is kept.
import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import pg from "pg";
import { clean, ended, monitor, pool, sql, ticks, until } from "./lib.mjs";

afterEach(clean);
after(() => pool.end());

const newest = async () => (await sql("select max(at) as at from meshhook.queue_metrics where project_id is null"))[0].at;
const measured = async (since) => until("a tick", async () => (await newest()) > since);

test("one of two leads; when it is killed the other takes over, and measures", async () => {
  const one = monitor({}, "--lease", "3s");
  await until("one leads", one.leads);
  const two = monitor({}, "--lease", "3s");
  await until("the other is ready", () => two.said("monitor.ready"));
  await ticks(3);
  assert.equal(two.leads(), false, "two lead");
  const first = one.last().fence;
  one.child.kill("SIGKILL");
  const killed = Date.now();
  await until("the other leads", two.leads);
  assert.ok(Date.now() - killed < 6500, "it took the lease that is usual"); // 7 s
  assert.ok(two.last().fence > first, "the fence didn't grow");
  await measured(new Date());
  await ended(two);
});

test("one that was stopped beyond its lease stands by, and writes nothing meanwhile", async () => {
  const one = monitor({}, "--lease", "2s");
  await until("one leads", one.leads);
  const two = monitor({}, "--lease", "2s");
  await until("the other is ready", () => two.said("monitor.ready"));
  one.child.kill("SIGSTOP");
  await until("the other leads", two.leads);
  one.child.kill("SIGCONT");
  await until("the first stands by", () => one.last().event === "monitor.standby");
  assert.ok(two.leads());
  await ended(two);
  await until("the first leads again", one.leads);
  await ended(one);
});

test("one that ends in order is not waited for", async () => {
  const one = monitor({}, "--lease", "20s");
  await until("one leads", one.leads);
  const two = monitor({}, "--lease", "20s");
  await until("the other is ready", () => two.said("monitor.ready"));
  await ended(one);
  await until("the other leads, at the next time it asks", two.leads, 12000); // each 5 s; the lease would last for 15 s or more
  await ended(two);
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
