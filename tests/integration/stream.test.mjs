// Live logs over SSE, on the real stack: what comes, what is resumed, who is refused, who is cut.
import assert from "node:assert/strict";
import fs from "node:fs";
import net from "node:net";
import { after, before, test } from "node:test";
import { random, seed } from "../crash/lib.mjs";
import { open, pool, post, sleep, sql, start, stopAll, Stream, token, until } from "./stream-lib.mjs";

const me = "11111111-1111-4111-8111-000000000001";
const other = "11111111-1111-4111-8111-000000000002";
const slug = `stream-${process.pid}`;
const foreign = `${slug}-b`;
const bearer = token(me);
const rnd = random(seed);
let g, g2, project;

const log = (resource, message, { service = "etl", level = "info", attrs = null, to = slug } = {}) =>
  sql("select meshhook.log($1, $2, $3, $4, $5, $6)", to, service, resource, level, message, attrs);
const ids = (s) => s.lines.map((l) => `${l.channel.split(":")[3] ?? ""}#${l.seq}`);
const messages = (s) => s.lines.map((l) => l.message);
const channel = (resource, service = "etl") => `logs:${service}:${slug}:${resource}`;
const stream = (query, o = {}) => open(o.g ?? g, query, { bearer, ...o });

before(async () => {
  await sql("select meshhook.create_project($1, $1, $2)", slug, me);
  await sql("select meshhook.create_project($1, $1, $2)", foreign, other);
  project = (await sql("select id from meshhook.projects where slug = $1", slug))[0].id;
  [g, g2] = await Promise.all([start({ MESHHOOK_GATEWAY_STREAMS_OF_USER: "200" }), start()]);
});

after(async () => {
  await sql("select meshhook.purge_project($1)", slug);
  await sql("select meshhook.purge_project($1)", foreign);
  await stopAll();
});

test("ready, then lines of named, three-part and future channels", async () => {
  await log("a", "before");
  const s = await stream({ channels: [channel("a"), `logs:etl:${project}`, channel("soon")].join() });
  assert.match(s.res.headers["content-type"], /^text\/event-stream/);
  assert.equal(s.res.headers["cache-control"], "no-store");
  assert.deepEqual(
    s.of("ready")[0].data.channels.map((c) => [c.channel, c.last_seq]),
    [[`logs:etl:${project}:a`, 1], [`logs:etl:${project}`, undefined], [`logs:etl:${project}:soon`, undefined]],
  );
  await log("a", "one");
  await s.count(1);
  await log("", "two");
  await s.count(2);
  await log("soon", "three", { attrs: { n: 1 } });
  await s.count(3);
  assert.deepEqual(messages(s), ["one", "two", "three"]);
  assert.deepEqual(ids(s), ["a#2", "#1", "soon#1"]);
  assert.equal(s.lines[0].level, 9);
  assert.deepEqual(s.lines[2].attrs, { n: 1 });
  assert.match(s.lines[0].ts, /^\d{4}-\d\d-\d\dT[\d:.]{12}Z$/);
  s.end();
});

test("many lines of one commit come in order, in few events", async () => {
  const s = await stream({ channels: channel("bulk") });
  await sql("select meshhook.log($1, 'etl', 'bulk', 'info', repeat('x', 50) || i) from generate_series(1, 5000) i", slug);
  await s.count(5000);
  assert.deepEqual(s.lines.map((l) => l.seq), [...Array(5000).keys()].map((i) => i + 1));
  assert.ok(s.of("log").length < 500, `${s.of("log").length} events`);
  s.end();
});

