// The local Realtime endpoint against what a real one did: the scenarios in tests/realtime were recorded
// on supabase/realtime v2.129.8, frame by frame, and are replayed here. Then unmodified supabase-js.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import crypto from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { after, before, test } from "node:test";
import { createClient } from "@supabase/supabase-js";
import pg from "pg";
import WebSocket from "ws";

const run = "11111111-1111-1111-1111-111111111111";
const scenarios = path.resolve(path.dirname(new URL(import.meta.url).pathname), "../realtime");
const users = { a: "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa", b: "bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb" };
const db = new pg.Client({ connectionString: process.env.SUPABASE_DB_URL });
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let gateway;

// Differences between the real server's frames and ours, all of them. `real` says which frame it is about; `ours` is
// what we send in its place: frames, or none. Times differ, too: a refusal comes at once, not after 5 s.
const differences = [
  {
    why: "Postgres Changes are not served: each join is told so, and nothing changes",
    real: (f) => f.event === "system" && f.payload.extension === "postgres_changes",
    ours: (f, seen) =>
      seen.once(f.topic, seen.joinOf(f)) && f.payload.channel !== "room3"
        ? [{ ...f, payload: { ...f.payload, status: "error", message: noChanges } }]
        : [],
  },
  {
    why: "a join without a configuration binds nothing; there it binds the schema named like the topic",
    real: (f) => f.payload?.response?.postgres_changes?.[0]?.schema === "room3",
    ours: (f) => [{ ...f, payload: { status: "ok", response: { postgres_changes: [] } } }],
  },
  {
    why: "Presence is not served: the channel says so, and tracking fails",
    real: (f) => f.event === "presence_state",
    ours: (f) => [
      {
        ...f,
        event: "system",
        payload: { channel: f.topic.slice(9), extension: "presence", status: "error", message: noPresence },
      },
    ],
  },
  { why: "as above", real: (f) => f.event === "presence_diff", ours: () => [] },
  {
    why: "as above",
    real: (f, seen) => f.event === "phx_reply" && seen.sent(f)?.event === "presence" && f.payload.response.reason !== "unmatched topic",
    ours: (f) => [{ ...f, payload: { status: "error", response: { reason: noPresence } } }],
  },
  {
    why: "a binary broadcast that says it is JSON and isn't is dropped; there it reaches every client",
    real: (f, seen) => f.text?.includes("badjson") || f.bytes?.includes("badjson") || (f.event === "phx_reply" && seen.sent(f)?.bytes?.includes("badjson")),
    ours: () => [],
  },
  {
    why: "binary forms 0 and 2, which no client of Supabase's sends, are dropped; there they break version 1",
    real: (f, seen) => f.text?.includes("unable to parse") || f.kind === 2 || (f.event === "phx_reply" && seen.sent(f)?.kind === 0),
    ours: () => [],
  },
];
const noChanges =
  "Unable to subscribe to changes with given parameters. Postgres Changes are not part of this local endpoint";
const noPresence = "Presence is not part of this local endpoint";

// Tokens ------------------------------------------------------------------------------------------------------------

const base64url = (v) => Buffer.from(JSON.stringify(v)).toString("base64url");
function jwt(claims, secret = process.env.SUPABASE_JWT_SECRET) {
  const body = `${base64url({ alg: "HS256", typ: "JWT" })}.${base64url(claims)}`;
  return `${body}.${crypto.createHmac("sha256", secret).update(body).digest("base64url")}`;
}
const now = () => Math.floor(Date.now() / 1000);
const lasting = (seconds) => Math.ceil(Date.now() / 1000) + seconds; // no less
const userToken = (sub, ttl = 3600, more = {}) =>
  jwt({ sub, role: "authenticated", aud: "authenticated", exp: now() + ttl, ...more });
const anonKey = (ttl = 3600) => jwt({ role: "anon", exp: ttl > 0 ? lasting(ttl) : now() + ttl });
const serviceKey = () => jwt({ role: "service_role", exp: now() + 3600 });

// The gateway -------------------------------------------------------------------------------------------------------

