// Nobody deadlocks: whoever takes several locks takes them in the order of docs/architecture.md.
// Pairs that must cross if either took them in another order, held up where it matters; then all
// at once, in an order of chance.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import pg from "pg";

const url = process.env.SUPABASE_DB_URL;
const pool = new pg.Pool({ connectionString: url, max: 2 });
const sql = async (text, ...values) => (await pool.query(text, values)).rows;
const one = async (text, ...values) => Object.values((await sql(text, ...values))[0])[0];
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const rounds = Math.ceil(Number(process.env.MESHHOOK_TEST_COUNT ?? 100) / 5);
const seed = Number(process.env.MESHHOOK_TEST_SEED ?? Date.now() % 1e9);
let state = seed;
const random = (n) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * n);
};

const sessions = new Set();
const open = async () => {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  client.on("error", () => {});
  sessions.add(client);
  const pid = (await client.query("select pg_backend_pid() as pid")).rows[0].pid;
  // "ok", or the SQLSTATE. A session that was told to go on does, or waits for a lock: then held() is true.
  const s = {
    run: (text) => client.query(text).then(() => "ok", (e) => e.code),
    held: () => one("select wait_event_type is not distinct from 'Lock' from pg_stat_activity where pid = $1", pid),
    end: () => (sessions.delete(client), client.end()),
  };
  s.begin = async (text) => {
    s.over = undefined;
    s.result = s.run(text).then((code) => (s.over = code));
    for (const end = Date.now() + 10000; !s.over && !(await s.held()); await sleep(5)) assert.ok(Date.now() < end, text);
  };
  return s;
};

let made = 0;
const ids = [];
const flow = { nodes: [{ id: "hand", type: "manual" }, { id: "hook", type: "webhook" }] };
const plan = { events: [], steps: [], messages: [{ n: "a", a: 1, k: "step" }], ends: null };
// A project with a row of each kind. Where two are locked, the later id lies first in its table:
// whoever goes by the table goes the other way round.
const project = async () => {
  const slug = `locks-${process.pid}-${++made}`;
  const p = { slug };
  ids.push((p.id = await one("select meshhook.create_project($1, $1)", slug)));
  p.user = "00000000-0000-4000-8000-" + String(made).padStart(12, "0");
  await sql("select meshhook.add_member($1, gen_random_uuid(), 'owner')", slug);
  await sql("select meshhook.add_member($1, $2, 'editor')", slug, p.user);
  p.workflow = await one("select meshhook.push_workflow($1, 'flow', $2)", slug, flow);
  await sql("select meshhook_engine.publish_version($1, $2, $3)", p.workflow, flow, { hand: plan, hook: plan });
  p.draft = await one("select meshhook.push_workflow($1, 'draft', $2)", slug, flow);
  p.endpoint = await one("select meshhook_engine.create_endpoint($1, 'in', 'flow', 'hook', 'sealed')", slug);
  await one("select meshhook_engine.create_endpoint($1, 'idle', 'draft', 'hook', 'sealed')", slug);
  p.runs = [];
  for (const key of ["k2", "k1"])
    p.runs.push(await one(`select run_id from meshhook_engine.intake(array[$1::uuid], '{1}', array[$2],
      '{"{}"}', '{"{}"}', 5, array['\\x01'::bytea])`, p.endpoint, key));
  await sql("select meshhook.log($1, 'webhooks', 'in', 'info', 'line')", slug);
  await sql("update meshhook.projects set broadcast = 'watched' where id = $1", p.id);
  for (const run of p.runs) await sql("select meshhook.watch($1, gen_random_uuid())", `logs:run:${p.id}:${run}`);
  p.messages = (await sql("select msg_id::int from pgmq.q_mh_work where message ->> 'p' = $1 order by 1", p.id)).map((m) => m.msg_id);
  p.rule = await one(`insert into meshhook.alert_rules (project_id, name, expr) values ($1, 'failed', 'runs_failed{workflow="flow"}') returning id`, p.id);
  p.channel = await one("select meshhook_engine.set_channel(gen_random_uuid(), $1, 'hook', 'webhook', 't', 's', null, null)", p.id);
  p.alert = await one(`insert into meshhook.alerts (id, rule_id, project_id, labels, state, value, since)
    values (gen_random_uuid(), $1, $2, '{}', 'firing', 1, now()) returning id`, p.rule, p.id);
  await sql("insert into meshhook_engine.alert_groups (channel_id, group_key) values ($1, 'g')", p.channel);
  await sql("insert into meshhook_engine.failed_groups (rule_id, channel_id) values ($1, $2)", p.rule, p.channel);
  return p;
};
const fence = () => one("select meshhook_engine.lead('00000000-0000-4000-8000-00000000f00d', '1 minute')::int");

