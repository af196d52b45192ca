// From a condition that becomes true to the message that a receiver verified, whatever happens to
// the monitor, the receiver or both on the way.
import assert from "node:assert/strict";
import { createServer as tcpServer } from "node:net";
import { after, afterEach, test } from "node:test";
import { Webhook } from "standardwebhooks";
import { about, channel, clean, ended, meshhook, monitor, name, pool, receiver, rounds, rule, settled, sleep, sql, ticks, until } from "./lib.mjs";

afterEach(clean);
after(() => pool.end());

test("a condition becomes true: a signed webhook comes, and another when it is over", async () => {
  const r = await receiver();
  const m = monitor({ MESHHOOK_MONITOR_PING_URL: `${r.url}/ping/uuid` });
  const { secret } = await channel(r);
  await until("it leads", m.leads);
  const called = await rule('workers_alive{kind="monitor"} >= 0', "--summary", "it is {{ value }}", "--severity", "critical");
  const [{ since }] = await sql("select clock_timestamp()::text as since");
  const fired = await until("a message", () => r.got.find((one) => about(one, called)));
  const [{ n }] = await sql("select count(*)::int as n from meshhook.queue_metrics where project_id is null and at between $1::timestamptz and $2", since, new Date(fired.at));
  assert.ok(n <= 15, `after ${n} ticks`);
  const verified = new Webhook(secret).verify(fired.body, fired.headers);
  assert.equal(verified.type, "alert.firing");
  assert.equal(verified.data.again, false);
  assert.match(verified.data.alerts[0].summary, /^it is \d+$/);
  await meshhook(["alert", "rules", "set", called, 'workers_alive{kind="monitor"} > 1000000']);
  const over = await until("its end", () => r.got.find((one) => about(one, called) && one.json.type === "alert.resolved"));
  new Webhook(secret).verify(over.body, over.headers);
  assert.notEqual(over.headers["webhook-id"], fired.headers["webhook-id"]);
  assert.equal(over.json.data.dedup_key, fired.json.data.dedup_key);
  assert.deepEqual((await meshhook(["alert", "history", "--rule", called])).records.map((h) => h.change), ["resolved", "firing"]);
  await until("a ping", () => r.got.find((one) => one.method === "GET" && one.url === "/ping/uuid"));
  await ended(m);
  assert.equal(r.got.filter((one) => about(one, called)).length, 2, "a message twice");
});

test("a channel's target is shown nowhere", async () => {
  const r = await receiver(() => ({ status: 500 }));
  const m = monitor();
  const made = await channel(r);
  const sent = await meshhook(["alert", "send-test", made.name]);
  assert.equal(sent.code, 1);
  assert.equal(sent.record.problem, "the receiver answered 500");
  const shown = JSON.stringify([(await meshhook(["alert", "channel"])).records, (await meshhook(["alert", "messages"])).records,
    await sql("select * from meshhook.outbox"), await sql("select * from meshhook.alert_channels"),
    await sql("select * from meshhook_engine.channel_secrets"), await sql("select * from meshhook.audit_log")]);
  await ended(m);
  for (const text of [m.text, shown]) assert.doesNotMatch(text, /very-secret-path|whsec_/);
});

test("send-test says what is the matter", async () => {
  const r = await receiver();
  const made = await channel(r);
  assert.match((await meshhook(["alert", "send-test", "nobody"])).stderr, /no channel "nobody"/);
  const alone = await meshhook(["alert", "send-test", made.name, "--within", "1s"]);
  assert.match(alone.stderr, /no monitor leads/);
  const strict = monitor({ MESHHOOK_HTTP_ALLOW: "" });
  const blocked = await meshhook(["alert", "send-test", made.name]);
  assert.equal(blocked.code, 1);
  await until("given up", async () => (await sql("select 1 from meshhook.outbox where state = 'dead' and problem like '%SSRF%'")).length);
  assert.equal(r.got.length, 0);
  await ended(strict);
  const keyless = monitor({ MESHHOOK_INTAKE_KEY: "" });
  const keyed = await meshhook(["alert", "send-test", made.name]);
  assert.match(keyed.record.problem, /MESHHOOK_INTAKE_KEY/);
  await ended(keyless);
  await sql("update meshhook.outbox set due_at = now() where state = 'queued'");
  const m = monitor();
  await until("it comes once there is a key", () => r.got.length > 0);
  assert.equal((await meshhook(["alert", "send-test", made.name])).record.state, "sent");
  r.answer = () => ({ status: 410 });
  const gone = await meshhook(["alert", "send-test", made.name]);
  assert.deepEqual([gone.code, gone.record.state, gone.record.answer], [1, "dead", 410]);
  await ended(m);
});