test("since and tail begin in the past, filters choose", async () => {
  for (let i = 1; i <= 5; i++)
    await log("f", `line ${i} ${"aBc"[i % 3]}`, { level: ["debug", "info", "error"][i % 3], attrs: { execution_id: i % 2, odd: "y" } });
  const query = async (more, n) => {
    const s = await stream({ channels: channel("f"), ...more });
    await s.count(n);
    await log("f", `the end ABC`, { level: "fatal", attrs: { execution_id: 1 } });
    await s.count(n + 1);
    s.end();
    return s.lines.slice(0, n).map((l) => l.message.slice(5, 6));
  };
  assert.deepEqual((await query({ tail: "2" }, 2)), ["4", "5"]);
  assert.deepEqual((await query({ since: "10m" }, 6)).slice(0, 5), ["1", "2", "3", "4", "5"]);
  assert.deepEqual((await query({ since: new Date(Date.now() - 60000).toISOString(), level: "error" }, 4)).slice(0, 2), ["2", "5"]);
  assert.deepEqual((await query({ tail: "100", q: "b" }, 5)).slice(0, 2), ["1", "4"]);
  assert.deepEqual((await query({ tail: "100", "attr.execution_id": "1", level: "17" }, 5)).slice(0, 1), ["5"]);
});

test("a reader that comes again gets exactly what it missed", async () => {
  let lastId;
  const seen = [];
  for (let round = 0; round < 6; round++) {
    const s = await stream({ channels: `${channel("r1")},${channel("r2")}` }, { lastId, lastIdInQuery: round % 2 === 1 });
    await log("r1", `${round} during`);
    await until("the line", () => s.lines.some((l) => l.message === `${round} during`));
    s.end();
    seen.push(...s.lines);
    lastId = s.lastId;
    await log("r1", `${round} after`);
    await log("r2", `${round} after`);
  }
  const s = await stream({ channels: `${channel("r1")},${channel("r2")}` }, { lastId });
  await until("all", () => seen.length + s.lines.length >= 18);
  seen.push(...s.lines);
  s.end();
  for (const [name, n] of [["r1", 12], ["r2", 6]])
    assert.deepEqual(seen.filter((l) => l.channel.endsWith(name)).map((l) => l.seq), [...Array(n).keys()].map((i) => i + 1));
});

test("a wildcard finds channels made later, also while nobody listened", async () => {
  await log("old", "not wanted", { service: "wild" });
  const query = { channels: channel("*", "wild") };
  const first = await stream(query);
  await log("old", "wanted", { service: "wild" });
  await log("x", "made now", { service: "wild" });
  await log("", "of three parts: not covered", { service: "wild" });
  await first.count(2);
  first.end();
  await log("y", "made meanwhile", { service: "wild" });
  await log("x", "meanwhile", { service: "wild" });
  const again = await stream(query, { lastId: first.lastId });
  await again.count(2);
  await log("z", "made again", { service: "wild" });
  await again.count(3);
  await sleep(50);
  again.end();
  assert.deepEqual([...ids(first), ...ids(again)].sort(), ["old#2", "x#1", "x#2", "y#1", "z#1"]);
});

test("wildcards over 60 channels: every line, doubled at most where the cursor is too small", async () => {
  const query = { channels: channel("*", "many") };
  const write = (n) => sql("select meshhook.log($1, 'many', 'c' || i, 'info', 'm') from generate_series(1, 60) i, generate_series(1, $2) j", slug, n);
  const first = await stream(query);
  await write(3);
  await first.count(180);
  first.end();
  await write(2);
  const again = await stream(query, { lastId: first.lastId });
  const all = () => new Set([...ids(first), ...ids(again)]);
  await until("all", () => all().size === 300);
  again.end();
  assert.deepEqual(first.gaps.concat(again.gaps), []);
  assert.equal(new Set(ids(first)).size, 180);
});

const run = async () => {
  const definition = { nodes: [{ id: "by_hand", type: "manual" }] };
  const plan = {
    events: [],
    steps: [{ step: "call", status: "scheduled", attempt: 1, waits: 0, live: 0 }],
    messages: [{ n: "call", a: 1, k: "step" }],
    ends: null,
  };
  const [{ w }] = await sql("select meshhook.push_workflow($1, 'flow', $2) as w", slug, definition);
  await sql("select meshhook_engine.publish_version($1, $2, $3)", w, definition, { by_hand: plan });
  const [{ id }] = await sql("select meshhook.start_run($1, 'flow', '{}') as id", slug);
  return id;
};

