#include "core/log.h"
#include "core/mem.h"
#include "core/testpoint.h"
#include "core/time.h"
#include "worker/engine/engine.h"

#include <stdlib.h>
#include <string.h>

enum { SPARE_MOST = 128, SPARE_BYTES = 16 << 10 };

struct task *
task_new(struct worker *w)
{
	struct list *it = list_pop(&w->spare);
	struct task *t;

	if (it != NULL) {
		struct arena arena;

		w->n_spare--;
		t = list_entry(it, struct task, link);
		arena = t->arena;
		*t = (struct task){ .arena = arena };
	} else {
		t = xcalloc(1, sizeof(*t));
		arena_init(&t->arena);
	}
	t->w = w;
	list_init(&t->link);
	list_init(&t->held);
	list_append(&w->tasks[TASK_LOADING], &t->link);
	list_append(&w->held, &t->held);
	t->state = TASK_LOADING;
	w->n_tasks[TASK_LOADING]++;
	w->n_held++;
	return t;
}

void
task_to(struct task *t, enum task_state state)
{
	struct worker *w = t->w;

	list_remove(&t->link);
	w->n_tasks[t->state]--;
	w->n_tasks[state]++;
	t->state = state;
	list_append(&w->tasks[state], &t->link);
	if (state == TASK_READY)
		commits_turn(w);
}

void
task_free(struct task *t)
{
	struct worker *w = t->w;

	t->call = http_call_cancel(t->call);
	version_drop(t->version);
	for (uint32_t i = 0; i < t->n_tail; i++)
		past_put(t->tail[i]);
	list_remove(&t->link);
	list_remove(&t->held);
	w->n_tasks[t->state]--;
	w->n_held--;
	if (t->reads >= SUSPECT_READS)
		w->n_suspects--;
	if (w->n_tasks[TASK_PARKED] > 0)
		commits_turn(w);
	if (w->n_spare < SPARE_MOST && t->arena.used <= SPARE_BYTES) {
		if (t->secrets == SECRETS_TAKEN)
			arena_wipe(&t->arena);
		else
			arena_reset(&t->arena);
		list_prepend(&w->spare, &t->link);
		w->n_spare++;
	} else {
		if (t->secrets == SECRETS_TAKEN)
			arena_wipe(&t->arena);
		arena_deinit(&t->arena);
		free(t);
	}
}

/* What it is can't be understood, or kills its workers: it ends its run. */
static void
give_up(struct task *t, const char *code, const char *why)
{
	fail(&t->refused, FAULT_INPUT, code, "%s", why);
	t->care = CARE_ABANDON;
	task_to(t, TASK_READY);
}

/* The tree refers to its text. */
static int
jsonb_parse(struct task *t, struct str text, const struct json **out)
{
	static const struct json_limits limits = { .bytes = 1 << 30,
		.depth = 10000 };
	struct json *v = NULL;
	struct error err;

	*out = NULL;
	if (text.s == NULL)
		return 0;
	if (json_parse(&t->arena, text, &limits, &v, &err) < 0)
		return -1;
	*out = v;
	return 0;
}

static struct str
copied(struct task *t, struct str text)
{
	return text.s != NULL ? arena_str(&t->arena, text) : text;
}

static void
task_open(struct task *t)
{
	int good = jsonb_parse(t, t->text, &t->json) == 0;

	if (t->json == NULL ||
	    uuid_parse(json_str(json_get(t->json, "r")), &t->run) < 0) {
		/* not ours: no run to end, nothing to record it under */
		log_error("message.malformed", I_("message", t->id));
		poll_bury(t->w);
		task_free(t);
	} else if (t->over) {
		task_to(t, TASK_READY); /* only to be deleted */
	} else if (!good || jsonb_parse(t, t->slice_text, &t->slice) < 0) {
		give_up(t, "MESSAGE", "its data can't be read");
	} else if (t->reads > POISON_READS) {
		give_up(t, "POISON", "delivered too often without progress");
	} else {
		version_take(t->w, t, &t->version_id);
	}
}

