// An unmodified supabase-js against the stack's API port: who signs up, what they see under RLS, and
// a run's lines live, by the module in sdk/js. What goes wrong on the way must not be seen in the lines.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import { execFile, execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { after, afterEach, before, test } from "node:test";
import { createClient } from "@supabase/supabase-js";
import pg from "pg";
import ws from "ws";
import { random as seeded, seed as seeds } from "../crash/lib.mjs";

const { MESHHOOK_BIN: binary, SUPABASE_URL: url, SUPABASE_PUBLISHABLE_KEY: key, SUPABASE_SECRET_KEY: secret } = process.env;
const slug = `js-${process.pid}`;
const env = { ...process.env, MESHHOOK_PROJECT: slug, MESHHOOK_LOG_FORMAT: "json", MESHHOOK_WORKER_POLL: "50ms" };
const dir = fs.mkdtempSync(path.join(os.tmpdir(), "meshhook-js-"));
const pool = new pg.Pool({ connectionString: process.env.SUPABASE_DB_URL, max: 20 });
for (const event of ["error", "connect"]) pool.on(event, (c) => c.on?.("error", () => {}));
const root = new URL("../../", import.meta.url);
const sql = async (text, ...values) => (await pool.query(text, values)).rows;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const children = new Set();
const followers = new Set();

// A client as a browser has one, but for the WebSocket that Node 20 lacks.
const client = (apikey = key, fetched = () => {}, at = url) =>
  createClient(at, apikey, {
    auth: { persistSession: false },
    realtime: { transport: ws, reconnectAfterMs: () => 100 },
    global: { fetch: (what, how) => fetch(what, how).finally(() => fetched(String(what))) },
  });

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
  await until(() => p.text.includes(what === "gateway" ? "gateway.listening" : "worker.ready"), () => `${what} is up: ${p.text.slice(-500)}`);
  return p;
};

// Wait for a fact, and say which did not come about.
const until = async (fact, what, ms = 60000) => {
  for (const end = Date.now() + ms; ; await sleep(20)) {
    const answer = await fact();
    if (answer) return answer;
    assert.ok(Date.now() < end, `not within ${ms} ms: ${typeof what === "function" ? what() : what}`);
  }
};

// A random number below n, the same in every run of the tests.
let seed = 20261121;
const pause = seeded(seeds); // how long writers hold their transactions open
const random = (n) => (seed = (seed * 48271) % 2147483647) % n;

// The gateway behind the API port, told to fail.
const startGateway = () => start("gateway", { MESHHOOK_LOCAL_REALTIME: "on" });
const fault = (what) =>
  fetch(`${url}/realtime/v1/faults`, {
    method: "POST",
    headers: { apikey: secret, "content-type": "application/json" },
    body: JSON.stringify(what),
  }).then((r) => assert.equal(r.status, 204));

// A way to the API that can be cut in the middle of whatever comes next, a frame or an answer.
const proxy = () =>
  new Promise((resolve) => {
    const p = { cuts: 0 };
    p.server = net.createServer((near) => {
      const far = net.connect(new URL(url).port, "127.0.0.1");
      const generation = p.cuts;
      near.pipe(far);
      far.on("data", (d) => {
        if (p.cuts === generation) return near.write(d);
        near.end(d.subarray(0, d.length >> 1));
        far.destroy();
      });
      for (const [a, b] of [[near, far], [far, near]]) {
        a.on("error", () => b.destroy());
        a.on("close", () => b.end());
      }
    });
    p.server.listen(0, "127.0.0.1", () => resolve(Object.assign(p, { url: `http://127.0.0.1:${p.server.address().port}` })));
  });

