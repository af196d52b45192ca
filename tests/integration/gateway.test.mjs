// Webhooks over real sockets into the real database: who is refused, what is started once, and what
// happens when the database is slow, gone, or cut off while it commits.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import crypto from "node:crypto";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import pg from "pg";

const binary = process.env.MESHHOOK_BIN;
const slug = `gateway-${process.pid}`;
const env = { ...process.env, MESHHOOK_PROJECT: slug, MESHHOOK_LOG_FORMAT: "json" };
const pool = new pg.Pool({ connectionString: process.env.SUPABASE_DB_URL, max: 2 });
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const sql = async (text, ...values) => (await pool.query(text, values)).rows;
const secrets = {};
const children = new Set();

// One connection; send() resolves with the next answer, closed when the server ends.
class Client {
  constructor(port) {
    this.waiting = [];
    this.text = "";
    this.socket = net.connect({ port, host: "127.0.0.1", noDelay: true });
    this.closed = new Promise((resolve) => this.socket.on("close", resolve));
    this.socket.on("error", () => {});
    this.socket.on("close", () => this.waiting.splice(0).forEach((w) => w({ status: 0 })));
    this.socket.on("data", (d) => {
      this.text += d.toString("latin1");
      this.#read();
    });
  }
  #read() {
    for (;;) {
      const head = this.text.indexOf("\r\n\r\n");
      if (head < 0) return;
      const headers = Object.fromEntries(
        this.text.slice(0, head).split("\r\n").slice(1).map((l) => [l.split(": ")[0].toLowerCase(), l.split(": ")[1]]),
      );
      const n = Number(headers["content-length"] ?? 0);
      if (this.text.length < head + 4 + n) return;
      const body = this.text.slice(head + 4, head + 4 + n);
      const answer = { status: Number(this.text.slice(9, 12)), headers, body };
      if (headers["content-type"]?.includes("json")) answer.json = JSON.parse(body);
      this.text = this.text.slice(head + 4 + n);
      this.waiting.shift()?.(answer);
    }
  }
  send(bytes) {
    return new Promise((resolve) => {
      this.waiting.push(resolve);
      this.socket.write(bytes);
    });
  }
  end() {
    this.socket.destroy();
  }
}

// A signed webhook's bytes. Whatever `o` says differs from what is right.
const webhook = (endpoint, body, o = {}) => {
  const id = o.id ?? crypto.randomUUID();
  const at = o.at ?? Math.floor(Date.now() / 1000);
  const key = Buffer.from((o.secret ?? secrets[endpoint]).slice(6), "base64");
  const mac = crypto.createHmac("sha256", key).update(`${id}.${at}.`).update(o.signed ?? body).digest("base64");
  const headers = {
    Host: "h",
    "Content-Type": "application/json",
    "Content-Length": Buffer.byteLength(body),
    "Webhook-Id": id,
    "Webhook-Timestamp": at,
    "Webhook-Signature": `v1,${mac}`,
    ...o.headers,
  };
  const lines = Object.entries(headers).filter(([, v]) => v !== undefined).map(([k, v]) => `${k}: ${v}\r\n`);
  return Buffer.concat([
    Buffer.from(`POST /hooks/${o.project ?? slug}/${endpoint} HTTP/1.1\r\n${lines.join("")}\r\n`),
    Buffer.from(body),
  ]);
};

const once = async (port, bytes) => {
  const c = new Client(port);
  try {
    return await c.send(bytes);
  } finally {
    c.end();
  }
};

