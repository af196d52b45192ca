// Lines from services over real sockets into the real database, and back to those who may read
// them: who is refused, what is stored once, what happens when the database goes away meanwhile.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import crypto from "node:crypto";
import http from "node:http";
import net from "node:net";
import { after, before, test } from "node:test";
import pg from "pg";
import { random, seed } from "../crash/lib.mjs";

const binary = process.env.MESHHOOK_BIN;
const secret = process.env.SUPABASE_JWT_SECRET;
const pool = new pg.Pool({ connectionString: process.env.SUPABASE_DB_URL, max: 4 });
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const sql = async (text, ...values) => (await pool.query(text, values)).rows;
const slugs = ["alpha", "beta"].map((x) => `${x}-${process.pid}`);
const [alpha, beta] = slugs;
const rnd = random(seed);
const users = { ann: crypto.randomUUID(), bob: crypto.randomUUID(), viewer: crypto.randomUUID(), nobody: crypto.randomUUID() };
const tokens = {};
const ids = {};
const children = new Set();
const b64 = (x) => Buffer.from(typeof x === "string" || Buffer.isBuffer(x) ? x : JSON.stringify(x)).toString("base64url");
const inAnHour = () => Math.floor(Date.now() / 1000) + 3600;

// A token of Supabase Auth's form, signed by the shared secret or by `sign`.
const jwt = (claims, { header = {}, sign } = {}) => {
  const text = `${b64({ alg: "HS256", typ: "JWT", ...header })}.${b64({ exp: inAnHour(), ...claims })}`;
  const mac = sign ? sign(text) : crypto.createHmac("sha256", secret).update(text).digest();
  return `${text}.${b64(mac)}`;
};
const user = (name) => jwt({ sub: users[name], role: "authenticated" });

