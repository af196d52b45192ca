// What only several connections at once can show: log lines are contiguous by channel and no two
// transactions deadlock over them, one dedupe key is one run, partitions are made once.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import pg from "pg";

const clients = 8;
const rounds = Number(process.env.MESHHOOK_TEST_COUNT ?? 100);
const slug = `schema-${process.pid}`;
const pool = new pg.Pool({ connectionString: process.env.SUPABASE_DB_URL, max: clients });

// Seeded, so that a failure can be had again.
const seed = Number(process.env.MESHHOOK_TEST_SEED ?? Date.now() % 1e9);
let state = seed;
const random = (n) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * n);
};

const together = (work) =>
  Promise.all(
    Array.from({ length: clients }, async (_, i) => {
      const client = await pool.connect();
      try {
        return await work(client, i);
      } finally {
        client.release();
      }
    }),
  );

before(async () => {
  const definition = { nodes: [{ id: "hand", type: "manual" }] };
  const plan = { hand: { events: [], steps: [], messages: [{ n: "a", a: 1, k: "step" }], ends: null } };
  await pool.query("select meshhook.create_project($1, $1)", [slug]);
  await pool.query(
    "select meshhook_engine.publish_version(meshhook.push_workflow($1, 'flow', $2), $2, $3)",
    [slug, definition, plan],
  );
});

after(async () => {
  await pool.query("select meshhook.purge_project($1)", [slug]);
  await pool.end();
});

test(`lines of ${clients} connections are numbered without a gap (seed ${seed})`, async () => {
  const kept = new Map();
  await together(async (client) => {
    for (let round = 0; round < rounds; round++) {
      const said = [];
      await client.query("begin");
      for (let line = 0; line < 1 + random(6); line++) {
        // Few channels, in any order, now and then a new one: what deadlocks like.
        const channel = random(10) ? `c${random(4)}` : `new${random(rounds)}`;
        await client.query("select meshhook.log($1, 'app', $2, 'info', 'm')", [slug, channel]);
        said.push(channel);
      }
      const rollback = random(4) === 0;
      await client.query(rollback ? "rollback" : "commit");
      if (!rollback) said.forEach((c) => kept.set(c, (kept.get(c) ?? 0) + 1));
    }
  });
  const { rows } = await pool.query(
    `select c.resource, c.last_seq::int, count(*)::int as lines, count(distinct l.seq)::int as seqs,
       min(l.seq)::int as first, max(l.seq)::int as last
     from meshhook.channels c join meshhook.logs l on l.channel_id = c.id
     where c.project_id = meshhook_engine.project_id($1) group by c.id`,
    [slug],
  );
  assert.equal(rows.length, kept.size);
  for (const { resource, ...row } of rows) {
    const n = kept.get(resource);
    assert.deepEqual(row, { last_seq: n, lines: n, seqs: n, first: 1, last: n }, resource);
  }
  const staged = await pool.query("select count(*)::int as n from meshhook_engine.staged_logs");
  assert.equal(staged.rows[0].n, 0);
});

test("a reader who follows by seq never sees a gap", async () => {
  let writing = true;
  const reader = (async () => {
    let last = 0;
    do {
      const { rows } = await pool.query(
        `select l.seq::int from meshhook.logs l join meshhook.channels c on c.id = l.channel_id
         where c.project_id = meshhook_engine.project_id($1) and c.resource = 'followed' and l.seq > $2
         order by l.seq`,
        [slug, last],
      );
      for (const { seq } of rows) assert.equal(seq, ++last);
    } while (writing || last < (clients - 1) * rounds);
    return last;
  })();
  await Promise.all(
    Array.from({ length: clients - 1 }, async () => {
      for (let i = 0; i < rounds; i++) {
        await pool.query("select meshhook.log($1, 'app', 'followed', 'info', 'm')", [slug]);
      }
    }),
  );
  writing = false;
  assert.equal(await reader, (clients - 1) * rounds);
});

test("one dedupe key is one run, however many ask at once", async () => {
  for (let key = 0; key < 10; key++) {
    const runs = await together(async (client) => {
      const { rows } = await client.query(
        "select meshhook.start_run($1, 'flow', dedupe_key => $2) as run",
        [slug, `key ${key}`],
      );
      return rows[0].run;
    });
    assert.equal(new Set(runs).size, 1);
  }
  const { rows } = await pool.query(
    "select count(*)::int as n from meshhook.runs where project_id = meshhook_engine.project_id($1)",
    [slug],
  );
  assert.equal(rows[0].n, 10);
});

test("a run is cancelled once, however many ask at once", async () => {
  const run = (await pool.query("select meshhook.start_run($1, 'flow') as id", [slug])).rows[0].id;
  const answers = await together(async (client) => {
    return (await client.query("select meshhook.cancel_run($1) as done", [run])).rows[0].done;
  });
  assert.equal(answers.filter(Boolean).length, 1);
  const { rows } = await pool.query(
    "select array_agg(type order by seq) as types from meshhook.run_events where run_id = $1",
    [run],
  );
  assert.deepEqual(rows[0].types, ["run.started", "run.cancel_requested", "run.cancelled"]);
});

