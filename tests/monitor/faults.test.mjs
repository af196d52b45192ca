// What the world does to the monitor: its database goes away, nobody leads for a while, a pooler lies
// between, something outside chokes the database.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, afterEach, test } from "node:test";
import pg from "pg";
import { pooler } from "../crash/pooler.mjs";
import { about, channel, clean, ended, history, meshhook, monitor, name, pool, receiver, rounds, rule, settled, sleep, sql, start, until, wire } from "./lib.mjs";

const gone_s = rounds >= 1000 ? 120 : 8;
afterEach(async () => {
  await clean();
  await sql("delete from meshhook_engine.timers where kind = 'test'");
  await sql(`update meshhook.alert_rules r set expr = w.expr, hold_s = w.hold_s, keep_s = w.keep_s from jsonb_to_recordset($1) w(name text, expr text, hold_s int, keep_s int)
    where r.name = w.name and r.project_id is null`, JSON.stringify(shipped));
});
const shipped = await sql("select name, expr, hold_s, keep_s from meshhook.alert_rules where name in ('xmin-held', 'slot-idle', 'no-workers') and project_id is null");
after(() => pool.end());

// One more thing that waits for a moment: queue_delayed rises.
const delay = () => sql(`insert into meshhook_engine.timers (run_id, kind, step, attempt, due_at, project_id, message)
  values (gen_random_uuid(), 'test', 'x', 1, now() + interval '1 day', gen_random_uuid(), '{}')`);
const delayed = async () => (await sql("select count(*)::int as n from meshhook_engine.timers"))[0].n;
const measured = async (since = new Date()) =>
  until("a tick", async () => (await sql("select 1 from meshhook.queue_metrics where at > $1 limit 1", since)).length);

// A project whose counters the test moves.
async function project() {
  const slug = name("p");
  const [{ id }] = await sql("insert into meshhook.projects (slug, name) values ($1, $1) returning id", slug);
  const count = (metric, n) => sql(`insert into meshhook.counters (project_id, metric, value) values ($1, $2, $3)
    on conflict (project_id, metric) do update set value = counters.value + $3, updated_at = now()`, id, metric, n);
  for (const metric of ["log.lines", "broadcast.sent", "run.started"]) await count(metric, 1000);
  return { slug, id, count };
}

// Told of by one message as firing, and of nothing else.
const told = (r, called) => r.got.filter((one) => about(one, called)).map((one) => one.json.type);

test(`the database is gone for ${gone_s} s: no alert is lost, none is over, none made up`, { timeout: 60000 + gone_s * 2000 }, async () => {
  const w = await wire(process.env.MESHHOOK_MONITOR_DB_URL);
  const r = await receiver();
  await channel(r, "--per-minute", "600");
  const p = await project();
  const begun = new Date();
  const m = monitor({ MESHHOOK_MONITOR_DB_URL: w.url });
  await until("it leads", m.leads);
  await measured();
  const here = await rule(`queue_delayed > ${await delayed()}`);
  const rose = await rule("increase(log_lines_total[5m]) > 10", "--project", p.slug);
  const later = await rule("increase(broadcasts_total[5m]) > 10", "--project", p.slug);
  const never = await rule(`absent(queue_visible[${Math.ceil(gone_s / 2)}s]) or rate(arrivals_total[5m]) < 0`);
  await delay();
  await p.count("log.lines", 20);
  for (const called of [here, rose]) await until("it fires", () => told(r, called).length);
  await settled(); // what can't be recorded any more would be repeated

  w.set("silent");
  await sleep(gone_s * 500);
  w.set("refuse");
  await p.count("broadcast.sent", 50);
  await p.count("run.started", 5000);
  await sleep(gone_s * 500);
  w.set("open");
  await until("what rose meanwhile is told", () => told(r, later).length);
  await sleep(1500);
  for (const called of [here, rose, later]) {
    assert.deepEqual(told(r, called), ["alert.firing"]);
    assert.deepEqual(await history(called), ["firing"]);
  }
  assert.deepEqual(await history(never), []);
  const fell = await sql(`select * from (
      select m.at, m.project_id, d.key, d.value::numeric as value,
             lag(d.value::numeric) over (partition by m.project_id, d.key order by m.at) as before
        from meshhook.queue_metrics m, jsonb_each(m.data) d
       where m.at > $1 and d.key like '%\\_total' and jsonb_typeof(d.value) = 'number') x where value < before`, begun);
  assert.deepEqual(fell, [], "a counter fell");
  await sql("delete from meshhook_engine.timers where kind = 'test'");
  await until("its end", () => told(r, here).length === 2);
  await ended(m);
});

test("what rose while nobody led is seen by the next, and what fired goes on", async () => {
  const r = await receiver();
  await channel(r, "--per-minute", "600");
  const p = await project();
  const one = monitor();
  await until("one leads", one.leads);
  await measured();
  const rose = await rule("increase(log_lines_total[5m]) > 10", "--project", p.slug);
  const later = await rule("increase(broadcasts_total[5m]) > 10", "--project", p.slug);
  await p.count("log.lines", 20);
  await until("it fires", () => told(r, rose).length);
  await settled();
  one.child.kill("SIGKILL");
  await one.over;
  await p.count("broadcast.sent", 50);
  const two = monitor();
  await until("what rose meanwhile is told", () => told(r, later).length);
  // a new range: it is looked back at, too
  const far = await rule("increase(broadcasts_total[30m]) > 40 and increase(log_lines_total[20m]) > 10", "--project", p.slug);
  await until("a rule that is new looks back", () => told(r, far).length);
  await sleep(1000);
  for (const called of [rose, later, far]) assert.deepEqual([told(r, called), await history(called)], [["alert.firing"], ["firing"]]);
  await ended(two);
});