// What is left in the outbox, and what came, after the leader died at a point.
async function killed_at(point) {
  const r = await receiver();
  await channel(r);
  const one = monitor({ MESHHOOK_TESTPOINT: point });
  await until("one leads", one.leads);
  const called = await rule();
  assert.equal((await one.over).signal, "SIGKILL", `${point} was not reached: ${one.text}`);
  const two = monitor();
  await until("the other leads", two.leads);
  // what the dead one held would be given again after 20 s
  await sql("update meshhook.outbox set due_at = now() where state = 'sending' and fence = $1", one.last().fence);
  await until("a message", () => r.got.find((m) => about(m, called)));
  await settled();
  await sleep(1500);
  await ended(two);
  const changes = await sql("select change from meshhook.alert_history where rule = $1", called);
  assert.deepEqual(changes.map((c) => c.change), ["firing"], "a state change was lost, or came twice");
  return r.got.filter((m) => about(m, called));
}

for (const point of ["judge.decided", "judge.recorded", "deliver.taken"])
  test(`the leader is killed at ${point}: the message comes once`, async () => {
    const got = await killed_at(point);
    assert.equal(got.length, 1);
    // as far as anybody can know, it had been sent
    assert.equal(got[0].json.data.again, point === "deliver.taken");
  });

test("the leader is killed before it records what it sent: one repeat, marked", async () => {
  const got = await killed_at("deliver.answered");
  assert.deepEqual(got.map((m) => m.json.data.again), [false, true]);
  assert.equal(got[0].headers["webhook-id"], got[1].headers["webhook-id"]);
});

test("the leader is stopped beyond its lease while it sends: one repeat, marked", async () => {
  const r = await receiver();
  await channel(r);
  const one = monitor();
  await until("one leads", one.leads);
  r.answer = async () => { await sleep(1000); };
  const called = await rule();
  await until("it is sending", () => r.got.find((m) => about(m, called)));
  one.child.kill("SIGSTOP");
  const two = monitor();
  await until("the other leads", two.leads);
  await until("it comes again", () => r.got.filter((m) => about(m, called)).length === 2);
  one.child.kill("SIGCONT");
  await until("it is recorded", async () => (await sql("select 1 from meshhook.outbox where state = 'sent'")).length);
  await until("the first stands by", () => one.text.includes('"monitor.standby"'));
  await sleep(1000);
  const got = r.got.filter((m) => about(m, called));
  assert.deepEqual(got.map((m) => m.json.data.again), [false, true]);
  assert.equal(got[0].headers["webhook-id"], got[1].headers["webhook-id"]);
  await ended(one);
  await ended(two);
});

test(`${rounds} messages to receivers that fail in every way: none lost, each group in order`, async (t) => {
  const groups = 20;
  const each = rounds / groups;
  let seed = 1;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  let hung = 0;
  const r = await receiver(() => {
    const dice = random();
    if (dice < 0.07) return { status: 429, headers: { "retry-after": "1" } };
    if (dice < 0.14) return { status: 500 };
    if (dice < 0.21) return { reset: true };
    if (dice < 0.22 && hung++ < 3) return { hang: true };
  });
  const channels = [];
  for (let i = 0; i < 10; i++) channels.push(await channel(r, "--per-minute", "600"));
  const m = monitor();
  await until("it leads", m.leads);
  const since = Date.now();
  await sql(`insert into meshhook.outbox (channel_id, group_key, dedup_key, kind, body, fence)
    select ($1::uuid[])[1 + g % 10], 'group ' || g, 'group ' || g, 'new', jsonb_build_object('status', 'firing', 'kind', 'new',
      'at', '2026-01-01T00:00:00Z', 'group', '{}'::jsonb, 'more', 0, 'n', i, 'g', g,
      'alerts', jsonb_build_array(jsonb_build_object('rule', 'many'))), 0
    from generate_series(1, $3) i, generate_series(1, $2) g order by i, g`, channels.map((c) => c.id), groups, each);
  await until("some came", () => r.got.length > rounds / 4);
  await r.down();
  await sleep(2000);
  await r.up();
  await until("all are sent", async () => (await sql("select 1 from meshhook.outbox where state <> 'sent'")).length === 0,
    60000 + rounds * 4000);
  t.diagnostic(`${rounds} messages, ${r.got.length} requests, ${Date.now() - since} ms`);
  await ended(m);
  for (let g = 1; g <= groups; g++) {
    const order = r.got.filter((one) => one.ok && one.json.data.g === g).map((one) => one.json.data.n);
    assert.deepEqual([...new Set(order)], Array.from({ length: each }, (_, i) => i + 1), `group ${g}`);
    assert.deepEqual(order, [...order].sort((a, b) => a - b), `group ${g} out of order`);
  }
});