// Started on any port that is free, which its log says.
const start = async (more = {}, ...flags) => {
  const child = spawn(binary, ["gateway", ...flags], {
    env: { ...env, MESHHOOK_GATEWAY_PORT: "0", ...more },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const g = { child, log: [] };
  children.add(g);
  let text = "";
  g.over = new Promise((resolve) =>
    child.on("close", (code) => {
      children.delete(g);
      assert.ok(!/Sanitizer|runtime error/.test(text), text);
      resolve(code);
    }),
  );
  await new Promise((resolve) => {
    child.on("close", resolve);
    child.stderr.on("data", (d) => {
      text += d;
      g.log = text.split("\n").filter((l) => l.startsWith("{")).map((l) => JSON.parse(l));
      g.port = g.log.find((l) => l.event === "gateway.listening")?.port;
      if (g.port) resolve();
    });
  });
  g.stop = async () => {
    child.kill("SIGTERM");
    return g.over;
  };
  return g;
};

const ready = async (port) => {
  for (let i = 0; i < 1200; i++) {
    if ((await once(port, "GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n")).status === 200) return;
    await sleep(50);
  }
  throw new Error("not ready after 60 s");
};

// A way to the database that can be held up, and cut.
const proxy = async () => {
  const there = new URL(process.env.MESHHOOK_GATEWAY_DB_URL);
  const url = new URL(there);
  const pairs = new Set();
  const p = { held: false, refusing: false };
  p.server = net.createServer((near) => {
    if (p.refusing) return near.destroy();
    const far = net.connect({ host: there.hostname, port: Number(there.port) });
    const pair = { near, far };
    pairs.add(pair);
    near.on("data", (d) => {
      p.asked = true;
      far.write(d);
    });
    far.on("data", (d) => {
      if (p.held) p.swallowed = true;
      else near.write(d);
    });
    for (const s of [near, far]) {
      s.on("error", () => {});
      s.on("close", () => {
        near.destroy();
        far.destroy();
        pairs.delete(pair);
      });
    }
  });
  await new Promise((resolve) => p.server.listen(0, "127.0.0.1", resolve));
  p.cut = () => pairs.forEach((pair) => pair.near.destroy());
  p.pause = () => pairs.forEach(({ far }) => far.pause());
  p.resume = () => pairs.forEach(({ far }) => far.resume());
  p.close = () => {
    p.cut();
    p.server.close();
  };
  url.port = p.server.address().port;
  url.hostname = "127.0.0.1";
  p.env = { MESHHOOK_GATEWAY_DB_URL: url.href };
  return p;
};

let gateway, port;

before(async () => {
  const run = (...args) => execFileSync(binary, args, { env, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const file = path.join(os.tmpdir(), `${slug}.json`);
  fs.writeFileSync(file, JSON.stringify({
    name: "note",
    nodes: [{ id: "hook", type: "webhook" }, { id: "note", type: "log", message: "came" }],
    edges: [{ from: "hook", to: "note" }],
  }));
  run("project", "create", slug);
  run("workflow", "push", file);
  run("workflow", "publish", "note");
  fs.unlinkSync(file);
  for (const name of ["leads", "small", "off", "rated"])
    secrets[name] = JSON.parse(run("endpoint", "create", name, "note", "-o", "json")).secret;
  await sql("update meshhook.endpoints set max_body_bytes = 100 where slug = 'small'");
  gateway = await start();
  port = gateway.port;
  await ready(port);
});

after(async () => {
  for (const g of [...children]) await g.stop();
  await sql("select meshhook.purge_project($1)", slug);
  await pool.end();
});

const started = (run) =>
  sql("select payload from meshhook.run_events where run_id = $1 and seq = 1", run).then((r) => r[0]?.payload);
const runs = async () =>
  (await sql("select count(*)::int n from meshhook.runs r join meshhook.projects p on p.id = r.project_id where p.slug = $1", slug))[0].n;

test("a signed webhook starts a run with its body as input", async () => {
  const answer = await once(port, webhook("leads", '{"lead": "ada", "n": 12345678901234567890.5}', { id: "msg\"\\1" }));
  assert.equal(answer.status, 202);
  const payload = await started(answer.json.run_id);
  assert.equal(payload.input.lead, "ada");
  assert.equal(payload.meta.webhook_id, "msg\"\\1");
  assert.ok(Math.abs(Date.parse(payload.meta.received_at) - Date.now()) < 60000);
  const [{ n }] = await sql("select payload #>> '{input,n}' n from meshhook.run_events where run_id = $1 and seq = 1", answer.json.run_id);
  assert.equal(n, "12345678901234567890.5");
});

test("the documented way to sign by hand is a way to sign", async () => {
  const docs = fs.readFileSync(new URL("../../docs/webhooks.md", import.meta.url), "utf8");
  const script = [...docs.matchAll(/```sh\n([^]*?)```/g)].map((m) => m[1]).find((b) => b.includes("webhook-signature: v1"))
    .replace("127.0.0.1:54332/hooks/acme", `127.0.0.1:${port}/hooks/${slug}`);
  const child = spawn("bash", ["-euc", script], { env: { ...env, secret: secrets.leads }, stdio: ["ignore", "pipe", "ignore"] });
  let out = "";
  child.stdout.on("data", (d) => (out += d));
  await new Promise((resolve) => child.on("close", resolve));
  assert.equal((await started(JSON.parse(out).run_id)).input.name, "Ada");
});

test("the same webhook-id is the same run, however it comes", async () => {
  const before = await runs();
  const bytes = webhook("leads", "{}", { id: "again" });
  const answers = await Promise.all(Array.from({ length: 30 }, () => once(port, bytes)));
  answers.push(await once(port, bytes));
  assert.deepEqual([...new Set(answers.map((a) => a.status))], [202]);
  assert.equal(new Set(answers.map((a) => a.json.run_id)).size, 1);
  assert.equal(answers.filter((a) => !a.json.duplicate).length, 1);
  assert.equal(await runs(), before + 1);
});

test("what isn't signed is refused, and nothing of it is kept", async () => {
  const before = await runs();
  const old = Math.floor(Date.now() / 1000) - 301;
  const cases = [
    { headers: { "Webhook-Signature": undefined } },
    { headers: { "Webhook-Id": undefined } },
    { headers: { "Webhook-Timestamp": undefined } },
    { headers: { "Webhook-Signature": "v1,AAAA" } },
    { headers: { "Webhook-Signature": "" } },
    { headers: { "Webhook-Id": "x".repeat(257) } },
    { secret: `whsec_${crypto.randomBytes(24).toString("base64")}` },
    { secret: secrets.small },
    { signed: '{"a":2}' },
    { at: old },
    { at: old + 700 },
  ];
  for (const o of cases) {
    const answer = await once(port, webhook("leads", '{"a":1}', o));
    assert.equal(answer.status, 401, JSON.stringify(o));
    assert.equal(answer.headers["content-type"], "application/problem+json");
    assert.equal(answer.json.status, 401);
    assert.ok(answer.json.type && answer.json.title && answer.json.detail && answer.json.instance);
  }
  // Refused before the body is parsed: what is no JSON gets no other answer.
  assert.equal((await once(port, webhook("leads", "{{{", { signed: "x" }))).status, 401);
  assert.equal(await runs(), before);
});

test("a body that can't be an input is refused with its reason", async () => {
  const deep = "[".repeat(10000) + "]".repeat(10000);
  const cases = [
    [400, ""], [400, "{"], [400, "{} {}"], [400, deep], [400, '{"a": "\\ud800"}'], [400, Buffer.from([0x22, 0xff, 0x22])],
    [422, '{"a": "\\u0000"}'], [422, '{"\\u0000": 1}'], [422, '{"a": 1e999999}'],
    [202, "null"], [202, "1e1000"], [202, '{"a": 1, "a": 2}'],
  ];
  for (const [status, body] of cases) {
    const answer = await once(port, webhook("leads", body));
    assert.equal(answer.status, status, `${body}`.slice(0, 40));
    if (status !== 202) assert.ok(answer.json.detail);
  }
  for (const [status, type] of [[415, "text/plain"], [415, "application/xml"], [202, "application/json; charset=utf-8"], [202, "application/cloudevents+json"]])
    assert.equal((await once(port, webhook("leads", "{}", { headers: { "Content-Type": type } }))).status, status, type);
});

test("an endpoint's own cap is refused before the body is sent", async () => {
  const head = webhook("small", "x".repeat(101)).toString().split("\r\n\r\n")[0] + "\r\n\r\n";
  const answer = await once(port, head);
  assert.equal(answer.status, 413);
  assert.match(answer.json.detail, /100 bytes/);
  assert.equal((await once(port, webhook("small", `"${"x".repeat(98)}"`))).status, 202);
  assert.equal((await once(port, head.replace(/Content-Length: \d+/, "Content-Length: 104857600"))).status, 413);
});

test("what isn't there, or is switched off, says so", async () => {
  assert.equal((await once(port, webhook("nope", "{}", { secret: secrets.leads }))).status, 404);
  assert.equal((await once(port, webhook("leads", "{}", { project: "nope" }))).status, 404);
  assert.equal((await once(port, webhook("leads", "{}", { project: "n".repeat(300) }))).status, 404);
  const [{ id }] = await sql("select id from meshhook.projects where slug = $1", slug);
  assert.equal((await once(port, webhook("leads", "{}", { project: id }))).status, 202);
  await sql("update meshhook.endpoints set enabled = false where slug = 'off'");
  const answer = await once(port, webhook("off", "{}"));
  assert.equal(answer.status, 409);
  assert.match(answer.json.type, /disabled/);
});

test("one body that the database refuses doesn't hurt those it came with", async () => {
  await sql(`create function public.refuse_poison() returns trigger language plpgsql as $$ begin
    if new.dedupe_key = 'poison' then raise exception 'poison' using errcode = '22P02'; end if; return new; end $$`);
  await sql("create trigger refuse_poison before insert on meshhook_engine.deliveries for each row execute function public.refuse_poison()");
  try {
    const all = Array.from({ length: 100 }, (_, i) => once(port, webhook("leads", "{}", i === 37 ? { id: "poison" } : {})));
    const statuses = (await Promise.all(all)).map((a) => a.status);
    assert.equal(statuses[37], 422);
    assert.equal(statuses.filter((s) => s === 202).length, 99);
  } finally {
    await sql("drop function public.refuse_poison() cascade");
  }
});

test("many at once, each once", async () => {
  const before = await runs();
  const clients = Array.from({ length: 32 }, () => new Client(port));
  const ids = new Set();
  await Promise.all(clients.map(async (c) => {
    for (let i = 0; i < 20; i++) {
      const answer = await c.send(webhook("leads", `{"i": ${i}}`));
      assert.equal(answer.status, 202);
      ids.add(answer.json.run_id);
    }
    c.end();
  }));
  assert.equal(ids.size, 640);
  assert.equal(await runs(), before + 640);
});

test("more than an endpoint's rate is told 429, by all gateways together", async () => {
  await sql("update meshhook.endpoints set rate = 5, burst = 10 where slug = 'rated'");
  const gs = [await start(), await start()];
  for (const g of gs) await ready(g.port);
  const from = Date.now();
  const answers = await Promise.all(Array.from({ length: 60 }, (_, i) => once(gs[i % 2].port, webhook("rated", "{}"))));
  const late = answers.filter((a) => a.status === 429);
  const taken = answers.filter((a) => a.status === 202);
  assert.equal(late.length + taken.length, 60);
  const most = 10 + (5 * (Date.now() - from)) / 1000;
  assert.ok(taken.length >= 8 && taken.length <= most, `${taken.length} of at most ${most}`);
  assert.match(taken[0].headers["ratelimit-policy"], /^"endpoint";q=10;w=2$/);
  assert.match(late[0].headers.ratelimit, /^"endpoint";r=0;t=1$/);
  assert.equal(late[0].headers["retry-after"], "1");
  // Only who can sign can use it up.
  await sleep(1500);
  for (let i = 0; i < 30; i++) await once(gs[0].port, webhook("rated", "{}", { signed: "x" }));
  assert.equal((await once(gs[1].port, webhook("rated", "{}"))).status, 202);
  for (const g of gs) assert.equal(await g.stop(), 0);
});

test("the rate that gateways are given is that of endpoints without one", async () => {
  const g = await start({ MESHHOOK_GATEWAY_RATE: "3", MESHHOOK_GATEWAY_BURST: "4" });
  await ready(g.port);
  const answers = await Promise.all(Array.from({ length: 30 }, () => once(g.port, webhook("leads", "{}"))));
  assert.ok(answers.some((a) => a.status === 429) && answers.filter((a) => a.status === 202).length >= 4);
  assert.equal(await g.stop(), 0);
});

test("without a database: 503, soon, and again 202 when it is back", async () => {
  const p = await proxy();
  const g = await start(p.env);
  await ready(g.port);
  assert.equal((await once(g.port, webhook("leads", "{}"))).status, 202);
  p.refusing = true;
  p.cut();
  const from = Date.now();
  const answer = await once(g.port, webhook("leads", "{}"));
  assert.equal(answer.status, 503);
  assert.ok(answer.headers["retry-after"]);
  assert.ok(Date.now() - from < 20000, `${Date.now() - from} ms`);
  assert.equal((await once(g.port, "GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n")).status, 503);
  assert.equal((await once(g.port, "GET /livez HTTP/1.1\r\nHost: h\r\n\r\n")).status, 200);
  p.refusing = false;
  await ready(g.port);
  assert.equal((await once(g.port, webhook("leads", "{}"))).status, 202);
  assert.equal(await g.stop(), 0);
  p.close();
});

// The answer to a commit is lost with the connection: it is sent again and is the same run.
test("a lost answer of the database is one run all the same", async () => {
  const p = await proxy();
  const g = await start(p.env);
  await ready(g.port);
  await once(g.port, webhook("leads", "{}"));
  const before = await runs();
  p.held = true;
  const coming = once(g.port, webhook("leads", "{}", { id: "lost-answer" }));
  while ((await runs()) === before) await sleep(20);
  p.cut();
  p.held = false;
  const answer = await coming;
  assert.equal(answer.status, 202);
  assert.equal(answer.json.duplicate, true);
  assert.equal(await runs(), before + 1);
  assert.equal(await g.stop(), 0);
  p.close();
});

test("SIGTERM answers what is in flight, accepts no more, and ends with 0", async () => {
  const p = await proxy();
  const g = await start(p.env);
  await ready(g.port);
  await once(g.port, webhook("leads", "{}"));
  const idle = new Client(g.port);
  assert.equal((await idle.send("GET /livez HTTP/1.1\r\nHost: h\r\n\r\n")).status, 200);
  p.pause();
  p.asked = false;
  const coming = once(g.port, webhook("leads", "{}"));
  while (!p.asked) await sleep(20);
  g.child.kill("SIGTERM");
  await idle.closed;
  assert.equal((await once(g.port, "GET /livez HTTP/1.1\r\nHost: h\r\n\r\n")).status, 0);
  p.resume();
  const answer = await coming;
  assert.equal(answer.status, 202);
  assert.equal(answer.headers.connection, "close");
  assert.equal(await g.over, 0);
  p.close();
});

test("what the operator must mend is said, with exit 78", async () => {
  const taken = await start({ MESHHOOK_GATEWAY_PORT: `${port}` });
  assert.equal(await taken.over, 78);
  assert.match(JSON.stringify(taken.log), new RegExp(`${port}.*in use`));
  const empty = new URL(process.env.MESHHOOK_GATEWAY_DB_URL);
  empty.pathname = "/template1";
  const g = await start({ MESHHOOK_GATEWAY_DB_URL: empty.href });
  assert.equal(await g.over, 78);
  assert.match(JSON.stringify(g.log), /supabase db push/);
});

test("a client that leaves takes nothing with it", async () => {
  for (let i = 0; i < 20; i++) {
    const c = new Client(port);
    c.send(webhook("leads", "{}").subarray(0, 50 + i * 10));
    await sleep(2);
    c.end();
    const whole = new Client(port);
    whole.send(webhook("leads", "{}", { id: `left-${i}` }));
    whole.socket.on("connect", () => setImmediate(() => whole.end()));
    await whole.closed;
  }
  assert.equal((await once(port, webhook("leads", "{}"))).status, 202);
});
