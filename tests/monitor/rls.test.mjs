// Who sees and changes what of metrics, rules, channels and history: real users over REST.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createClient } from "@supabase/supabase-js";
import ws from "ws";
import { name, pool, sql } from "./lib.mjs";

const { SUPABASE_URL: url, SUPABASE_PUBLISHABLE_KEY: key, SUPABASE_SECRET_KEY: secret } = process.env;
const client = (apikey) => createClient(url, apikey, { auth: { persistSession: false }, realtime: { transport: ws } });
const roles = ["viewer", "editor", "admin", "owner"];
const mine = name("rls"), theirs = name("rls");
const who = {};
const project = {};

// A row of each kind for a project; null: the installation's.
async function fill(id) {
  const rule = name("rule");
  await sql(`insert into meshhook.alert_rules (project_id, name, expr) values ($1, $2, 'a > 1')`, id, rule);
  await sql(`insert into meshhook.alerts (id, rule_id, project_id, labels, state, value, since, fired_at)
    select gen_random_uuid(), id, $1, '{}', 'firing', 1, now(), now() from meshhook.alert_rules where name = $2`, id, rule);
  await sql(`insert into meshhook.alert_history (at, project_id, alert_id, rule, change, severity, labels)
    values (now(), $1, gen_random_uuid(), $2, 'firing', 'warning', '{}')`, id, rule);
  await sql(`insert into meshhook.silences (project_id, rule, ends_at) values ($1, $2, now() + interval '1 hour')`, id, rule);
  const [{ channel }] = await sql(`select meshhook_engine.set_channel(gen_random_uuid(), $1, $2, 'slack', 'https://slack.example', 'v1.sealed', null, null) as channel`, id, name("rls"));
  await sql(`insert into meshhook.outbox (channel_id, project_id, group_key, dedup_key, kind, body, fence, state)
    values ($1, $2, 'g', 'g', 'new', '{}', 0, 'dead')`, channel, id);
  for (const table of ["queue_metrics", "queue_metrics_minute"])
    await sql(`insert into meshhook.${table} (at, project_id, data) values (now(), $1, '{"x": 1}')`, id);
}

before(async () => {
  for (const role of [...roles, "stranger"]) {
    const supabase = client(key);
    const { data, error } = await supabase.auth.signUp({ email: `${name(role)}@example.com`, password: "correct horse" });
    assert.equal(error, null);
    who[role] = { id: data.user.id, db: supabase.schema("meshhook") };
  }
  who.anon = { db: client(key).schema("meshhook") };
  who.service = { db: client(secret).schema("meshhook") };
  for (const [slug, owner] of [[mine, who.owner], [theirs, who.stranger]]) {
    const { data, error } = await who.service.db.rpc("create_project", { slug, name: slug, owner: owner.id });
    assert.equal(error, null);
    project[slug] = data;
    await fill(data);
  }
  for (const role of ["viewer", "editor", "admin"])
    assert.equal((await who.owner.db.rpc("add_member", { project: mine, user_id: who[role].id, role })).error, null);
  await fill(null);
});
after(async () => {
  await sql("delete from meshhook.alert_channels where name like 'rls-%'");
  await sql("delete from meshhook.alert_rules where name like 'rule-%'");
  await sql("delete from meshhook.silences");
  await pool.end();
});

const least = { queue_metrics: "viewer", queue_metrics_minute: "viewer", alert_rules: "viewer", alerts: "viewer",
  alert_history: "viewer", silences: "viewer", alert_channels: "admin", outbox: "admin" };

for (const [table, from] of Object.entries(least))
  test(`${table}: seen from ${from} up, by nobody else`, async () => {
    for (const role of roles) {
      const { data, error } = await who[role].db.from(table).select("project_id");
      assert.equal(error, null);
      const sees = roles.indexOf(role) >= roles.indexOf(from) ? 1 : 0;
      assert.deepEqual(data, Array(sees).fill({ project_id: project[mine] }), role);
    }
    assert.deepEqual((await who.stranger.db.from(table).select("project_id")).data, [{ project_id: project[theirs] }]);
    assert.equal((await who.anon.db.from(table).select("project_id")).status, 401);
    for (const id of [null, ...Object.values(project)]) {  // each asked for itself: REST answers 1,000 rows at most
      const { data } = await who.service.db.from(table).select("project_id").filter("project_id", id ? "eq" : "is", id).limit(1);
      assert.deepEqual(data, [{ project_id: id }]);
    }
  });