test("a silence: nothing is sent until it ends", async () => {
  const r = await receiver();
  await channel(r);
  const called = name("rule");
  const { record } = await meshhook(["alert", "silence", called, "--for", "1h", "--comment", "a test"]);
  const m = monitor();
  await meshhook(["alert", "rules", "add", called, 'workers_alive{kind="monitor"} >= 0']);
  await until("it fires", async () => (await meshhook(["alert", "list"])).records.find((a) => a.rule === called && a.state === "firing"));
  await sleep(1500);
  assert.equal(r.got.length, 0);
  await meshhook(["alert", "unsilence", record.id]);
  await until("a message", () => r.got.find((one) => about(one, called)));
  await ended(m);
});

test("repeats, until somebody acknowledges; the end is told all the same", async () => {
  const r = await receiver();
  await channel(r, "--repeat", "1s", "--per-minute", "600");
  const m = monitor();
  const called = await rule();
  await until("repeats", () => r.got.filter((one) => one.json.data.kind === "repeat").length >= 2);
  const { records } = await meshhook(["alert", "list"]);
  const { record } = await meshhook(["alert", "ack", records.find((a) => a.rule === called).id, "--note", "on it"]);
  assert.equal(record.acknowledged, true);
  await ticks(3); // one was under way; the next hears of it
  await settled();
  const before = r.got.length;
  await sleep(2500);
  await ticks(3);
  assert.equal(r.got.length, before, "still repeated");
  await meshhook(["alert", "rules", "set", called, 'workers_alive{kind="monitor"} > 1000000']);
  await until("its end", () => r.got.find((one) => one.json.type === "alert.resolved"));
  assert.deepEqual((await meshhook(["alert", "history", "--rule", called])).records.map((h) => h.change),
    ["resolved", "acknowledged", "firing"]);
  await ended(m);
});

test("what belongs together is one message; what another alert speaks for is none", async () => {
  const r = await receiver();
  await channel(r);
  const m = monitor();
  await until("it leads", m.leads);
  const louder = await rule('workers_alive{kind="monitor"} >= 0', "--severity", "critical");
  await until("the louder one", () => r.got.find((one) => about(one, louder)));
  const quiet = await rule('workers_alive{kind="monitor"} >= 0', "--inhibited-by", louder);
  const many = await rule("workers_alive >= 0");
  const one = await until("a group", () => r.got.find((x) => about(x, many)));
  assert.ok(one.json.data.alerts.length > 1, "not grouped");
  await sleep(1000);
  assert.equal(r.got.filter((x) => about(x, quiet)).length, 0, "inhibited, and sent");
  assert.equal(r.got.filter((x) => about(x, many)).length, 1);
  await ended(m);
});

test("alert test says when a rule would have fired on what was measured", async () => {
  const start = new Date(Math.floor((Date.now() - 3 * 3600e3) / 1000) * 1000);
  // ready messages: 200 for a minute, then none, by ticks of 5 s
  await sql(`insert into meshhook.queue_metrics (at, data)
    select $1::timestamptz + i * interval '5 s', jsonb_build_object('queue_visible', case when i < 12 then 200 else 0 end)
    from generate_series(0, 23) i`, start);
  const { records } = await meshhook(["alert", "test", "--condition", "queue_visible > 150", "--for", "20s", "--since", "4h"]);
  const at = (s) => new Date(start.getTime() + s * 1000).toISOString();
  assert.deepEqual(records.map((r) => [r.fired_at, r.resolved_at, r.value]), [[at(20), at(60), 200]]);
  assert.deepEqual((await meshhook(["alert", "test", "--condition", "queue_visible > 150", "--for", "2m", "--since", "4h"])).records, []);
});

