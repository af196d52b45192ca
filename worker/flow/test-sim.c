/*
 * Whole runs against a model of the database: rows, messages with leases,
 * timers, stale commits, lost leases, cancelling; by workers that hold nothing
 * but the slice that claim gave them. Whatever the schedule: the run ends, its
 * events are contiguous, no attempt of a step has two results, the history
 * decides itself again, and the rows are what folding it gives.
 *
 *	test-flow-sim [RUNS [FIRST-SEED]]
 */
#include "worker/flow/test-db.h"

/* What deciding an item came to. */
struct outcome {
	struct run *run;
	struct event events[EVENTS];
	uint32_t n_events;
	struct json *sends[MESSAGES];
	uint32_t n_sends;
	struct json *timers[MESSAGES];
	int64_t due[MESSAGES];
	uint32_t n_timers;
	struct command inlined[MESSAGES];
	uint32_t n_inlined, at_inlined;
	struct error err;
};

static void
append(struct outcome *o, struct event *e)
{
	if (run_append(o->run, e, &o->err) < 0)
		fail_msg("%s", o->err.text);
	o->events[o->n_events++] = *e;
}

static void
command(struct db *db, struct outcome *o, const struct command *cmd)
{
	const struct node *n = &db->flow->nodes[cmd->node];
	int hop;

	if (cmd->type == CMD_SET_TIMER) {
		o->due[o->n_timers] = cmd->due_ms;
		o->timers[o->n_timers++] = message_make(db->a, db->flow, cmd);
	}
	if (cmd->type != CMD_START_STEP || cmd->kind == MESSAGE_RETRY)
		return;
	hop = !db->inlines || !run_holds(o->run, cmd->node) ||
	    (cmd->kind == MESSAGE_STEP && !node_is_inline(n)) ||
	    o->n_inlined == 8;
	if (hop)
		o->sends[o->n_sends++] = message_make(db->a, db->flow, cmd);
	else
		o->inlined[o->n_inlined++] = *cmd;
}

static void
fact(struct db *db, struct outcome *o, struct event *e)
{
	struct commands cmds;

	append(o, e);
	assert_int_equal(run_decide(db->a, o->run, &cmds), 0);
	for (uint32_t i = 0; i < cmds.n; i++) {
		struct event ack;

		command_event(db->a, db->flow, &cmds.items[i], &ack);
		append(o, &ack);
		command(db, o, &cmds.items[i]);
	}
}

/* An answer by luck: mostly good, else of every kind. */
static void
call(struct db *db, struct outcome *o, const struct message *m,
    const struct effect *effect, uint64_t luck)
{
	static const struct header json = {
		{ "content-type", 12 },
		{ "application/json", 16 },
		0,
	};
	struct http_result r = { .retry_after_ms = -1, .took_ms = 3 };
	struct try try = { .message = m, .what = "GET http://h/" };
	struct log_line line;
	struct event e;

	luck += (uint64_t)m->node * 1000003 + (uint64_t)m->attempt;
	try.random = random_next(&luck);
	try.at_ms = db->now;
	try.deadline_ms = m->deadline_ms;
	if (try.deadline_ms == 0 && effect->http.deadline_ms > 0)
		try.deadline_ms = db->now + effect->http.deadline_ms;
	try.result = &r;
	r.headers = &json;
	r.n_headers = 1;
	r.body =
	    str_of(arena_printf(db->a, "{\"v\":%u}", random_below(&luck, 4)));
	switch (random_below(&luck, 10)) {
	case 0:
		r.code = "ECONNREFUSED";
		r.message = "nobody there";
		r.retryable = 1;
		break;
	case 1:
	case 2:
		r.status = random_chance(&luck, 50) ? 503 : 404;
		r.code = r.status == 503 ? "HTTP503" : "HTTP404";
		r.message = "no";
		break;
	default:
		r.status = 200;
	}
	node_http_done(db->a, db->flow, &try, &e, &line);
	fact(db, o, &e);
}