// Follow by the module, and keep all that it says. Each has a socket of its own, whose channels'
// ends are counted.
const follow = async (who, channel, options = {}) => {
  const f = { lines: [], gaps: [], watched: 0, joined: 0, ended: false, error: undefined };
  const supabase = client(key, (what) => (f.watched += what.includes("/rpc/watch")), options.at);
  const { error } = await supabase.auth.signInWithPassword({ email: who.email, password: "correct horse" });
  assert.equal(error, null);
  const make = supabase.channel.bind(supabase);
  supabase.channel = (...args) => {
    const made = make(...args);
    const subscribe = made.subscribe.bind(made);
    made.subscribe = (told) =>
      subscribe((status, why) => {
        if (status === "SUBSCRIBED") f.joined++;
        told(status, why);
      });
    return made;
  };
  f.following = followLogs(supabase, channel, {
    ...options,
    onLines: (lines) => f.lines.push(...lines),
    onGap: (gap) => f.gaps.push(gap),
    onEnd: () => (f.ended = true),
    onError: (e) => (f.error = e),
  });
  followers.add(f);
  f.supabase = supabase;
  f.stop = async () => {
    followers.delete(f);
    await f.following.unsubscribe();
    await supabase.realtime.disconnect();
    await supabase.auth.signOut();
  };
  if (options.wait !== false) await until(() => f.joined > 0, "it has joined");
  return f;
};
const seqs = (f) => f.lines.map((l) => l.seq);
const upTo = (n, from = 1) => Array.from({ length: n - from + 1 }, (_, i) => from + i);
const log = (resource, message) => sql("select meshhook.log($1, 'etl', $2, 'info', $3)", slug, resource, message);
const lastSeq = async (resource) =>
  Number((await sql(`select last_seq from meshhook.channels c join meshhook.projects p on p.id = c.project_id
    where p.slug = $1 and service = 'etl' and resource = $2`, slug, resource))[0].last_seq);

let owner, viewer, stranger, worker, gateway, followLogs;

