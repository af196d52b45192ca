// What the leader keeps in order: months that go, after they are archived, whatever dies or fails
// meanwhile; counters under load; messages that were given up.
import assert from "node:assert/strict";
import { execFile, execFileSync, spawn } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import fs from "node:fs";
import { createServer } from "node:http";
import os from "node:os";
import path from "node:path";
import { after, afterEach, test } from "node:test";
import { promisify } from "node:util";
import { gunzipSync } from "node:zlib";
import pg from "pg";

const root = path.dirname(path.dirname(path.dirname(new URL(import.meta.url).pathname)));
const pool = new pg.Pool({ connectionString: process.env.SUPABASE_DB_URL, max: 3 });
const sql = async (text, ...values) => (await pool.query(text, values)).rows;
const one = async (text, ...values) => Object.values((await sql(text, ...values))[0] ?? {})[0];
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const children = new Set();
const undo = [];

async function until(what, fn, ms = 120000) {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(30)) {
    const value = await fn();
    if (value) return value;
  }
  assert.fail(`not after ${ms} ms: ${what}`);
}

const env = { ...process.env, MESHHOOK_LOG_FORMAT: "json", MESHHOOK_HTTP_ALLOW: "127.0.0.1/32" };
for (const name of ["MESHHOOK_PROJECT", "MESHHOOK_TESTPOINT"]) delete env[name];

function start(argv, more = {}) {
  const child = spawn(process.env.MESHHOOK_BIN, argv, { env: { ...env, ...more }, stdio: ["ignore", "ignore", "pipe"] });
  const p = { child, text: "" };
  child.stderr.on("data", (d) => (p.text += d));
  p.over = new Promise((resolve) => child.on("exit", (code, signal) => resolve({ code, signal })));
  p.end = async () => {
    child.kill("SIGTERM");
    assert.equal((await p.over).code, 0, p.text);
  };
  children.add(child);
  return p;
}
const monitor = (more) => start(["monitor", "--interval", "200ms", "--lease", "1s"], more);
const meshhook = async (...argv) =>
  JSON.parse((await promisify(execFile)(process.env.MESHHOOK_BIN, [...argv, "-o", "json"], { env, encoding: "utf8" })
    .catch((e) => ({ stdout: e.stdout }))).stdout.trim().split("\n").join(",").replace(/^(.*)$/, "[$1]"));

afterEach(async () => {
  for (const c of children) c.kill("SIGKILL");
  children.clear();
  for (const f of undo.splice(0).reverse()) await f();
});
after(async () => {
  await sql("select meshhook_engine.set_retention(0, true)");
  await pool.end();
});

// A month long ago, with two parts' worth of events that don't pack; what it holds, to compare.
let year = 1980;
async function month(mb = 9) {
  const at = `${++year}-03-05 00:00Z`;
  const name = `${year}_03`;
  await sql("select meshhook_engine.ensure_month($1)", at.slice(0, 10));
  await sql(`insert into meshhook.runs (id, project_id, workflow_id, version_id, trigger, last_seq, status, ended_at, error)
    select overlay(meshhook_engine.uuid7_floor($1::timestamptz + n * interval '1 minute')::text placing '7' from 15 for 1)::uuid,
      gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 't', 1, 'failed', now(), '{"code": "X"}' from generate_series(1, 20) n`, at);
  await sql(`insert into meshhook.run_events (run_id, seq, project_id, type, payload)
    select r.id, s, r.project_id, 'step.succeeded', jsonb_build_object('n', 12345678901234567890.50, 'text', E'a\\nb\\u2028"\\\\',
      'output', (select string_agg(md5(random()::text), '') from generate_series(1, $2::int) where s > 0))
    from meshhook.runs r, generate_series(1, 20) s where r.id < meshhook_engine.uuid7_floor($1::timestamptz + interval '1 month')`,
    at, Math.ceil((mb * 1e6) / 32 / 400));
  await sql(`insert into meshhook.logs (channel_id, seq, project_id, ts, level, message, attrs)
    select r.id, s, r.project_id, meshhook_engine.uuid7_time(r.id) + s * interval '1 microsecond', 9, 'line ' || s, '{"step": "x"}'
    from meshhook.runs r, generate_series(1, 100) s where r.id < meshhook_engine.uuid7_floor($1::timestamptz + interval '1 month')`, at);
  await sql(`create table public.keep_before as select * from meshhook_engine.run_events_${name}`);
  undo.push(async () => {
    await sql("drop table if exists public.keep_before");
    await sql("select meshhook_engine.set_retention(0, true)");
    await sql(`drop table if exists meshhook_engine.run_events_${name}, meshhook_engine.logs_${name}`);
    await sql("delete from meshhook.runs where id < meshhook_engine.uuid7_floor('2000-01-01')");
    await sql("update meshhook_engine.retention set forget_before = null, settled = null, ended_before = null");
    await sql("delete from meshhook_engine.archives where month < '2000-01-01'");
  });
  await sql("select meshhook_engine.set_retention(12, true)");
  return { name, there: () => one("select to_regclass($1) is not null", `meshhook_engine.run_events_${name}`) };
}