test("a run ends: its last line, `end`, then 204", async () => {
  const id = await run();
  const s = await stream({ channels: `logs:run:${slug}:${id},${channel("beside")}` });
  const only = await stream({ channels: `logs:run:${project}:${id.toUpperCase()}`, tail: "100" });
  const before = only.lines.length;
  await sql("select meshhook.cancel_run($1)", id);
  await until("end", () => s.of("end").length && only.closed);
  assert.equal(only.of("end")[0].data.seq, only.lines.at(-1).seq);
  assert.equal(only.of("end")[0].data.channel, `logs:run:${project}:${id}`);
  assert.ok(only.lines.length > before);
  assert.equal(s.closed, false, "another channel goes on");
  await log("beside", "goes on");
  await until("the line", () => s.lines.some((l) => l.message === "goes on"));
  s.end();
  const again = new Stream(g, { channels: `logs:run:${slug}:${id}` }, { bearer, lastId: only.lastId });
  await again.opened;
  assert.equal(again.status, 204);
  const late = await stream({ channels: `logs:run:${slug}:${id}`, since: "1h" });
  await until("closed", () => late.closed);
  assert.deepEqual(late.lines.map((l) => l.seq), only.lines.map((l) => l.seq));
});

test("a wildcard over runs", async () => {
  const s = await stream({ channels: `logs:run:${slug}:*` });
  const id = await run();
  await sql("select meshhook.cancel_run($1)", id);
  await until("end", () => s.of("end").some((e) => e.data.channel.endsWith(id)));
  const [{ n }] = await sql("select log_seq as n from meshhook.runs where id = $1", id);
  assert.deepEqual(s.lines.filter((l) => l.channel.endsWith(id)).map((l) => l.seq), [...Array(n).keys()].map((i) => i + 1));
  s.end();
});

test("lines that retention took are a gap", async () => {
  await log("gone", "1");
  const s = await stream({ channels: channel("gone") });
  await log("gone", "2");
  await s.count(1);
  s.end();
  for (const n of [3, 4, 5, 6]) await log("gone", `${n}`);
  await sql("delete from meshhook.logs l using meshhook.channels c where c.id = l.channel_id and c.project_id = $1 and c.resource = 'gone' and l.seq in (3, 4)", project);
  const again = await stream({ channels: channel("gone") }, { lastId: s.lastId });
  await again.count(2);
  assert.deepEqual(messages(again), ["5", "6"]);
  assert.deepEqual(again.gaps.map(({ from, to, reason }) => ({ from, to, reason })), [{ from: 3, to: 4, reason: "expired" }]);
  again.end();
});

test("another epoch, or an end before the cursor, is a gap: reset; then all of the new one", async () => {
  for (const n of [1, 2, 3]) await log("reset", `${n}`);
  const live = await stream({ channels: channel("reset"), tail: "3" });
  await live.count(3);
  const renew = (set) => sql(`update meshhook.channels set ${set} where project_id = $1 and resource = 'reset'`, project);
  await sql("delete from meshhook.logs l using meshhook.channels c where c.id = l.channel_id and c.project_id = $1 and c.resource = 'reset' and l.seq = 3", project);
  await renew("last_seq = 2");
  await until("gap", () => live.gaps.length === 1);
  await live.count(5);
  await log("reset", "3, another");
  await live.count(6);
  assert.deepEqual(messages(live), ["1", "2", "3", "1", "2", "3, another"]);
  await renew("epoch = (epoch + 1) % 1000000");
  await until("gap", () => live.gaps.length === 2);
  await live.count(9);
  live.end();
  assert.deepEqual(live.gaps.map(({ from, to, reason }) => ({ from, to, reason })), [
    { from: 4, to: null, reason: "reset" },
    { from: 4, to: null, reason: "reset" },
  ]);
  assert.notEqual(live.gaps[0].epoch, live.gaps[1].epoch);
  const old = live.events.find((e) => e.event === "log").id;
  const again = await stream({ channels: channel("reset") }, { lastId: old });
  await again.count(3);
  assert.equal(again.gaps[0].reason, "reset");
  assert.equal(again.lines[0].epoch, live.gaps[1].epoch);
  again.end();
});