before(async () => {
  const sdk = new URL("sdk/js/", root);
  execFileSync("npm", ["run", "--silent", "build"], { cwd: sdk });
  ({ followLogs } = await import(new URL("dist/esm/index.js", sdk)));
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

afterEach(async () => {
  await Promise.all([...followers].map((f) => f.stop()));
  await gateway?.stop();
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

test("a run's lines come live, to its end, to members only", async () => {
  gateway = await startGateway();
  await worker.stop(); // so that the run waits for its followers
  const { data: run } = await owner.db.rpc("start_run", { project: slug, workflow: "greet", input: { name: "Bob" } });
  const channel = `logs:run:${slug}:${run}`;
  const [f, denied, unknown] = await Promise.all([
    follow(viewer, channel),
    follow(stranger, channel, { wait: false }),
    follow(viewer, `logs:run:${slug}:${crypto.randomUUID()}`, { wait: false }),
  ]);
  worker = await start("worker");
  await until(() => f.lines.some((l) => l.message === "hello Bob"), "the line comes");
  await until(() => f.ended, "the end is told");
  assert.deepEqual(seqs(f), upTo(f.lines.length));
  assert.equal(f.lines.at(-1).message, "run succeeded");
  await until(() => denied.error && unknown.error, "the others are refused");
  assert.equal(denied.lines.length + unknown.lines.length, 0);
  const late = await follow(viewer, channel, { wait: false, cursor: { ...f.following.cursor, seq: 1 } });
  await until(() => late.ended, "who comes after the end is told too");
  assert.deepEqual(late.lines, f.lines.slice(1));
  const strange = await follow(viewer, channel, { wait: false, cursor: { epoch: f.following.cursor.epoch ^ 1, seq: 2 } });
  await until(() => strange.ended, "a cursor of another numbering");
  assert.deepEqual(strange.gaps, [{ channel, from: 3, to: null, reason: "reset" }]);
  assert.deepEqual(strange.lines, f.lines);
});

// 16 writers whose transactions commit late, out of order or not at all, while the connection is cut
// in every way that Realtime has. Each follower gets each line once, in order.
test(`whatever is cut, lost or late: every line exactly once (seed ${seeds})`, async (t) => {
  const rounds = Number(process.env.MESHHOOK_TEST_COUNT ?? 100);
  const resources = ["proof-a", "proof-b"];
  for (const r of resources) await log(r, "first");
  gateway = await startGateway();
  const between = await proxy();
  const all = await Promise.all(
    [0, 1, 2, 3].map((i) =>
      follow(i % 2 ? viewer : owner, `logs:etl:${slug}:${resources[i >> 1]}`, i % 2 ? { at: between.url } : {}),
    ),
  );
  let writing = true;
  const writers = Array.from({ length: 16 }, async (_, i) => {
    for (let n = 0; writing; n++) {
      const c = await pool.connect().catch(() => undefined);
      try {
        await c.query("begin");
        for (let k = 0; k <= n % 3; k++)
          await c.query("select meshhook.log($1, 'etl', $2, 'info', $3)", [slug, resources[(i + k) % 2], `${i}/${n}/${k}`]);
        await sleep(pause() * 60);
        await c.query(n % 10 === 9 ? "rollback" : "commit");
        c.release();
      } catch {
        c?.release(true); // the database restarts: what was not committed is nobody's line
        await sleep(100);
      }
    }
  });
  const topic = async (r) => (await owner.db.rpc("watch", { channel: `logs:etl:${slug}:${r}` }).single()).data.topic;
  const faults = [
    () => fault({ kill: true }),
    () => fault({ close: 1012 }),
    () => fault({ disconnect: true }),
    () => fault({ mute_ms: 100 + random(900) }),
    () => fault({ drop: 1 + random(5) }),
    async () => fault({ crash: await topic(resources[random(2)]) }),
    () => between.cuts++,
    () =>
      sql(`select pg_terminate_backend(pid) from pg_stat_activity
        where pid <> pg_backend_pid() and application_name ~ 'gateway|realtime|stack api'`),
    async () => {
      await gateway.stop("SIGKILL");
      gateway = await startGateway();
    },
    () => new Promise((done) => execFile("scripts/stack", ["restart-db"], { cwd: root }, done)),
  ];
  const rare = faults.splice(-2);
  let last = "";
  for (let i = 0; i < rounds; i++) {
    const next = random(16) ? faults[random(faults.length)] : rare[random(rare.length)];
    last = String(next);
    await next();
    await sleep(random(150));
    // Now and then the next comes while the last is not yet healed.
    if (random(4) === 0) continue;
    await until(() => all.every((f) => f.supabase.getChannels()[0]?.state === "joined"), () =>
      `all have joined, after ${i} faults, the last ${last}: ${all.map((f) => `${f.supabase.getChannels()[0]?.state}, ${f.error}`)}`, 90000);
  }
  writing = false;
  await Promise.all(writers);
  for (const [i, f] of all.entries()) {
    const last = await lastSeq(resources[i >> 1]);
    await until(() => f.lines.length >= last, () => `follower ${i} has ${f.lines.length} of ${last} lines`, 120000);
  }
  await sleep(200); // for what would come twice
  between.server.close();
  for (const [i, f] of all.entries()) {
    const written = await sql(
      `select l.seq::int, l.message from meshhook.logs l join meshhook.channels c on c.id = l.channel_id
       where c.resource = $1 and c.project_id = (select id from meshhook.projects where slug = $2) order by l.seq`,
      resources[i >> 1], slug,
    );
    assert.deepEqual(f.lines.map(({ seq, message }) => ({ seq, message })), written);
    assert.deepEqual(f.gaps, []);
    assert.equal(f.error, undefined);
  }
  t.diagnostic(`${rounds} faults, ${all.map((f) => f.lines.length).join(" + ")} lines, ` +
    `${all.reduce((n, f) => n + f.joined, 0)} joins`);
});

test("the last line arrives though nothing is heard of it", async () => {
  gateway = await startGateway();
  await log("quiet", "first");
  const f = await follow(viewer, `logs:etl:${slug}:quiet`);
  await until(() => f.lines.length === 1 && f.watched === 2, "what was there, and that it has joined");
  await fault({ mute_ms: 22000 });
  await log("quiet", "into the silence");
  await sleep(2000);
  assert.equal(f.lines.length, 1);
  await until(() => f.lines.length === 2, "the renewal finds it", 19000);
  assert.equal(f.watched, 3);
  assert.equal(f.lines[1].message, "into the silence");
  await fault({ mute_ms: 0 });
  await log("quiet", "and again");
  await until(() => f.lines.length === 3, "live again", 10000);
});

test("lines that retention removed are a gap, and only they", async () => {
  for (let i = 1; i <= 6; i++) await log("old", `line ${i}`);
  const [{ id, epoch }] = await sql("select id, epoch from meshhook.channels where resource = 'old' and project_id = (select id from meshhook.projects where slug = $1)", slug);
  await sql("delete from meshhook.logs where channel_id = $1 and seq in (1, 2, 4)", id);
  const channel = `logs:etl:${slug}:old`;
  const [begin, resume] = await Promise.all([
    follow(viewer, channel, { wait: false }),
    follow(viewer, channel, { wait: false, cursor: { epoch, seq: 1 } }),
  ]);
  for (const f of [begin, resume]) {
    await until(() => f.lines.length === 3, "what is left");
    assert.deepEqual(seqs(f), [3, 5, 6]);
  }
  assert.deepEqual(begin.gaps, [{ channel, from: 4, to: 4, reason: "expired" }]);
  assert.deepEqual(resume.gaps, [
    { channel, from: 2, to: 2, reason: "expired" },
    { channel, from: 4, to: 4, reason: "expired" },
  ]);
});

test("a removed member is cut off, the others go on", async () => {
  gateway = await startGateway();
  const guest = await signUp();
  assert.equal((await owner.db.rpc("add_member", { project: slug, user_id: guest.id })).error, null);
  await log("secret", "for all three");
  const channel = `logs:etl:${slug}:secret`;
  const [leaves, stays] = await Promise.all([follow(guest, channel), follow(viewer, channel)]);
  await until(() => leaves.lines.length + stays.lines.length === 2, "both see it");
  assert.equal((await owner.db.rpc("remove_member", { project: slug, user_id: guest.id })).error, null);
  for (let i = 0; i < 20; i++) await log("secret", `not for you ${i}`);
  await until(() => stays.lines.length === 21, "who stays gets every line, long before the renewal", 10000);
  await until(() => stays.joined === 2, "on the new topic", 10000);
  await log("secret", "live again");
  await until(() => stays.lines.length === 22, "and the next one");
  await until(() => leaves.error, "who was removed is told", 10000);
  assert.equal(leaves.lines.length, 1);
  assert.deepEqual(leaves.gaps, []);
});

// The hosted quota as it is by default: 100 events a second, deliveries counted, and over it the
// receivers are thrown out. Nobody is, and each gets every line.
test("20 viewers and 5 on runs keep within the quota, and miss nothing", async (t) => {
  const lines = Number(process.env.MESHHOOK_TEST_COUNT ?? 100) >= 1000 ? 10000 : 1000;
  gateway = await startGateway();
  const file = path.join(dir, "burst.json");
  const nodes = [{ id: "start", type: "manual" }];
  for (let i = 1; i < lines; i++) nodes.push({ id: `n${i}`, type: "log", message: `line ${i}` });
  const edges = nodes.slice(1).map((n) => ({ from: "start", to: n.id }));
  fs.writeFileSync(file, JSON.stringify({ name: "burst", nodes, edges }));
  for (const args of [["workflow", "push", file], ["workflow", "publish", "burst"]])
    execFileSync(binary, args, { env, stdio: "pipe" });
  await worker.stop();
  const { data: run, error } = await owner.db.rpc("start_run", { project: slug, workflow: "burst" });
  assert.equal(error, null);
  const viewers = [];
  for (let i = 0; i < 20; i++) viewers.push(await follow(i % 2 ? viewer : owner, `logs:run:${slug}:${run}`));
  const boards = [];
  for (let i = 0; i < 5; i++) {
    const b = { supabase: client(), closed: 0, joined: false, ended: false };
    await b.supabase.auth.signInWithPassword({ email: viewer.email, password: "correct horse" });
    const watch = () => b.supabase.schema("meshhook").rpc("watch", { channel: `runs:${slug}`, reader: crypto.randomUUID() }).single();
    const { data } = await watch();
    await b.supabase.realtime.setAuth();
    b.supabase
      .channel(data.topic, { config: { private: true } })
      .on("broadcast", { event: "run" }, ({ payload }) => {
        if (payload.runs.some((r) => r.id === run && r.status === "succeeded")) b.ended = true;
      })
      .subscribe((status) => {
        if (status === "SUBSCRIBED") b.joined = true;
        if (status === "CLOSED") b.closed++;
      });
    await until(() => b.joined, "a board has joined");
    boards.push(b);
  }
  const began = Date.now();
  worker = await start("worker");
  await until(() => viewers.every((v) => v.ended), () => `lines: ${viewers.map((v) => v.lines.length)}`, 300000);
  const total = viewers[0].lines.length;
  assert.ok(total > lines);
  for (const v of viewers) {
    assert.deepEqual(seqs(v), upTo(total));
    assert.deepEqual(v.gaps, []);
    assert.equal(v.joined, 1, "joined once, and never thrown out");
  }
  await until(() => boards.every((b) => b.ended), "the boards are told of the end");
  assert.ok(boards.every((b) => b.closed === 0));
  t.diagnostic(`${total} lines to 20 viewers in ${Date.now() - began} ms`);
  for (const b of boards) await b.supabase.realtime.disconnect();
});
