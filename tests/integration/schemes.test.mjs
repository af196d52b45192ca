// Each provider's own signer signs, the gateway verifies; every tampered variant is refused.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import crypto from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { sign as githubSign } from "@octokit/webhooks-methods";
import pg from "pg";
import { Webhook } from "standardwebhooks";
import Stripe from "stripe";

const binary = process.env.MESHHOOK_BIN;
const slug = `schemes-${process.pid}`;
const env = { ...process.env, MESHHOOK_PROJECT: slug, MESHHOOK_LOG_FORMAT: "json" };
const pool = new pg.Pool({ connectionString: process.env.SUPABASE_DB_URL, max: 2 });
const sql = async (text, ...values) => (await pool.query(text, values)).rows;
const dir = fs.mkdtempSync(path.join(os.tmpdir(), `${slug}-`));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const now = () => Math.floor(Date.now() / 1000);
const secrets = { stripe: "whsec_stripeStripeStripeStripe1234", slack: "8f742231b10e8888abcd99yyyzzz85a5",
  shopify: "hush hush hush hush" };
let gateway, port;

const mh = (args, input) => spawnSync(binary, args, { env, input, encoding: "utf8" });
const run = (args, input) => {
  const r = mh(args, input);
  assert.equal(r.status, 0, `meshhook ${args.join(" ")}: ${r.stderr}`);
  return r.stdout;
};
const post = (endpoint, headers, body, query = "") =>
  new Promise((resolve, reject) => {
    const req = http.request({ port, host: "127.0.0.1", method: "POST", path: `/hooks/${slug}/${endpoint}${query}`,
      headers: { "content-type": "application/json", ...headers, "content-length": Buffer.byteLength(body) } }, (res) => {
      let text = "";
      res.on("data", (d) => (text += d));
      res.on("end", () => resolve({ status: res.statusCode, headers: res.headers, json: JSON.parse(text) }));
    });
    req.on("error", reject);
    req.end(body);
  });
const started = async (id) =>
  (await sql("select payload from meshhook.run_events where run_id = $1 and seq = 1", id))[0].payload;
const hmac = (secret, text, how = "hex", algorithm = "sha256") =>
  crypto.createHmac(algorithm, secret).update(text).digest(how);

const stripe = new Stripe("sk_test_unused");
const body = '{"id": "evt_1", "type": "charge.succeeded", "é": 1}';

// Signers: given a body, the headers of a request, at a time, by a secret.
const signers = {
  standard: (b, at, secret, id) => {
    const key = new Webhook(secret ?? secrets.standard);
    return { "webhook-id": id, "webhook-timestamp": String(at),
      "webhook-signature": key.sign(id, new Date(at * 1000), b) };
  },
  stripe: (b, at, secret) => ({
    "stripe-signature": stripe.webhooks.generateTestHeaderString({ payload: b, timestamp: at, secret: secret ?? secrets.stripe }),
  }),
  github: async (b, at, secret, id) => ({ "x-hub-signature-256": await githubSign(secret ?? secrets.github, b),
    "x-github-delivery": id, "x-github-event": "push" }),
  slack: (b, at, secret) => ({ "x-slack-request-timestamp": String(at),
    "x-slack-signature": `v0=${hmac(secret ?? secrets.slack, `v0:${at}:${b}`)}` }),
  shopify: (b, at, secret, id) => ({ "x-shopify-hmac-sha256": hmac(secret ?? secrets.shopify, b, "base64"),
    "x-shopify-webhook-id": id, "x-shopify-topic": "orders/create" }),
  hmac: (b, at, secret, id) => ({ "x-time": String(at), "x-delivery": id,
    "x-sig": `s1=${hmac(secret ?? secrets.hmac, `${at}/${b}`, "base64", "sha512")}` }),
};
const timed = new Set(["standard", "stripe", "slack", "hmac"]);

