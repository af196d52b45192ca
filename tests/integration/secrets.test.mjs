// Secrets in steps: where they go, where they must not, and that nothing of them is left in the
// database or in any log, in any shape, after runs that use them in all places and fail in all ways.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import pg from "pg";

const binary = process.env.MESHHOOK_BIN;
const slug = `secrets-${process.pid}`;
const env = { ...process.env, MESHHOOK_PROJECT: slug, MESHHOOK_LOG_FORMAT: "json", MESHHOOK_LOG_LEVEL: "debug",
  MESHHOOK_HTTP_ALLOW: "127.0.0.0/8,localhost" };
const pool = new pg.Pool({ connectionString: process.env.SUPABASE_DB_URL, max: 2 });
const sql = async (text, ...values) => (await pool.query(text, values)).rows;
const dir = fs.mkdtempSync(path.join(os.tmpdir(), `${slug}-`));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const seen = []; // requests that arrived
const values = {
  KEY: 'sk_live/9+Zw "q\\ &?=%~!\'()*',
  TOKEN: "tökén€𝄞-1234567890",
  NUMBER: "7391846205173946",
  HOSTED: "only-for-one-host-0001",
  OLD: "the-value-before-0001",
  MULTI: "-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----",
};
const everything = new Set(Object.values(values));
let echoed = [values.KEY, values.TOKEN, values.NUMBER]; // a run masks what its own version uses
let worker, target, other, port, otherPort, log = "";

const mh = (args, { input, ...more } = {}) =>
  spawnSync(binary, args, { env: { ...env, ...more }, input, encoding: "utf8" });
const ok = (args, options) => {
  const r = mh(args, options);
  assert.equal(r.status, 0, `meshhook ${args.join(" ")}: ${r.stderr}`);
  return r.stdout;
};