test("what is refused, and how", async () => {
  const get = async (query, o = { bearer }) => {
    const s = new Stream(g, query, o);
    await s.opened;
    await until("closed", () => s.closed);
    assert.equal(s.problem.status, s.status);
    return [s.status, s.problem.type?.split(":").at(-1)];
  };
  const mine = { channels: channel("a") };
  assert.equal((await get(mine, {}))[0], 401);
  assert.equal((await get(mine, { bearer: token(me, -10) }))[0], 401);
  assert.equal((await get({ ...mine, ticket: "mht_nonsense" }, {}))[0], 401);
  assert.deepEqual(await get(mine, { bearer: token(undefined, 60, { role: "anon" }) }), [403, "identity"]);
  assert.deepEqual(await get({}), [400, "parameter"]);
  assert.deepEqual(await get({ channels: "," }), [400, "parameter"]);
  assert.deepEqual(await get({ channels: [...Array(51).keys()].map((i) => channel(`a${i}`)).join() }), [400, "parameter"]);
  for (const bad of ["nonsense", `logs:etl:${slug}:a b`, `logs:etl:${slug}:a*`, `logs::${slug}:a`, `logs:*:${slug}:a`, "logs:etl:*:a", `logs:etl:${slug}:a:b`, `logs:etl:${slug}:../a`, `logs:e\u0000tl:${slug}:a`, `logs:e\u0001tl:${slug}:a`, `logs:etl:${slug}:\ufffd`])
    assert.deepEqual(await get({ channels: bad }), [400, "channel"], bad);
  assert.deepEqual(await get({ channels: `logs:run:${slug}:${me}` }), [404, "channel"]);
  assert.deepEqual(await get({ channels: `logs:run:${slug}:no-id` }), [404, "channel"]);
  for (const [name, value] of [["level", "loud"], ["tail", "-1"], ["tail", "10001"], ["since", "yesterday"], ["q", "x".repeat(513)], ["attr.x", "y".repeat(513)]])
    assert.deepEqual(await get({ ...mine, [name]: value }), [400, "parameter"], name);
  assert.deepEqual(await get(mine, { bearer, lastId: "forged" }), [400, "cursor"]);
});

test("a channel that is named often is looked up once", async () => {
  const s = await stream({ channels: Array(60).fill(channel("a")).join(), since: "1h" });
  assert.deepEqual(s.of("ready")[0].data.channels.map((c) => c.channel), [`logs:etl:${project}:a`]);
  s.end();
});

test("who asks for what takes too long is refused: others wait behind it", async () => {
  const alone = await start(); // another's readers wait for the lock, too, ahead of this one
  const c = await pool.connect();
  try {
    for (const channels of [channel("a"), channel("*")]) {
      await c.query("begin; lock table meshhook.logs in access exclusive mode");
      const s = new Stream(alone, { channels, since: "1h" }, { bearer });
      await until("refused", () => s.closed);
      await c.query("rollback");
      assert.deepEqual([s.status, s.problem.type], [503, "urn:meshhook:problem:slow"]);
    }
  } finally {
    await c.query("rollback");
    c.release();
  }
});

