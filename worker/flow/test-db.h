#pragma once
/*
 * A model of the database, of one run: what meshhook_engine.start_runs, claim
 * and slice do, in memory; and what must be true of the run at its end.
 */
#include "worker/flow/node.h"
#include "worker/flow/replay.h"
#include "worker/flow/test-random.h"

enum { EVENTS = 2000, MESSAGES = 400, NODES = 64, WORKERS = 4, HOLD = 4 };

struct db_message {
	struct json *json;
	int64_t ready_at; /* a timer, while it is beyond now */
	uint32_t lease;   /* of whom it is; counts up at each claim */
	int leased, gone;
};

struct db {
	struct arena *a;
	const struct flow *flow;
	struct json *input;
	struct event events[EVENTS];
	uint32_t n_events;
	struct step_row rows[NODES];
	int has_row[NODES];
	struct db_message messages[MESSAGES];
	uint32_t n_messages;
	enum run_status status;
	int64_t now;
	uint64_t seed, first_seed;
	int inlines;
	uint32_t stale, lost, inlined, hops;
};

/* What a worker holds between claim and commit. */
struct holding {
	int busy;
	uint32_t ids[HOLD], leases[HOLD], n;
	int32_t base;
	struct step_row rows[NODES];
	uint32_t n_rows;
	uint32_t which[NODES];
	const struct json *outputs[NODES];
	uint32_t n_outputs;
	int input;
	uint64_t luck; /* its HTTP results: the same when it decides again */
};

static inline void
db_put(struct db *db, struct json *message, int64_t ready_at)
{
	assert_true(db->n_messages < MESSAGES);
	db->messages[db->n_messages++] =
	    (struct db_message){ .json = message, .ready_at = ready_at };
}

static inline void
db_fails(const struct db *db, const char *why)
{
	print_error("seed %llu: %s\n", (unsigned long long)db->first_seed,
	    json_text(db->a, db->flow->definition).s);
	for (uint32_t i = 0; i < db->n_events; i++)
		print_error("%u %s %s\n", i + 1, db->events[i].type,
		    json_text(db->a, db->events[i].payload).s);
	fail_msg("%s", why);
}

/* start_run: what the plan says, and nothing else. */
static inline void
db_start(struct db *db, const char *trigger)
{
	struct json *plans, *plan, *list, *started = json_object(db->a);
	struct error err;

	assert_int_equal(flow_plan(db->a, db->flow, &plans, &err), 0);
	plan = json_get(plans, trigger);
	json_set(db->a, started, "trigger", json_cstring(db->a, trigger));
	json_set(db->a, started, "input", db->input);
	db->events[db->n_events++] =
	    (struct event){ 1, "run.started", started };
	list = json_get(plan, "events");
	for (uint32_t i = 0; i < list->n; i++, db->n_events++)
		db->events[db->n_events] = (struct event){
			.seq = (int32_t)db->n_events + 1,
			.type = json_str(json_get(list->items[i], "type")).s,
			.payload = json_get(list->items[i], "payload"),
		};
	list = json_get(plan, "steps");
	for (uint32_t i = 0; i < list->n; i++) {
		struct str id = json_str(json_get(list->items[i], "step"));
		int32_t node = flow_find(db->flow, id);
		struct step_row *row = &db->rows[node];

		db->has_row[node] = 1;
		row->step = id;
		row->attempt =
		    (int32_t)json_num(json_get(list->items[i], "attempt"));
		row->waits =
		    (int32_t)json_num(json_get(list->items[i], "waits"));
		row->live = (int32_t)json_num(json_get(list->items[i], "live"));
		step_status_parse(
		    json_str(json_get(list->items[i], "status")), &row->status);
	}
	list = json_get(plan, "messages");
	for (uint32_t i = 0; i < list->n; i++)
		db_put(db, list->items[i], 0);
	if (!json_is(json_get(plan, "ends"), JSON_NULL))
		db->status = RUN_SUCCEEDED;
}

/* The slice of a message, as meshhook_engine.slice reads it. */
static inline void
db_slice(struct db *db, const struct json *message, struct holding *item)
{
	struct json *reads = json_get(message, "o");
	struct json *joins = json_get(message, "j");
	struct json *own = json_string(db->a, json_str(json_get(message, "n")));

	item->input |= json_is(json_get(message, "i"), JSON_TRUE);
	for (uint32_t i = 0; reads != NULL && i < reads->n; i++) {
		int32_t node = flow_find(db->flow, json_str(reads->items[i]));
		const struct step_row *row = &db->rows[node];

		item->which[item->n_outputs] = (uint32_t)node;
		item->outputs[item->n_outputs++] =
		    db->has_row[node] && row->seq > 0
		    ? json_get(db->events[row->seq - 1].payload, "output")
		    : NULL;
	}
	for (uint32_t i = 0; i < (joins != NULL ? joins->n : 0) + 1; i++) {
		int first = i == 0,
		    step = str_is(json_str(json_get(message, "k")), "step");
		int32_t node = flow_find(
		    db->flow, json_str(first ? own : joins->items[i - 1]));

		if (db->has_row[node] && !(first && step))
			item->rows[item->n_rows++] = db->rows[node];
	}
}

