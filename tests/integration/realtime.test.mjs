// The local Realtime endpoint against what a real one did: the scenarios in tests/realtime were recorded
// on supabase/realtime v2.129.8, frame by frame, and are replayed here. Then unmodified supabase-js.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import crypto from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { after, before, test } from "node:test";
import { createClient } from "@supabase/supabase-js";
import pg from "pg";
import WebSocket from "ws";

const run = "11111111-1111-1111-1111-111111111111";
const scenarios = path.resolve(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), "../realtime");
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
const userToken = (sub, ttl = 3600, more = {}) =>
  jwt({ sub, role: "authenticated", aud: "authenticated", exp: now() + ttl, ...more });
const anonKey = (ttl = 3600) => jwt({ role: "anon", exp: now() + ttl });
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
    return g;
  }
  async line(event) {
    for (let i = 0; i < 500; i++) {
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
  async next(ms = 4000) {
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
  const claims = { exp: now() + Number(ttl), session_id: n };
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
test("version 2.0.0, its binary forms, replay", async () => {
  const start = Date.now() - 1;
  await member("a");
  await db.query(`select realtime.send('{"after":"removal"}', 'log', 'run:${run}', true)`);
  await replay("version-2", start);
});
test("replay", async () => {
  const start = Date.now() - 1;
  await member("a");
  for (let i = 0; i < 30; i++) await db.query(`select realtime.send('{"i":${i}}', 'log', 'run:${run}', true)`);
  await replay("replay", start);
});
test("a join that is refused", async () => {
  await member("a");
  await replay("denied");
});
test("the list of differences has none that isn't", () => {
  assert.deepEqual(differences.filter((d) => !used.has(d)).map((d) => String(d.real)), []);
});