test("one tenant never sees another's lines", async () => {
  await log("secret", "of the other", { to: foreign });
  const theirs = token(other);
  const [{ id }] = await sql("select id from meshhook.projects where slug = $1", foreign);
  for (const name of [`logs:etl:${foreign}:secret`, `logs:etl:${id}:secret`, `logs:etl:${foreign}:*`, `logs:run:${id}:*`, `logs:etl:${foreign}`]) {
    for (const query of [{ channels: name }, { channels: `${channel("a")},${name}` }]) {
      const s = new Stream(g, query, { bearer });
      await s.opened;
      assert.equal(s.status, 404, name);
    }
  }
  // each follows its own by the same pattern of names, with a cursor of the other
  const mine = await stream({ channels: channel("*") });
  const cross = await open(g, { channels: `logs:etl:${foreign}:*`, since: "1h" }, { bearer: theirs });
  await log("secret", "mine");
  await log("secret", "theirs", { to: foreign });
  await mine.count(1);
  await cross.count(2);
  const again = await open(g, { channels: `logs:etl:${foreign}:*` }, { bearer: theirs, lastId: mine.lastId });
  await log("secret", "theirs again", { to: foreign });
  await again.count(1);
  await sleep(100);
  assert.deepEqual(messages(mine), ["mine"]);
  assert.deepEqual(messages(cross), ["of the other", "theirs", "theirs again"]);
  assert.deepEqual(messages(again), ["theirs again"]);
  for (const path of ["token", "channels"])
    assert.equal((await post(g, `/api/logs/stream/${mine.id}/${path}`, theirs, path === "token" ? "" : { add: [`logs:etl:${foreign}:secret`] })).status, 404);
  const sneaky = await post(g, `/api/logs/stream/${mine.id}/channels`, bearer, { add: [`logs:etl:${foreign}:secret`] });
  assert.equal(sneaky.status, 404);
  for (const s of [mine, cross, again]) s.end();
});

test("channels are added and removed, here and over another gateway", async () => {
  const s = await stream({ channels: channel("base") });
  const url = `/api/logs/stream/${s.id}/channels`;
  const here = await post(g, url, bearer, { add: [channel("added"), channel("*", "late")] });
  assert.equal(here.status, 200);
  assert.equal(here.body.channels.length, 2);
  await log("added", "1");
  await log("q", "2", { service: "late" });
  await s.count(2);
  const there = await post(g2, url, bearer, { add: [channel("remote")], remove: [channel("added"), channel("*", "late")] });
  assert.equal(there.status, 202);
  await until("ready, again", () => s.of("ready").length === 3);
  await log("added", "no more");
  await log("q", "no more", { service: "late" });
  await log("remote", "3");
  await s.count(3);
  assert.deepEqual(messages(s), ["1", "2", "3"]);
  assert.equal((await post(g, url, bearer, { add: "x" })).status, 400);
  assert.equal((await post(g, url, bearer, "not json")).status, 400);
  assert.equal((await post(g, url, bearer, { add: [...Array(50).keys()].map((i) => channel(`n${i}`)) })).status, 422);
  assert.equal((await post(g, url, token(me, -5), {})).status, 401);
  s.end();
});

test("a stream ends with its token, unless that is renewed, by any gateway", async () => {
  const short = token(me, 8);
  const [ends, here, there] = await Promise.all([1, 2, 3].map(() => open(g, { channels: channel("exp") }, { bearer: short })));
  await until("auth", () => ends.of("auth").length && here.of("auth").length && there.of("auth").length);
  assert.ok(ends.of("auth")[0].data.expires_in <= 9);
  assert.equal((await post(g, `/api/logs/stream/${here.id}/token`, bearer)).status, 200);
  assert.equal((await post(g2, `/api/logs/stream/${there.id}/token`, bearer)).status, 202);
  await until("the end", () => ends.closed);
  assert.equal(ends.of("auth").at(-1).data.expires_in, 0);
  await log("exp", "still here");
  await here.count(1);
  await there.count(1);
  assert.equal((await post(g, `/api/logs/stream/${ends.id}/token`, bearer)).status, 202);
  here.end();
  there.end();
});

test("a ticket opens and reopens one stream at a time, across gateways", async () => {
  const { body } = await post(g, "/api/logs/stream/ticket", bearer);
  const query = { channels: channel("tick"), ticket: body.ticket };
  const first = await open(g, query, {});
  const second = await open(g, query, {});
  await until("the first is closed", () => first.closed);
  assert.ok(first.retry >= 10000);
  const third = await open(g2, query, {});
  await until("the second is closed", () => second.closed);
  await log("tick", "t");
  await third.count(1);
  third.end();
  const short = (await post(g, "/api/logs/stream/ticket", token(me, 3))).body.ticket;
  await sleep(4100);
  const late = new Stream(g, { ...query, ticket: short });
  await late.opened;
  assert.equal(late.status, 401);
});