test("what the rules of one project say keeps nobody else's alerts back", async () => {
  const [{ id }] = await sql("select meshhook.create_project($1, 'Loud') as id", name("loud"));
  const r = await receiver();
  const made = await channel(r, "--group-by", "rule", "--group-by", "k");
  const m = monitor();
  await until("it leads", m.leads);
  const make = async (expr, more = {}) => {
    const called = name("rule");
    await sql("insert into meshhook.alert_rules (project_id, name, expr, description, labels) values ($1, $2, $3, $4, $5)",
      id, called, expr, more.description ?? "", more.labels ?? {});
    return called;
  };
  const huge = await make(`${"1TiB * ".repeat(30)}1`); // beyond a double
  const cut = await make("1", { description: `a${"é".repeat(3000)}` }); // the cut is within a character
  const keyed = await make("1", { labels: { k: `a${"é".repeat(300)}` } });
  const summed = await make("count(1) > 0");
  const other = await rule();
  for (const called of [cut, keyed, summed, other]) await until(`told of ${called}`, () => r.got.find((one) => about(one, called)));
  assert.deepEqual(await sql("select r.name, a.project_id from meshhook.alerts a join meshhook.alert_rules r on r.id = rule_id where r.name = any ($1) order by a.value, 1",
    [huge, summed]), [{ name: summed, project_id: id }], "an alert of a project's rule is the project's");
  assert.equal(m.said("alerts.not_recorded"), false, m.text);
  await sql("select meshhook.purge_project($1)", id);
  await meshhook(["alert", "channel", "remove", made.name]);
  await ended(m);
});

// SMTP as far as a client needs it; refuse: a code for RCPT. No TLS.
async function mailbox() {
  const box = { mails: [], refuse: 0 };
  const server = tcpServer((socket) => {
    let data = null, rest = "";
    const say = (line) => socket.write(`${line}\r\n`);
    socket.on("error", () => {});
    say("220 mail.example.com");
    socket.on("data", (d) => {
      rest += d;
      for (let end; (end = rest.indexOf("\r\n")) >= 0; ) {
        const line = rest.slice(0, end);
        rest = rest.slice(end + 2);
        if (data !== null && line === ".") {
          box.mails.push(data);
          data = null;
          say("250 taken");
        } else if (data !== null) data += `${line}\n`;
        else if (/^EHLO/.test(line)) say("250-mail.example.com\r\n250 SIZE 1000000");
        else if (/^RCPT/.test(line) && box.refuse) say(`${box.refuse} no`);
        else if (/^DATA/.test(line)) { data = ""; say("354 go on"); }
        else if (/^QUIT/.test(line)) { say("221 bye"); socket.end(); }
        else say("250 fine");
      }
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  box.url = `smtp://127.0.0.1:${server.address().port}`;
  box.close = () => new Promise((resolve) => server.close(resolve));
  return box;
}

test("mail: by SMTP, refused for good or for now, and never in the clear unless told so", async () => {
  const box = await mailbox();
  const m = monitor();
  const add = (called, more) => meshhook(["alert", "channel", "add", "email", called],
    JSON.stringify({ url: box.url, from: "meshhook@example.com", to: ["ops@example.com", "more@example.com"], ...more }));
  await add("mail", { starttls: false });
  assert.equal((await meshhook(["alert", "send-test", "mail"])).record.state, "sent", m.text);
  const [head, body] = box.mails[0].split("\n\n");
  assert.match(head, /^From: MeshHook <meshhook@example.com>$/m);
  assert.match(head, /^Message-ID: <msg_[0-9a-f]+_\d+@meshhook>$/m);
  const subject = Buffer.from(head.match(/=\?UTF-8\?B\?(.*)\?=/)[1], "base64").toString();
  assert.match(subject, /^FIRING: test/);
  assert.match(Buffer.from(body, "base64").toString(), /A test of channel mail/);
  box.refuse = 451;
  assert.deepEqual(await meshhook(["alert", "send-test", "mail"]).then((r) => [r.code, r.record.state, r.record.answer]), [1, "queued", 451]);
  box.refuse = 0;
  await until("it comes later", () => box.mails.length === 2);
  box.refuse = 550;
  assert.deepEqual(await meshhook(["alert", "send-test", "mail"]).then((r) => [r.record.state, r.record.answer]), ["dead", 550]);
  box.refuse = 0;
  await add("strict", {});
  assert.notEqual((await meshhook(["alert", "send-test", "strict"])).record.state, "sent");
  assert.equal(box.mails.length, 2, "sent in the clear");
  await ended(m);
  await box.close();
});