const rsa = crypto.generateKeyPairSync("rsa", { modulusLength: 2048 });
const ec = crypto.generateKeyPairSync("ec", { namedCurve: "P-256" });
const jwks = { keys: [{ ...rsa.publicKey.export({ format: "jwk" }), kid: "r1", use: "sig", alg: "RS256" }] };
let fetches = 0;
const keys = http.createServer((req, res) => {
  fetches++;
  res.writeHead(req.url === "/jwks" ? 200 : 404, { "content-type": "application/json" }).end(JSON.stringify(jwks));
});
const b64 = (v) => Buffer.from(v).toString("base64url");
// A token as anybody's library makes it.
const token = (alg, key, claims, kid) => {
  const text = `${b64(JSON.stringify({ alg, typ: "JWT", ...(kid && { kid }) }))}.${b64(JSON.stringify({ exp: now() + 60, ...claims }))}`;
  const mac = alg === "HS256" ? crypto.createHmac("sha256", key).update(text).digest()
    : crypto.sign("sha256", Buffer.from(text), alg === "ES256" ? { key, dsaEncoding: "ieee-p1363" } : key);
  return `${text}.${mac.toString("base64url")}`;
};
const bearer = (t) => ({ authorization: `Bearer ${t}` });

before(async () => {
  await new Promise((resolve) => keys.listen(0, "127.0.0.1", resolve));
  const file = path.join(dir, "flow.json");
  fs.writeFileSync(file, JSON.stringify({
    name: "note",
    nodes: [{ id: "hook", type: "webhook" }, { id: "wait", type: "delay", for: "1h" }],
    edges: [{ from: "hook", to: "wait" }],
  }));
  run(["project", "create", slug]);
  run(["workflow", "publish", file]);
  const create = (name, more = [], input = undefined) =>
    JSON.parse(run(["endpoint", "create", name, "note", "-o", "json", ...more], input)).secret;
  secrets.standard = create("standard");
  secrets.github = create("github", ["--scheme", "github"]);
  for (const name of ["stripe", "slack", "shopify"])
    assert.equal(create(name, ["--scheme", name, "--secret-file", "-"], secrets[name] + "\n"), undefined);
  secrets.hmac = create("hmac", ["--scheme", "hmac", ...["header=X-Sig", "algorithm=sha512", "encoding=base64",
    "prefix=s1=", "timestamp_header=X-Time", "content={timestamp}/{body}", "id_header=X-Delivery"]
    .flatMap((o) => ["--scheme-option", o])]);
  create("open", ["--scheme", "none"]);
  secrets.jwt = create("jwt", ["--scheme", "jwt", ...["issuer=us", "audience=meshhook", "body_claim=payload_hash"]
    .flatMap((o) => ["--scheme-option", o])]);
  for (const [name, url] of [["keyed", `http://127.0.0.1:${keys.address().port}/jwks`],
    ["inner", "http://169.254.169.254/jwks"], ["absent", `http://127.0.0.1:${keys.address().port}/none`]])
    assert.equal(create(name, ["--scheme", "jwt", "--scheme-option", `jwks_url=${url}`]), undefined);
  create("mapped", ["--scheme", "none", "--header", "X-Kind", "--mapping",
    "{who: body.name, kind: headers.\"x-kind\", auth: headers.authorization, tag: query.tag, how: method, n: to_number(body.n)}"]);
  create("broken", ["--scheme", "none", "--mapping", "abs(body.name)"]);
  create("kept", ["--scheme", "none", "--header", "x-kind", "--keep-body", "3"]);
  gateway = spawn(binary, ["gateway"], { env: { ...env, MESHHOOK_GATEWAY_PORT: "0", MESHHOOK_HTTP_ALLOW: "127.0.0.1" }, stdio: ["ignore", "ignore", "pipe"] });
  gateway.text = "";
  await new Promise((resolve) => gateway.stderr.on("data", (d) => {
    gateway.text += d;
    port = /"port":(\d+)/.exec(gateway.text)?.[1];
    if (port && gateway.text.includes("gateway.ready")) resolve();
  }));
});