test("limits: clear 429s", async () => {
  const small = await start({ MESHHOOK_GATEWAY_STREAMS_OF_USER: "2", MESHHOOK_GATEWAY_STREAMS_OF_PROJECT: "3", MESHHOOK_GATEWAY_STREAMS: "4" });
  const third = "11111111-1111-4111-8111-000000000003";
  await sql("select meshhook.add_member($1, $2)", slug, third);
  const get = async (who, to = slug) => {
    const s = new Stream(small, { channels: `logs:etl:${to}:lim` }, { bearer: token(who) });
    await s.opened;
    if (s.status !== 200) await until("closed", () => s.closed);
    return s;
  };
  const kept = [await get(me), await get(me)];
  const refused = async (who, to, words) => {
    const s = await get(who, to);
    assert.equal(s.status, 429);
    assert.equal(s.res.headers["retry-after"], "5");
    assert.match(s.problem.detail, words);
  };
  await refused(me, slug, /user/);
  kept.push(await get(third));
  await refused(third, slug, /project/);
  kept.push(await get(other, foreign));
  await refused(other, foreign, /gateway/);
  kept.shift().end();
  await until("there is room", async () => {
    const s = await get(me);
    if (s.status === 200) kept.push(s);
    return s.status === 200;
  });
  assert.ok(kept.every((s) => s.status === 200));
  kept.forEach((s) => s.end());
  await small.stop();
});

test("a removed member is cut within 10 s, others are not", async () => {
  const guest = "11111111-1111-4111-8111-000000000004";
  await sql("select meshhook.add_member($1, $2)", slug, guest);
  const [theirs, mine] = [await open(g, { channels: channel("m") }, { bearer: token(guest) }), await stream({ channels: channel("m") })];
  await sql("select meshhook.remove_member($1, $2)", slug, guest);
  await until("cut", () => theirs.closed, 15000);
  await log("m", "for members");
  await mine.count(1);
  assert.deepEqual(messages(theirs), []);
  mine.end();
});

test("a reader that stops is cut with a gap and costs others nothing", async () => {
  const slow = await stream({ channels: channel("slow") });
  const fast = await stream({ channels: channel("slow") });
  slow.res.pause();
  slow.res.socket.pause();
  let n = 0;
  const drops = async () => Number(/^meshhook_stream_drops_total (\d+)/m.exec(await (await fetch(`${g.url}/metrics`)).text())[1]);
  const before = await drops();
  for (; n < 16000; n += 4000)
    await sql("select meshhook.log($1, 'etl', 'slow', 'info', repeat('y', 500)) from generate_series(1, 4000)", slug);
  await fast.count(n);
  assert.deepEqual(fast.gaps, []);
  await until("the slow one is cut", async () => (await drops()) > before);
  slow.res.socket.resume();
  slow.res.resume();
  await until("cut", () => slow.closed);
  assert.equal(slow.gaps.at(-1).reason, "slow");
  assert.equal(slow.gaps.at(-1).from, slow.lines.length + 1);
  const again = await stream({ channels: channel("slow") }, { lastId: slow.lastId });
  await again.count(n - slow.lines.length);
  assert.deepEqual([...slow.lines, ...again.lines].map((l) => l.seq), [...Array(n).keys()].map((i) => i + 1));
  fast.end();
  again.end();
});

test("connections to the database are lost: every line comes all the same", async () => {
  const s = await stream({ channels: `${channel("lost")},${channel("*", "lost2")}` });
  for (let i = 0; i < 4; i++) {
    await log("lost", `${i}`);
    await sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'meshhook_gateway'");
    await log("x", `${i}`, { service: "lost2" });
  }
  await s.count(8);
  await sleep(300);
  assert.deepEqual(ids(s).sort(), [1, 2, 3, 4].flatMap((i) => [`lost#${i}`, `x#${i}`]).sort());
  s.end();
});

