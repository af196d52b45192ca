#pragma once
/*
 * Workers in a model of the database, up to their commits: they claim what is
 * ready, and at times what another has; hold tasks with their slices as the
 * database would give them; and make their calls.
 */
#include "core/time.h"
#include "worker/engine/item.h"
#include "worker/flow/test-db.h"

enum { DESKS = 3, TASKS = 12 };

struct held {
	struct task task;
	uint32_t id, lease;
	int called; /* what came of it is known */
};

/* A worker, with one commit of the run on its way at most. */
struct desk {
	struct worker w;
	struct held *held[TASKS], *out[TASKS];
	uint32_t n, n_out;
	struct item item;
	int stalled; /* turns */
};

struct sim {
	struct db db;
	struct version version;
	struct desk desks[DESKS];
	uint32_t split, refused, doubted, resolved, merged, died, set, told;
};

static inline int
chance(struct sim *s, uint32_t percent)
{
	return random_chance(&s->db.seed, percent);
}

static inline void
drop(struct desk *d, struct held *h)
{
	uint32_t i = 0;

	while (d->held[i] != h)
		i++;
	d->held[i] = d->held[--d->n];
	for (i = 0; i < h->task.n_tail; i++)
		past_put(h->task.tail[i]);
	arena_deinit(&h->task.arena);
	free(h);
}

static inline int
is_out(const struct desk *d, const struct held *h)
{
	for (uint32_t i = 0; i < d->n_out; i++)
		if (d->out[i] == h)
			return 1;
	return 0;
}

/* As meshhook_engine.slice has it. */
static inline struct json *
slice_json(struct db *db, struct arena *a, const struct json *message)
{
	struct json *o = json_object(a), *outputs = json_object(a);
	struct json *rows = json_array(a);
	struct holding h = { 0 };

	db_slice(db, message, &h);
	if (h.input)
		json_set(a, o, "input", db->input);
	for (uint32_t i = 0; i < h.n_outputs; i++)
		if (h.outputs[i] != NULL)
			json_set_str(a, outputs, db->flow->nodes[h.which[i]].id,
			    (struct json *)h.outputs[i]);
	for (uint32_t i = 0; i < h.n_rows; i++) {
		const struct step_row *r = &h.rows[i];
		struct json *row = json_array(a);

		json_push(a, row, json_string(a, r->step));
		json_push(a, row, json_cstring(a, step_status_name(r->status)));
		json_push(a, row, json_int(a, r->attempt));
		json_push(a, row, json_int(a, r->waits));
		json_push(a, row, json_int(a, r->live));
		json_push(
		    a, row, r->seq > 0 ? json_int(a, r->seq) : json_null());
		json_push(a, rows, row);
	}
	json_set(a, o, "outputs", outputs);
	json_set(a, o, "rows", rows);
	return o;
}

static inline void
take(struct sim *s, struct desk *d, uint32_t id)
{
	struct db_message *m = &s->db.messages[id];
	struct held *h = calloc(1, sizeof(*h));
	struct task *t = &h->task;
	struct error err;

	m->leased = 1;
	h->id = id;
	h->lease = ++m->lease;
	arena_init(&t->arena);
	t->w = &d->w;
	t->id = id;
	t->now_ms = s->db.now;
	t->trigger = STR("n0");
	t->json = m->json;
	if (s->db.status == RUN_RUNNING) {
		t->version = &s->version;
		t->base = t->known = (int32_t)s->db.n_events;
		t->slice = slice_json(&s->db, &t->arena, m->json);
		assert_int_equal(
		    message_parse(s->db.flow, m->json, &t->message, &err), 0);
	}
	d->held[d->n++] = h;
}

/* What is ready, and sometimes what another has. */
static inline void
claim(struct sim *s, struct desk *d)
{
	uint32_t want = 1 + random_below(&s->db.seed, 4);

	for (uint32_t i = 0; i < s->db.n_messages && want > 0; i++) {
		struct db_message *m = &s->db.messages[i];

		if (d->n == TASKS || m->gone || m->ready_at > s->db.now ||
		    (m->leased && !chance(s, 3)) || chance(s, 40))
			continue;
		take(s, d, i);
		want--;
	}
}

static inline struct http_result
answer(struct sim *s, struct arena *a)
{
	static const struct header json = {
		{ "content-type", 12 },
		{ "application/json", 16 },
		0,
	};
	struct http_result r = { .retry_after_ms = -1,
		.took_ms = 3,
		.status = 200,
		.headers = &json,
		.n_headers = 1 };

	r.body =
	    str_of(arena_printf(a, "{\"v\":%u}", random_below(&s->db.seed, 4)));
	switch (random_below(&s->db.seed, 10)) {
	case 0:
		r.status = 0;
		r.code = "ECONNREFUSED";
		r.message = "nobody there";
		r.retryable = 1;
		break;
	case 1:
	case 2:
		r.status = chance(s, 50) ? 503 : 404;
		r.code = r.status == 503 ? "HTTP503" : "HTTP404";
		r.message = "no";
		break;
	default:
		break;
	}
	return r;
}

/* As call_begin() and its end. */
static inline void
call(struct sim *s, struct held *h)
{
	struct task *t = &h->task;
	struct http_result r = answer(s, &t->arena);
	struct try try = { .message = &t->message,
		.what = "GET http://h/",
		.at_ms = s->db.now,
		.random = random_next(&s->db.seed),
		.deadline_ms = t->message.deadline_ms,
		.result = &r };
	struct context context;
	struct effect effect;
	struct error err;

	h->called = 1;
	context_of(&t->arena, t, &context);
	assert_int_equal(node_begin(&t->arena, s->db.flow, t->message.node,
			     &context, t->now_ms, &effect, &err),
	    0);
	if (effect.type != EFFECT_HTTP) {
		node_done(&t->arena, s->db.flow, &t->message, &effect,
		    t->now_ms, &t->event);
		return;
	}
	if (try.deadline_ms == 0 && effect.http.deadline_ms > 0)
		try.deadline_ms = t->now_ms + effect.http.deadline_ms;
	node_http_done(&t->arena, s->db.flow, &try, &t->event, &t->line);
}

static inline int
needs_call(const struct sim *s, const struct held *h)
{
	const struct task *t = &h->task;

	return !h->called && t->version != NULL && t->care == CARE_NONE &&
	    s->db.flow->nodes[t->message.node].type == NODE_HTTP_CALL &&
	    (t->message.kind == MESSAGE_STEP ||
		t->message.kind == MESSAGE_RETRY);
}