test("through a pooler in transaction mode: it leads, tells and hands over", async () => {
  const pooled = await pooler(process.env.MESHHOOK_MONITOR_DB_URL, ["default_pool_size = 3", "server_idle_timeout = 1"]);
  try {
    const r = await receiver();
    await channel(r, "--per-minute", "600");
    const [one, two] = [0, 1].map(() => monitor({ MESHHOOK_MONITOR_DB_URL: pooled.url }));
    const leader = await until("one leads", () => [one, two].find((m) => m.leads()));
    const other = leader === one ? two : one;
    await until("the other is ready", () => other.said("monitor.ready"));
    await measured();
    const before = await delayed();
    const called = await rule(`queue_delayed > ${before}`);
    await delay();
    await until("a message", () => told(r, called).length);
    await settled();
    leader.child.kill("SIGKILL");
    await until("the other leads", other.leads);
    await sql("delete from meshhook_engine.timers where kind = 'test'");
    await until("its end", () => told(r, called).length === 2);
    assert.deepEqual(told(r, called), ["alert.firing", "alert.resolved"]);
    assert.deepEqual(await history(called), ["firing", "resolved"]);
    assert.doesNotMatch(other.text, /not_recorded|tick_failed|upkeep.failed/);
    await ended(other);
  } finally {
    pooled.close();
  }
});

test("a held transaction and an idle slot are named, with what to do, in Slack's and PagerDuty's words", async () => {
  const slot = `idle_${process.pid}`;
  const holder = new pg.Client({ connectionString: process.env.SUPABASE_DB_URL });
  await holder.connect();
  const { rows: [{ pid }] } = await holder.query("select pg_backend_pid() as pid");
  await holder.query("begin isolation level repeatable read");
  await holder.query("select 1 from meshhook.projects");
  await sql("select pg_create_logical_replication_slot($1, 'pgoutput')", slot);
  try {
    const r = await receiver();
    await meshhook(["alert", "channel", "add", "slack", name("slack"), "--interval", "0s"], `${r.url}/slack`);
    await meshhook(["alert", "channel", "add", "pagerduty", name("pagerduty"), "--interval", "0s"],
      JSON.stringify({ routing_key: "R0123456789ABCDEF0123456789ABCDE", url: `${r.url}/pagerduty` }));
    await meshhook(["alert", "rules", "set", "xmin-held", "xmin_age_seconds > 4", "--for", "0s", "--keep-firing-for", "0s"]);
    await meshhook(["alert", "rules", "set", "slot-idle", "slot_idle > 0", "--for", "0s", "--keep-firing-for", "0s"]);
    const m = monitor();
    const says = (to, ...texts) => until(`${to}: ${texts}`, () =>
      r.got.find((one) => one.url === `/${to}` && texts.every((text) => one.body.includes(text))));
    for (const to of ["slack", "pagerduty"]) {
      await says(to, "xmin-held", `session ${pid}`, "pg_terminate_backend(pid)", "docs/monitoring.md#xmin-held");
      await says(to, "slot-idle", `slot ${slot}`, "pg_drop_replication_slot(name)", "docs/monitoring.md#slot-idle");
    }
    const page = r.got.find((one) => one.url === "/pagerduty" && one.body.includes(`session ${pid}`)).json;
    assert.equal(page.event_action, "trigger");
    assert.ok(page.payload.custom_details.some((a) => a.labels.session === String(pid)));
    await holder.query("commit");
    await until("PagerDuty hears its end", () =>
      r.got.find((one) => one.url === "/pagerduty" && one.json.event_action === "resolve" && one.json.dedup_key === page.dedup_key));
    await ended(m);
  } finally {
    await holder.end();
    await sql("select pg_drop_replication_slot($1)", slot);
  }
});

test("workers that died are missed, until there is one again", async () => {
  const slug = name("p");
  const file = path.join(os.tmpdir(), `${slug}.json`);
  fs.writeFileSync(file, JSON.stringify({ name: "nap", nodes: [{ id: "start", type: "manual" }, { id: "say", type: "log", message: "x" }],
    edges: [{ from: "start", to: "say" }] }));
  await meshhook(["project", "create", slug]);
  for (const verb of [["push", file], ["publish", "nap"]]) await meshhook(["workflow", ...verb, "--project", slug]);
  fs.rmSync(file);
  await meshhook(["alert", "rules", "set", "no-workers", 'workers_alive{kind="worker"} < 1 and queue_visible > 0', "--for", "0s", "--keep-firing-for", "0s"]);
  const r = await receiver();
  await channel(r);
  const worker = start(["worker"]);
  await until("a worker", () => worker.said("worker.ready"));
  const m = monitor();
  await until("it is measured", async () => {
    const [row] = await sql("select data from meshhook.queue_metrics where project_id is null order by at desc limit 1");
    return row?.data.workers_alive?.worker > 0;
  });
  worker.child.kill("SIGKILL");
  await worker.over;
  await sql("select meshhook.start_run($1, 'nap', '{}')", slug);
  await sleep(700);
  assert.deepEqual(told(r, "no-workers"), [], "it was heard of within 40 s");
  await sql("update meshhook.workers set seen_at = now() - interval '41 s' where kind = 'worker'"); // as time goes by
  await until("they are missed", () => told(r, "no-workers").length);
  const next = start(["worker"]);
  await until("its end", () => told(r, "no-workers").length === 2);
  assert.deepEqual(told(r, "no-workers"), ["alert.firing", "alert.resolved"]);
  await ended(next);
  await ended(m);
});