after(async () => {
  const over = new Promise((resolve) => gateway.on("close", resolve));
  gateway.kill("SIGTERM");
  await over;
  assert.doesNotMatch(gateway.text, /Sanitizer|runtime error/);
  await sql("select meshhook.purge_project($1)", slug);
  await pool.end();
  keys.close();
  fs.rmSync(dir, { recursive: true });
});

for (const [scheme, sign] of Object.entries(signers)) {
  test(`${scheme}: what its signer signs is taken, once`, async () => {
    const headers = await sign(body, now(), undefined, "d-1");
    const answer = await post(scheme, headers, body);
    assert.equal(answer.status, 202, JSON.stringify(answer.json));
    const payload = await started(answer.json.run_id);
    assert.deepEqual(payload.input, JSON.parse(body));
    const again = await post(scheme, await sign(body, now(), undefined, "d-1"), body);
    assert.deepEqual(again.json, { run_id: answer.json.run_id, duplicate: true });
  });

  test(`${scheme}: whatever is altered is refused`, async () => {
    const text = '{"id": "evt_2", "event_id": "Ev2"}';
    const right = await sign(text, now(), undefined, "d-2");
    const signature = Object.keys(right).find((name) => name.includes("sig") || name.includes("hmac"));
    const refused = async (headers, b, what) =>
      assert.equal((await post(scheme, headers, b)).status, 401, `${scheme}: ${what}`);
    await refused(right, text + " ", "a longer body");
    await refused(right, text.replace("2", "3"), "another body");
    await refused(right, "", "no body");
    await refused(await sign(text, now(), scheme === "standard" ? "whsec_" + Buffer.alloc(24, 1).toString("base64") : "another secret", "d-2"),
      text, "another secret");
    for (const name of Object.keys(right)) {
      const without = { ...right };
      delete without[name];
      if (!["x-github-delivery", "x-github-event", "x-shopify-webhook-id", "x-shopify-topic", "x-delivery"].includes(name))
        await refused(without, text, `without ${name}`);
    }
    const value = right[signature];
    for (let i = 0; i < value.length; i += 3)
      await refused({ ...right, [signature]: value.slice(0, i) + (value[i] === "x" ? "y" : "x") + value.slice(i + 1) },
        text, `character ${i} of ${signature}`);
    for (const bad of ["", "x", value + "x", value.slice(1), value.slice(0, -1)])
      await refused({ ...right, [signature]: bad }, text, `${signature}: ${bad}`);
    if (timed.has(scheme)) {
      await refused(await sign(text, now() - 301, undefined, "d-2"), text, "too old");
      await refused(await sign(text, now() + 302, undefined, "d-2"), text, "from the future");
    }
    assert.equal((await post(scheme, right, text)).status, 202);
  });
}

test("jwt: a token by the shared secret, bound to its body", async () => {
  const text = '{"id": 1}';
  const claims = { iss: "us", aud: "meshhook", jti: "t-1", payload_hash: crypto.createHash("sha256").update(text).digest("hex") };
  const right = await post("jwt", bearer(token("HS256", secrets.jwt, claims)), text);
  assert.equal(right.status, 202, JSON.stringify(right.json));
  assert.equal((await started(right.json.run_id)).meta.webhook_id, "t-1");
  for (const [what, t, b = text] of [
    ["another body", token("HS256", secrets.jwt, claims), '{"id": 2}'],
    ["another secret", token("HS256", "0".repeat(64), claims)],
    ["expired", token("HS256", secrets.jwt, { ...claims, exp: now() - 60 })],
    ["without exp", token("HS256", secrets.jwt, { ...claims, exp: undefined })],
    ["another issuer", token("HS256", secrets.jwt, { ...claims, iss: "them" })],
    ["another audience", token("HS256", secrets.jwt, { ...claims, aud: "x" })],
    ["without the body's digest", token("HS256", secrets.jwt, { ...claims, payload_hash: undefined })],
    ["alg none", `${b64('{"alg":"none"}')}.${b64(JSON.stringify({ ...claims, exp: now() + 60 }))}.`],
    ["RS256", token("RS256", rsa.privateKey, claims)],
    ["nothing", ""], ["junk", "a.b.c"],
  ])
    assert.equal((await post("jwt", bearer(t), b)).status, 401, what);
  assert.equal((await post("jwt", { authorization: "Basic eDp5" }, text)).status, 401);
  assert.equal((await post("jwt", {}, text)).status, 401);
  const r = mh(["endpoint", "test", "jwt", "--url", `http://127.0.0.1:${port}`]);
  assert.equal(r.status, 0, r.stdout);
});