// Without holding up the servers of this process.
const drain = (more) => new Promise((resolve) => {
  const child = spawn(binary, ["worker", "--drain"], { env: { ...env, ...more }, stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (d) => (stderr += d));
  child.on("close", (status) => resolve({ status, stderr }));
});

// Every shape that we say is masked, and what of base64 whole characters show.
function shapes(v) {
  const bytes = Buffer.from(v);
  const percent = (keep, lower) => [...bytes].map((b) => {
    const c = String.fromCharCode(b);
    const hex = b.toString(16).padStart(2, "0");
    return /[A-Za-z0-9]/.test(c) || keep.includes(c) ? c : `%${lower ? hex : hex.toUpperCase()}`;
  }).join("");
  const json = JSON.stringify(v).slice(1, -1);
  const ascii = json.replace(/[\u0080-\uffff]/g, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
  const out = [v, percent("-._~"), percent("-._~", true), encodeURIComponent(v),
    new URLSearchParams({ v }).toString().slice(2), json, json.replaceAll("/", "\\/"), ascii, ascii.replaceAll("/", "\\/")];
  for (let skip = 0; skip < 3; skip++) {
    const text = Buffer.concat([Buffer.alloc(skip, "x"), bytes]).toString("base64").replace(/=+$/, "");
    const whole = text.slice(Math.ceil((8 * skip) / 6), Math.floor((8 * (skip + bytes.length)) / 6));
    out.push(whole, whole.replaceAll("+", "-").replaceAll("/", "_"));
  }
  return [...new Set(out)];
}

const needles = () => [...everything].flatMap(shapes);
let any = { size: 0 }; // all needles at once
function leaks(text, where) {
  if (any.size !== everything.size)
    any = { size: everything.size, of: new RegExp(needles().map((n) => n.replace(/[^\w]/gu, "\\$&")).join("|")) };
  const m = any.of.exec(text);
  assert.equal(m, null, m && `${where} holds ${m[0]}: ...${text.slice(Math.max(0, m.index - 80), m.index + 80)}...`);
}

// What it was sent, in every shape that an API may answer with.
const echo = (req, body) => {
  const all = [req.url, ...Object.values(req.headers).map((h) => Buffer.from(String(h), "latin1").toString()), body].join(" | ");
  return JSON.stringify({
    raw: all, url: decodeURIComponent(req.url.replaceAll("+", "%20")), nested: JSON.stringify({ all }), twice: body && JSON.parse(body),
    shapes: echoed.map(shapes),
    ...(echoed.includes(values.NUMBER) && { number: 7391846205173946, [values.TOKEN]: "a key of an object" }),
    basic: Buffer.from(`user:${echoed[0]}:x`).toString("base64"),
  });
};

const serve = () => new Promise((resolve) => {
  const server = http.createServer((req, res) => {
    const chunks = [];
    req.on("data", (d) => chunks.push(d));
    req.on("end", () => {
      const body = Buffer.concat(chunks).toString();
      seen.push({ port: server.address().port, url: req.url, headers: req.headers, body });
      const kind = /^\/(\w+)/.exec(req.url)[1];
      const type = { "content-type": "application/json" };
      if (kind === "fail") res.writeHead(500, type).end(echo(req, body));
      else if (kind === "cut") req.socket.destroy();
      else if (kind === "text") res.writeHead(200, { "content-type": "text/plain", "x-request-id": `ü${"" + Buffer.from(values.KEY).toString("base64")}` , etag: values.NUMBER }).end(`text ${values.KEY} ${body}`);
      else if (kind === "large") res.writeHead(200, { "content-type": "text/plain" }).end("x".repeat(262144 - 12) + values.TOKEN + "y".repeat(100));
      else if (kind === "nul") res.writeHead(200, type).end(JSON.stringify({ a: `${values.KEY}\0` }));
      else if (kind === "move") res.writeHead(302, { location: `http://localhost:${otherPort}/echo` }).end();
      else if (kind === "keep") res.writeHead(307, { location: `http://localhost:${otherPort}/echo` }).end();
      else res.writeHead(200, type).end(echo(req, body));
    });
  });
  server.listen(0, "127.0.0.1", () => resolve(server));
});

const call = (id, where, more = {}) => ({ id, type: "http_call", method: "POST",
  url: `http://127.0.0.1:${port}/${where}`, headers: { Authorization: "Bearer {{ secrets.KEY }}" },
  body: { token: "{{ secrets.TOKEN }}", both: "{{ secrets.KEY }} {{ secrets.NUMBER }}" }, ...more });
let n = 0;
const run = async (...nodes) => {
  const name = `f${++n}`;
  const file = path.join(dir, `${name}.json`);
  fs.writeFileSync(file, JSON.stringify({ name, nodes: [{ id: "go", type: "manual" }, ...nodes],
    edges: nodes.map((node, i) => ({ from: i ? nodes[i - 1].id : "go", to: node.id })) }));
  ok(["workflow", "publish", file]);
  const id = JSON.parse(ok(["run", "start", name, "-o", "json"])).run_id;
  for (let i = 0; i < 2400; i++) {
    const [r] = await sql("select status, error from meshhook.runs where id = $1", id);
    if (r.status !== "running") return { id, ...r, events: await sql("select type, payload from meshhook.run_events where run_id = $1 order by seq", id),
      lines: await sql("select message, attrs from meshhook.logs where channel_id = $1 order by seq", id) };
    await sleep(50);
  }
  throw new Error(`${name} goes on`);
};
const of = (r, type, step) => r.events.find((e) => e.type === type && (!step || e.payload.step === step))?.payload;

before(async () => {
  target = await serve();
  other = await serve();
  port = target.address().port;
  otherPort = other.address().port;
  ok(["project", "create", slug]);
  for (const [name, value] of Object.entries(values)) {
    const file = path.join(dir, "value");
    fs.writeFileSync(file, value + "\n");
    ok(["secret", "set", name, "--file", file, ...(name === "HOSTED" ? ["--host", "api.example.com", "--host", "*.example.org"] : [])]);
    fs.unlinkSync(file);
  }
  worker = spawn(binary, ["worker"], { env, stdio: ["ignore", "ignore", "pipe"] });
  worker.stderr.on("data", (d) => (log += d));
});

after(async () => {
  if (worker.exitCode === null) {
    worker.kill("SIGTERM");
    await new Promise((resolve) => worker.on("close", resolve));
  }
  assert.doesNotMatch(log, /Sanitizer|runtime error/);
  await sql("select meshhook.purge_project($1)", slug);
  await pool.end();
  target.close();
  other.close();
  fs.rmSync(dir, { recursive: true });
});

test("a secret goes where the step says, and comes back masked", async () => {
  const r = await run(
    call("ask", "echo/{{ secrets.KEY }}/x", { query: { k: "{{ secrets.KEY }}", t: "{{ secrets.TOKEN }}" } }),
    { id: "copy", type: "transform", expression: "steps.ask.output.body" },
    { id: "say", type: "log", message: "got {{ steps.copy.output.raw }}", attributes: { all: "{{ steps.ask.output }}" } },
    { id: "end", type: "terminate", status: "failed", message: "because {{ steps.copy.output.twice.both }}" });
  const got = seen.at(-1);
  assert.equal(got.headers.authorization, `Bearer ${values.KEY}`);
  assert.deepEqual(JSON.parse(got.body), { token: values.TOKEN, both: `${values.KEY} ${values.NUMBER}` });
  const url = new URL(got.url, "http://h");
  assert.equal(decodeURIComponent(url.pathname), `/echo/${values.KEY}/x`);
  assert.equal(url.searchParams.get("t"), values.TOKEN);
  const payload = of(r, "step.succeeded", "ask");
  assert.equal(payload.output.body.twice.token, "[secret TOKEN]");
  assert.equal(payload.output.body.twice.both, "[secret KEY] [secret NUMBER]");
  assert.equal(payload.output.body.number, "[secret NUMBER]");
  assert.ok(payload.masked > 40, `${payload.masked}`);
  assert.equal(of(r, "run.failed").message, "because [secret KEY] [secret NUMBER]");
  leaks(JSON.stringify(r), "the run");
  for (const l of r.lines) leaks(l.message, "a line");
  assert.match(r.lines.find((l) => l.attrs.step === "ask").message, /echo\/\[secret KEY\]\/x/);
  const [{ value }] = await sql(`select coalesce(sum(delta), 0)::int as value from meshhook_engine.counter_deltas d
    join meshhook.projects p on p.id = d.project_id where p.slug = $1 and metric = 'masked'`, slug);
  const [{ folded }] = await sql(`select coalesce(sum(value), 0)::int as folded from meshhook.counters c
    join meshhook.projects p on p.id = c.project_id where p.slug = $1 and metric = 'masked'`, slug);
  assert.ok(value + folded >= payload.masked);
});

test("a failed call with declared places replays, too", async () => {
  const r = await run(call("a", "fail", { redact: ["body.raw", "body.nope", "headers.*"] }));
  assert.equal(of(r, "step.failed", "a").output.body.raw, "[redacted]");
  ok(["replay", r.id]);
});

test("one row of the audit log for a run and secret, however often it is sent", async () => {
  const r = await run(call("a", "fail", { retry: { attempts: 3, backoff: "10ms" } }));
  assert.equal(r.status, "failed");
  assert.equal(r.error.code, "HTTP500");
  leaks(JSON.stringify(r), "a run that failed");
  const rows = await sql("select subject, actor, detail from meshhook.audit_log where action = 'secret.use' and detail ->> 'run' = $1 order by 1", r.id);
  assert.deepEqual(rows.map((x) => x.subject), ["KEY", "NUMBER", "TOKEN"]);
  assert.deepEqual(rows[0].detail, { run: r.id, version: 1 });
});

test("failures of all kinds tell nothing", async () => {
  for (const [where, more, text] of [
    ["cut", {}, /closed|cut|broken|reset|Empty/i],
    ["nul", {}, /can't be stored/],
    ["echo", { url: `http://127.0.0.1:1/{{ secrets.KEY }}` }, /connect|refused/i],
    ["echo", { url: `http://nowhere.invalid/{{ secrets.KEY }}?k={{ secrets.TOKEN }}` }, /resolve/],
    ["echo", { headers: { "X-A": "{{ secrets.MULTI }}" } }, /control byte/],
    ["echo", { headers: { "X-A": "{{ abs(secrets.KEY) }}" } }, /abs\(\)/],
  ]) {
    const r = await run(call("a", where, more));
    assert.equal(r.status, "failed");
    assert.match(JSON.stringify(r.error), text, where);
    leaks(JSON.stringify(r), where);
  }
  for (const where of ["text", "large"]) {
    const r = await run(call("a", where));
    assert.equal(r.status, "succeeded");
    leaks(JSON.stringify(r), where);
    if (where === "large") assert.match(of(r, "step.succeeded", "a").output.body, /x\[secret TOKEN\]$/);
  }
});

test("a secret with hosts goes to none but them", async () => {
  const before = seen.length;
  const r = await run(call("a", "echo", { headers: { "X-Key": "{{ secrets.HOSTED }}" }, body: {} }));
  assert.equal(r.status, "failed");
  assert.equal(r.error.code, "secret");
  assert.match(r.error.message, /HOSTED may go to api\.example\.com \*\.example\.org, not to 127\.0\.0\.1/);
  assert.equal(seen.length, before, "nothing was sent");
  echoed = [values.HOSTED];
  ok(["secret", "set", "HOSTED", "--host", `127.0.0.1:${port}`], { input: values.HOSTED });
  assert.equal((await run(call("a", "echo", { headers: { "X-Key": "{{ secrets.HOSTED }}" }, body: {} }))).status, "succeeded");
  assert.equal(seen.at(-1).headers["x-key"], values.HOSTED);
  echoed = [values.KEY, values.TOKEN, values.NUMBER];
});

test("redirects carry no secret elsewhere", async () => {
  echoed = [values.KEY];
  const moved = await run(call("a", "move", { method: "GET", body: undefined, redirects: 3, headers: { "X-Key": "{{ secrets.KEY }}", "X-Plain": "p" } }));
  assert.equal(moved.status, "succeeded");
  assert.equal(seen.at(-1).port, otherPort);
  assert.equal(seen.at(-1).headers["x-key"], undefined);
  assert.equal(seen.at(-1).headers["x-plain"], "p");
  echoed = [values.KEY, values.TOKEN, values.NUMBER];
  const before = seen.length;
  const kept = await run(call("a", "keep", { redirects: 3 }));
  assert.equal(kept.status, "failed");
  assert.match(kept.error.message, /another origin/);
  assert.equal(seen.length, before + 1);
});

test("what is rotated is sent at once, what it was is still masked; what is deleted fails", async () => {
  const next = "the-value-behind-0002";
  everything.add(next);
  echoed = [values.OLD, next];
  assert.equal(JSON.parse(ok(["secret", "rotate", "OLD", "-o", "json"], { input: next })).version, 2);
  const r = await run(call("a", "echo", { headers: { "X-Key": "{{ secrets.OLD }}" }, body: { was: "{{ input }}" } }));
  assert.equal(seen.at(-1).headers["x-key"], next);
  leaks(JSON.stringify(r), "the echo of both values");
  echoed = [];
  ok(["secret", "delete", "OLD"]);
  const name = `f${n}`;
  const id = JSON.parse(ok(["run", "start", name, "-o", "json"])).run_id;
  for (let i = 0; i < 2400 && (await sql("select status from meshhook.runs where id = $1", id))[0].status === "running"; i++) await sleep(50);
  const [gone] = await sql("select status, error from meshhook.runs where id = $1", id);
  assert.equal(gone.error.message, "there is no secret OLD in this project");
  echoed = [values.KEY, values.TOKEN, values.NUMBER];
});

test("a command that reads a secret leaves no core behind", async () => {
  for (const args of [["secret", "set", "CORE"], ["alert", "channel", "add", "slack", "core"]]) {
    const child = spawn(binary, args, { env, stdio: ["pipe", "ignore", "pipe"] });
    const over = new Promise((resolve) => child.on("close", resolve));
    const limits = () => fs.readFileSync(`/proc/${child.pid}/limits`, "utf8").match(/^Max core file size +(\S+) +(\S+)/m)?.slice(1);
    for (let i = 0; i < 250 && limits()?.[1] !== "0"; i++) await sleep(20);
    const found = limits();
    child.stdin.end();
    await over;
    assert.deepEqual(found, ["0", "0"], args.join(" "));
  }
});

test("unknown secrets are refused when a workflow is published", () => {
  const file = path.join(dir, "unknown.json");
  fs.writeFileSync(file, JSON.stringify({ name: "unknown", nodes: [{ id: "go", type: "manual" },
    { id: "a", type: "http_call", url: "http://h/", headers: { A: "{{ secrets.NOT_THERE }}" } }], edges: [{ from: "go", to: "a" }] }));
  const r = mh(["workflow", "publish", file]);
  assert.equal(r.status, 1);
  assert.match(r.stderr, /no secret NOT_THERE.*\n.*meshhook secret set NOT_THERE/);
  const draft = mh(["workflow", "push", file]);
  assert.equal(draft.status, 0, "a draft may be ahead of its secrets");
  assert.match(draft.stderr, /no secret NOT_THERE/);
});

test("the key is rotated, and the old one is not needed any more", async () => {
  const old = process.env.MESHHOOK_SECRET_KEY;
  const key = Buffer.alloc(32, 7).toString("base64");
  const both = { MESHHOOK_SECRET_KEY: `k2:${key},k1:${old}` };
  const only = { MESHHOOK_SECRET_KEY: `k2:${key}` };
  assert.equal(mh(["secret", "rotate-kek"], only).status === 0, false, "the old one is needed first");
  const done = JSON.parse(ok(["secret", "rotate-kek", "-o", "json"], both));
  assert.ok(done.resealed >= 4);
  assert.equal(JSON.parse(ok(["secret", "rotate-kek", "-o", "json"], only)).resealed, 0);
  const listed = ok(["secret", "list", "-o", "json"]).trim().split("\n").map((l) => JSON.parse(l));
  assert.deepEqual([...new Set(listed.map((s) => s.key))], ["k2"]);
  leaks(JSON.stringify(listed), "the list");
  // this worker has the old one only: the step says so
  const r = await run(call("a", "echo"));
  assert.match(r.error.message, /KEY can't be opened: sealed under the key "k2", which is not held/);
  ok(["secret", "rotate-kek"], { MESHHOOK_SECRET_KEY: `k1:${old},k2:${key}` });
});

test("masked histories replay as any other", async () => {
  const ids = await sql("select r.id from meshhook.runs r join meshhook.projects p on p.id = r.project_id where p.slug = $1", slug);
  for (const { id } of ids) ok(["replay", id]);
  assert.ok(ids.length > 10);
});

test("declared places and personal data are taken out of what is recorded", async () => {
  const name = "redact";
  const file = path.join(dir, `${name}.json`);
  fs.writeFileSync(file, JSON.stringify({ name, redact: ["email", "card"], nodes: [{ id: "go", type: "manual" },
    { id: "copy", type: "transform", expression: "input", redact: ["user.name", "items[*].id"] },
    { id: "say", type: "log", message: "mail {{ input.mail }}, paid by {{ input.card }}" }],
    edges: [{ from: "go", to: "copy" }, { from: "copy", to: "say" }] }));
  ok(["workflow", "publish", file]);
  const input = path.join(dir, "input.json");
  fs.writeFileSync(input, JSON.stringify({ mail: "ada@example.com", card: "4111 1111 1111 1111", user: { name: "Ada", n: 1 }, items: [{ id: 1 }, { id: 2, x: 3 }] }));
  const id = JSON.parse(ok(["run", "start", name, "--input", input, "--wait", "-o", "json"]).trim().split("\n").at(-1)).run_id
    ?? (await sql("select id from meshhook.runs order by id desc limit 1"))[0].id;
  const [{ payload }] = await sql("select payload from meshhook.run_events where run_id = $1 and type = 'step.succeeded' and payload ->> 'step' = 'copy'", id);
  assert.deepEqual(payload.output, { mail: "[email]", card: "[card]", user: { name: "[redacted]", n: 1 }, items: [{ id: "[redacted]" }, { id: "[redacted]", x: 3 }] });
  assert.equal(payload.masked, 5);
  const lines = await sql("select message, attrs from meshhook.logs where channel_id = $1", id);
  const line = lines.find((l) => l.message.startsWith("mail"));
  assert.equal(line.message, "mail [email], paid by [card]");
  assert.equal(line.attrs.masked, 2);
});

test("whichever statement can not be sent, a secret is sent and masked, its use recorded once", { timeout: 600000 }, async () => {
  worker.kill("SIGTERM"); // the workers of this test take its runs
  await new Promise((resolve) => worker.on("close", resolve));
  const name = "faults";
  const file = path.join(dir, `${name}.json`);
  fs.writeFileSync(file, JSON.stringify({ name, nodes: [{ id: "go", type: "manual" }, call("a", "echo", { retry: { attempts: 3, backoff: "10ms" } }), { id: "wait", type: "delay", for: "20ms" },
    { id: "say", type: "log", message: "{{ steps.a.output.body.raw }}" }],
    edges: [{ from: "go", to: "a" }, { from: "a", to: "wait" }, { from: "wait", to: "say" }] }));
  ok(["workflow", "publish", file]);
  for (let i = 1, touched = true; touched; i++) {
    const id = JSON.parse(ok(["run", "start", name, "-o", "json"])).run_id;
    const r = await drain({ MESHHOOK_TESTFAULT: String(i), MESHHOOK_WORKER_LEASE: "1s" });
    assert.equal(r.status, 0, r.stderr);
    leaks(r.stderr, "the log of a worker that can't send");
    const [{ status, error }] = await sql("select status, error from meshhook.runs where id = $1", id);
    touched = r.stderr.includes('"fault.hit"');
    assert.ok(touched || i > 8, `only ${i} sends`);
    if (error?.code === "CURL") continue; // no handle for the call: the step fails, before anything is sent
    assert.equal(status, "succeeded", `send ${i}: ${JSON.stringify(error)}`);
    const lines = await sql("select message from meshhook.logs where channel_id = $1", id);
    assert.ok(lines.some((l) => l.message.includes("[secret TOKEN]")));
    const uses = await sql("select subject from meshhook.audit_log where action = 'secret.use' and detail ->> 'run' = $1", id);
    assert.equal(uses.length, 3);
  }
});

test("a worker without the key says so", async () => {
  const name = "faults";
  const id = JSON.parse(ok(["run", "start", name, "-o", "json"])).run_id;
  assert.equal((await drain({ MESHHOOK_SECRET_KEY: "" })).status, 0);
  const [{ error }] = await sql("select error from meshhook.runs where id = $1", id);
  assert.match(error.message, /KEY can't be opened: the worker holds no MESHHOOK_SECRET_KEY/);
});

test("nothing of them is in the database, in its files or in a log", async (t) => {
  const db = new pg.Client(process.env.MESHHOOK_STACK_SUPERUSER_DB_URL);
  await db.connect();
  t.after(() => db.end());
  const tables = (await db.query(`select format('%I.%I', n.nspname, c.relname) as name from pg_class c
    join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'm')
    and n.nspname not in ('pg_catalog', 'information_schema')`)).rows;
  const walk = (v, where) => {
    if (Buffer.isBuffer(v)) leaks(v.toString("latin1"), where), leaks(v.toString(), where);
    else if (v && typeof v === "object" && !(v instanceof Date)) for (const [k, x] of Object.entries(v)) leaks(k, where), walk(x, where);
    else if (typeof v === "string" || typeof v === "number") leaks(String(v), where);
  };
  let rows = 0;
  for (const { name } of tables)
    for (const row of (await db.query(`select * from ${name}`)).rows) rows++, leaks(JSON.stringify(row), name), walk(Object.values(row), name);
  assert.ok(rows > 100, `${rows} rows were searched`);
  await db.query("checkpoint");
  leaks(log, "the worker's log");
  const at = process.env.MESHHOOK_STACK_DIR;
  if (!at || !fs.existsSync(at)) return;
  const file = path.join(dir, "needles");
  fs.writeFileSync(file, needles().join("\n"));
  const found = spawnSync("grep", ["-rlaF", "-f", file, "--exclude=secrets*", at], { encoding: "utf8" });
  fs.unlinkSync(file);
  assert.equal(found.stdout, "");
});