test("SIGTERM sends each reader away, at its own time", async () => {
  const ending = await start();
  const all = await Promise.all([...Array(8)].map(() => open(ending, { channels: channel("term") }, { bearer })));
  assert.equal(await ending.stop(), 0);
  await until("closed", () => all.every((s) => s.closed));
  assert.ok(all.every((s) => s.retry >= 500 && s.retry <= 5000));
  assert.ok(new Set(all.map((s) => s.retry)).size > 1);
});

test("200 readers that stop cost memory to nobody, and a reader beside them no line", async () => {
  // a debug build keeps for a while what it has freed
  const crowd = await start({ MESHHOOK_GATEWAY_STREAMS_OF_USER: "1000" }, process.env.MESHHOOK_RELEASE_BIN);
  const rss = () => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${crowd.child.pid}/status`, "utf8"))[1]) / 1024;
  const stopped = await Promise.all([...Array(200)].map(() => open(crowd, { channels: channel("crowd") }, { bearer })));
  for (const s of stopped) {
    s.res.pause();
    s.res.socket.pause();
  }
  const beside = await open(crowd, { channels: channel("crowd") }, { bearer });
  const before = rss();
  for (let n = 0; n < 20000; n += 2000)
    await sql("select meshhook.log($1, 'etl', 'crowd', 'info', repeat('z', 500)) from generate_series(1, 2000)", slug);
  await until(`every line (${beside.lines.length})`, () => beside.lines.length === 20000, 120000);
  assert.deepEqual(beside.gaps, []);
  // 11 MB each, if they were kept for each
  assert.ok(rss() - before < 40, `${before} -> ${rss()} MiB`);
  stopped.forEach((s) => s.end());
  beside.end();
  assert.equal(await crowd.stop(), 0);
});

test("clients that leave in every way, and talk where they should listen", async () => {
  const head = `GET /api/logs/stream?channels=${channel("rude")} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${bearer}\r\n\r\n`;
  const beside = await stream({ channels: channel("rude") });
  const rude = [...Array(60).keys()].map((i) => {
    const socket = net.connect(g.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write(i % 3 === 0 ? head.slice(0, 40) : head + "x".repeat((i % 7) * 1000));
    setTimeout(() => (i % 2 ? socket.resetAndDestroy() : socket.end("more")), i * 5);
    return socket;
  });
  for (let i = 0; i < 20; i++) {
    await log("rude", `${i}`);
    await sleep(15);
  }
  await beside.count(20);
  assert.deepEqual(beside.lines.map((l) => l.seq), [...Array(20).keys()].map((i) => i + 1));
  rude.forEach((s) => s.destroy());
  beside.end();
});

test("90 minutes across renewals of its token", { skip: Number(process.env.MESHHOOK_TEST_COUNT ?? 100) < 1000, timeout: 7000000 }, async () => {
  const s = await open(g, { channels: channel("long") }, { bearer: token(me, 90) });
  let n = 0;
  for (const end = Date.now() + 90 * 60000; Date.now() < end; n++) {
    await log("long", `${n}`);
    if (s.of("auth").length > (s.renewed ?? 0)) {
      s.renewed = s.of("auth").length;
      const status = (await post(n % 2 ? g : g2, `/api/logs/stream/${s.id}/token`, token(me, 90))).status;
      assert.ok(status === 200 || status === 202);
    }
    await sleep(1000);
  }
  await s.count(n);
  assert.equal(s.closed, false);
  assert.deepEqual(s.lines.map((l) => l.seq), [...Array(n).keys()].map((i) => i + 1));
  s.end();
});

// A way to the gateway that is cut after a number of bytes, within a frame as likely as not.
const cutter = async (at) => {
  const server = net.createServer((near) => {
    const far = net.connect(at().port, "127.0.0.1");
    let left = 300 + rnd() * 8000;
    for (const x of [near, far]) {
      x.on("error", () => {});
      x.on("close", () => {
        near.destroy();
        far.destroy();
      });
    }
    near.on("data", (d) => far.write(d));
    far.on("data", (d) => {
      near.write(d.subarray(0, left));
      left -= d.length;
      if (left <= 0) near.end();
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, end: () => server.close() };
};

// A reader that is cut off every few hundred ms and comes again with its last id.
class Reader {
  constructor(at, query) {
    Object.assign(this, { at, query, lines: new Map(), doubled: [], gaps: [], cuts: 0, steady: false, done: false });
  }
  #take(s) {
    this.gaps.push(...s.gaps);
    for (const l of s.lines) {
      const key = `${l.channel}#${l.seq}`;
      if (this.lines.has(key)) this.doubled.push(key);
      this.lines.set(key, l.message);
    }
    this.lastId = s.lastId;
  }
  seen() {
    return this.lines.size + (this.live?.lines.length ?? 0);
  }
  async run() {
    while (!this.done) {
      const s = (this.live = new Stream(this.steady ? this.at() : this.way(), this.query, { bearer, lastId: this.lastId }));
      const life = Date.now() + 50 + rnd() * 400;
      try {
        await s.opened;
        while (!s.closed && !this.done && (this.steady || Date.now() < life)) await sleep(5);
      } catch {
        await sleep(20); // the gateway is gone
      }
      s.end();
      this.live = null;
      this.#take(s);
      this.cuts++;
    }
  }
}

