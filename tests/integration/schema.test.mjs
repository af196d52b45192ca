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
