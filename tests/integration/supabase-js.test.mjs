// An unmodified supabase-js against the stack's API port: who signs up, what they see under RLS, and
// a run's lines live, by the module in sdk/js. What goes wrong on the way must not be seen in the lines.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { createClient } from "@supabase/supabase-js";
import pg from "pg";
import ws from "ws";

const { MESHHOOK_BIN: binary, SUPABASE_URL: url, SUPABASE_PUBLISHABLE_KEY: key, SUPABASE_SECRET_KEY: secret } = process.env;
const slug = `js-${process.pid}`;
const env = { ...process.env, MESHHOOK_PROJECT: slug, MESHHOOK_LOG_FORMAT: "json", MESHHOOK_WORKER_POLL: "50ms" };
const dir = fs.mkdtempSync(path.join(os.tmpdir(), "meshhook-js-"));
const pool = new pg.Pool({ connectionString: process.env.SUPABASE_DB_URL, max: 20 });
const sql = async (text, ...values) => (await pool.query(text, values)).rows;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const children = new Set();

// A client as a browser has one, but for the WebSocket that Node 20 lacks.
const client = (apikey = key) =>
  createClient(url, apikey, { auth: { persistSession: false }, realtime: { transport: ws } });

let users = 0;
const signUp = async () => {
  const supabase = client();
  const email = `user-${process.pid}-${++users}@example.com`;
  const { data, error } = await supabase.auth.signUp({ email, password: "correct horse" });
  assert.equal(error, null);
  return { supabase, db: supabase.schema("meshhook"), id: data.user.id, email };
};

const start = async (what, more = {}) => {
  const child = spawn(binary, [what], { env: { ...env, ...more }, stdio: ["ignore", "ignore", "pipe"] });
  const p = { child, text: "" };
  children.add(p);
  p.over = new Promise((resolve) =>
    child.on("close", (code, signal) => {
      children.delete(p);
      assert.ok(!/Sanitizer|runtime error/.test(p.text), p.text);
      resolve(signal ?? code);
    }),
  );
  child.stderr.on("data", (d) => (p.text += d));
  p.stop = (signal = "SIGTERM") => {
    child.kill(signal);
    return p.over;
  };
  await until(() => p.text.includes(what === "gateway" ? "gateway.listening" : "worker.ready"), `${what} is up`);
  return p;
};

// Wait for a fact, and say which did not come about.
const until = async (fact, what, ms = 15000) => {
  for (const end = Date.now() + ms; ; await sleep(20)) {
    const answer = await fact();
    if (answer) return answer;
    assert.ok(Date.now() < end, `not within ${ms} ms: ${typeof what === "function" ? what() : what}`);
  }
};

let owner, viewer, stranger, worker;

before(async () => {
  [owner, viewer, stranger] = await Promise.all([signUp(), signUp(), signUp()]);
  const service = client(secret).schema("meshhook");
  assert.equal((await service.rpc("create_project", { slug, name: "JS", owner: owner.id })).error, null);
  assert.equal((await owner.db.rpc("add_member", { project: slug, user_id: viewer.id })).error, null);
  assert.equal((await service.rpc("create_project", { slug: `${slug}-b`, name: "B", owner: stranger.id })).error, null);
  const file = path.join(dir, "greet.json");
  fs.writeFileSync(
    file,
    JSON.stringify({
      name: "greet",
      nodes: [
        { id: "start", type: "manual" },
        { id: "hello", type: "log", message: "hello {{ input.name }}" },
      ],
      edges: [{ from: "start", to: "hello" }],
    }),
  );
  for (const args of [["workflow", "push", file], ["workflow", "publish", "greet"]])
    execFileSync(binary, args, { env, stdio: "pipe" });
  worker = await start("worker");
});

after(async () => {
  for (const p of children) await p.stop();
  await pool.end();
  fs.rmSync(dir, { recursive: true });
});