test(`proof: forced reconnects, 16 writers who commit late and out of order, gateways killed (seed ${seed})`, { timeout: 3600000 }, async () => {
  const rounds = Number(process.env.MESHHOOK_TEST_COUNT ?? 100);
  const names = ["p1", "p2", "p3"];
  const written = Object.fromEntries(names.map((n) => [n, 0]));
  const roomy = { MESHHOOK_GATEWAY_STREAMS_OF_USER: "200" };
  let victim = await start(roomy);
  let writing = true;
  const readers = [
    { channels: names.map((n) => channel(n, "proof")).join() },
    { channels: channel("*", "proof") },
    { channels: channel("p1", "proof") },
  ].map((q) => new Reader(() => victim, q));
  for (const r of readers) {
    const s = await open(victim, r.query, { bearer });
    r.lastId = s.lastId;
    s.end();
  }
  const proxy = await cutter(() => victim);
  for (const r of readers) r.way = () => (r.cuts % 2 ? proxy : victim);
  const following = readers.map((r) => r.run());
  const writer = async (w) => {
    for (let i = w; i < rounds || readers.some((r) => r.cuts <= 5); i += 16) {
      const client = await pool.connect();
      const mine = names.filter((_, k) => (w + i + k) % 3 !== 0);
      const undo = rnd() < 0.1;
      await client.query("begin");
      for (const n of mine) await client.query("select meshhook.log($1, 'proof', $2, 'info', $3)", [slug, n, `${w}/${i}`]);
      await sleep(rnd() * 600);
      await client.query(undo ? "rollback" : "commit");
      if (!undo) mine.forEach((n) => written[n]++);
      client.release();
    }
  };
  const killer = (async () => {
    while (writing) {
      const last = victim;
      victim = await start(roomy);
      last.child.kill("SIGKILL");
      await sleep(500);
      await sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'meshhook_gateway' and random() < 0.3");
    }
  })();
  await Promise.all([...Array(16).keys()].map(writer));
  writing = false;
  await killer;
  readers.forEach((r) => (r.steady = true));
  for (const r of readers) {
    const mine = r === readers[2] ? ["p1"] : names;
    r.want = mine.reduce((sum, n) => sum + written[n], 0);
    await until("every line", () => r.seen() >= r.want);
  }
  await sleep(300);
  readers.forEach((r) => (r.done = true));
  await Promise.all(following);
  proxy.end();
  for (const r of readers) {
    assert.deepEqual(r.gaps, []);
    assert.deepEqual(r.doubled, []);
    assert.equal(r.lines.size, r.want);
    assert.ok(r.cuts > 5, `${r.cuts} reconnects`);
  }
});