/* 0, or NODE_OUT_NOT_LOADED and nothing happened. */
static int
carry_out(struct db *db, struct outcome *o, const struct holding *item,
    const struct message *m)
{
	struct context context = {
		.input = item->input ? db->input : NULL,
		.run = flow_json(db->a, "{'id':'r1'}"),
		.which = item->which,
		.outputs = (const struct json **)item->outputs,
		.n_outputs = item->n_outputs,
		.folded = o->run,
	};
	struct effect effect;
	struct event e;
	int r = node_begin(
	    db->a, db->flow, m->node, &context, db->now, &effect, &o->err);

	assert_true(r >= 0);
	if (r == NODE_OUT_NOT_LOADED)
		return r;
	if (effect.type == EFFECT_HTTP) {
		call(db, o, m, &effect, item->luck);
		return 0;
	}
	node_done(db->a, db->flow, m, &effect, db->now, &e);
	fact(db, o, &e);
	return 0;
}

static void
message(struct db *db, struct outcome *o, const struct holding *item,
    const struct json *json)
{
	struct message m;
	struct event e;

	assert_int_equal(message_parse(db->flow, json, &m, &o->err), 0);
	switch (m.kind) {
	case MESSAGE_SKIP:
		event_skipped(db->a, db->flow, m.node, &e);
		fact(db, o, &e);
		return;
	case MESSAGE_DELAY:
	case MESSAGE_RETRY:
		event_timer_fired(db->a, db->flow, &m, &e);
		fact(db, o, &e);
		if (m.kind == MESSAGE_DELAY)
			return;
		break;
	case MESSAGE_STEP:
		break;
	}
	/* what its own message names must be enough */
	assert_int_equal(carry_out(db, o, item, &m), 0);
}

static void
inlined(struct db *db, struct outcome *o, const struct holding *item)
{
	while (
	    o->at_inlined < o->n_inlined && run_status(o->run) == RUN_RUNNING) {
		const struct command *cmd = &o->inlined[o->at_inlined++];
		struct message m = { cmd->node, cmd->attempt, cmd->kind, 0 };
		struct event e;

		if (cmd->kind == MESSAGE_SKIP) {
			event_skipped(db->a, db->flow, m.node, &e);
			fact(db, o, &e);
		} else if (carry_out(db, o, item, &m) == NODE_OUT_NOT_LOADED) {
			o->sends[o->n_sends++] =
			    message_make(db->a, db->flow, cmd);
			continue;
		}
		db->inlined++;
	}
}

static void
decide(struct db *db, struct holding *item, struct outcome *o)
{
	memset(o, 0, sizeof(*o));
	o->run = run_slice(db->a, db->flow, item->base);
	for (uint32_t i = 0; i < item->n_rows; i++)
		assert_int_equal(run_load(o->run, &item->rows[i], &o->err), 0);
	for (uint32_t i = 0; i < item->n; i++)
		assert_int_equal(run_claimed(o->run,
				     db->messages[item->ids[i]].json, &o->err),
		    0);
	if (run_catch_up(o->run, &db->events[item->base],
		db->n_events - (uint32_t)item->base, &o->err) < 0)
		db_fails(db, o->err.text);
	for (uint32_t i = 0; i < item->n && run_status(o->run) == RUN_RUNNING;
	     i++) {
		message(db, o, item, db->messages[item->ids[i]].json);
		inlined(db, o, item);
	}
}

static void
rows_write(struct db *db, const struct outcome *o)
{
	struct step_row *rows;
	uint32_t n = run_changed(db->a, o->run, &rows);

	for (uint32_t i = 0; i < n; i++) {
		int32_t node = flow_find(db->flow, rows[i].step);

		if (rows[i].fresh)
			assert_false(db->has_row[node]);
		db->has_row[node] = 1;
		db->rows[node] = rows[i];
	}
}

static void
db_commit(struct db *db, struct holding *item)
{
	struct outcome *o = arena_alloc(db->a, sizeof(*o));
	uint32_t known = db->n_events;

	item->busy = 0;
	for (uint32_t i = 0; i < item->n; i++)
		if (db->messages[item->ids[i]].lease != item->leases[i] ||
		    db->messages[item->ids[i]].gone) {
			db->lost++;
			return;
		}
	for (uint32_t i = 0; i < item->n; i++)
		db->messages[item->ids[i]].gone = 1;
	if (db->status != RUN_RUNNING)
		return; /* resolved */
	db->stale += (uint32_t)item->base != known;
	decide(db, item, o);
	for (uint32_t i = 0; i < o->n_events; i++) {
		assert_int_equal(o->events[i].seq, db->n_events + 1);
		db->events[db->n_events++] = o->events[i];
	}
	rows_write(db, o);
	db->hops += o->n_sends;
	db->status = run_status(o->run);
	if (db->status != RUN_RUNNING)
		return;
	for (uint32_t i = 0; i < o->n_sends; i++)
		db_put(db, o->sends[i], 0);
	for (uint32_t i = 0; i < o->n_timers; i++)
		db_put(db, o->timers[i], o->due[i]);
}