class Gateway {
  static async start(env = {}, port = 0) {
    const g = new Gateway();
    g.log = "";
    g.child = spawn(process.env.MESHHOOK_BIN, ["gateway"], {
      env: {
        ...process.env,
        MESHHOOK_GATEWAY_PORT: String(port),
        MESHHOOK_LOG_FORMAT: "json",
        MESHHOOK_JWT_SECRET: process.env.SUPABASE_JWT_SECRET,
        MESHHOOK_LOCAL_REALTIME: "1",
        ...env,
      },
      stdio: ["ignore", "inherit", "pipe"],
    });
    g.ended = new Promise((resolve) => g.child.on("exit", (code, signal) => resolve(code ?? signal)));
    g.child.stderr.on("data", (d) => (g.log += d));
    g.port = (await g.line("gateway.listening")).port;
    await g.line("gateway.ready");
    if (env.MESHHOOK_LOCAL_REALTIME !== "") await g.line("realtime.ready");
    return g;
  }
  async line(event) {
    for (let i = 0; i < 3000; i++) {
      const line = this.log.split("\n").find((l) => l.includes(`"${event}"`));
      if (line) return JSON.parse(line);
      await sleep(20);
    }
    throw new Error(`no ${event} in ${this.log}`);
  }
  async fault(body) {
    const r = await fetch(`http://127.0.0.1:${this.port}/realtime/v1/faults`, {
      method: "POST",
      headers: { apikey: serviceKey(), "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    assert.equal(r.status, 204, await r.text());
  }
  async state() {
    return (await fetch(`http://127.0.0.1:${this.port}/realtime/v1/faults`, { headers: { apikey: serviceKey() } })).json();
  }
  async stop(signal = "SIGTERM") {
    this.child.kill(signal);
    return this.ended;
  }
}

// Frames: one shape for what either version and either form says --------------------------------------------------

// The parts of each binary form, whose lengths are in its head, 3 and 4 with the payload's kind behind them.
const forms = {
  0: ["joined", "ref", "topic", "event"],
  2: ["topic", "event"],
  3: ["joined", "ref", "topic", "event", "meta"],
  4: ["topic", "event", "meta"],
};
function readBinary(b) {
  const names = forms[b[0]] ?? [];
  const f = { kind: b[0], bytes: b.toString("latin1") };
  let at = 1 + names.length + (b[0] > 2 ? 1 : 0);
  const json = b[0] > 2 && b[at - 1] === 1;
  for (const [i, name] of names.entries()) f[name] = b.subarray(at, (at += b[1 + i])).toString() || null;
  if (f.meta) f.meta = JSON.parse(f.meta);
  f.payload = json ? tryJson(b.subarray(at).toString()) : b.subarray(at).toString("base64");
  return f;
}
const tryJson = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};
function readFrame(data, binary) {
  if (binary) return readBinary(data);
  const v = tryJson(data.toString());
  if (v === undefined) return { text: data.toString() };
  if (!Array.isArray(v)) return { ...v, joined: null }; // version 1 says no join_ref
  const [joined, ref, topic, event, payload] = v;
  return { joined, ref, topic, event, payload };
}
const recorded = (step) =>
  step.b64 ? readFrame(Buffer.from(step.b64, "base64"), true) : readFrame(step.text ?? JSON.stringify(step.frame), false);

// What differs from run to run: ids, the bindings' numbers, seconds that went by.
function normal(f) {
  const text = JSON.stringify({ ...f, bytes: undefined }, (key, v) =>
    key === "id" && typeof v === "number" ? 0 : v,
  );
  return JSON.parse(
    text
      .replace(/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/g, "UUID")
      .replace(/has expired \d+ seconds/g, "has expired N seconds"),
  );
}

// Replaying -------------------------------------------------------------------------------------------------------

class Conn {
  constructor(name, url) {
    this.name = name;
    this.frames = [];
    this.sent = [];
    this.ws = new WebSocket(url, { perMessageDeflate: true });
    this.opened = new Promise((resolve, reject) => this.ws.on("open", resolve).on("error", reject));
    this.closed = new Promise((resolve) => this.ws.on("close", (code) => resolve(code)));
    this.ws.on("message", (data, binary) => {
      this.frames.push(readFrame(data, binary));
      this.wake?.();
    });
  }
  async next(ms = 30000) {
    const until = Date.now() + ms;
    while (this.frames.length === 0 && Date.now() < until) {
      await Promise.race([new Promise((resolve) => (this.wake = resolve)), sleep(until - Date.now())]);
    }
    return this.frames.shift();
  }
  say(frame) {
    const f = Buffer.isBuffer(frame) ? readBinary(frame) : typeof frame === "object" ? readFrame(JSON.stringify(frame)) : {};
    this.sent.push(f);
    this.ws.send(typeof frame === "object" && !Buffer.isBuffer(frame) ? JSON.stringify(frame) : frame);
  }
}
const dial = async (name, { vsn, key = anonKey(), port = gateway.port } = {}) => {
  const c = new Conn(name, `ws://127.0.0.1:${port}/realtime/v1/websocket?apikey=${key}${vsn ? `&vsn=${vsn}` : ""}`);
  await c.opened;
  assert.equal(c.ws.extensions, "");
  assert.equal(c.ws.protocol, "");
  return c;
};

// "<token SUB ROLE TTL KIND N>", "<since MS>", "<text>", "<x N>" of the recordings.
function filled(step, tokens, start) {
  const one = (v) => {
    const [word, ...rest] = /^<(.*)>$/.exec(v)?.[1].split(" ") ?? [];
    if (word === "token") return (tokens[v] ??= madeToken(...rest));
    if (word === "since") return start + Number(rest[0]);
    if (word === "text") return String(start);
    if (word === "x") return "x".repeat(Number(rest[0]));
    return v;
  };
  return JSON.parse(JSON.stringify(step), (key, v) => (typeof v === "string" ? one(v) : v));
}
function madeToken(sub, role, ttl, kind, n) {
  const claims = { exp: ttl > 0 ? lasting(Number(ttl)) : now() + Number(ttl), session_id: n };
  if (users[sub]) claims.sub = users[sub];
  if (role !== "none") claims.role = role;
  return jwt(claims, kind === "forged" ? "another secret of thirty-two bytes" : undefined);
}

async function receive(conn, step, seen) {
  const real = recorded(step);
  const known = differences.find((d) => d.real(real, seen));
  const wanted = known ? known.ours(real, seen) : [real];
  if (known) used.add(known);
  for (const w of wanted) {
    const got = await conn.next();
    assert.ok(got, `${conn.name}: nothing came; due was ${JSON.stringify(w)}`);
    assert.deepEqual(normal(got), normal(w), known?.why);
  }
}
const used = new Set();

async function replay(name, start = Date.now()) {
  const conns = {};
  const tokens = {};
  const once = new Set();
  const steps = fs.readFileSync(path.join(scenarios, `${name}.jsonl`), "utf8").trim().split("\n").map((l) => JSON.parse(l));
  for (const [i, step] of steps.entries()) {
    try {
      const conn = conns[step.to ?? step.from];
      if (step.open) conns[step.open] = await dial(step.open, { vsn: step.vsn, key: anonKey(step.ttl) });
      else if (step.sql) await db.query(step.sql);
      else if (step.wait) await sleep(step.wait);
      else if (step.to) conn.say(step.b64 ? Buffer.from(step.b64, "base64") : (step.text ?? filled(step, tokens, start).frame));
      else if (step.from)
        await receive(conn, step, {
          sent: (f) => conn.sent.findLast((s) => s.ref === f.ref && s.topic === f.topic),
          joinOf: (f) => conn.sent.findLast((s) => s.event === "phx_join" && s.topic === f.topic)?.ref,
          once: (...key) => !once.has(`${conn.name} ${key}`) && once.add(`${conn.name} ${key}`),
        });
    } catch (e) {
      e.message = `${name}.jsonl:${i + 1}: ${e.message}`;
      throw e;
    }
  }
  await sleep(150);
  for (const c of Object.values(conns)) {
    assert.deepEqual(c.frames, [], `${name}: ${c.name} got more than was recorded`);
    c.ws.terminate();
  }
}

before(async () => {
  await db.connect();
  await db.query(`
    drop schema if exists realtime_test cascade;
    create schema realtime_test;
    create table realtime_test.members (usr uuid, topic text);
    grant usage on schema realtime_test to authenticated;
    grant select on realtime_test.members to authenticated;
    drop policy if exists test_read on realtime.messages;
    drop policy if exists test_write on realtime.messages;
    create policy test_read on realtime.messages for select to authenticated using (
      case when realtime.topic() = 'boom' then 1 / (length(realtime.topic()) - 4) = 1
        when realtime.topic() like 'run:%' or realtime.topic() like 'room:%' then exists (
          select from realtime_test.members m where m.usr = auth.uid() and m.topic = realtime.topic())
        else false end);
    create policy test_write on realtime.messages for insert to authenticated with check (
      exists (select from realtime_test.members m where m.usr = auth.uid() and m.topic = realtime.topic()))`);
  gateway = await Gateway.start();
});
after(async () => {
  await gateway?.stop();
  await db.query(`
    drop policy if exists test_read on realtime.messages;
    drop policy if exists test_write on realtime.messages;
    drop schema if exists realtime_test cascade`);
  await db.end();
});
async function member(...names) {
  await db.query("delete from realtime_test.members");
  for (const n of names) {
    await db.query("insert into realtime_test.members values ($1, $2)", [users[n], `run:${run}`]);
  }
}

// Recorded scenarios -----------------------------------------------------------------------------------------------

test("frames, topics that aren't joined, refs of every type", () => replay("frames"));
test("what is no frame is dropped", () => replay("invalid-frames"));
test("public broadcasts, joins that are refused", () => replay("broadcast"));
test("private channels, and broadcasts from the database", async () => {
  await member("a");
  await replay("private");
  await db.query(`alter policy test_write on realtime.messages with check (
    exists (select from realtime_test.members m where m.usr = auth.uid() and m.topic = realtime.topic()))`);
});
test("tokens that are renewed, run out, or don't hold", async () => {
  await member("a");
  await replay("access-token");
});
test("leaving, and what is answered to presence", () => replay("leave-and-presence"));
// Sent n times, and heard of: what is not yet passed on would come to who joins now.
async function sent(n, payload) {
  const c = await joined("before", `run:${run}`, { isPrivate: true, token: userToken(users.a) });
  for (let i = 0; i < n; i++) await db.query("select realtime.send($1::jsonb, 'log', $2, true)", [payload(i), `run:${run}`]);
  for (let i = 0; i < n; i++) assert.equal((await c.next()).event, "broadcast");
  c.ws.terminate();
}

test("version 2.0.0, its binary forms, replay", async () => {
  const start = Date.now() - 1;
  await member("a");
  await sent(1, () => '{"after":"removal"}');
  await replay("version-2", start);
});
test("replay", async () => {
  const start = Date.now() - 1;
  await member("a");
  await sent(30, (i) => `{"i":${i}}`);
  await replay("replay", start);
});
test("a join that is refused", async () => {
  await member("a");
  await replay("denied");
});
test("the list of differences has none that isn't", () => {
  assert.deepEqual(differences.filter((d) => !used.has(d)).map((d) => String(d.real)), []);
});

// Beyond the recordings ----------------------------------------------------------------------------------------------

function upgrade(query, { port = gateway.port, headers = {}, path: at = "/realtime/v1/websocket" } = {}) {
  const upgradeHeaders = {
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  };
  return new Promise((resolve, reject) => {
    const req = http.get({ host: "127.0.0.1", port, path: `${at}${query}`, headers: { ...upgradeHeaders, ...headers } });
    req.on("upgrade", (res, socket) => resolve({ status: res.statusCode, socket: socket.destroy() }));
    req.on("response", async (res) => {
      let body = "";
      for await (const chunk of res) body += chunk;
      resolve({ status: res.statusCode, type: res.headers["content-type"], body });
    });
    req.on("error", reject);
  });
}
const join = (topic, { self, ack, isPrivate, token, ref = "1", replay } = {}) => ({
  topic: `realtime:${topic}`,
  event: "phx_join",
  ref,
  join_ref: ref,
  payload: { config: { broadcast: { self, ack, replay }, private: isPrivate }, access_token: token },
});
const shout = (topic, event, payload = {}, ref = "9") => ({
  topic: `realtime:${topic}`,
  event: "broadcast",
  ref,
  payload: { type: "broadcast", event, payload },
});
async function joined(name, topic, options = {}) {
  const c = await dial(name, options);
  c.say(join(topic, options));
  assert.equal((await c.next()).payload.status, "ok");
  return c;
}

test("who may not connect is told why, in the real server's words", async () => {
  const refusals = [
    [`?apikey=${jwt({ role: "anon", exp: now() + 60 }, "another secret of thirty-two bytes")}`, "Failed to validate JWT signature"],
    ["?apikey=foo", "The token provided is not a valid JWT"],
    ["", "API key is missing"],
    [`?apikey=${anonKey(-5)}`, "Token has expired"],
    [`?apikey=${jwt({ exp: now() + 60 })}`, "Fields `role` and `exp` are required in JWT"],
    [`?apikey=${jwt({ role: "anon" })}`, "Fields `role` and `exp` are required in JWT"],
    ["?apikey=sb_publishable_abc", "The token provided is not a valid JWT"],
    [`?apikey=${jwt({ role: "anon", exp: now() + 60 }).replace(/^[^.]*/, base64url({ alg: "none" }))}`, "The token provided is not a valid JWT"],
  ];
  for (const [query, error] of refusals) {
    const r = await upgrade(query);
    assert.deepEqual([r.status, r.type, r.body], [401, "application/json", JSON.stringify({ error })], query);
  }
  const third = await upgrade(`?apikey=${anonKey()}&vsn=3.0.0`);
  assert.deepEqual([third.status, third.body], [403, ""]);
  assert.equal((await upgrade(`?apikey=${anonKey()}&vsn=2.0.1`)).status, 101);
  assert.equal((await upgrade("?vsn=1.0.0", { headers: { "x-api-key": anonKey() } })).status, 101);
  assert.equal((await upgrade(`?apikey=${anonKey()}`, { headers: { upgrade: "h2c" } })).status, 426);
  assert.equal((await upgrade(`?apikey=${anonKey()}`, { headers: { "sec-websocket-version": "8" } })).status, 426);
  const faults = { path: "/realtime/v1/faults" };
  assert.equal((await upgrade("", faults)).status, 401);
  const r = await fetch(`http://127.0.0.1:${gateway.port}/realtime/v1/faults`, { method: "POST", headers: { apikey: anonKey() }, body: "{}" });
  assert.equal(r.status, 401);
});

test("it isn't there unless asked for", async () => {
  const g = await Gateway.start({ MESHHOOK_LOCAL_REALTIME: "" });
  assert.equal((await upgrade(`?apikey=${anonKey()}`, { port: g.port })).status, 404);
  assert.equal((await fetch(`http://127.0.0.1:${g.port}/realtime/v1/faults`, { method: "POST" })).status, 404);
  assert.equal(await g.stop(), 0);
});

test("a message over 5,000,000 bytes ends its socket, one below doesn't", async () => {
  const c = await dial("big");
  c.ws.send("x".repeat(5_000_000));
  c.say({ topic: "phoenix", event: "heartbeat", payload: {}, ref: "1" });
  assert.equal((await c.next()).payload.status, "ok");
  c.ws.send("x".repeat(5_000_001));
  assert.equal(await c.closed, 1006);
});

test("the limits of a hosted project: channels, users, joins, events", async () => {
  const g = await Gateway.start();
  const { port } = g;
  const c = await dial("many", { port });
  for (let i = 1; i <= 101; i++) c.say(join(`ch${i}`, { ref: `c${i}` }));
  for (let i = 1; i <= 100; i++) assert.equal((await c.next()).payload.status, "ok");
  assert.equal((await c.next()).payload.response.reason, "ChannelRateLimitReached: Too many channels");

  await g.fault({ users: 1 });
  const r = await upgrade(`?apikey=${anonKey()}`, { port });
  assert.deepEqual([r.status, r.body], [429, '{"error":"Too many connected users"}']);
  await g.fault({ users: 200, joins: 1 });
  for (let i = 0; i < 100; i++) c.say(join("ch1", { ref: `j${i}` }));
  for (const end = Date.now() + 60000; Date.now() < end; await sleep(100)) {
    if ((await upgrade(`?apikey=${anonKey()}`, { port })).status === 429) break;
  }
  const limited = await upgrade(`?apikey=${anonKey()}`, { port });
  assert.deepEqual([limited.status, limited.body], [429, '{"error":"Too many joins per second"}']);
  c.frames.length = 0;
  c.say(join("ch2", { ref: "late" }));
  assert.equal((await c.next()).payload.response.reason, "ClientJoinRateLimitReached: Too many joins per second");
  await g.fault({ joins: 100, events: 20 });

  // over the limit those who hear are thrown out, not those who speak
  const a = await joined("a", "room", { port });
  const b = await joined("b", "room", { port });
  const thrown = (c) => c.frames.find((f) => f.event === "system");
  for (const end = Date.now() + 60000; Date.now() < end && !thrown(a); await sleep(5)) b.say(shout("room", "flood"));
  assert.deepEqual(thrown(a)?.payload, {
    channel: "room",
    extension: "system",
    message: "Too many messages per second",
    status: "error",
  });
  await until(() => a.frames.at(-1).event === "phx_close");
  b.say({ topic: "phoenix", event: "heartbeat", payload: {}, ref: "hb" });
  assert.equal((await b.next()).ref, "hb");
  assert.equal(await g.stop(), 0);
});

test("the counter counts a message once, and once for each who gets it", async () => {
  const g = await Gateway.start();
  const { port } = g;
  const all = [];
  for (let i = 0; i < 9; i++) all.push(await joined(`r${i}`, "room", { port }));
  await g.fault({ events: 30 });
  // nine events a message: two messages a second are below, ten above
  const thrown = () => all[8].frames.some((f) => f.event === "system");
  const speak = async (ms, each) => {
    let said = 0;
    const from = Date.now();
    for (; Date.now() < from + ms && !thrown(); await sleep(each), said++) all[0].say(shout("room", "x"));
    return (1000 * said) / (Date.now() - from);
  };
  const rate = await speak(6000, 500);
  assert.ok(!thrown());
  const calm = await g.state();
  assert.deepEqual([calm.sockets, calm.channels, calm.thrown_out], [9, 9, 0]);
  // nine a message: the speaker hears nothing
  assert.ok(calm.events_per_s > 6 * rate && calm.events_per_s < 10.5 * rate, `${calm.events_per_s}, ${rate} messages a second`);
  await speak(60000, 50);
  assert.ok(thrown());
  assert.equal((await g.state()).thrown_out, 8);
  assert.equal(await g.stop(), 0);
});

test("faults on demand: dropped, mute, crashed, disconnected, killed", async () => {
  const g = await Gateway.start();
  const { port } = g;
  const a = await joined("a", "room", { port });
  const b = await joined("b", "room", { port });
  await g.fault({ drop: 1 });
  b.say(shout("room", "lost"));
  b.say(shout("room", "heard"));
  assert.equal((await a.next()).payload.event, "heard");
  await g.fault({ drop: 1, topic: "another" });
  b.say(shout("room", "heard"));
  assert.equal((await a.next()).payload.event, "heard");
  await g.fault({ drop: 1, topic: "room" });
  b.say(shout("room", "lost"));
  await g.fault({ mute_ms: 2000 });
  b.say(shout("room", "lost"));
  a.say({ topic: "phoenix", event: "heartbeat", payload: {}, ref: "hb" });
  assert.equal((await a.next()).ref, "hb"); // as with its database away: it lives, and nothing comes
  await sleep(2100);
  b.say(shout("room", "heard again"));
  assert.equal((await a.next()).payload.event, "heard again");
  await g.fault({ crash: "room" });
  assert.deepEqual((await a.next()).payload, { reason: "channel_crash" });
  a.say(shout("room", "x", {}, "77"));
  assert.equal((await a.next()).payload.response.reason, "unmatched topic");
  const c = await joined("c", "room", { port });
  await g.fault({ disconnect: true });
  assert.deepEqual((await c.next()).payload, { channel: "room", extension: "system", message: "Server requested disconnect", status: "ok" });
  assert.deepEqual(await Promise.all([a.closed, b.closed, c.closed]), [1012, 1012, 1012]);
  const d = await joined("d", "room", { port });
  await g.fault({ kill: true });
  assert.equal(await d.closed, 1006);
  assert.equal(await g.stop(), 0);
});

test("the page's own command mutes it", async () => {
  const g = await Gateway.start();
  const page = fs.readFileSync(path.join(scenarios, "../../docs/realtime.md"), "utf8");
  const [a, b] = [await joined("a", "room", { port: g.port }), await joined("b", "room", { port: g.port })];
  execFileSync("bash", ["-euc", /```sh\n([^]*?)```/.exec(page)[1]], { env: { ...process.env, MESHHOOK_GATEWAY_PORT: g.port } });
  b.say(shout("room", "lost"));
  assert.equal(await a.next(300), undefined);
  assert.equal(await g.stop(), 0);
});

test("SIGTERM closes with 1012, SIGKILL without a word", async () => {
  const g = await Gateway.start();
  const a = await joined("a", "room", { port: g.port });
  assert.equal(await g.stop(), 0);
  assert.equal(await a.closed, 1012);
  const h = await Gateway.start();
  const b = await joined("b", "room", { port: h.port });
  await h.stop("SIGKILL");
  assert.equal(await b.closed, 1006);
});

test("it comes back by itself when its database connections were cut", async () => {
  await member("a");
  const pids = async () =>
    (await db.query("select pid from pg_stat_activity where application_name = 'meshhook realtime'")).rows.map((r) => r.pid);
  const others = await pids();
  const g = await Gateway.start();
  const options = { isPrivate: true, token: userToken(users.a), port: g.port };
  const c = await joined("a", `run:${run}`, options);
  const own = (await pids()).filter((pid) => !others.includes(pid));
  assert.equal(own.length, 2);
  for (const pid of own) await db.query("select pg_terminate_backend($1)", [pid]);
  let f;
  for (let i = 0; i < 600 && !f; i++) {
    await db.query(`select realtime.send('{"i":${i}}', 'tick', 'run:${run}', true)`);
    f = await c.next(100);
  }
  assert.equal(f?.payload.event, "tick");
  await joined("d", `run:${run}`, options);
  assert.equal(await g.stop(), 0);
});

test("frames that come together are taken in order, also while the database is asked", async () => {
  await member("a");
  const c = await dial("a");
  const token = userToken(users.a);
  const due = [];
  c.ws._socket.cork();
  for (let i = 0; i < 40; i++) {
    const frames = [
      join(`run:${run}`, { isPrivate: true, self: true, ack: true, token, ref: `j${i}` }),
      shout(`run:${run}`, "x", { i }, `b${i}`),
      { topic: "phoenix", event: "heartbeat", payload: {}, ref: `h${i}` },
      { topic: `realtime:run:${run}`, event: "phx_leave", payload: {}, ref: `l${i}` },
    ];
    for (const f of frames) c.say(f);
    due.push(`j${i}`, null, `b${i}`, `h${i}`, `l${i}`, `j${i}`);
  }
  c.ws._socket.uncork();
  const got = [];
  for (let i = 0; i < due.length; i++) got.push((await c.next())?.ref);
  assert.deepEqual(got, due);
  c.ws.terminate();
});

test("a user of another project hears nothing, whatever is tried", async () => {
  await member("a");
  const inside = await joined("a", `run:${run}`, { isPrivate: true, ack: true, token: userToken(users.a) });
  const outside = await dial("b");
  const tries = [
    userToken(users.b),
    jwt({ sub: users.a, role: "postgres", exp: now() + 60 }),
    jwt({ sub: users.a, role: "supabase_realtime_admin", exp: now() + 60 }),
    jwt({ sub: users.a, role: "anon", exp: now() + 60 }),
    undefined,
  ];
  for (const [i, token] of tries.entries()) {
    outside.say(join(`run:${run}`, { isPrivate: true, token, ref: `t${i}` }));
    const reply = await outside.next();
    assert.match(reply.payload.response.reason, /^Unauthorized: /);
    outside.say(shout(`run:${run}`, "intruder", {}, `s${i}`));
    assert.equal((await outside.next()).payload.response.reason, "unmatched topic");
  }
  await db.query(`select realtime.send('{"secret":1}', 'log', 'run:${run}', true)`);
  assert.equal((await inside.next()).payload.event, "log");
  assert.equal(await outside.next(200), undefined);
  const [{ n }] = (await db.query("select count(*)::int as n from realtime.messages where topic like 'run:%' and payload is null and binary_payload is null")).rows;
  assert.equal(n, 0, "a probe was committed");
  inside.ws.terminate();
  outside.ws.terminate();
});

test("what comes from the database comes in the order of commits", async () => {
  await member("a");
  const c = await joined("a", `run:${run}`, { isPrivate: true, token: userToken(users.a), vsn: undefined });
  await gateway.fault({ events: 0 });
  await db.query(`insert into realtime.messages (topic, extension, event, private, payload)
    select 'run:${run}', 'broadcast', 'n', true, jsonb_build_object('n', n) from generate_series(1, 500) n`);
  for (let i = 501; i <= 600; i++) await db.query(`select realtime.send('{"n":${i}}', 'n', 'run:${run}', true)`);
  const got = [];
  for (let i = 0; i < 600; i++) got.push((await c.next()).payload.payload.n);
  assert.deepEqual(got, Array.from({ length: 600 }, (_, i) => i + 1));
  c.ws.terminate();
});

test("topics of any length, from the database, in both versions", async () => {
  const topic = `room:${"x".repeat(300)}`;
  const send = (text) => db.query("select realtime.send($1::jsonb, 'log', $2, false)", [text, topic]);
  const [a, b] = [await joined("a", topic), await dial("b", { vsn: "2.0.0" })];
  b.say(["1", "1", `realtime:${topic}`, "phx_join", { config: {} }]);
  assert.equal((await b.next()).payload.status, "ok");
  await send('{"id":"1"}');
  for (const c of [a, b]) {
    const f = await c.next();
    assert.equal(f.kind, undefined);
    assert.deepEqual([f.event, f.payload.event, f.payload.payload], ["broadcast", "log", { id: "1" }]);
    c.ws.terminate();
  }
});

if (Number(process.env.MESHHOOK_TEST_COUNT) >= 1000) {
  test("a socket is closed after a minute without a word; a ping is one", async () => {
    const idle = await dial("idle");
    const pings = await dial("pings");
    const timer = setInterval(() => pings.ws.ping(), 20000);
    assert.equal(await Promise.race([idle.closed, sleep(70000)]), 1000);
    clearInterval(timer);
    assert.equal(pings.ws.readyState, WebSocket.OPEN);
    pings.ws.terminate();
  });
}

// Unmodified supabase-js -------------------------------------------------------------------------------------------

function client(vsn, port, token) {
  return createClient(`http://127.0.0.1:${port}`, anonKey(), {
    auth: { persistSession: false },
    accessToken: token && (async () => token()),
    realtime: { transport: WebSocket, vsn, heartbeatIntervalMs: 1000, reconnectAfterMs: () => 100 },
  });
}
const status = (channel, wanted) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${wanted}`)), 60000);
    channel.subscribe((s, error) => {
      if (s !== wanted) return;
      clearTimeout(timer);
      resolve(error);
    });
  });
async function until(fact, ms = 60000) {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(20)) if (fact()) return;
  assert.fail(`not within ${ms} ms: ${fact}`);
}

for (const vsn of ["1.0.0", "2.0.0"]) {
  test(`supabase-js ${vsn}: clients talk to each other`, async () => {
    const [one, two] = [client(vsn, gateway.port), client(vsn, gateway.port)];
    const heard = { one: [], two: [] };
    const config = { config: { broadcast: { self: true, ack: true } } };
    const a = one.channel("hall", config).on("broadcast", { event: "*" }, (m) => heard.one.push(m));
    const b = two.channel("hall").on("broadcast", { event: "greet" }, (m) => heard.two.push(m));
    await Promise.all([status(a, "SUBSCRIBED"), status(b, "SUBSCRIBED")]);
    assert.equal(await a.send({ type: "broadcast", event: "greet", payload: { from: "ü" } }), "ok");
    await until(() => heard.one.length === 1 && heard.two.length === 1);
    assert.deepEqual([heard.two[0].event, heard.two[0].payload], ["greet", { from: "ü" }]);
    assert.equal(await a.send({ type: "broadcast", event: "other", payload: {} }), "ok");
    await until(() => heard.one.length === 2);
    assert.equal(heard.two.length, 1);
    await one.removeAllChannels();
    await two.removeAllChannels();
  });

  test(`supabase-js ${vsn}: a private channel hears the database, and its token is renewed`, async () => {
    await member("a");
    let token = userToken(users.a, 3600, { n: 1 });
    const c = client(vsn, gateway.port, () => token);
    const heard = [];
    const channel = c
      .channel(`run:${run}`, { config: { private: true } })
      .on("broadcast", { event: "log" }, (m) => heard.push(m.payload.i));
    await status(channel, "SUBSCRIBED");
    const say = (i) => db.query("select realtime.send($1::jsonb, 'log', $2, true)", [JSON.stringify({ i }), `run:${run}`]);
    await say(1);
    await until(() => heard.length === 1);
    token = userToken(users.a, 3600, { n: 2 });
    await c.realtime.setAuth();
    await say(2);
    await until(() => heard.length === 2);
    // no member any more: heard until the token changes, as there
    await db.query("delete from realtime_test.members");
    await say(3);
    await until(() => heard.length === 3);
    token = userToken(users.a, 3600, { n: 3 });
    await c.realtime.setAuth();
    await until(() => channel.state !== "joined");
    await say(4);
    await sleep(200);
    assert.deepEqual(heard, [1, 2, 3]);
    await c.removeAllChannels();
  });

  test(`supabase-js ${vsn}: who isn't a member gets CHANNEL_ERROR`, async () => {
    await member("a");
    const c = client(vsn, gateway.port, () => userToken(users.b));
    const error = await status(c.channel(`run:${run}`, { config: { private: true } }), "CHANNEL_ERROR");
    assert.match(error.message, /Unauthorized: You do not have permissions to read from this Channel topic/);
    await c.removeAllChannels();
  });

  test(`supabase-js ${vsn}: the server is killed and comes back`, async () => {
    await member("a");
    let g = await Gateway.start();
    const { port } = g;
    const c = client(vsn, port, () => userToken(users.a));
    const heard = [];
    const channel = c
      .channel(`run:${run}`, { config: { private: true } })
      .on("broadcast", { event: "log" }, (m) => heard.push(m.payload.i));
    await status(channel, "SUBSCRIBED");
    await g.stop("SIGKILL");
    await until(() => channel.state !== "joined");
    g = await Gateway.start({}, port);
    await until(() => channel.state === "joined");
    await db.query(`select realtime.send('{"i":1}', 'log', 'run:${run}', true)`);
    await until(() => heard.length === 1);
    await c.removeAllChannels();
    assert.equal(await g.stop(), 0);
  });
}