const purge = (p) => `select meshhook.purge_project('${p.slug}')`;
const again = (p, keys = "k1,k2", body = "02") => `select * from meshhook_engine.intake(array_fill('${p.endpoint}'::uuid, array[2]), '{1,1}', '{${keys}}',
  array['{}', '{}']::jsonb[], array['{}', '{}']::jsonb[], 5, array['\\x${body}', '\\x${body}']::bytea[])`;
const record = (p, at, { changes = [], groups = [], messages = [], problems = [] }) => `select meshhook_engine.alert_record(${at}, now(),
  '${JSON.stringify(changes)}', '${JSON.stringify(groups)}', '${JSON.stringify(messages)}', '${JSON.stringify(problems)}')`;
const alert = (p, id = p.alert) => ({ id, rule_id: p.rule, project_id: p.id, labels: {}, state: "firing", value: 1, since: "2026-01-01" });
const message = (p) => ({ channel_id: p.channel, project_id: p.id, group_key: "g", dedup_key: "d", kind: "new", body: {} });
const group = (p) => ({ channel_id: p.channel, group_key: "g", told: [] });

after(async () => {
  for (const c of sessions) await c.end();
  await sql("select meshhook_engine.step_down('00000000-0000-4000-8000-00000000f00d')");
  await sql("select meshhook.purge_project(slug) from meshhook.projects where slug like $1", `locks-${process.pid}-%`);
  // what was sent while its project was purged
  for (const table of ["meshhook.runs", "meshhook.steps", "meshhook_engine.admission", "meshhook_engine.timers", "meshhook_engine.backlog"])
    await sql(`delete from ${table} where project_id = any ($1)`, ids);
  await sql("delete from pgmq.q_mh_work where message ->> 'p' = any ($1)", ids);
  await pool.end();
});