/* Nothing left to do for anybody: time goes on to the next timer, if any. */
static int
idle(struct db *db, const struct holding *workers)
{
	int64_t next = INT64_MAX;

	for (uint32_t i = 0; i < WORKERS; i++)
		if (workers[i].busy)
			return 0;
	for (uint32_t i = 0; i < db->n_messages; i++)
		if (!db->messages[i].gone && db->messages[i].ready_at < next)
			next = db->messages[i].ready_at;
	if (next == INT64_MAX)
		return 1;
	if (next > db->now)
		db->now = next;
	return 0;
}

static void
db_run(struct db *db)
{
	struct holding *workers =
	    arena_zalloc(db->a, WORKERS * sizeof(*workers));
	struct replay replay;
	uint32_t turns = 0;

	while (db->status == RUN_RUNNING) {
		struct holding *w = &workers[random_below(&db->seed, WORKERS)];

		if (++turns > 100000 || idle(db, workers))
			db_fails(db, "the run hangs");
		if (w->busy && random_chance(&db->seed, 50))
			db_commit(db, w);
		else if (!w->busy)
			db_claim(db, w);
		db->now += random_below(&db->seed, 300);
		if (db->status == RUN_RUNNING &&
		    random_below(&db->seed, 3000) == 0)
			db_cancel(db);
	}
	if (replay_check(db->a, db->flow, db->events, db->n_events, &replay) !=
	    0)
		db_fails(db, replay.text);
	assert_int_equal(replay.status, db->status);
	check_results_once(db);
	check_projection(db, &replay);
	for (uint32_t i = 0; i < db->n_events; i++)
		check_output(db, i);
}

static uint32_t runs = 2000, first_seed = 1;

static void
test_all_schedules_end_well(void **state)
{
	uint32_t ends[4] = { 0 }, stale = 0, lost = 0, inlines = 0, hops = 0;

	(void)state;
	for (uint32_t i = first_seed; i < first_seed + runs; i++) {
		struct arena a;
		struct db *db;
		const char *trigger = "n0";

		arena_init(&a);
		db = arena_zalloc(&a, sizeof(*db));
		db->a = &a;
		db->seed = db->first_seed = i;
		db->inlines = i % 3 != 0;
		db->input =
		    flow_json(&a, arena_printf(&a, "{'v':%u,'s':'x'}", i % 4));
		db->flow = flow_of(
		    &a, json_text(&a, random_definition(&a, &db->seed)).s);
		if (db->flow->nodes[1].type == NODE_MANUAL && i % 2 == 0)
			trigger = "n1";
		db_start(db, trigger);
		db_run(db);
		ends[db->status]++;
		stale += db->stale;
		lost += db->lost;
		inlines += db->inlined;
		hops += db->hops;
		arena_deinit(&a);
	}
	print_message("%u runs: %u succeeded, %u failed, %u cancelled; "
		      "%u stale commits, %u lost leases, %u steps inlined, "
		      "%u by message\n",
	    runs, ends[RUN_SUCCEEDED], ends[RUN_FAILED], ends[RUN_CANCELLED],
	    stale, lost, inlines, hops);
	if (runs >= 1000) /* the world was as bad as it should be */
		assert_true(ends[RUN_SUCCEEDED] > runs / 10 &&
		    ends[RUN_FAILED] > runs / 10 && stale > runs / 10 &&
		    lost > runs / 100 && inlines > runs / 10);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_schedules_end_well),
	};

	if (argc > 1)
		runs = (uint32_t)strtoul(argv[1], NULL, 10);
	if (argc > 2)
		first_seed = (uint32_t)strtoul(argv[2], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