test("a user signs in, and the session can be renewed and ended", async () => {
  const supabase = client();
  const wrong = await supabase.auth.signInWithPassword({ email: owner.email, password: "wrong horse" });
  assert.equal(wrong.error.status, 400);
  const { data, error } = await supabase.auth.signInWithPassword({ email: owner.email, password: "correct horse" });
  assert.equal(error, null);
  assert.equal(data.user.id, owner.id);
  const renewed = await supabase.auth.refreshSession();
  assert.equal(renewed.error, null);
  assert.equal((await supabase.auth.getUser()).data.user.id, owner.id);
  assert.equal((await supabase.auth.signOut()).error, null);
  assert.deepEqual((await supabase.schema("meshhook").from("projects").select()).data, null);
});

test("members see their project and nobody else's", async () => {
  for (const [who, sees] of [[owner, slug], [viewer, slug], [stranger, `${slug}-b`]]) {
    const { data, error } = await who.db.from("projects").select("slug");
    assert.equal(error, null);
    assert.deepEqual(data, [{ slug: sees }]);
  }
  const { data } = await owner.db.from("members").select("user_id, role").order("role");
  assert.deepEqual(data, [{ user_id: owner.id, role: "owner" }, { user_id: viewer.id, role: "viewer" }]);
  assert.deepEqual((await stranger.db.from("members").select("user_id")).data, [{ user_id: stranger.id }]);
  assert.equal((await client().schema("meshhook").from("projects").select()).status, 401);
});

test("what a role may not write is refused", async () => {
  const [{ id: project_id }] = await sql("select id from meshhook.projects where slug = $1", slug);
  const draft = { project_id, name: "mine", draft: { name: "mine", nodes: [], edges: [] } };
  assert.equal((await owner.db.from("workflows").insert(draft)).error, null);
  for (const who of [viewer, stranger])
    assert.equal((await who.db.from("workflows").insert({ ...draft, name: "theirs" })).error.code, "42501");
  assert.deepEqual((await viewer.db.from("workflows").delete().eq("name", "mine").select()).data, []);
  assert.equal((await owner.db.from("workflows").delete().eq("name", "mine").select("name")).data.length, 1);
  for (const table of ["runs", "run_events", "logs", "steps"])
    assert.equal((await owner.db.from(table).insert({ project_id })).error.code, "42501", table);
  assert.equal((await viewer.db.rpc("start_run", { project: slug, workflow: "greet" })).status, 403);
  assert.equal((await stranger.db.rpc("start_run", { project: slug, workflow: "greet" })).status, 404);
  assert.equal((await stranger.db.rpc("watch", { channel: `logs:etl:${slug}:x` })).status >= 403, true);
});

test("a run started by rpc is carried out, and its record can be read", async () => {
  const { data: run, error } = await owner.db.rpc("start_run", { project: slug, workflow: "greet", input: { name: "Ada" } });
  assert.equal(error, null);
  const status = async () => (await viewer.db.from("runs").select("status, log_seq").eq("id", run).single()).data;
  await until(async () => (await status()).status === "succeeded", "the run succeeds");
  const { data: lines } = await viewer.db.from("logs").select("seq, message, ts").eq("channel_id", run).order("seq");
  assert.deepEqual(lines.map((l) => l.seq), Array.from({ length: (await status()).log_seq }, (_, i) => i + 1));
  assert.ok(lines.some((l) => l.message === "hello Ada"));
  assert.match(lines[0].ts, /^\d{4}-\d\d-\d\dT[\d:.]+\+00:00$/);
  const { count } = await viewer.db.from("run_events").select("*", { count: "exact", head: true }).eq("run_id", run);
  assert.ok(count >= 4);
  assert.deepEqual((await stranger.db.from("logs").select().eq("channel_id", run)).data, []);
  assert.deepEqual((await stranger.db.from("runs").select().eq("id", run)).data, []);
});