// What a role tries; true: it did something.
const did = ({ data, error, status }) => {
  if (error) assert.ok(error.code === "42501" || status === 401, JSON.stringify(error));
  return !error && data.length > 0;
};
const writes = [
  ["a rule is made", "admin", (db, id) => db.from("alert_rules").insert({ project_id: id, name: name("rule"), expr: "a > 1" }).select("id")],
  ["a rule is switched off", "admin", (db, id) => db.from("alert_rules").update({ enabled: false }).eq("project_id", id).select("id")],
  ["a rule is removed", "admin", (db, id) => db.from("alert_rules").delete().eq("project_id", id).neq("expr", "a > 1").select("id")],
  ["a silence is made", "editor", (db, id) => db.from("silences").insert({ project_id: id, ends_at: "2099-01-01T00:00:00Z" }).select("id")],
  ["a silence is ended", "editor", (db, id) => db.from("silences").update({ ends_at: "2098-01-01T00:00:00Z" }).eq("project_id", id).select("id")],
  ["a channel is slowed down", "admin", (db, id) => db.from("alert_channels").update({ per_minute: 5 }).eq("project_id", id).select("id")],
];
for (const [what, from, write] of writes)
  test(`${what}: from ${from} up, in one's own project`, async () => {
    for (const role of roles) {
      await sql("insert into meshhook.alert_rules (project_id, name, expr) values ($1, $2, 'b > 1')", project[mine], name("rule"));
      const may = roles.indexOf(role) >= roles.indexOf(from);
      assert.equal(did(await write(who[role].db, project[mine])), may, role);
      assert.equal(did(await write(who[role].db, project[theirs])), false, `${role}, elsewhere`);
    }
    assert.equal(did(await write(who.stranger.db, project[mine])), false);
    assert.equal(did(await write(who.anon.db, project[mine])), false);
  });

test("what the monitor writes, nobody else does; the installation's is nobody's but service_role's", async () => {
  const row = { alerts: { value: 5 }, alert_history: { value: 5 }, outbox: { attempts: 5 }, queue_metrics: { data: {} }, queue_metrics_minute: { data: {} } };
  for (const role of [...roles, "service"])
    for (const [table, change] of Object.entries(row)) {
      assert.equal(did(await who[role].db.from(table).update(change).eq("project_id", project[mine]).select("project_id")), false, `${role} changes ${table}`);
      assert.equal(did(await who[role].db.from(table).delete().eq("project_id", project[mine]).select("project_id")), false, `${role} deletes of ${table}`);
    }
  const all = { name: name("rule"), expr: "a > 1" };
  for (const role of roles) assert.equal(did(await who[role].db.from("alert_rules").insert(all).select("id")), false, role);
  assert.equal(did(await who.service.db.from("alert_rules").insert(all).select("id")), true);
  // a channel's target comes sealed, by the command line, and is shown by nothing
  assert.equal(did(await who.owner.db.from("alert_channels").insert({ project_id: project[mine], name: "x", kind: "slack", target: "x" }).select("id")), false);
  assert.equal((await client(secret).schema("meshhook_engine").from("channel_secrets").select()).data, null);
});

test("an alert is acknowledged from editor up, once, with a name", async () => {
  await fill(project[mine]);
  const [{ id }] = await sql("select id from meshhook.alerts where project_id = $1 order by since desc", project[mine]);
  const ack = (role) => who[role].db.rpc("acknowledge_alert", { alert: id, note: "on it" });
  for (const role of ["viewer", "stranger", "anon"]) assert.ok((await ack(role)).status >= 401, role);
  assert.deepEqual([(await ack("editor")).data, (await ack("owner")).data], [true, false]);
  const [alert] = await sql("select acked_by from meshhook.alerts where id = $1", id);
  assert.ok(alert.acked_by.includes(who.editor.id), alert.acked_by);
});