test("jwt: keys of a JWKS, fetched when a new one is named, never from inside", async () => {
  const before = fetches;
  assert.equal((await post("keyed", bearer(token("RS256", rsa.privateKey, { jti: "r" }, "r1")), "{}")).status, 202);
  assert.equal((await post("keyed", bearer(token("ES256", ec.privateKey, { jti: "e" }, "e1")), "{}")).status, 401, "not there yet");
  assert.ok(fetches - before <= 2, `${fetches - before} fetches`);
  // the shared-secret trick: a public key is no secret
  const pem = rsa.publicKey.export({ format: "pem", type: "spki" });
  assert.equal((await post("keyed", bearer(token("HS256", pem, { jti: "x" }, "r1")), "{}")).status, 401);
  assert.equal((await post("keyed", bearer(token("RS256", crypto.generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey, {}, "r1")), "{}")).status, 401);
  jwks.keys.push({ ...ec.publicKey.export({ format: "jwk" }), kid: "e1", use: "sig", alg: "ES256" });
  for (let i = 0; i < 600; i++) {
    if ((await post("keyed", bearer(token("ES256", ec.privateKey, { jti: "e2" }, "e1")), "{}")).status === 202) break;
    await sleep(100);
  }
  assert.equal((await post("keyed", bearer(token("ES256", ec.privateKey, { jti: "e3" }, "e1")), "{}")).status, 202);
  for (const name of ["inner", "absent"])
    assert.equal((await post(name, bearer(token("RS256", rsa.privateKey, {}, "r1")), "{}")).status, 401, name);
  assert.match(gateway.text, /SSRF|not.*public|link-local/i);
  assert.equal(mh(["endpoint", "rotate", "keyed"]).status, 1);
});

test("two secrets are valid while one is rotated, then one", async () => {
  const old = secrets.github;
  secrets.github = JSON.parse(run(["endpoint", "rotate", "github", "--grace", "1h", "-o", "json"])).secret;
  assert.equal((await post("github", await signers.github("{}", 0, secrets.github, "r1"), "{}")).status >= 202, true);
  for (let i = 0; i < 600; i++) {
    if ((await post("github", await signers.github("{}", 0, secrets.github, "r1"), "{}")).status === 202) break;
    await sleep(100);
  }
  assert.equal((await post("github", await signers.github("{}", 0, secrets.github, "r2"), "{}")).status, 202);
  assert.equal((await post("github", await signers.github("{}", 0, old, "r3"), "{}")).status, 202);
  secrets.github = JSON.parse(run(["endpoint", "rotate", "github", "--grace", "0s", "-o", "json"])).secret;
  for (let i = 0; i < 600; i++) {
    if ((await post("github", await signers.github("{}", 0, secrets.github, "r4"), "{}")).status === 202) break;
    await sleep(100);
  }
  assert.notEqual((await post("github", await signers.github("{}", 0, old, "r5"), "{}")).status, 202);
});