static inline void
db_claim(struct db *db, struct holding *item)
{
	uint32_t want = 1 + random_below(&db->seed, HOLD);

	*item = (struct holding){ .base = (int32_t)db->n_events };
	for (uint32_t i = 0; i < db->n_messages && item->n < want; i++) {
		struct db_message *m = &db->messages[i];

		if (m->gone || m->ready_at > db->now ||
		    (m->leased && !random_chance(&db->seed, 3)) ||
		    random_chance(&db->seed, 40))
			continue;
		m->leased = 1;
		item->ids[item->n] = i;
		item->leases[item->n++] = ++m->lease;
		db_slice(db, m->json, item);
	}
	item->busy = item->n > 0;
	item->luck = random_next(&db->seed);
}

static inline void
db_cancel(struct db *db)
{
	struct event e, ack = { 0, "run.cancelled", NULL };

	event_cancel_requested(db->a, "enough", &e);
	ack.payload = e.payload;
	e.seq = (int32_t)db->n_events + 1;
	db->events[db->n_events++] = e;
	ack.seq = e.seq + 1;
	db->events[db->n_events++] = ack;
	db->status = RUN_CANCELLED;
}

static inline void
check_results_once(const struct db *db)
{
	for (uint32_t i = 0; i < db->n_events; i++)
		for (uint32_t j = i + 1; j < db->n_events; j++) {
			const struct event *x = &db->events[i];
			const struct event *y = &db->events[j];
			int results =
			    (strcmp(x->type, "step.succeeded") == 0 ||
				strcmp(x->type, "step.failed") == 0) &&
			    (strcmp(y->type, "step.succeeded") == 0 ||
				strcmp(y->type, "step.failed") == 0);

			assert_false(results &&
			    json_equal(json_get(x->payload, "step"),
				json_get(y->payload, "step")) &&
			    json_equal(json_get(x->payload, "attempt"),
				json_get(y->payload, "attempt")));
		}
}

/* A step made of others' outputs was made of those that the history has: when
 * it began, the last that each of them said. */
static inline void
check_output(struct db *db, uint32_t at)
{
	const struct event *e = &db->events[at];
	int32_t node =
	    flow_find(db->flow, json_str(json_get(e->payload, "step")));
	struct context context = {
		.input = db->input,
		.run = flow_json(db->a, "{'id':'r1'}"),
	};
	const struct json *outputs[NODES] = { 0 };
	struct effect effect;
	struct error err;
	uint32_t which[NODES];

	if (strcmp(e->type, "step.succeeded") != 0 ||
	    !node_is_inline(&db->flow->nodes[node]))
		return;
	for (uint32_t i = 0; i < db->flow->n_nodes; i++)
		which[i] = i;
	for (uint32_t i = 0; i < at; i++)
		if (strcmp(db->events[i].type, "step.succeeded") == 0 ||
		    strcmp(db->events[i].type, "step.failed") == 0)
			outputs[flow_find(db->flow,
			    json_str(
				json_get(db->events[i].payload, "step")))] =
			    json_get(db->events[i].payload, "output");
	context.which = which;
	context.outputs = outputs;
	context.n_outputs = db->flow->n_nodes;
	assert_int_equal(node_begin(db->a, db->flow, (uint32_t)node, &context,
			     0, &effect, &err),
	    0);
	if (!json_equal(effect.output != NULL ? effect.output : json_null(),
		json_get(e->payload, "output")))
		db_fails(
		    db, arena_printf(db->a, "event %u is of others", e->seq));
}

static inline void
check_projection(struct db *db, const struct replay *replay)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i <= db->flow->n_nodes; i++)
		n += (uint32_t)db->has_row[i];
	assert_int_equal(n, replay->n_rows);
	for (uint32_t i = 0; i < n; i++) {
		const struct step_row *want = &replay->rows[i];
		const struct step_row *is =
		    &db->rows[flow_find(db->flow, want->step)];

		assert_true(str_eq(want->step, is->step));
		assert_int_equal(want->status, is->status);
		assert_int_equal(want->attempt, is->attempt);
		assert_int_equal(want->waits, is->waits);
		assert_int_equal(want->live, is->live);
		assert_int_equal(want->seq, is->seq);
	}
}