void
tasks_unpark(struct worker *w)
{
	struct list *parked = &w->tasks[TASK_PARKED];

	if (w->n_held > w->n_tasks[TASK_PARKED])
		return;
	while (!list_empty(parked)) {
		struct task *t = list_entry(parked->next, struct task, link);

		task_to(t, TASK_LOADING);
		task_open(t);
	}
}

void
task_claimed(struct worker *w, struct rows *rows, int row, int64_t now_us)
{
	struct task *t = task_new(w);

	t->now_ms = db_time_to_ms(now_us);
	t->begun_us = time_mono_us();
	t->id = rows_int(rows, row, "msg_id");
	t->vt = rows_time(rows, row, "vt");
	t->reads = (int32_t)rows_int(rows, row, "read_ct");
	t->text = copied(t, rows_str(rows, row, "message"));
	t->base = t->known = (int32_t)rows_int(rows, row, "last_seq");
	t->over = rows_uuid(rows, row, "version_id", &t->version_id) < 0;
	t->started_us = rows_time(rows, row, "started_at");
	t->trigger = copied(t, rows_str(rows, row, "trigger"));
	t->slice_text = copied(t, rows_str(rows, row, "slice"));
	t->waited_us = now_us - rows_time(rows, row, "ready_at");
	if (t->reads < SUSPECT_READS) {
		task_open(t);
		return;
	}
	w->n_suspects++;
	task_to(t, TASK_PARKED);
	commits_turn(w);
}

void
task_begin(struct task *t)
{
	const struct node *node;
	struct error err;

	testpoint("before_decide");
	if (t->version->flow == NULL) {
		give_up(t, t->version->error.code, t->version->error.text);
		return;
	}
	if (message_parse(t->version->flow, t->json, &t->message, &err) < 0) {
		give_up(t, err.code, err.text);
		return;
	}
	node = &t->version->flow->nodes[t->message.node];
	testpoint_of("step", node->id.s, node->id.n);
	t->deadline_ms = t->message.deadline_ms;
	if (secrets_take(t) == 0)
		task_go(t);
}

void
task_go(struct task *t)
{
	if (t->care == CARE_NONE &&
	    t->version->flow->nodes[t->message.node].type == NODE_HTTP_CALL &&
	    (t->message.kind == MESSAGE_STEP ||
		t->message.kind == MESSAGE_RETRY))
		call_begin(t);
	else
		task_to(t, TASK_READY); /* carried out when it is recorded */
}

struct past *
past_new(struct worker *w, struct str text, struct error *err)
{
	struct past *p = xcalloc(1, sizeof(*p));
	struct json *all = NULL;

	arena_init(&p->arena);
	if (text.s != NULL &&
	    json_parse(&p->arena, arena_str(&p->arena, text), NULL, &all, err) <
		0) {
		arena_deinit(&p->arena);
		free(p);
		return NULL;
	}
	p->w = w;
	p->refs = 1;
	p->bytes = text.n;
	w->past_bytes += p->bytes;
	p->n = all != NULL ? all->n : 0;
	p->events = arena_array(&p->arena, p->n, sizeof(*p->events));
	for (uint32_t i = 0; i < p->n; i++) {
		const struct json *e = json_at(all, i);
		int64_t seq = 0;

		json_integer(json_get(e, "seq"), &seq);
		p->events[i] = (struct event){
			.seq = (int32_t)seq,
			.type = json_str(json_get(e, "type")).s,
			.payload = json_get(e, "payload"),
		};
	}
	return p;
}

void
past_put(struct past *p)
{
	if (p == NULL || --p->refs > 0)
		return;
	p->w->past_bytes -= p->bytes;
	arena_deinit(&p->arena);
	free(p);
}

void
task_learn(struct task *t, struct past *p, int32_t known)
{
	if (t->n_tail == t->room_tail) {
		t->room_tail = t->room_tail * 2 + 4;
		t->tail = arena_grow(&t->arena, t->tail, t->n_tail,
		    t->room_tail, sizeof(struct past *));
	}
	t->tail[t->n_tail++] = p;
	p->refs++;
	t->known = known;
}