test("a redelivery with another body is taken, and said in the run's log", async () => {
  const first = await post("github", await signers.github('{"v": 1}', 0, undefined, "twice"), '{"v": 1}');
  const second = await post("github", await signers.github('{"v": 2}', 0, undefined, "twice"), '{"v": 2}');
  assert.equal(second.status, 202);
  assert.deepEqual(second.json, { run_id: first.json.run_id, duplicate: true, differs: true });
  const lines = await sql("select message, level, attrs from meshhook.logs where channel_id = $1", first.json.run_id);
  assert.equal(lines.filter((l) => l.level === 13 && /another body/.test(l.message) && l.attrs.webhook_id === "twice").length, 1);
  assert.equal((await started(first.json.run_id)).input.v, 1);
  // of a run that is over, the endpoint's own channel tells
  await sql("select meshhook.cancel_run($1)", first.json.run_id);
  await post("github", await signers.github('{"v": 3}', 0, undefined, "twice"), '{"v": 3}');
  const [row] = await sql(`select l.attrs from meshhook.logs l join meshhook.channels c on c.id = l.channel_id
    join meshhook.projects p on p.id = c.project_id
    where p.slug = $1 and c.service = 'webhooks' and c.resource = 'github'`, slug);
  assert.equal(row.attrs.run, first.json.run_id);
});

test("Stripe's event, Slack's event and the body's digest tell deliveries apart", async () => {
  const a = await post("stripe", signers.stripe('{"id": "evt_9"}', now()), '{"id": "evt_9"}');
  const b = await post("stripe", signers.stripe('{"id": "evt_9", "x": 1}', now() - 5), '{"id": "evt_9", "x": 1}');
  assert.equal(b.json.run_id, a.json.run_id);
  assert.equal((await started(a.json.run_id)).meta.webhook_id, "evt_9");
  const c = await post("open", {}, '{"same": true}');
  const d = await post("open", {}, '{"same": true}');
  assert.equal(c.status, 202);
  assert.equal(d.json.run_id, c.json.run_id);
  assert.match((await started(c.json.run_id)).meta.webhook_id, /^sha256:[0-9a-f]{64}$/);
  const e = await post("open", { "idempotency-key": "k" }, '{"same": true}');
  assert.notEqual(e.json.run_id, c.json.run_id);
  // a day later the same body is another webhook
  await sql("update meshhook_engine.deliveries set received_at = now() - interval '25 hours' where run_id = $1", c.json.run_id);
  assert.notEqual((await post("open", {}, '{"same": true}')).json.run_id, c.json.run_id);
});

test("Slack's challenge is answered, its forms are read", async () => {
  const challenge = '{"type": "url_verification", "token": "x", "challenge": "3eZbrw1a"}';
  const count = async () => (await sql("select count(*)::int n from meshhook.runs r join meshhook.projects p on p.id = r.project_id where p.slug = $1", slug))[0].n;
  const n = await count();
  const answer = await post("slack", signers.slack(challenge, now()), challenge);
  assert.equal(answer.status, 200);
  assert.deepEqual(answer.json, { challenge: "3eZbrw1a" });
  assert.equal((await post("slack", signers.slack(challenge, now(), "another secret"), challenge)).status, 401);
  assert.equal(await count(), n);
  const form = "command=%2Fdeploy&text=a+b%21&t=1&t=2&empty";
  const type = { "content-type": "application/x-www-form-urlencoded" };
  const r = await post("slack", { ...signers.slack(form, now()), ...type }, form);
  assert.deepEqual((await started(r.json.run_id)).input, { command: "/deploy", text: "a b!", t: ["1", "2"], empty: "" });
  const click = `payload=${encodeURIComponent('{"type": "block_actions"}')}`;
  const p = await post("slack", { ...signers.slack(click, now()), ...type }, click);
  assert.deepEqual((await started(p.json.run_id)).input, { type: "block_actions" });
  const bad = "a=%ff";
  assert.equal((await post("slack", { ...signers.slack(bad, now()), ...type }, bad)).status, 400);
});