// hold: a lock that a third holds until both wait. before: what the second has done in its
// transaction when the first comes.
const crossings = {
  "a member is removed while the project is purged": (p) => ({
    hold: `select from meshhook.projects where id = '${p.id}' for update`,
    first: purge(p), second: `select meshhook.remove_member('${p.slug}', '${p.user}')` }),
  "two leave two projects": (p, q) => ({
    hold: `select from meshhook.projects where id = '${p.id}' for update`,
    first: `delete from meshhook.members where user_id = '${p.user}'`,
    second: `delete from meshhook.members where user_id = '${q.user}'` }),
  "live logs are switched off while the project is purged": (p) => ({
    hold: `select from meshhook_engine.watched where project_id = '${p.id}' for update`,
    first: purge(p), second: `update meshhook.projects set broadcast = 'off' where id = '${p.id}'` }),
  "a workflow is deleted while the project is purged": (p) => ({
    hold: `select from meshhook.endpoints where workflow_id = '${p.draft}' for update`,
    first: purge(p), second: `delete from meshhook.workflows where id = '${p.draft}'` }),
  "webhooks come again while the project is purged": (p) => ({
    hold: `select from meshhook_engine.deliveries where endpoint_id = '${p.endpoint}' and dedupe_key = 'k1' for update`,
    first: again(p), second: purge(p) }),
  "a transaction starts a run and logs while the project is purged": (p) => ({
    before: [again(p, "k3,k4"), `select meshhook.log('${p.slug}', 'webhooks', 'in', 'info', 'm')`],
    first: purge(p), second: "commit" }),
  "leases are extended while the project is purged": (p) => ({
    hold: `select from pgmq.q_mh_work where msg_id = ${p.messages[0]} for update`,
    first: purge(p), second: `select * from meshhook_engine.extend('{${p.messages[1]},${p.messages[0]}}',
      array(select vt from pgmq.q_mh_work where msg_id in (${p.messages}) order by msg_id desc), 1000)` }),
  "leases are given back while the project is purged": (p) => ({
    hold: `select from pgmq.q_mh_work where msg_id = ${p.messages[0]} for update`,
    first: purge(p), second: `select * from meshhook_engine.release('{${p.messages[1]},${p.messages[0]}}',
      array(select vt from pgmq.q_mh_work where msg_id in (${p.messages}) order by msg_id desc))` }),
  "counters are folded while the project is purged": (p) => ({
    prepare: [`insert into meshhook.counters (project_id, metric, value) values ('${p.id}', 'b', 1), ('${p.id}', 'a', 1)`,
      "select meshhook_engine.compact_counters()"],
    hold: `select from meshhook.counters where project_id = '${p.id}' and metric = 'b' for update`,
    first: purge(p), between: `insert into meshhook_engine.counter_deltas (project_id, metric, delta) values ('${p.id}', 'a', 1), ('${p.id}', 'b', 1)`,
    second: "select meshhook_engine.compact_counters()" }),
  "a month is dropped while a transaction that wrote reads": (p) => ({
    prepare: ["select meshhook_engine.ensure_month('2001-01-01')", "select meshhook_engine.set_retention(null, false)"],
    before: [`select meshhook.cancel_run('${p.runs[0]}')`],
    first: "select meshhook_engine.drop_month('2001-01-01')", second: "select count(*) from meshhook.run_events",
    finish: ["select meshhook_engine.drop_month('2001-01-01')", "select meshhook_engine.set_retention(null, true)"] }),
  "an alert is recorded while its rule is removed": (p, q, at) => ({
    hold: `select from meshhook.alerts where id = '${p.alert}' for update`,
    first: record(p, at, { changes: [alert(p), alert(p, q.id)] }), second: `delete from meshhook.alert_rules where id = '${p.rule}'` }),
  "a message is recorded while its channel is removed": (p, q, at) => ({
    hold: `select from meshhook_engine.alert_groups where channel_id = '${p.channel}' for update`,
    first: record(p, at, { groups: [group(p)], messages: [message(p)] }), second: `delete from meshhook.alert_channels where id = '${p.channel}'` }),
  "an alert is recorded while its project is purged": (p, q, at) => ({
    hold: `select from meshhook.alerts where id = '${p.alert}' for update`,
    first: purge(p), second: record(p, at, { changes: [alert(p)], problems: [{ rule_id: p.rule, problem: "x" }] }) }),
  "a failed run is told of while its rule is removed": (p, q, at) => ({
    prepare: [`update meshhook.runs set status = 'failed', ended_at = now() where id = '${p.runs[0]}'`,
      `select meshhook_engine.note_failed(array['${p.runs[0]}'::uuid])`],
    hold: `select from meshhook_engine.failed_groups where rule_id = '${p.rule}' for update`,
    first: `select meshhook_engine.tell_failed(${at})`, second: `delete from meshhook.alert_rules where id = '${p.rule}'` }),
};
for (const [name, crossing] of Object.entries(crossings)) {
  test(name, { timeout: 60000 }, async () => {
    const [p, q] = [await project(), await project()];
    // p's user is in both, and q's too, whose row of q is the older one
    await sql("select meshhook.add_member($1, $2)", p.slug, q.user);
    await sql("select meshhook.add_member($1, $2)", q.slug, p.user);
    const c = crossing(p, q, await fence());
    for (const text of c.prepare ?? []) await sql(text);
    const [holder, a, b] = [await open(), await open(), await open()];
    try {
      await holder.run("begin");
      if (c.hold) assert.equal(await holder.run(c.hold), "ok");
      await b.run("begin");
      for (const text of c.before ?? []) assert.equal(await b.run(text), "ok", text);
      await a.begin(c.first);
      assert.equal(a.over, undefined, `it doesn't come to the lock: ${c.first}`);
      if (c.between) await sql(c.between);
      await b.begin(c.second);
      await holder.run("rollback");
      const second = await b.result;
      await b.run("commit");
      const codes = [await a.result, second];
      assert.ok(!codes.includes("40P01"), `a deadlock: ${codes}`);
      assert.equal(codes[0], "ok", `first: ${codes}`);
    } finally {
      for (const s of [holder, b, a]) await s.end();
    }
    for (const text of c.finish ?? []) await sql(text);
  });
}