function folder() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "meshhook-keep-"));
  undo.push(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

// The archive holds each row once, as its manifest and the database say; files: name to bytes.
async function checkArchive(m, kind, files) {
  const [a] = await sql("select * from meshhook_engine.archives where name = $1", `${kind}_${m.name}`);
  const manifest = JSON.parse(files("manifest.json"));
  assert.equal(createHash("sha256").update(files("manifest.json")).digest("hex"), a.sha256);
  assert.equal(manifest.rows, Number(a.rows));
  const lines = manifest.parts.flatMap((p) => {
    const bytes = files(p.file);
    assert.equal(createHash("sha256").update(bytes).digest("hex"), p.sha256, p.file);
    const some = gunzipSync(bytes).toString().trimEnd().split("\n");
    assert.equal(some.length, p.rows, p.file);
    return some;
  });
  assert.equal(lines.length, manifest.rows);
  assert.equal(new Set(lines).size, lines.length, "a row twice");
  return { manifest, lines };
}
const inFolder = (dir, m, kind) => (file) => fs.readFileSync(path.join(dir, `${kind}_${m.name}`, file));
async function checkFolder(dir, m) {
  assert.equal((await checkArchive(m, "runs", inFolder(dir, m, "runs"))).lines.length, 20);
  assert.equal((await checkArchive(m, "logs", inFolder(dir, m, "logs"))).lines.length, 2000);
  const { manifest } = await checkArchive(m, "run_events", inFolder(dir, m, "run_events"));
  const before = await one("select count(*)::int from public.keep_before");
  assert.equal(manifest.rows, before);
  assert.ok(manifest.parts.length >= 2, "one part proves little");
  const known = new Set([...manifest.parts.map((p) => p.file), "manifest.json"]);
  assert.deepEqual(fs.readdirSync(path.join(dir, `run_events_${m.name}`)).filter((f) => !known.has(f)), [], "something is left behind");
}

test("a month over its time is archived, dropped, and can be read back as it was", async () => {
  const m = await month();
  const dir = folder();
  const mon = monitor({ MESHHOOK_ARCHIVE: dir });
  await until("the month is gone", async () => !(await m.there()));
  await until("its runs, too", async () => (await one("select count(*)::int from meshhook.runs where id < meshhook_engine.uuid7_floor('2000-01-01')")) === 0);
  await mon.end();
  await checkFolder(dir, m);
  // as docs/monitoring.md says
  const page = fs.readFileSync(path.join(root, "docs", "monitoring.md"), "utf8");
  const [, script] = /```sh restore\n([\s\S]*?)```/.exec(page) ?? [];
  assert.ok(script, "the page doesn't say how to restore");
  execFileSync("bash", ["-euo", "pipefail", "-c", script], {
    env: { ...process.env, archive: path.join(dir, `run_events_${m.name}`), table: "run_events" } });
  undo.push(() => sql("drop schema if exists restored cascade"));
  assert.equal(await one(`select count(*)::int from (
    (select * from public.keep_before except select * from restored.run_events)
    union all (select * from restored.run_events except select * from public.keep_before)) x`), 0);
  const [shown] = await meshhook("retention");
  assert.equal(shown.archives.filter((a) => a.name.endsWith(m.name) && a.state === "dropped").length, 3);
});

for (const point of ["archive.sliced:3", "archive.put", "archive.recorded:2", "archive.manifest:2"])
  test(`the monitor killed at ${point}: the next one goes on, nothing twice, nothing dropped before`, async () => {
    const m = await month();
    const dir = folder();
    const first = monitor({ MESHHOOK_ARCHIVE: dir, MESHHOOK_TESTPOINT: point });
    const { signal } = await first.over;
    assert.equal(signal, "SIGKILL", first.text);
    assert.equal(await m.there(), true, "dropped, and not archived");
    const second = monitor({ MESHHOOK_ARCHIVE: dir });
    await until("the month is gone", async () => !(await m.there()));
    await second.end();
    await checkFolder(dir, m);
  });

test("a leader that is stopped in the middle leaves nothing behind that counts", async () => {
  const m = await month(14);
  const dir = folder();
  const one_ = monitor({ MESHHOOK_ARCHIVE: dir });
  await until("a part", () => one(`select parts > 0 from meshhook_engine.archives where name = 'run_events_${m.name}'`));
  one_.child.kill("SIGSTOP");
  const two = monitor({ MESHHOOK_ARCHIVE: dir });
  await until("the other goes on", () => one(`select parts > 1 from meshhook_engine.archives where name = 'run_events_${m.name}'`));
  one_.child.kill("SIGCONT");
  await until("the month is gone", async () => !(await m.there()));
  await one_.end();
  await two.end();
  await checkArchive(m, "run_events", inFolder(dir, m, "run_events"));
});

const seed = Number(process.env.MESHHOOK_TEST_SEED || Date.now() % 1000000);
function random() { // xorshift, seeded
  let x = seed * 2654435761 || 1;
  return () => {
    x ^= x << 13; x ^= x >>> 17; x ^= x << 5;
    return (x >>> 0) / 4294967296;
  };
}

test(`killed, and its connection cut, at any moment, again and again (seed ${seed})`, async () => {
  const r = random();
  let kills = 0;
  for (let months = 0; kills <= 3; months++) { // as many as it takes, on a machine that is quick
    assert.ok(months < 4);
    const m = await month(14);
    const dir = folder();
    kills += await killed_while(m, dir, r);
    const last = monitor({ MESHHOOK_ARCHIVE: dir });
    await until("the month is gone", async () => !(await m.there()));
    await until("its runs, too", async () => (await one("select count(*)::int from meshhook.runs where id < meshhook_engine.uuid7_floor('2000-01-01')")) === 0);
    await last.end();
    await checkFolder(dir, m);
    await sql("drop table public.keep_before");
  }
});

async function killed_while(m, dir, r) {
  let kills = 0;
  for (; kills < 8 && await m.there(); kills++) {
    const mon = monitor({ MESHHOOK_ARCHIVE: dir });
    await until("it leads", () => mon.text.includes("monitor.leads"));
    await sleep(r() * 250);
    if (kills % 2) {
      await sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'meshhook monitor'");
      await sleep(r() * 700);
    }
    mon.child.kill("SIGKILL");
    await mon.over;
  }
  return kills;
}

test("a project purged meanwhile: its rows are not waited for", async () => {
  const m = await month();
  const dir = folder();
  const first = monitor({ MESHHOOK_ARCHIVE: dir, MESHHOOK_TESTPOINT: "archive.recorded:2" });
  await first.over;
  const [gone] = await sql(`select distinct project_id as id from meshhook_engine.run_events_${m.name} order by 1 limit 1`);
  await sql("insert into meshhook.projects (id, slug, name) values ($1, $2, 'x')", gone.id, `keep-gone-${process.pid}`);
  await sql("select meshhook_engine.purge_project($1)", gone.id);
  const second = monitor({ MESHHOOK_ARCHIVE: dir });
  await until("the month is gone", async () => !(await m.there()));
  await second.end();
  await checkArchive(m, "run_events", inFolder(dir, m, "run_events"));
});

test("a folder that another monitor doesn't see: it begins anew", async () => {
  const m = await month();
  const first = monitor({ MESHHOOK_ARCHIVE: folder(), MESHHOOK_TESTPOINT: "archive.recorded:2" });
  await first.over;
  const dir = folder();
  const second = monitor({ MESHHOOK_ARCHIVE: dir });
  await until("the month is gone", async () => !(await m.there()));
  await second.end();
  await checkArchive(m, "run_events", inFolder(dir, m, "run_events"));
});

const failing = (m) => one(`select data -> 'archive_failing' -> 'run_events_${m.name}' from meshhook.queue_metrics
  where project_id is null order by at desc limit 1`);
const doctor = async () => (await meshhook("doctor")).find((r) => r.check === "retention");

test("a full disk: it is said, nothing is dropped, and it goes on when there is room",
  { skip: process.getuid() !== 0 && "needs root to mount a tmpfs" }, async () => {
    const dir = folder();
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", dir]);
    undo.push(() => execFileSync("umount", ["-l", dir]));
    const m = await month();
    const mon = monitor({ MESHHOOK_ARCHIVE: dir });
    await until("the metrics say so", () => failing(m));
    const said = await doctor();
    assert.equal(said.result, "failed");
    assert.match(said.detail, /run_events_\d+_03: .*No space left/);
    assert.equal(await m.there(), true);
    execFileSync("mount", ["-o", "remount,size=64m", dir]);
    await until("the month is gone", async () => !(await m.there()));
    assert.equal((await doctor()).result, "ok");
    await mon.end();
    await checkFolder(dir, m);
  });

test("dropping a month waits for nobody who reads, and nobody for it", async () => {
  const m = await month(1);
  await sql("select meshhook_engine.set_retention(null, false)");
  const reader = new pg.Client({ connectionString: process.env.SUPABASE_DB_URL });
  await reader.connect();
  undo.push(() => reader.end().catch(() => {}));
  await reader.query("begin");
  await reader.query("select count(*) from meshhook.run_events");
  const mon = monitor();
  let longest = 0;
  await until("it gives way", async () => {
    const begun = Date.now();
    await sql("select from meshhook.run_events where run_id = meshhook_engine.uuid7() limit 1");
    await sql(`select from meshhook.run_events where run_id = meshhook_engine.uuid7_floor('${m.name.slice(0, 4)}-03-06') limit 1`);
    longest = Math.max(longest, Date.now() - begun);
    return /lock timeout/.test(await one("select problem from meshhook_engine.chores where name = 'retention'"));
  });
  assert.ok(longest < 5000, `somebody waited for ${longest} ms`); // the reader never gives way
  assert.equal(await m.there(), true);
  assert.match((await meshhook("doctor")).find((r) => r.check === "maintenance").detail, /retention: canceling statement due to lock timeout/);
  await reader.end();
  await mon.end();
  const next = monitor();
  await until("the month is gone", async () => !(await m.there()));
  await next.end();
});

// Supabase Storage as its documentation has it: POST makes an object unless it is there (x-upsert
// replaces it), GET under /authenticated gives it back, errors are JSON with status 400.
async function storage(limit = 50 << 20) {
  const s = { objects: new Map(), key: "sb_secret_keep", requests: [], spoil: null };
  s.server = createServer((req, res) => {
    const chunks = [];
    req.on("data", (d) => chunks.push(d));
    req.on("end", () => {
      const body = Buffer.concat(chunks);
      const say = (status, value) => res.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
      const error = (statusCode, name, message) => say(400, { statusCode, error: name, message });
      s.requests.push({ method: req.method, url: req.url, headers: req.headers, bytes: body.length });
      if (req.headers.authorization !== `Bearer ${s.key}` || req.headers.apikey !== s.key)
        return error("403", "Unauthorized", "Invalid Compact JWS");
      const [, , , , how, ...rest] = req.url.split("/");
      const name = [...(how === "authenticated" ? [] : [how]), ...rest].join("/");
      if (!name.startsWith("backups/")) return error("404", "Bucket not found", "Bucket not found");
      if (req.method === "GET" && how === "authenticated") {
        const object = s.objects.get(name);
        if (!object) return error("404", "not_found", "Object not found");
        return res.writeHead(200, { "content-type": object.type }).end(s.spoil ? s.spoil(object.bytes) : object.bytes);
      }
      if (req.method !== "POST") return error("404", "not_found", "Route not found");
      if (body.length > limit) return error("413", "Payload too large", "The object exceeded the maximum allowed size");
      if (s.objects.has(name) && req.headers["x-upsert"] !== "true") return error("409", "Duplicate", "The resource already exists");
      s.objects.set(name, { bytes: body, type: req.headers["content-type"] });
      say(200, { Id: randomUUID(), Key: name });
    });
  });
  await new Promise((resolve) => s.server.listen(0, "127.0.0.1", resolve));
  undo.push(() => new Promise((resolve) => { s.server.close(resolve); s.server.closeAllConnections(); }));
  s.env = { MESHHOOK_ARCHIVE: "supabase://backups/meshhook", MESHHOOK_STORAGE_KEY: s.key,
    MESHHOOK_SUPABASE_URL: `http://127.0.0.1:${s.server.address().port}/` };
  return s;
}

test("to Storage: refused, spoilt, and at last kept", async () => {
  const m = await month();
  const s = await storage();
  s.key = "sb_secret_another";
  const mon = monitor(s.env);
  await until("doctor says why", async () => /Storage answered 400, Invalid Compact JWS/.test((await doctor()).detail));
  assert.doesNotMatch(mon.text, /sb_secret/, "the key is in the log");
  s.spoil = (bytes) => bytes.subarray(0, bytes.length - 1);
  s.key = "sb_secret_keep";
  await until("what comes back is looked at", async () => /reads otherwise than it was written/.test((await doctor()).detail));
  assert.equal(await m.there(), true, "dropped, and not archived");
  s.spoil = null;
  await until("the month is gone", async () => !(await m.there()));
  await mon.end();
  const { manifest } = await checkArchive(m, "run_events", (file) => s.objects.get(`backups/meshhook/run_events_${m.name}/${file}`).bytes);
  assert.equal(manifest.rows, await one("select count(*)::int from public.keep_before"));
  assert.ok(manifest.parts.length >= 2);
  assert.ok(s.requests.every((r) => r.bytes < 6 << 20), "an upload that is too large for a standard one");
  assert.ok([...s.objects].every(([name, o]) => o.type === (name.endsWith(".json") ? "application/json" : "application/gzip")));
});

test("to Storage, killed between an upload and its record", async () => {
  const m = await month();
  const s = await storage();
  const first = monitor({ ...s.env, MESHHOOK_TESTPOINT: "archive.put:2" });
  await first.over;
  const second = monitor(s.env);
  await until("the month is gone", async () => !(await m.there()));
  await second.end();
  await checkArchive(m, "run_events", (file) => s.objects.get(`backups/meshhook/run_events_${m.name}/${file}`).bytes);
});

test("a place that is none ends the monitor with 78", async () => {
  for (const more of [{ MESHHOOK_ARCHIVE: "here" }, { MESHHOOK_ARCHIVE: "supabase://x" }, { MESHHOOK_ARCHIVE: "supabase://../x", MESHHOOK_STORAGE_KEY: "k" }]) {
    const mon = monitor(more);
    assert.equal((await mon.over).code, 78, mon.text);
    assert.match(mon.text, /MESHHOOK_ARCHIVE/);
  }
});

// Real work, and all the while its counters are held against what they count: nothing is ever found
// wrong but what is made wrong, and that is put right to the last message.
test("counters are right under load, and drift is mended without stopping anybody", async () => {
  const slug = `keep-${process.pid}`;
  const project = await one("select meshhook.create_project($1, $1)", slug);
  await sql("update meshhook.projects set window_size = 50 where id = $1", project);
  const file = path.join(folder(), "w.json");
  fs.writeFileSync(file, JSON.stringify({ name: "load", nodes: [{ id: "go", type: "manual" },
    ...["a", "b", "c"].map((id) => ({ id, type: "delay", for: "20ms" }))],
    edges: [["go", "a"], ["a", "b"], ["b", "c"]].map(([from, to]) => ({ from, to })) }));
  for (const verb of [["push", file], ["publish", "load"]])
    execFileSync(process.env.MESHHOOK_BIN, ["workflow", ...verb, "--project", slug], { env });
  const mend = async () => Number(await one("select meshhook_engine.mend_queued() + meshhook_engine.mend_project($1)", project));
  await mend(); // others' leftovers
  const workers = [start(["worker"]), start(["worker"])];
  let looks = 0, wrong = 0, over = false;
  const looking = (async () => {
    for (; !over; looks++) wrong += await mend();
  })();
  const load = async (n) => {
    for (let i = 0; i < n; i++) await sql("select meshhook.start_run($1, 'load') from generate_series(1, 20)", slug);
  };
  await load(20);
  assert.equal(wrong, 0, "something right was found wrong");
  const made = [
    ["update meshhook_engine.admission set queued = queued + 9 where (project_id, slot) = (select project_id, slot from meshhook_engine.admission where project_id = $1 limit 1)", 1],
    ["insert into meshhook_engine.counter_deltas (project_id, metric, delta) values ($1, 'backlog', -12)", 1],
    ["insert into meshhook_engine.counter_deltas (project_id, metric, delta) values ($1, 'run.started', 5), ($1, 'backlog', 3)", 2],
  ];
  for (const [statement, n] of made) {
    const before = wrong;
    await Promise.all([sql(statement, project), load(5)]);
    await until("it is mended", () => wrong >= before + n);
    await load(5);
    assert.equal(wrong, before + n, "mended more than was wrong");
  }
  while (looks <= 20) await load(1);
  await until("the runs end", () => one("select not exists (select from meshhook.runs where project_id = $1 and status = 'running')", project), 180000);
  over = true;
  await looking;
  assert.equal(wrong, 4);
  await sql("select meshhook_engine.compact_counters()");
  assert.deepEqual(await sql(`select p.metric, p.value from meshhook_engine.probe_projects(now()) p
    where p.project = $1 and p.metric in ('queue_length', 'queue_backlog', 'runs_running') order by 1`, project),
    ["queue_backlog", "queue_length", "runs_running"].map((metric) => ({ metric, value: 0 })));
  for (const w of workers) await w.end();
});

test("messages that were given up are sent again, in their order", async () => {
  const got = [];
  let status = 400;
  const server = createServer((req, res) => {
    let body = "";
    req.on("data", (d) => (body += d));
    req.on("end", () => {
      got.push({ id: req.headers["webhook-id"], status, at: JSON.parse(body).data?.alerts?.[0]?.summary });
      res.writeHead(status).end();
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  undo.push(() => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }),
    () => sql("delete from meshhook.alert_channels where name = 'keep'"));
  const target = `http://127.0.0.1:${server.address().port}/`;
  execFileSync(process.env.MESHHOOK_BIN, ["alert", "channel", "add", "webhook", "keep"], { env, input: target });
  const message = fs.readFileSync(path.join(root, "cli", "sql", "alert_send_test.sql"), "utf8");
  for (let i = 0; i < 3; i++) await sql(message, null, "keep");
  const mon = monitor();
  const dead = () => sql("select o.id from meshhook.outbox o join meshhook.alert_channels c on c.id = o.channel_id where c.name = 'keep' and o.kind = 'test' and o.state = 'dead' order by o.id");
  await until("they are given up", async () => (await dead()).length === 3);
  const first = got.filter((g) => g.at?.startsWith("A test")).map((g) => g.id);
  assert.equal(first.length, 3);
  status = 200;
  const queued = await meshhook("alert", "resend", "--channel", "keep");
  assert.deepEqual(queued.map((q) => q.outcome), ["queued", "queued", "queued"]);
  const [id] = await sql("select id from meshhook.outbox where state <> 'dead' limit 1");
  const refused = await promisify(execFile)(process.env.MESHHOOK_BIN, ["alert", "resend", String(id.id)], { env }).catch((e) => e);
  assert.match(refused.stderr, /was not given up/);
  const again = () => got.filter((g) => g.status === 200 && first.includes(g.id)).map((g) => g.id);
  await until("they arrive under their ids", () => again().length === 3);
  assert.deepEqual(again(), first, "in another order");
  await mon.end();
});