test("a mapping makes the input, of what it may see", async () => {
  const r = await post("mapped", { "x-kind": "lead", authorization: "Bearer hidden", "idempotency-key": "m1" },
    '{"name": "Ada", "n": "7", "more": 1}', "?tag=a%20b");
  assert.equal(r.status, 202, JSON.stringify(r.json));
  assert.deepEqual((await started(r.json.run_id)).input, { who: "Ada", kind: "lead", auth: null, tag: "a b", how: "POST", n: 7 });
  const bad = await post("broken", {}, '{"name": "Ada"}');
  assert.equal(bad.status, 422);
  assert.match(bad.json.detail, /^mapping: column 5: abs/);
});

test("a body is kept as bytes for as long as the endpoint says", async () => {
  const text = '{"a":  1.0,   "b": "\\u00e9"}';
  const r = await post("kept", { "x-kind": "k", cookie: "no", authorization: "no" }, text);
  const [row] = await sql("select body, head, expires_at - received_at as time from meshhook.webhook_bodies where run_id = $1", r.json.run_id);
  assert.equal(row.body.toString(), text);
  assert.deepEqual(row.head, { "x-kind": "k" });
  assert.equal(row.time.days, 3);
  assert.equal((await sql("select meshhook_engine.purge_bodies() n"))[0].n, "0");
  await sql("update meshhook.webhook_bodies set expires_at = now() - interval '1 second' where run_id = $1", r.json.run_id);
  assert.equal((await sql("select meshhook_engine.purge_bodies() n"))[0].n, "1");
});

test("an endpoint is changed while it serves: gateways know within 5 s", async () => {
  const set = (...args) => JSON.parse(run(["endpoint", "set", "turned", "-o", "json", ...args]));
  const answers = async (status, headers, id) => {
    for (const late = Date.now() + 15000; ; await sleep(100)) {
      const r = await post("turned", { ...headers, "idempotency-key": id, "x-github-delivery": id }, body);
      if (r.status === status || Date.now() > late) return assert.equal(r.status, status, JSON.stringify(r.json)), r.json;
    }
  };
  run(["endpoint", "create", "turned", "note", "--scheme", "none"]);
  await answers(202, {}, "t1");
  const { secret } = set("--scheme", "github", "--mapping", "body.type");
  await answers(401, {}, "t2");
  const { run_id } = await answers(202, await signers.github(body, 0, secret, "t3"), "t3");
  assert.equal((await started(run_id)).input, "charge.succeeded");
  set("--enabled", "no");
  await answers(409, await signers.github(body, 0, secret, "t4"), "t4");
});

test("endpoint test signs for every scheme", () => {
  for (const name of ["standard", "github", "stripe", "slack", "shopify", "hmac", "open"]) {
    const r = mh(["endpoint", "test", name, "--url", `http://127.0.0.1:${port}`, "-o", "json"]);
    assert.equal(r.status, 0, name + r.stdout + r.stderr);
    assert.match(JSON.parse(r.stdout).answer.run_id, /^[0-9a-f-]{36}$/);
  }
  const r = mh(["endpoint", "test", "standard", "--url", "http://127.0.0.1:1", "-o", "json"]);
  assert.equal(r.status, 1);
  assert.match(JSON.parse(r.stdout).error, /no connection/);
});

test("what a scheme can't be is said", () => {
  const fails = (args, text) => {
    const r = mh(["endpoint", "create", "bad", "note", ...args]);
    assert.equal(r.status, 2, r.stderr);
    assert.match(r.stderr, text);
  };
  fails(["--scheme", "stripe"], /--secret-file/);
  fails(["--scheme", "md5"], /standard/);
  fails(["--scheme", "hmac", "--scheme-option", "algorithm=md5"], /algorithm/);
  fails(["--scheme", "hmac", "--scheme-option", "x"], /KEY=VALUE/);
  fails(["--mapping", "a.["], /--mapping: column/);
  fails(["--header", "Authorization"], /Authorization/);
  assert.equal(mh(["endpoint", "rotate", "open"]).status, 1);
});