test("a caller's open transaction holds nobody else up", async () => {
  const [slow, quick] = [await pool.connect(), await pool.connect()];
  try {
    await slow.query("begin");
    await slow.query("select meshhook.start_run($1, 'flow')", [slug]);
    await slow.query("select meshhook.log($1, 'app', 'followed', 'info', 'm')", [slug]);
    await quick.query("set lock_timeout = '1s'");
    await quick.query("select meshhook.log($1, 'app', 'followed', 'info', 'm')", [slug]);
    await quick.query(
      `select meshhook_engine.admission_add(array[meshhook_engine.project_id($1)], 0, array[0])`,
      [slug],
    );
  } finally {
    await slow.query("rollback");
    await quick.query("reset lock_timeout");
    slow.release();
    quick.release();
  }
});

// Two connections: the first holds what `held` does, the second goes on until it waits for that; then
// the first goes on to `more`, which the second must not hold, or they wait for each other.
async function crossing(held, second, more) {
  const [a, b] = [await pool.connect(), await pool.connect()];
  try {
    await a.query("begin");
    await a.query(...held);
    await b.query("begin");
    const pid = (await b.query("select pg_backend_pid() as pid")).rows[0].pid;
    const answer = b.query(...second);
    let over = false;
    answer.catch(() => {}).finally(() => (over = true));
    for (let waits = false; !waits && !over; )
      waits = (await pool.query("select cardinality(pg_blocking_pids($1)) > 0 as waits", [pid])).rows[0].waits;
    await a.query(...more);
    await a.query("rollback");
    return (await answer).rows;
  } finally {
    await a.query("rollback");
    await b.query("rollback");
    a.release();
    b.release();
  }
}
const counted = (project, n) => ["select meshhook_engine.admission_add(array[meshhook_engine.project_id($1)], 9, array[$2::int])", [project, n]];

test("intake locks runs before what counts the queue, as commit does", async () => {
  const { rows: [{ id }] } = await pool.query(
    `select meshhook_engine.create_endpoint($1, 'in', 'flow', 'hand', null, null, '{"scheme": {"type": "none"}}') as id`, [slug]);
  const take = (keys, body) => [`select outcome, run_id from meshhook_engine.intake(array_fill($1::uuid, array[cardinality($2::text[])]),
      array_fill(0, array[cardinality($2)]), $2, array_fill('{}'::jsonb, array[cardinality($2)]), '{}', 9,
      array_fill(sha256($3), array[cardinality($2)]))`, [id, keys, body]];
  const first = (await pool.query(...take(["old", "older"], "one"))).rows;
  const rows = await crossing(
    ["select from meshhook.runs where id = any ($1) for no key update", [first.map((r) => r.run_id)]],
    take(["new", "older", "old", "older"], "two"), counted(slug, 1));
  assert.deepEqual(rows.map((r) => r.outcome), ["started", "differs", "differs", "differs"]);
  await pool.query(...take(["older", "newer", "older", "old"], "three"));
  const { rows: lines } = await pool.query(
    `select channel_id, array_agg(seq::int order by seq) as seqs, max(r.log_seq) as last
       from meshhook.logs l join meshhook.runs r on r.id = l.channel_id
      where channel_id = any ($1) group by 1 order by array_position($1::uuid[], channel_id)`, [first.map((r) => r.run_id)]);
  assert.deepEqual(lines.map((l) => [l.seqs, l.last]), [[[1, 2], 2], [[1, 2, 3], 3]]);
});

test("a claim counts projects in their order, wherever their messages come from", async () => {
  const late = `${slug}-late`;
  await pool.query("select meshhook.create_project($1, $1)", [late]);
  try {
    const message = { n: "a", a: 1, k: "step", r: "00000000-0000-4000-8000-000000000000" };
    await pool.query("insert into meshhook_engine.backlog (project_id, message) values (meshhook_engine.project_id($1), $2)", [slug, message]);
    await pool.query(`insert into meshhook_engine.timers (run_id, kind, step, attempt, due_at, project_id, message)
      values (gen_random_uuid(), 'delay', 'a', 1, now(), meshhook_engine.project_id($1), $2)`, [late, message]);
    await pool.query("update pgmq.q_mh_work set read_ct = 0"); // what other tests left, taken three times, would come without these
    const rows = await crossing(counted(slug, 1), ["select * from meshhook_engine.claim(1000, 1000, 9)"], counted(late, 1));
    assert.ok(rows.filter((r) => r.message?.r === message.r).length >= 2, "it has both");
  } finally {
    await pool.query("delete from meshhook_engine.timers where project_id = meshhook_engine.project_id($1)", [late]);
    await pool.query("select meshhook.purge_project($1)", [late]);
  }
});

test("partitions are made once, however many ask at once", async () => {
  const made = await together(async (client) => {
    await client.query("begin");
    const { rows } = await client.query("select meshhook_engine.ensure_partitions(8) as n");
    await client.query("commit");
    return rows[0].n;
  });
  assert.ok(made.reduce((a, b) => a + b) <= 10);
  const { rows } = await pool.query(
    "select count(*)::int as n from pg_inherits where inhparent = 'meshhook.run_events'::regclass",
  );
  assert.ok(rows[0].n >= 10);
});