const start = async (more = {}) => {
  const child = spawn(binary, ["gateway"], {
    env: { ...process.env, MESHHOOK_GATEWAY_PORT: "0", MESHHOOK_LOG_FORMAT: "json", MESHHOOK_USER_RATE: "0", MESHHOOK_CORS_ORIGINS: "", MESHHOOK_LOCAL_REALTIME: "", ...more },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const g = { child, text: "" };
  children.add(g);
  g.over = new Promise((resolve) => child.on("close", (code) => {
    children.delete(g);
    assert.ok(!/Sanitizer|runtime error/.test(g.text), g.text);
    resolve(code);
  }));
  child.stderr.on("data", (d) => { g.text += d; });
  for (let i = 0; !g.url; i++) {
    if (i > 2400) throw new Error(`no gateway: ${g.text}`);
    const port = /"event":"gateway.listening".*"port":(\d+)/.exec(g.text)?.[1];
    if (port && g.text.includes("gateway.ready")) g.url = `http://127.0.0.1:${port}`;
    else await sleep(25);
  }
  g.stop = () => (child.kill("SIGTERM"), g.over);
  g.call = async (path, { token, body, type = "application/json", method = body === undefined ? "GET" : "POST", headers = {} } = {}) => {
    const r = await fetch(g.url + path, {
      method,
      body: body === undefined ? undefined : typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body),
      headers: { ...(token ? { authorization: `Bearer ${token}` } : {}), ...(body === undefined ? {} : { "content-type": type }), ...headers },
    });
    const text = await r.text();
    const json = r.headers.get("content-type")?.includes("json") && !r.headers.get("content-type").includes("ndjson") ? JSON.parse(text) : undefined;
    return { status: r.status, headers: r.headers, text, json };
  };
  g.publish = (body, o = {}) => g.call("/api/logs/publish", { token: tokens.alpha, body, ...o });
  g.lines = async (channel, name = "ann", query = "") => {
    const r = await g.call(`/api/logs?channels=${channel}&limit=1000${query}`, { token: user(name) });
    assert.equal(r.status, 200, r.text);
    return r.json.lines;
  };
  return g;
};

// A way to the database that can be refused, and cut in the middle of a commit's answer.
const proxy = async () => {
  const there = new URL(process.env.MESHHOOK_GATEWAY_DB_URL);
  const pairs = new Set();
  const p = { refusing: false, deaf: false };
  p.server = net.createServer((near) => {
    if (p.refusing) return near.destroy();
    const far = net.connect(Number(there.port), there.hostname);
    pairs.add(near);
    near.on("data", (d) => far.write(d));
    far.on("data", (d) => { if (!p.deaf) near.write(d); });
    for (const [a, b] of [[near, far], [far, near]]) {
      a.on("error", () => {});
      a.on("close", () => { pairs.delete(near); b.destroy(); });
    }
  });
  await new Promise((resolve) => p.server.listen(0, "127.0.0.1", resolve));
  const url = new URL(there);
  url.port = p.server.address().port;
  url.hostname = "127.0.0.1";
  p.url = url.href;
  p.cut = () => pairs.forEach((s) => s.destroy());
  p.end = () => { p.cut(); p.server.close(); };
  return p;
};

let g;
before(async () => {
  for (const [slug, owner] of [[alpha, "ann"], [beta, "bob"]]) {
    ids[slug] = (await sql("select meshhook.create_project($1, $1, $2) as id", slug, users[owner]))[0].id;
    tokens[slug] = (await sql("select token from meshhook.create_service_token($1, 'etl')", slug))[0].token;
  }
  tokens.alpha = tokens[alpha];
  tokens.beta = tokens[beta];
  await sql("select meshhook.add_member($1, $2, 'viewer')", alpha, users.viewer);
  g = await start();
});
after(async () => {
  for (const c of [...children]) await c.stop();
  for (const slug of slugs) await sql("select meshhook.purge_project($1)", slug);
  await pool.end();
});

test("lines are numbered, stored and read back as they were sent", async () => {
  const at = "2026-11-21T07:00:00.123Z";
  const r = await g.publish({ service: "etl", workspace_id: alpha, workflow_id: "wf1", logData: { message: "copied 12,000 rows", level: "WARN", timestamp: at, execution_id: "e1", attrs: { table: "orders" } } });
  assert.equal(r.status, 200, r.text);
  assert.deepEqual(r.json, { lines: 1, duplicates: 0, channels: [{ channel: `logs:etl:${ids[alpha]}:wf1`, from: 1, to: 1 }] });
  const [line] = await g.lines(`logs:etl:${alpha}:wf1`);
  assert.deepEqual({ ...line, ts: undefined, epoch: undefined }, {
    channel: `logs:etl:${ids[alpha]}:wf1`, seq: 1, level: 13, message: "copied 12,000 rows",
    attrs: { table: "orders", execution_id: "e1" }, client_ts: at, ts: undefined, epoch: undefined,
  });
  assert.ok(Math.abs(Date.parse(line.ts) - Date.now()) < 60000, "ts is the database's");
});

test("every shape of a body", async () => {
  const to = (resource, logData, more = {}) => ({ workflow_id: resource, logData, ...more });
  const cases = [
    [to("shapes", "one text"), 1],
    [to("shapes", ["a", { msg: "b", severity: 17 }]), 2],
    [[to("shapes", "x"), { function_id: "shapes", logData: "y" }, { resource_id: "shapes", logData: "z" }], 3],
    [{ logData: "of the service as a whole", workspace_id: ids[alpha] }, 1],
    [{ pipeline_id: 42, logData: "a number names it" }, 1],
  ];
  for (const [body, n] of cases) assert.equal((await g.publish(body)).json?.lines, n);
  const nd = await g.publish(`${JSON.stringify(to("shapes", "n1"))}\n\r\n${JSON.stringify(to("shapes", "n2"))}`, { type: "application/x-ndjson; charset=utf-8" });
  assert.equal(nd.json?.lines, 2, nd.text);
  const lines = await g.lines(`logs:etl:${alpha}:shapes`);
  assert.deepEqual(lines.map((l) => l.message), ["one text", "a", "b", "x", "y", "z", "n1", "n2"]);
  assert.deepEqual(lines.map((l) => l.seq), lines.map((_, i) => i + 1));
  assert.equal(lines[2].level, 17);
  assert.equal((await g.lines(`logs:etl:${alpha}`)).length, 1);
  assert.equal((await g.lines(`logs:etl:${alpha}:42`)).length, 1);
});

test("a level that isn't given is inferred and marked so", async () => {
  const texts = { "FATAL: out of memory": 21, "ERROR 42": 17, "Traceback (most recent call last)": 17, "[warn] slow": 13, "debug: x": 5, "0 errors": 9, "terror of the seas": 9, "warning, then an error": 17 };
  await g.publish(Object.keys(texts).map((m) => ({ workflow_id: "levels", logData: m })));
  await g.publish({ workflow_id: "levels", logData: { message: "ERROR", level: "info" } });
  const lines = await g.lines(`logs:etl:${alpha}:levels`);
  assert.deepEqual(lines.slice(0, -1).map((l) => [l.message, l.level]), Object.entries(texts));
  assert.ok(lines.slice(0, -1).every((l) => l.attrs.level_inferred === true));
  assert.deepEqual([lines.at(-1).level, lines.at(-1).attrs], [9, null]);
});

test("what is wrong is refused with its line, and of that request nothing is stored", async () => {
  const log = (more) => ({ workflow_id: "wrong", logData: { message: "m", ...more } });
  const cases = [
    [400, "{", /line 1, column 2/],
    [400, "", /JSON|expected/],
    [422, "[]", /no line/],
    [422, [log(), 7], /^line 2: it is no object/],
    [422, [log(), {}], /^line 2: it has no logData/],
    [422, { workflow_id: "wrong", logData: {} }, /no message/],
    [422, log({ level: "loud" }), /level is none of/],
    [422, log({ level: 25 }), /level/],
    [422, log({ timestamp: "yesterday" }), /timestamp is neither/],
    [422, log({ timestamp: "1999-12-31T23:59:59Z" }), /before 2000/],
    [422, log({ timestamp: Date.now() + 2 * 86400e3 }), /a day ahead/],
    [422, log({ x: "\u0000" }), /attributes can't be stored/],
    [422, { workflow_id: "wrong", logData: "a\u0000b" }, /NUL/],
    [422, { workflow_id: "wro/ng", logData: "m" }, /workflow_id is made of/],
    [422, { workflow_id: "a", function_id: "b", logData: "m" }, /several of/],
    [422, { workflow_id: "wrong", logData: "m", id: "" }, /id is a text/],
    [422, { workflow_id: "wrong", logData: ["m"], id: "x" }, /an id is of one line/],
    [422, { run_id: "no-run", logData: "m" }, /no run's id/],
    [413, log({ message: "x".repeat(65537) }), /over 65536 bytes/],
    [413, Array.from({ length: 20001 }, () => ({ logData: "m" })), /more than 20000/],
    [413, "x".repeat(1048577), /at most 1048576 bytes/],
    [403, { service: "faas", logData: "m" }, /another service/],
    [403, { workspace_id: beta, logData: "m" }, /another workspace_id/],
    [404, { run_id: crypto.randomUUID(), logData: "m" }, /no such run/],
  ];
  for (const [status, body, text] of cases) {
    const r = await g.publish(body);
    assert.equal(r.status, status, `${JSON.stringify(body).slice(0, 80)}: ${r.text}`);
    assert.equal(r.headers.get("content-type"), "application/problem+json");
    assert.match(r.json.detail, text);
  }
  assert.equal((await g.publish("{}", { type: "text/plain" })).status, 415);
  assert.deepEqual(await g.lines(`logs:etl:${alpha}:wrong`), []);
  const mixed = await g.publish([{ workflow_id: "wrong", logData: "good" }, { run_id: crypto.randomUUID(), logData: "bad" }]);
  assert.equal(mixed.status, 404);
  assert.deepEqual(await g.lines(`logs:etl:${alpha}:wrong`), []);
});

test("who may publish: a valid service token, and nobody else", async () => {
  const body = { logData: "m" };
  for (const [status, token] of [[401, undefined], [401, "mhs_nonsense"], [401, tokens.alpha.slice(0, -1)], [403, user("ann")], [403, jwt({ role: "service_role" })], [403, "x".repeat(13000)], [401, `mhs_${"x".repeat(13000)}`]]) {
    const r = await g.publish(body, { token });
    assert.equal(r.status, status, `${token?.slice(0, 99)}: ${r.text}`);
    if (status === 401) assert.match(r.headers.get("www-authenticate"), /^Bearer/);
  }
  const [made] = await sql("select * from meshhook.create_service_token($1, 'etl', 'brief', now() + interval '1 hour')", alpha);
  assert.equal((await g.publish(body, { token: made.token })).status, 200);
  assert.ok((await sql("select last_used_at from meshhook.service_tokens where id = $1", made.id))[0].last_used_at);
  await sql("select meshhook.revoke_service_token($1)", made.id);
  const r = await g.publish(body, { token: made.token }); // although the gateway still knows it
  assert.equal(r.status, 401);
  assert.match(r.json.detail, /revoked/);
  const [brief] = await sql("select * from meshhook.create_service_token($1, 'etl', 'brief', now() + interval '4 s')", alpha);
  assert.equal((await g.publish(body, { token: brief.token })).status, 200);
  await sleep(4100);
  assert.equal((await g.publish(body, { token: brief.token })).status, 401);
});

test("one refused request takes none of those that came with it along", async () => {
  const [made] = await sql("select * from meshhook.create_service_token($1, 'etl')", alpha);
  assert.equal((await g.publish({ workflow_id: "company", logData: "warm up" }, { token: made.token })).status, 200);
  await sql("select meshhook.revoke_service_token($1)", made.id);
  const all = await Promise.all(Array.from({ length: 40 }, (_, i) =>
    g.publish({ workflow_id: "company", logData: `l${i}` }, { token: i % 10 === 3 ? made.token : tokens.alpha })));
  assert.deepEqual(all.map((r) => r.status), all.map((_, i) => (i % 10 === 3 ? 401 : 200)));
  const lines = await g.lines(`logs:etl:${alpha}:company`);
  assert.deepEqual(lines.map((l) => l.seq), Array.from({ length: 37 }, (_, i) => i + 1));
});

test("many writers at once: no hole, no line twice, ranges as answered", async () => {
  const rounds = Array.from({ length: 16 }, (_, w) => Array.from({ length: 12 }, (_, i) => ({ w, i })));
  const answers = [];
  await Promise.all(rounds.map(async (mine) => {
    for (const { w, i } of mine) {
      const body = Array.from({ length: 1 + (w * 7 + i * 3) % 9 }, (_, k) => ({ workflow_id: `many${(w + k) % 3}`, logData: `${w}.${i}.${k}` }));
      const r = await g.publish(body);
      assert.equal(r.status, 200, r.text);
      answers.push({ body, r: r.json });
    }
  }));
  for (const c of [0, 1, 2]) {
    const lines = await g.lines(`logs:etl:${alpha}:many${c}`);
    assert.deepEqual(lines.map((l) => l.seq), lines.map((_, i) => i + 1));
    const seqs = new Map(lines.map((l) => [l.message, l.seq]));
    assert.equal(seqs.size, lines.length);
    for (const { body, r } of answers) {
      const mine = body.filter((e) => e.workflow_id === `many${c}`).map((e) => seqs.get(e.logData));
      const range = r.channels.find((x) => x.channel.endsWith(`:many${c}`));
      if (mine.length) assert.deepEqual([range.from, range.to], [Math.min(...mine), Math.max(...mine)]);
      else assert.equal(range, undefined);
    }
  }
});

test(`services and transactions write the same channels: nobody deadlocks, no hole (seed ${seed})`, async () => {
  const names = Array.from({ length: 6 }, (_, i) => `both${i}`);
  const shuffled = () => names.map((n) => [rnd(), n]).sort().map((x) => x[1]);
  const byHttp = async () => {
    for (let i = 0; i < 25; i++) {
      const r = await g.publish(shuffled().map((n) => ({ workflow_id: n, logData: "over HTTP" })));
      assert.equal(r.status, 200, r.text);
    }
  };
  const bySql = async () => {
    for (let i = 0; i < 25; i++)
      await sql(`select meshhook.log($1, 'etl', n, 'info', 'in SQL') from unnest($2::text[]) n`, alpha, shuffled());
  };
  await Promise.all([byHttp(), byHttp(), byHttp(), byHttp(), bySql(), bySql(), bySql()]);
  for (const n of names) {
    const lines = await g.lines(`logs:etl:${alpha}:${n}`);
    assert.deepEqual(lines.map((l) => l.seq), Array.from({ length: 175 }, (_, i) => i + 1));
  }
  assert.doesNotMatch(g.text, /publish.failed.*40P01/);
});

test("a line with an id is stored once, however often and from however many it comes", async () => {
  const body = Array.from({ length: 10 }, (_, i) => ({ workflow_id: "once", logData: `l${i}`, id: `k${i}` }));
  const all = await Promise.all(Array.from({ length: 8 }, () => g.publish(body)));
  assert.ok(all.every((r) => r.status === 200));
  assert.equal(all.reduce((n, r) => n + r.json.duplicates, 0), 70);
  const ranges = new Set(all.map((r) => JSON.stringify(r.json.channels)));
  assert.equal(ranges.size, 1, "and every answer has the same range");
  assert.deepEqual((await g.lines(`logs:etl:${alpha}:once`)).map((l) => l.message), body.map((e) => e.logData));
});

test("a run's log takes lines of services, marked as theirs, until it is over", async () => {
  const definition = { nodes: [{ id: "go", type: "manual" }], edges: [] };
  const plan = { go: { events: [], steps: [{ step: "call", status: "scheduled", attempt: 1, waits: 0, live: 0 }], messages: [], ends: null } };
  const [{ id }] = await sql("select meshhook.push_workflow($1, 'flow', $2) as id", alpha, definition);
  await sql("select meshhook_engine.publish_version($1, $2, $3)", id, definition, plan);
  const [{ run }] = await sql("select meshhook.start_run($1, 'flow') as run", alpha);
  const r = await g.publish({ run_id: run.toUpperCase(), logData: "from outside" });
  assert.equal(r.status, 200, r.text);
  const lines = await g.lines(`logs:run:${alpha}:${run}`);
  assert.deepEqual(lines.map((l) => [l.seq, l.source]), [[1, undefined], [2, "etl"]]);
  assert.equal((await g.publish({ run_id: run, logData: "x" }, { token: tokens.beta })).status, 404);
  await sql("select meshhook.cancel_run($1)", run);
  assert.equal((await g.publish({ run_id: run, logData: "too late" })).status, 409);
  assert.ok((await g.lines(`logs:run:${alpha}:*`)).length >= 3);
});

test("nobody sees another tenant's line, in history or through a ticket", async () => {
  await g.publish({ workflow_id: "private", logData: "of alpha" });
  await g.publish({ workflow_id: "private", logData: "of beta" }, { token: tokens.beta });
  const own = { ann: alpha, viewer: alpha, bob: beta };
  const channels = (p) => [`logs:etl:${p}:private`, `logs:etl:${p}:*`, `logs:run:${p}:*`, `logs:etl:${ids[p]}`];
  for (const name of Object.keys(users))
    for (const p of slugs)
      for (const c of channels(p)) {
        const r = await g.call(`/api/logs?channels=${c}`, { token: user(name) });
        assert.equal(r.status, own[name] === p ? 200 : 404, `${name} ${c}: ${r.text}`);
        if (r.status === 200) assert.ok(r.json.lines.every((l) => l.channel.split(":")[2] === ids[p]));
      }
  const both = await g.call(`/api/logs?channels=logs:etl:${alpha}:private,logs:etl:${beta}:private`, { token: user("ann") });
  assert.equal(both.status, 404);
  for (const [status, token] of [[401, undefined], [401, `${user("ann")}x`], [401, jwt({ sub: users.ann, role: "authenticated", exp: 1 })],
    [401, jwt({ sub: "x", role: "authenticated" })], [403, jwt({ role: "anon" })], [403, jwt({ role: "service_role", sub: users.ann })], [403, jwt({ sub: users.ann })],
    [403, tokens.alpha], [401, jwt({ sub: users.ann, role: "authenticated" }, { header: { alg: "none" } })]]) {
    const r = await g.call(`/api/logs?channels=logs:etl:${alpha}:private`, { token });
    assert.equal(r.status, status, `${token?.slice(0, 99)}: ${r.text}`);
    assert.doesNotMatch(r.text, /of alpha/);
  }
  // a ticket is somebody's, sealed, and good for streams alone
  const t = await g.call("/api/logs/stream/ticket", { token: user("ann"), method: "POST" });
  assert.equal(t.status, 201, t.text);
  assert.doesNotMatch(t.json.ticket, /[^A-Za-z0-9._-]/);
  assert.equal((await g.call(`/api/logs?channels=logs:etl:${alpha}:private&ticket=${t.json.ticket}`)).status, 401);
  assert.equal((await g.call(`/api/logs?channels=logs:etl:${alpha}:private`, { token: t.json.ticket })).status, 403);
  assert.equal((await g.call("/api/logs/stream/ticket", { token: tokens.alpha, method: "POST" })).status, 403);
});

test("history: filters, pages, formats", async () => {
  const at = "logs:etl:" + alpha + ":hist";
  const body = Array.from({ length: 25 }, (_, i) => ({ workflow_id: "hist", logData: { message: i % 5 ? `row ${i}` : `Größe, "${i}"\nnext`, level: i % 2 ? "info" : "error", n: i % 3, who: "é" } }));
  await g.publish(body);
  const messages = async (q) => (await g.lines(at, "ann", q)).map((l) => l.message);
  const all = body.map((e) => e.logData.message);
  assert.deepEqual(await messages(""), all);
  assert.deepEqual(await messages("&order=desc"), [...all].reverse());
  assert.deepEqual(await messages("&level=error"), all.filter((_, i) => i % 2 === 0));
  assert.deepEqual(await messages("&q=ROW%201"), all.filter((m) => m.includes("row 1")));
  assert.deepEqual(await messages("&attr.n=2&attr.who=%C3%A9"), all.filter((_, i) => i % 3 === 2));
  assert.deepEqual(await messages("&since=2100-01-01T00:00:00Z"), []);
  assert.deepEqual(await messages("&until=1h"), []);
  assert.deepEqual(await messages("&since=1h"), all);
  for (const q of [`channels=${at}`, `channels=logs:etl:${alpha}:*&attr.who=%C3%A9`, `channels=${at}&order=desc`]) {
    const seen = [];
    let path = `/api/logs?${q}&limit=7`;
    while (path) {
      const r = await g.call(path, { token: user("viewer") });
      assert.equal(r.status, 200, r.text);
      seen.push(...r.json.lines.map((l) => l.seq));
      path = /<([^>]+)>; rel="next"/.exec(r.headers.get("link") ?? "")?.[1];
      assert.equal(Boolean(path), r.json.next !== null);
    }
    const want = all.map((_, i) => i + 1);
    assert.deepEqual(seen, q.includes("desc") ? want.reverse() : want, q);
  }
  const csv = await g.call(`/api/logs?channels=${at}`, { token: user("ann"), headers: { accept: "text/csv" } });
  assert.match(csv.headers.get("content-type"), /^text\/csv/);
  assert.equal(csv.text.split("\r\n")[0], "channel,seq,ts,level,message,attrs,source,client_ts");
  assert.ok(csv.text.includes(`"Größe, ""0""\nnext"`));
  const nd = await g.call(`/api/logs?channels=${at}&format=ndjson`, { token: user("ann") });
  assert.deepEqual(nd.text.trim().split("\n").map((l) => JSON.parse(l).message), all);
  for (const q of ["", "channels=", "channels=x", `channels=${at}&level=loud`, `channels=${at}&limit=0`, `channels=${at}&limit=1001`, `channels=${at}&since=x`,
    `channels=${at}&order=up`, `channels=${at}&format=xml`, `channels=${at}&cursor=x`, `channels=${at}&cursor=1.${crypto.randomUUID()}.1`, `channels=${at}&q=%`,
    `channels=${at}&q=%00`, `channels=${Array(51).fill(at)}`, `channels=${at}%00`, `channels=${at}&attr.=1`])
    assert.equal((await g.call(`/api/logs?${q}`, { token: user("ann") })).status, 400, q);
});

test("a database that goes away: 503, and nothing lost or twice when it's back", async () => {
  const p = await proxy();
  const mine = await start({ MESHHOOK_GATEWAY_DB_URL: p.url });
  const send = (i, more = {}) => mine.publish({ workflow_id: "outage", logData: `l${i}`, ...more });
  assert.equal((await send(0, { id: "o0" })).status, 200);
  // committed, but nobody hears of it: with an id it is sent again, without it's for the client to say
  p.deaf = true;
  const deaf = [send(1, { id: "o1" }), send(2)];
  for (let i = 0; i < 2000; i++) {
    if ((await g.lines(`logs:etl:${alpha}:outage`)).length === 3) break;
    await sleep(25);
  }
  p.deaf = false;
  p.cut();
  const [withId, without] = await Promise.all(deaf);
  assert.equal(withId.status, 200, withId.text);
  assert.equal(without.status, 503);
  assert.equal(without.json.type, "urn:meshhook:problem:unknown");
  assert.ok(Number(without.headers.get("retry-after")) > 0);
  p.refusing = true;
  p.cut();
  const away = await send(3, { id: "o3" });
  assert.equal(away.status, 503);
  assert.ok(Number(away.headers.get("retry-after")) > 0);
  assert.equal((await mine.call("/health")).status, 503);
  p.refusing = false;
  let again = away;
  for (let i = 0; i < 600 && again.status === 503; i++) {
    await sleep(100);
    again = await send(3, { id: "o3" });
  }
  assert.equal(again.status, 200);
  assert.deepEqual((await g.lines(`logs:etl:${alpha}:outage`)).map((l) => l.message), ["l0", "l1", "l2", "l3"]);
  await mine.stop();
  p.end();
});

test("a gateway killed while it publishes: sent again by ids, each line is there once", async () => {
  const sent = [];
  let at = await start();
  const victims = [at];
  const worker = async (w) => {
    for (let i = 0; i < 30; i++) {
      const body = Array.from({ length: 5 }, (_, k) => ({ workflow_id: "killed", logData: `${w}.${i}.${k}`, id: `${w}.${i}.${k}` }));
      for (;;) {
        const r = await at.publish(body).catch(() => ({ status: 0 }));
        if (r.status === 200) break;
        await sleep(20);
      }
      sent.push(...body.map((e) => e.id));
    }
  };
  const killer = (async () => {
    for (let i = 0; i < 3; i++) {
      await sleep(150);
      const old = at;
      old.child.kill("SIGKILL");
      await old.over;
      victims.push(at = await start());
    }
  })();
  await Promise.all([killer, ...Array.from({ length: 6 }, (_, w) => worker(w))]);
  const lines = await g.lines(`logs:etl:${alpha}:killed`);
  assert.deepEqual(lines.map((l) => l.seq), lines.map((_, i) => i + 1));
  assert.deepEqual(lines.map((l) => l.message).sort(), sent.sort());
  await at.stop();
});

test("killed at each point of a commit: what is sent again is there once", async () => {
  for (const point of ["publish_before_commit", "publish_after_commit", "publish_before_reply"]) {
    const victim = await start({ MESHHOOK_TESTPOINT: `${point}:3` });
    const body = (i) => [{ workflow_id: point, logData: `a${i}`, id: `a${i}` }, { workflow_id: point, logData: `b${i}`, id: `b${i}` }];
    let answered = 0;
    for (let i = 0; i < 4; i++) answered += (await victim.publish(body(i)).catch(() => ({ status: 0 }))).status === 200;
    assert.equal(await victim.stop(), null, `${point} was never reached`);
    assert.equal(answered, 2);
    for (let i = 0; i < 4; i++) assert.equal((await g.publish(body(i))).status, 200);
    assert.deepEqual((await g.lines(`logs:etl:${alpha}:${point}`)).map((l) => l.message), [0, 1, 2, 3].flatMap((i) => [`a${i}`, `b${i}`]));
  }
});

test("what waits is counted by the memory that it takes", async () => {
  const c = await pool.connect();
  await c.query("begin; lock table meshhook.channels in access exclusive mode");
  const wide = { workflow_id: "wide", logData: "m", numbers: Array(500000).fill(0) }; // 1 MB, and 20 of them as a tree
  const answered = [];
  const all = Promise.all(Array.from({ length: 12 }, () => g.publish(wide).then((r) => answered.push(r))));
  for (const end = Date.now() + 4000; answered.length < 4 && Date.now() < end; ) await sleep(20);
  const early = answered.map((r) => [r.status, r.json.type]);
  await c.query("rollback");
  c.release();
  await all;
  assert.ok(early.length >= 4, `${early.length} of 12 were answered`);
  for (const one of early) assert.deepEqual(one, [503, "urn:meshhook:problem:overload"]);
  assert.ok(answered.some((r) => r.status === 200), "none was taken");
});

test("a page of long lines ends early, and the next goes on behind it", async () => {
  for (let i = 0; i < 10; i++)
    assert.equal((await g.publish({ workflow_id: "long", logData: Array.from({ length: 15 }, (_, j) => `${i * 15 + j} ${"x".repeat(60000)}`) })).status, 200);
  const got = [];
  let next = "", pages = 0;
  for (; next !== null; pages++) {
    const r = await g.call(`/api/logs?channels=logs:etl:${alpha}:long&limit=1000${next && `&cursor=${next}`}`, { token: user("ann") });
    assert.equal(r.status, 200);
    assert.ok(r.text.length < 5 << 20, `${r.text.length} bytes`);
    assert.equal(r.headers.get("link") !== null, r.json.next !== null);
    got.push(...r.json.lines.map((l) => parseInt(l.message)));
    next = r.json.next;
  }
  assert.deepEqual(got, [...Array(150).keys()]);
  assert.equal(pages, 3);
});

test("slow readers are given up, and hold writers up for a second at most", async () => {
  const c = await pool.connect();
  await c.query("begin; lock table meshhook.members in access exclusive mode");
  const pages = Array.from({ length: 4 }, () => g.call(`/api/logs?channels=logs:etl:${alpha}:hist`, { token: user("ann") }));
  let worst = 0;
  for (const end = Date.now() + 6000; Date.now() < end; await sleep(20)) {
    const at = Date.now();
    assert.equal((await g.publish({ workflow_id: "slow", logData: "m" })).status, 200);
    worst = Math.max(worst, Date.now() - at);
  }
  assert.ok(worst < 4000, `${worst} ms`); // of the 6 s that the lock lasts
  const first = await pages[0];
  assert.equal(first.status, 503);
  assert.match(first.json.detail, /took too long/);
  await c.query("rollback");
  c.release();
  await Promise.all(pages);
  assert.equal((await g.call(`/api/logs?channels=logs:etl:${alpha}:hist`, { token: user("ann") })).status, 200);
});

test("rates: a token's lines, a user's pages", async () => {
  const mine = await start({ MESHHOOK_PUBLISH_RATE: "50", MESHHOOK_USER_RATE: "5" });
  const body = Array.from({ length: 60 }, () => ({ workflow_id: "rates", logData: "m" }));
  assert.equal((await mine.publish(body)).status, 200);
  let over;
  for (let i = 0; i < 20 && over?.status !== 429; i++) over = await mine.publish(body); // it refills, while a slow machine asks
  assert.equal(over.status, 429, over.text);
  assert.ok(Number(over.headers.get("retry-after")) >= 1);
  assert.equal((await mine.publish({ logData: "m" }, { token: tokens.beta })).status, 200, "another token has its own");
  const pages = await Promise.all(Array.from({ length: 30 }, async () => (await mine.call(`/api/logs?channels=logs:etl:${alpha}:rates`, { token: user("ann") })).status));
  assert.ok(pages.includes(200) && pages.includes(429), String(pages));
  assert.equal((await mine.call(`/api/logs?channels=logs:etl:${beta}:rates`, { token: user("bob") })).status, 200, "another user has her own");
  await mine.stop();
});

test("public keys: fetched, rotated, kept while they can't be had; fetches are limited", async () => {
  const make = (kid, type) => ({ kid, ...(type === "ec" ? crypto.generateKeyPairSync("ec", { namedCurve: "P-256" }) : crypto.generateKeyPairSync("rsa", { modulusLength: 2048 })) });
  const keys = { e1: make("e1", "ec"), r1: make("r1", "rsa"), e2: make("e2", "ec"), bad: make("e1", "ec") };
  let served = ["e1"], fetches = 0, status = 200;
  const server = http.createServer((_, res) => {
    fetches++;
    res.writeHead(status, { "content-type": "application/json" });
    res.end(JSON.stringify({ keys: served.map((k) => ({ ...keys[k].publicKey.export({ format: "jwk" }), kid: k, use: "sig" })) }));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const signed = (k, name = "ann", more = {}) => jwt({ sub: users[name], role: "authenticated", ...more }, {
    header: { alg: k.startsWith("r") ? "RS256" : "ES256", kid: keys[k].kid },
    sign: (text) => crypto.sign("sha256", Buffer.from(text), { key: keys[k].privateKey, dsaEncoding: "ieee-p1363" }),
  });
  const mine = await start({ MESHHOOK_JWKS_URL: `http://127.0.0.1:${server.address().port}/keys`, MESHHOOK_JWT_SECRET: "", SUPABASE_JWT_SECRET: "" });
  const status_of = async (token) => (await mine.call(`/api/logs?channels=logs:etl:${alpha}:private`, { token })).status;
  assert.equal(await status_of(signed("e1")), 200);
  assert.equal(await status_of(signed("e1", "bob")), 404);
  assert.equal(await status_of(signed("bad")), 401, "of the same name, by another key");
  assert.equal(await status_of(user("ann")), 401, "no shared secret is known here");
  const before_ = fetches;
  for (let i = 0; i < 20; i++) assert.equal(await status_of(signed("e2")), 401);
  assert.ok(fetches - before_ <= 1, `unknown keys made it fetch ${fetches - before_} times`);
  status = 500;
  assert.equal(await status_of(signed("e1")), 200, "what is known stays in use");
  await mine.stop();
  // both kinds, in a fresh process, which finds them behind a server that fails at first
  served = ["e2", "r1"];
  const next = await start({ MESHHOOK_JWKS_URL: `http://127.0.0.1:${server.address().port}/keys` });
  const next_status = async (token) => (await next.call(`/api/logs?channels=logs:etl:${alpha}:private`, { token })).status;
  assert.equal(await next_status(signed("r1")), 503, "nothing is known");
  assert.equal(await next_status(user("ann")), 200, "the shared secret is");
  status = 200;
  for (let i = 0; i < 1000 && (await next_status(signed("r1"))) === 503; i++) await sleep(50);
  assert.equal(await next_status(signed("r1")), 200);
  assert.equal(await next_status(signed("e2")), 200);
  assert.equal(await next_status(signed("e1")), 401, "and what went is gone");
  await next.stop();
  server.close();
});

test("CORS: pages on the list, and no others", async () => {
  const mine = await start({ MESHHOOK_CORS_ORIGINS: "https://app.example, http://localhost:3000" });
  for (const origin of ["https://app.example", "http://localhost:3000"]) {
    const pre = await mine.call("/api/logs/publish", { method: "OPTIONS", headers: { origin, "access-control-request-method": "POST" } });
    assert.equal(pre.status, 204);
    assert.equal(pre.headers.get("access-control-allow-origin"), origin);
    assert.match(pre.headers.get("access-control-allow-headers"), /authorization/);
    assert.match(pre.headers.get("access-control-allow-methods"), /POST/);
    const r = await mine.call("/api/logs", { headers: { origin } });
    assert.equal(r.status, 401);
    assert.equal(r.headers.get("access-control-allow-origin"), origin, "on errors, too");
    assert.equal(r.headers.get("access-control-allow-credentials"), null);
    assert.equal(r.headers.get("vary"), "Origin");
  }
  for (const origin of ["https://evil.example", "https://app.example.evil", "null", "http://app.example"]) {
    const r = await mine.call("/health", { headers: { origin } });
    assert.equal(r.headers.get("access-control-allow-origin"), null);
    assert.equal(r.headers.get("vary"), "Origin");
  }
  await mine.stop();
  const any = await start({ MESHHOOK_CORS_ORIGINS: "*" });
  assert.equal((await any.call("/health", { headers: { origin: "https://x.example" } })).headers.get("access-control-allow-origin"), "*");
  await any.stop();
  assert.equal((await g.call("/health", { headers: { origin: "https://x.example" } })).headers.get("access-control-allow-origin"), null);
});

test("health, metrics, and stats for those who may", async () => {
  const h = await g.call("/health");
  assert.equal(h.status, 200);
  assert.deepEqual([h.json.status, h.json.database], ["ok", "ready"]);
  const m = await g.call("/metrics");
  assert.equal(m.headers.get("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
  assert.ok(m.text.endsWith("# EOF\n"));
  const families = [...m.text.matchAll(/^# TYPE (\S+)/gm)].map((x) => x[1]);
  assert.equal(new Set(families).size, families.length, "each family stands once");
  for (const line of m.text.trim().split("\n"))
    assert.match(line, /^(# (TYPE|UNIT|HELP) \w+ .+|# EOF|\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [-+.\de]+)$/);
  assert.ok(Number(/^meshhook_publish_lines_total (\d+)$/m.exec(m.text)[1]) > 500);
  for (const [status, token] of [[401, undefined], [200, user("ann")], [403, user("viewer")], [403, user("nobody")], [200, jwt({ role: "service_role" })], [403, jwt({ role: "anon" })], [403, tokens.alpha]]) {
    const r = await g.call("/admin/logs/stats", { token });
    assert.equal(r.status, status, r.text);
    if (status === 200) assert.equal(r.json.metrics.meshhook_database_up, 1);
    assert.ok(!slugs.some((s) => r.text.includes(s)) && !Object.values(ids).some((s) => r.text.includes(s)), "no tenant is named");
  }
});
