#include "worker/engine/item.h"

#include "core/time.h"

#include <string.h>

enum { LEVEL_INFO = 9, LEVEL_ERROR = 17 };

void *
item_room(struct arena *a, void *array, uint32_t n, uint32_t *room, size_t size)
{
	uint32_t more = *room > 0 ? *room * 2 : 8;

	if (n < *room)
		return array;
	array = arena_grow(a, array, n, more, size);
	*room = more;
	return array;
}

#define PUSH(item, what)                                                       \
	((item)->what = item_room((item)->a, (item)->what, (item)->n_##what,   \
	     &(item)->room_##what, sizeof(*(item)->what)),                     \
	    &(item)->what[(item)->n_##what++])

/* A copy with another value for a member. */
static struct json *
with_member(
    struct arena *a, const struct json *o, const char *key, struct json *v)
{
	struct json *out = json_object(a);

	for (uint32_t i = 0; i < o->n; i++)
		json_set_str(a, out, o->of[i].key, o->of[i].value);
	json_set(a, out, key, v);
	return out;
}

/*
 * Take out of a fact what must not be recorded, before anything sees it: what
 * later steps see is what is recorded. How much that was is recorded.
 */
static void
event_mask(struct item *item, struct event *e)
{
	static const char *const members[] = { "output", "message" };
	const struct version *v = item->version;
	const struct flow *flow = v != NULL ? v->flow : NULL;
	const struct mask *mask = v != NULL ? v->secrets.mask : NULL;
	int32_t at = flow == NULL
	    ? -1
	    : flow_find(flow, json_str(json_get(e->payload, "step")));
	const struct node *node =
	    at >= 0 && (uint32_t)at < flow->n_nodes ? &flow->nodes[at] : NULL;
	struct json *output = json_get(e->payload, "output");
	int cut = json_is(json_get(output, "truncated"), JSON_TRUE);
	uint32_t hits = 0;

	if (node != NULL && node->type == NODE_BRANCH)
		return; /* its output is the name of a case */
	for (uint32_t i = 0; node != NULL && i < node->n_redact; i++)
		output = mask_path(item->a, output, node->redact[i], &hits);
	if (hits > 0)
		e->payload = with_member(item->a, e->payload, "output", output);
	for (size_t i = 0; mask != NULL && i < 2; i++) {
		struct json *was = json_get(e->payload, members[i]);
		struct json *now = mask_json(item->a, mask, was, cut, &hits);

		if (now != was)
			e->payload =
			    with_member(item->a, e->payload, members[i], now);
	}
	if (hits > 0)
		e->payload = with_member(
		    item->a, e->payload, "masked", json_int(item->a, hits));
}

/* {"event", "step", "attempt"}, with what the line has of its own. */
static void
line_add(struct item *item, const struct event *e, const struct log_line *line)
{
	static const char *const keys[] = { "step", "attempt" };
	const struct mask *mask =
	    item->version != NULL ? item->version->secrets.mask : NULL;
	struct item_line *l = PUSH(item, lines);
	struct json *attrs = json_object(item->a);
	uint32_t hits = 0;

	json_set(item->a, attrs, "event", json_cstring(item->a, e->type));
	for (size_t i = 0; i < 2; i++) {
		struct json *v = json_get(e->payload, keys[i]);

		if (v != NULL)
			json_set(item->a, attrs, keys[i], v);
	}
	if (line->attrs != NULL)
		json_set(item->a, attrs, "data",
		    mask_json(item->a, mask, line->attrs, 0, &hits));
	*l = (struct item_line){ line->level,
		mask_text(item->a, mask, line->message, 0, &hits), attrs };
	if (hits > 0)
		json_set(item->a, attrs, "masked", json_int(item->a, hits));
}

static void
say(struct item *item, const struct event *e, int level, const char *text)
{
	line_add(item, e,
	    &(struct log_line){ .level = level, .message = str_of(text) });
}

static void
output_set(struct item *item, uint32_t node, const struct json *output)
{
	struct context *c = &item->context;
	uint32_t at = 0, room = item->room_outputs;

	while (at < c->n_outputs && c->which[at] != node)
		at++;
	if (at == c->n_outputs) {
		item->which =
		    item_room(item->a, item->which, at, &room, sizeof(node));
		c->outputs = item_room(item->a, c->outputs, at,
		    &item->room_outputs, sizeof(*c->outputs));
		item->which[at] = node;
		c->which = item->which;
		c->n_outputs++;
	}
	c->outputs[at] = output;
}

static int
append(struct item *item, struct event *e, struct error *err)
{
	if (run_append(item->run, e, err) < 0)
		return -1;
	*PUSH(item, events) = *e;
	return 0;
}

static void
run_ended(struct item *item, const struct command *cmd, const struct event *e)
{
	struct str step = json_str(json_get(cmd->result, "step"));
	struct str code = json_str(json_get(cmd->result, "code"));
	struct str why = json_str(json_get(cmd->result, "message"));

	item->status = run_status_name(cmd->status);
	if (cmd->status == RUN_SUCCEEDED) {
		say(item, e, LEVEL_INFO,
		    arena_printf(item->a, "run succeeded%s%.*s",
			why.n > 0 ? ": " : "", STR_FMT(why)));
		return;
	}
	item->error = cmd->result;
	say(item, e, LEVEL_ERROR,
	    arena_printf(item->a, "run %s%s%.*s%s%.*s%s%.*s", item->status,
		step.n > 0 ? " at step " : "", STR_FMT(step),
		code.n > 0 ? ": " : "", STR_FMT(code), why.n > 0 ? ": " : "",
		STR_FMT(why)));
}

static void
timer_add(struct item *item, const struct command *cmd)
{
	const struct flow *flow = item->version->flow;

	*PUSH(item, timers) = (struct item_timer){
		.kind = cmd->kind,
		.step = flow->nodes[cmd->node].id,
		.attempt = cmd->attempt,
		.due_ms = cmd->due_ms,
		.message = message_make(item->a, flow, cmd),
	};
}

/* Acknowledge what follows from the last fact. */
static int
acknowledge(struct item *item, struct error *err)
{
	struct commands cmds;

	if (run_decide(item->a, item->run, &cmds) != 0)
		return fail(err, FAULT_BUG, "SLICE",
		    "the slice lacks a join that it moves");
	for (uint32_t i = 0; i < cmds.n; i++) {
		struct command *cmd = &cmds.items[i];
		struct event e;

		command_event(item->a, item->version->flow, cmd, &e);
		if (append(item, &e, err) < 0)
			return -1;
		if (cmd->type == CMD_START_STEP && cmd->kind != MESSAGE_RETRY)
			*PUSH(item, starts) = *cmd;
		else if (cmd->type == CMD_SET_TIMER)
			timer_add(item, cmd);
		else if (cmd->type == CMD_END_RUN)
			run_ended(item, cmd, &e);
	}
	return 0;
}

static int
fact(struct item *item, struct event *e, struct error *err)
{
	event_mask(item, e);
	return append(item, e, err) < 0 ? -1 : acknowledge(item, err);
}

static void
effect_line(struct item *item, const struct node *node,
    const struct effect *effect, const struct event *e)
{
	int id = (int)node->id.n;
	struct str taken;
	char at[TIME_TEXT];

	if (effect->line.message.s != NULL) {
		line_add(item, e, &effect->line);
		return;
	}
	switch (effect->type) {
	case EFFECT_WAIT:
		say(item, e, LEVEL_INFO,
		    arena_printf(item->a, "step %.*s: waits until %s", id,
			node->id.s, time_format(effect->until_ms, at)));
		break;
	case EFFECT_FAIL:
		say(item, e, LEVEL_ERROR,
		    arena_printf(item->a, "step %.*s: %s", id, node->id.s,
			effect->message));
		break;
	case EFFECT_DONE:
	case EFFECT_HTTP:
		taken = json_str(json_get(effect->output, "case"));
		if (node->type == NODE_BRANCH)
			say(item, e, LEVEL_INFO,
			    arena_printf(item->a, "step %.*s: takes \"%.*s\"",
				id, node->id.s, STR_FMT(taken)));
		else if (node->type == NODE_TRANSFORM)
			say(item, e, LEVEL_INFO,
			    arena_printf(item->a, "step %.*s: transformed", id,
				node->id.s));
		break;
	}
}

/* Carry out a step that needs nothing from outside.
 * NODE_OUT_NOT_LOADED: not here. */
static int
carry_out(struct item *item, const struct message *m, struct error *err)
{
	const struct flow *flow = item->version->flow;
	struct effect effect;
	struct event e;
	int r;

	if (m->kind == MESSAGE_SKIP) {
		event_skipped(item->a, flow, m->node, &e);
		return fact(item, &e, err);
	}
	r = node_begin(
	    item->a, flow, m->node, &item->context, item->now_ms, &effect, err);
	if (r != 0)
		return r;
	node_done(item->a, flow, m, &effect, item->now_ms, &e);
	effect_line(item, &flow->nodes[m->node], &effect, &e);
	return fact(item, &e, err);
}

/* 1: it was carried out here; 0: it needs a message. */
static int
start_inline(struct item *item, const struct command *cmd, struct error *err)
{
	const struct node *node = &item->version->flow->nodes[cmd->node];
	struct message m = {
		.node = cmd->node, .attempt = cmd->attempt, .kind = cmd->kind
	};
	int r;

	if (item->inlining <= 0 || !run_holds(item->run, cmd->node))
		return 0;
	if (cmd->kind != MESSAGE_SKIP && !node_is_inline(node))
		return 0;
	item->inlining--;
	r = carry_out(item, &m, err);
	return r < 0 ? -1 : r == 0;
}

static int
starts_run(struct item *item, struct error *err)
{
	while (item->next_start < item->n_starts) {
		/* a copy: the array grows meanwhile */
		struct command cmd = item->starts[item->next_start++];
		int r;

		if (run_status(item->run) != RUN_RUNNING)
			return 0;
		r = start_inline(item, &cmd, err);
		if (r < 0)
			return -1;
		if (r == 0)
			*PUSH(item, sends) =
			    message_make(item->a, item->version->flow, &cmd);
	}
	return 0;
}

/* Has this message been answered by somebody else? */
static int
is_resolved(const struct item *item, const struct message *m)
{
	struct step_row row;

	if (!run_step(item->run, m->node, &row))
		return 0;
	if (m->kind == MESSAGE_RETRY || m->kind == MESSAGE_DELAY)
		return row.status != STEP_WAITING || row.attempt != m->attempt;
	if (row.status != STEP_SCHEDULED)
		return 1;
	return m->kind == MESSAGE_STEP && row.attempt != m->attempt;
}

static int
refused_fact(struct item *item, const struct task *t, struct error *err)
{
	struct effect effect = { .type = EFFECT_FAIL,
		.code = t->refused.code,
		.message = t->refused.text };
	struct event e;

	node_done(item->a, item->version->flow, &t->message, &effect,
	    item->now_ms, &e);
	effect_line(
	    item, &item->version->flow->nodes[t->message.node], &effect, &e);
	return fact(item, &e, err);
}

static int
task_facts(struct item *item, struct task *t, struct error *err)
{
	const struct node *node = &item->version->flow->nodes[t->message.node];
	struct event e;

	if (run_status(item->run) != RUN_RUNNING ||
	    is_resolved(item, &t->message))
		return 0;
	t->attempted =
	    t->message.kind == MESSAGE_STEP || t->message.kind == MESSAGE_RETRY;
	if (t->message.kind == MESSAGE_RETRY ||
	    t->message.kind == MESSAGE_DELAY) {
		event_timer_fired(
		    item->a, item->version->flow, &t->message, &e);
		if (t->message.kind == MESSAGE_DELAY)
			say(item, &e, LEVEL_INFO,
			    arena_printf(item->a, "step %.*s: goes on",
				STR_FMT(node->id)));
		if (fact(item, &e, err) < 0)
			return -1;
		if (t->message.kind == MESSAGE_DELAY)
			return 0;
	}
	/* to be skipped is no try that could fail */
	if (t->care == CARE_FAIL && t->message.kind != MESSAGE_SKIP)
		return refused_fact(item, t, err);
	if (t->event.type == NULL) {
		int r = carry_out(item, &t->message, err);

		return r > 0 ? fail(err, FAULT_BUG, "SLICE",
				   "its message lacks what it reads")
			     : r;
	}
	e = t->event;
	if (t->line.message.s != NULL)
		say(item, &e, t->line.level,
		    arena_printf(item->a, "step %.*s: %.*s", STR_FMT(node->id),
			STR_FMT(t->line.message)));
	else
		say(item, &e, LEVEL_ERROR,
		    arena_printf(item->a, "step %.*s: %.*s", STR_FMT(node->id),
			STR_FMT(json_str(json_get(e.payload, "message")))));
	return fact(item, &e, err);
}

static int
rows_load(struct item *item, const struct task *t, struct error *err)
{
	const struct json *rows = json_get(t->slice, "rows");

	for (uint32_t i = 0; rows != NULL && i < rows->n; i++) {
		const struct json *r = json_at(rows, i);
		struct step_row row = { .step = json_str(json_at(r, 0)) };
		int64_t v[4] = { 0 };

		for (size_t j = 0; j < 4; j++)
			json_integer(json_at(r, j + 2), &v[j]);
		row.attempt = (int32_t)v[0];
		row.waits = (int32_t)v[1];
		row.live = (int32_t)v[2];
		row.seq = (int32_t)v[3];
		if (step_status_parse(json_str(json_at(r, 1)), &row.status) <
			0 ||
		    run_load(item->run, &row, err) < 0)
			return fail(
			    err, FAULT_BUG, "ROW", "row %u is not ours", i);
	}
	return run_claimed(item->run, t->json, err);
}

/* Fold what came after `known` up to `until`: the oldest slice's task has all
 * of it. */
static int
catch_up(
    struct item *item, const struct task *t, int32_t until, struct error *err)
{
	int32_t seq = t->base; /* before the first of tail[i] */

	for (uint32_t i = 0; i < t->n_tail; i++) {
		const struct past *p = t->tail[i];
		int32_t from = run_last_seq(item->run) - seq;
		int32_t to =
		    until - seq < (int32_t)p->n ? until - seq : (int32_t)p->n;

		if (from >= 0 && from < to &&
		    run_catch_up(item->run, p->events + from,
			(uint32_t)(to - from), err) < 0)
			return -1;
		seq += (int32_t)p->n;
	}
	if (run_last_seq(item->run) < until)
		return fail(err, FAULT_BUG, "TAIL", "events are missing");
	return 0;
}

static void
context_add(struct item *item, const struct task *t)
{
	struct context c;

	context_of(item->a, t, &c);
	item->context.run = c.run;
	if (item->context.input == NULL)
		item->context.input = c.input;
	for (uint32_t i = 0; i < c.n_outputs; i++)
		output_set(item, c.which[i], c.outputs[i]);
}

static int
state_make(
    struct item *item, struct task **tasks, uint32_t n, struct error *err)
{
	item->run = run_slice(item->a, item->version->flow, tasks[0]->base);
	item->context.folded = item->run;
	for (uint32_t i = 0; i < n; i++) {
		if (catch_up(item, tasks[0], tasks[i]->base, err) < 0)
			return -1;
		context_add(item, tasks[i]);
		if (rows_load(item, tasks[i], err) < 0)
			return -1;
	}
	return catch_up(item, tasks[0], tasks[0]->known, err);
}

/* The run ends, whatever its state: nothing is folded. */
static int
abandon(struct item *item, struct task *t)
{
	struct str step = json_str(json_get(t->json, "n"));
	struct event e;
	struct json *dead = json_object(item->a);

	event_abandoned(item->a, t->refused.code, t->refused.text, step, &e);
	event_mask(item, &e);
	e.seq = t->known + 1;
	*PUSH(item, events) = e;
	say(item, &e, LEVEL_ERROR,
	    arena_printf(item->a, "step %.*s: given up: %s", STR_FMT(step),
		t->refused.text));
	e.type = "run.failed";
	e.seq++;
	*PUSH(item, events) = e;
	say(item, &e, LEVEL_ERROR,
	    arena_printf(item->a, "run failed at step %.*s: %s", STR_FMT(step),
		t->refused.code));
	item->status = "failed";
	item->error = e.payload;
	json_set(item->a, dead, "message", (struct json *)t->json);
	json_set(item->a, dead, "error", (struct json *)e.payload);
	item->dead = dead;
	return 0;
}

int
item_make(struct item *item, struct arena *a, struct task **tasks, uint32_t n,
    struct error *err)
{
	*item = (struct item){
		.a = a,
		.w = tasks[0]->w,
		.version = tasks[0]->version,
		.now_ms = poll_now_ms(tasks[0]->w),
	};
	for (uint32_t i = 0; i < n; i++)
		tasks[i]->attempted = 0;
	/* an abandoned task is alone, whatever else is there is deleted */
	for (uint32_t i = 0; i < n; i++)
		if (tasks[i]->care == CARE_ABANDON)
			return abandon(item, tasks[i]);
	if (item->version == NULL || item->version->flow == NULL)
		return 0; /* the run is over: its messages are deleted */
	item->inlining = item->w->o.no_inline ? 0 : INLINE_MOST;
	for (uint32_t i = 0; i < n; i++)
		if (tasks[i]->care != CARE_NONE)
			item->inlining = 0;
	if (state_make(item, tasks, n, err) < 0)
		return -1;
	for (uint32_t i = 0; i < n; i++)
		if (task_facts(item, tasks[i], err) < 0 ||
		    starts_run(item, err) < 0)
			return -1;
	item->n_rows = run_changed(a, item->run, &item->rows);
	if (item->status != NULL)
		item->n_sends = item->n_timers = 0;
	return 0;
}
