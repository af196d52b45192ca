// What tests of live logs over SSE need: gateways on free ports, tokens, and a reader of event
// streams that remembers, as an EventSource does, the last id.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import crypto from "node:crypto";
import http from "node:http";
import pg from "pg";

export const binary = process.env.MESHHOOK_BIN;
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export const pool = new pg.Pool({ connectionString: process.env.SUPABASE_DB_URL, max: 20 });
export const sql = async (text, ...values) => (await pool.query(text, values)).rows;

// Polls for a fact: up to `ms`, then says what was missing.
export const until = async (what, fact, ms = 60000) => {
  for (const end = Date.now() + ms; ; await sleep(10)) {
    const value = await fact();
    if (value) return value;
    if (Date.now() > end) assert.fail(`not within ${ms} ms: ${what}`);
  }
};

export const token = (sub, seconds = 3600, more = {}) => {
  const b64 = (v) => Buffer.from(JSON.stringify(v)).toString("base64url");
  const claims = { sub, role: "authenticated", aud: "authenticated", exp: Date.now() / 1000 + seconds, ...more };
  const text = `${b64({ alg: "HS256", typ: "JWT" })}.${b64({ ...claims, exp: Math.ceil(claims.exp) })}`;
  return `${text}.${crypto.createHmac("sha256", process.env.SUPABASE_JWT_SECRET).update(text).digest("base64url")}`;
};

const gateways = new Set();

// On any port that is free, which its log says; ready when it reaches the database.
export const start = async (more = {}, program = binary) => {
  const child = spawn(program, ["gateway"], {
    env: { ...process.env, MESHHOOK_LOG_FORMAT: "json", MESHHOOK_GATEWAY_PORT: "0", ...more },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const g = { child, text: "" };
  gateways.add(g);
  child.stderr.on("data", (d) => (g.text += d));
  g.over = new Promise((resolve) =>
    child.on("close", (code) => {
      gateways.delete(g);
      if (/Sanitizer|runtime error/.test(g.text)) console.error(g.text);
      resolve(code);
    }),
  );
  const event = (name) =>
    g.text.split("\n").filter((l) => l.includes(`"${name}"`)).map((l) => JSON.parse(l))[0];
  await until("the gateway is ready", () => {
    if (child.exitCode !== null) assert.fail(g.text);
    g.port = event("gateway.listening")?.port;
    return event("gateway.ready");
  });
  g.url = `http://127.0.0.1:${g.port}`;
  g.stop = async (signal = "SIGTERM") => {
    child.kill(signal);
    const code = await g.over;
    assert.ok(!/Sanitizer|runtime error/.test(g.text), g.text);
    return code;
  };
  return g;
};

export const stopAll = async () => {
  for (const g of [...gateways]) await g.stop();
  await pool.end();
};

export const post = async (g, path, bearer, body = "") => {
  const r = await fetch(g.url + path, {
    method: "POST",
    headers: { Authorization: `Bearer ${bearer}` },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  const text = await r.text();
  return { status: r.status, headers: r.headers, body: text ? JSON.parse(text) : null };
};

// One stream. events: {event, id, data}; lines: [{channel, epoch, seq, ...}] of all log events.
export class Stream {
  constructor(g, query, { bearer, lastId, lastIdInQuery } = {}) {
    Object.assign(this, { events: [], lines: [], gaps: [], retry: null, comments: 0, lastId, closed: false });
    const headers = { Accept: "text/event-stream" };
    if (bearer) headers.Authorization = `Bearer ${bearer}`;
    if (lastId && !lastIdInQuery) headers["Last-Event-ID"] = lastId;
    const params = new URLSearchParams(query);
    if (lastIdInQuery) params.set("lastEventId", lastId);
    this.opened = new Promise((resolve, reject) => {
      this.req = http.get(`${g.url}/api/logs/stream?${params}`, { headers, agent: false }, (res) => {
        this.res = res;
        this.status = res.statusCode;
        let text = "";
        res.setEncoding("utf8");
        res.on("data", (d) => {
          if (this.status !== 200) return (this.body = (this.body ?? "") + d);
          text += d;
          for (let at; (at = text.indexOf("\n\n")) >= 0; text = text.slice(at + 2)) this.#block(text.slice(0, at));
        });
        res.on("error", () => {});
        res.on("close", () => {
          this.closed = true;
          try {
            if (this.body) this.problem = JSON.parse(this.body);
          } catch {
            // cut off in the middle
          }
          resolve(this);
        });
        if (this.status === 200) resolve(this);
      });
      this.req.on("error", (e) => {
        this.closed = true;
        reject(e);
      });
    });
    this.opened.catch(() => {});
  }
  #block(text) {
    const e = {};
    for (const line of text.split("\n")) {
      const at = line.indexOf(": ");
      if (line.startsWith(":")) this.comments++;
      else if (at > 0) e[line.slice(0, at)] = line.slice(at + 2);
    }
    if (e.retry) this.retry = Number(e.retry);
    if (e.id) this.lastId = e.id;
    if (!e.data) return;
    e.data = JSON.parse(e.data);
    this.events.push(e);
    const { channel, epoch } = e.data;
    if (e.event === "log") this.lines.push(...e.data.lines.map((l) => ({ channel, epoch, ...l })));
    if (e.event === "gap") this.gaps.push(e.data);
  }
  of(event) {
    return this.events.filter((e) => e.event === event);
  }
  async ready() {
    await this.opened;
    assert.equal(this.status, 200, this.body);
    await until("ready", () => this.of("ready").length);
    this.id = this.of("ready")[0].data.stream;
    return this;
  }
  count(n) {
    return until(`${n} lines (${this.lines.length} came)`, () => this.lines.length >= n);
  }
  end() {
    this.req.destroy();
  }
}

export const open = (g, query, o) => new Stream(g, query, o).ready();