test(`all at once, in any order (seed ${seed})`, { timeout: 300000 }, async () => {
  const shuffled = (list) => list.map((x) => [random(1e6), x]).sort(([a], [b]) => a - b).map(([, x]) => x);
  const at = await fence();
  const clients = [];
  for (let i = 0; i < 8; i++) clients.push(await open());
  const seen = {};
  try {
    for (let round = 0; round < rounds; round++) {
      const [p, q] = [await project(), await project()];
      const runs = (list) => `array[${shuffled(list).map((id) => `'${id}'::uuid`)}]`;
      const commit = `select * from meshhook_engine.commit(0, ${runs([...p.runs, ...q.runs])}, '{1,1,1,1}', '{0,0,0,0}', '{0,0,0,0}',
        array[null, null, null, null]::text[], array[null, null, null, null]::jsonb[], ${"'{}', ".repeat(29)} '{}')`;
      const todo = shuffled([
        ...Object.values(crossings).flatMap((crossing) => {
          const c = crossing(p, q, at);
          return [c.first, c.second];
        }).filter((text) => text !== "commit" && !text.includes("purge_project")),
        purge(random(2) ? p : q), commit, again(p, "k3,k1", "03"), again(q, "k2,k1", "04"),
        ...[p, q].flatMap(({ slug, id, runs, channel }) => [
          `select meshhook.start_run('${slug}', 'flow')`, `select meshhook.cancel_run('${runs[random(2)]}')`,
          `select meshhook.log('${slug}', 'webhooks', 'in', 'info', 'm')`,
          `update meshhook.projects set broadcast = '${["watched", "all", "off"][random(3)]}' where id = '${id}'`,
          `delete from meshhook.alert_channels where id = '${channel}'`,
          `select meshhook.set_role('${slug}', user_id, 'viewer') from meshhook.members where project_id = '${id}' and role = 'editor'`,
          `select meshhook.watch('runs:${id}', gen_random_uuid())`,
        ]),
        "select * from meshhook_engine.claim(100, 1000, 3)", "select * from meshhook_engine.flush_broadcasts()",
        "select meshhook_engine.mend_queued()", `select meshhook_engine.mend_project('${p.id}')`,
        `select * from meshhook_engine.outbox_take(${at}, 10, '1 s')`, "select * from meshhook_engine.expire()",
        "select meshhook_engine.recover()", "select meshhook_engine.compact_counters()",
      ]);
      await Promise.all(clients.map(async (c) => {
        for (let text; (text = todo.pop()); ) {
          const code = await c.run(text);
          seen[code] = (seen[code] ?? 0) + 1;
          assert.notEqual(code, "40P01", text);
        }
      }));
    }
  } finally {
    for (const c of clients) await c.end();
  }
  assert.equal(seen["42883"], undefined);
  assert.ok(seen.ok > rounds * 30, JSON.stringify(seen));
});
