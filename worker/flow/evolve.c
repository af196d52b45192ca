/*
 * A fact moves its step, and settle() everything behind it: each edge that
 * leaves a settled step is live or dead; a step whose edges are all resolved
 * starts when one is live, and is else skipped, which settles it in turn. The
 * queue of that walk is the list of commands itself: a step that is skipped is
 * a command, and its own edges are resolved when the walk comes to it. So a
 * dead path costs what is on it, and no stack.
 */
#include "worker/flow/flow-impl.h"
#include "worker/flow/run-impl.h"

#include <string.h>

enum { PORT_NONE = -1 }; /* of a skipped step: every edge is dead */

static int
wrong(struct error *err, const struct event *e, const char *why)
{
	struct str step = json_str(json_get(e->payload, "step"));

	return fail(err, FAULT_BUG, "HISTORY", "event %d, %s%s%.*s: %s", e->seq,
	    e->type, step.n > 0 ? " of " : "", STR_FMT(step), why);
}

static void
start(struct run *run, struct step_state *s, enum message_kind kind)
{
	struct command *cmd = run_ask(run, CMD_START_STEP, s->node);

	s->status = STEP_SCHEDULED;
	s->dying = kind == MESSAGE_SKIP;
	if (kind != MESSAGE_RETRY)
		s->attempt = 1;
	cmd->kind = kind;
	cmd->attempt = s->attempt;
	cmd->deadline_ms = s->deadline_ms;
}

static void
ended(struct step_state *s, enum step_status status, const struct json *output)
{
	s->status = status;
	s->ended = 1;
	s->output = output;
}

/* One edge into a step is settled. */
static void
resolve(struct run *run, uint32_t to, int live)
{
	const struct node *node = &run->flow->nodes[to];
	struct step_state *s = state_of(run, to);

	if (!s->known) {
		run->blind |= !run->catching_up;
		return;
	}
	if (s->waits <= 0 || (s->begun && s->status != STEP_PENDING)) {
		run->broken = 1;
		return;
	}
	s->begun = s->changed = 1;
	s->status = STEP_PENDING;
	s->live += live;
	if (--s->waits > 0)
		return;
	if (to == run->flow->n_nodes) {
		ended(s, STEP_SUCCEEDED, NULL);
		run->at_end = 1;
	} else if (s->live > 0) {
		start(run, s, MESSAGE_STEP);
	} else if (node->skip_by_message) {
		start(run, s, MESSAGE_SKIP);
	} else {
		ended(s, STEP_SKIPPED, NULL);
		run_ask(run, CMD_SKIP_STEP, to);
	}
}

static void
resolve_edges(struct run *run, uint32_t from, int port)
{
	const struct node *node = &run->flow->nodes[from];

	for (uint32_t i = 0; i < node->n_out; i++)
		resolve(run, node->out[i].to, node->out[i].port == port);
	if (node->n_out == 0)
		resolve(run, run->flow->n_nodes, port != PORT_NONE);
}

static void
settle_rest(struct run *run)
{
	for (uint32_t i = run->head; i < run->n_todo; i++)
		if (run->todo[i].type == CMD_SKIP_STEP)
			resolve_edges(run, run->todo[i].node, PORT_NONE);
	if (run->at_end) {
		struct command *cmd =
		    run_ask(run, CMD_END_RUN, run->flow->n_nodes);

		cmd->status = RUN_SUCCEEDED;
		cmd->result = json_object(run->arena);
	}
}

static void
settle(struct run *run, uint32_t node, int port)
{
	resolve_edges(run, node, port);
	settle_rest(run);
}

static void
end(struct run *run, enum run_status status, const struct json *result)
{
	struct command *cmd = run_ask(run, CMD_END_RUN, run->flow->n_nodes);

	cmd->status = status;
	cmd->result = result;
}

/* {code, message, step} of a failure, as run.failed says it. */
static void
end_failed(struct run *run, const struct json *from)
{
	static const char *const keys[] = { "code", "message", "step" };
	struct json *o = json_object(run->arena);

	for (size_t i = 0; i < 3; i++) {
		struct json *v = json_get(from, keys[i]);

		if (v != NULL)
			json_set(run->arena, o, keys[i], v);
	}
	end(run, RUN_FAILED, o);
}

/* The step of a result: one that is being carried out, in this attempt. A
 * slice need not have heard of it. */
static struct step_state *
carried_out(struct run *run, const struct event *e, struct error *err)
{
	int32_t node =
	    flow_find(run->flow, json_str(json_get(e->payload, "step")));
	struct step_state *s;
	int64_t attempt;

	if (node < 0 || (uint32_t)node == run->flow->n_nodes ||
	    node_is_trigger(&run->flow->nodes[node]))
		return wrong(err, e, "no such step"), NULL;
	if (json_integer(json_get(e->payload, "attempt"), &attempt) < 0 ||
	    attempt < 1 || attempt > INT32_MAX)
		return wrong(err, e, "no attempt"), NULL;
	s = state_of(run, (uint32_t)node);
	if (s->begun ? s->status != STEP_SCHEDULED || s->attempt != attempt ||
		    s->dying
		     : run->whole)
		return wrong(err, e, "is not being carried out"), NULL;
	s->begun = s->changed = 1;
	s->attempt = (int32_t)attempt;
	s->stored |= attempt > 1;
	return s;
}

static int
on_started(struct run *run, const struct event *e, struct error *err)
{
	int32_t trigger =
	    flow_find(run->flow, json_str(json_get(e->payload, "trigger")));

	if (e->seq != 1 || !run->whole)
		return wrong(err, e, "is not the first");
	if (trigger < 0 || !node_is_trigger(&run->flow->nodes[trigger]))
		return wrong(err, e, "no such trigger");
	for (uint32_t i = 0; i < run->flow->n_nodes; i++)
		if (node_is_trigger(&run->flow->nodes[i]))
			resolve_edges(run, i,
			    i == (uint32_t)trigger ? PORT_SUCCESS : PORT_NONE);
	settle_rest(run);
	return 0;
}

static void
terminated(struct run *run, const struct node *node, const struct json *output)
{
	struct json *o = json_object(run->arena), *v;

	if (node->config->terminate.failed) {
		json_set(run->arena, o, "code",
		    json_cstring(run->arena, "terminated"));
		json_set(
		    run->arena, o, "step", json_string(run->arena, node->id));
	}
	if ((v = json_get(output, "message")) != NULL)
		json_set(run->arena, o, "message", v);
	if ((v = json_get(output, "output")) != NULL)
		json_set(run->arena, o, "output", v);
	end(run, node->config->terminate.failed ? RUN_FAILED : RUN_SUCCEEDED,
	    o);
}

static int
on_succeeded(struct run *run, const struct event *e, struct error *err)
{
	struct step_state *s = carried_out(run, e, err);
	const struct json *output = json_get(e->payload, "output");
	const struct node *node;
	int port = PORT_SUCCESS;

	if (s == NULL)
		return -1;
	node = &run->flow->nodes[s->node];
	ended(s, STEP_SUCCEEDED, output);
	s->seq = e->seq;
	if (node->type == NODE_TERMINATE) {
		terminated(run, node, output);
		return 0;
	}
	if (node->type == NODE_BRANCH) {
		port = branch_port(node, json_str(json_get(output, "case")));
		if (port < 0)
			return wrong(err, e, "no such case");
	}
	settle(run, s->node, port);
	return 0;
}

static int
on_failed(struct run *run, const struct event *e, struct error *err)
{
	struct step_state *s = carried_out(run, e, err);
	const struct node *node;
	struct command *cmd;
	int64_t due;

	if (s == NULL)
		return -1;
	node = &run->flow->nodes[s->node];
	due = retry_due(node, e->payload);
	if (due >= 0) {
		s->status = STEP_WAITING;
		s->attempt++;
		json_integer(
		    json_get(e->payload, "deadline_at"), &s->deadline_ms);
		cmd = run_ask(run, CMD_SET_TIMER, s->node);
		cmd->kind = MESSAGE_RETRY;
		cmd->attempt = s->attempt;
		cmd->due_ms = due;
		cmd->deadline_ms = s->deadline_ms;
		return 0;
	}
	ended(s, STEP_FAILED, json_get(e->payload, "output"));
	s->seq = e->seq;
	if (node->on_error)
		settle(run, s->node, PORT_ERROR);
	else
		end_failed(run, e->payload);
	return 0;
}

static int
on_waiting(struct run *run, const struct event *e, struct error *err)
{
	struct step_state *s = carried_out(run, e, err);
	struct command *cmd;
	int64_t until;

	if (s == NULL)
		return -1;
	if (run->flow->nodes[s->node].type != NODE_DELAY ||
	    json_integer(json_get(e->payload, "until"), &until) < 0)
		return wrong(err, e, "is no delay");
	s->status = STEP_WAITING;
	cmd = run_ask(run, CMD_SET_TIMER, s->node);
	cmd->kind = MESSAGE_DELAY;
	cmd->attempt = s->attempt;
	cmd->due_ms = until;
	return 0;
}

static int
on_fired(struct run *run, const struct event *e, struct error *err)
{
	int32_t node =
	    flow_find(run->flow, json_str(json_get(e->payload, "step")));
	struct str kind = json_str(json_get(e->payload, "kind"));
	int delay = str_is(kind, "delay");
	struct step_state *s;
	int64_t attempt;

	if (node < 0 ||
	    json_integer(json_get(e->payload, "attempt"), &attempt) ||
	    attempt < 1 || attempt > INT32_MAX ||
	    (!delay && !str_is(kind, "retry")) ||
	    delay != (run->flow->nodes[node].type == NODE_DELAY) ||
	    (uint32_t)node == run->flow->n_nodes)
		return wrong(err, e, "no such timer");
	s = state_of(run, (uint32_t)node);
	if (s->begun ? s->status != STEP_WAITING || s->attempt != attempt
		     : run->whole)
		return wrong(err, e, "nothing waits for it");
	s->begun = s->changed = s->stored = 1;
	s->attempt = (int32_t)attempt;
	if (!delay) {
		start(run, s, MESSAGE_RETRY);
		return 0;
	}
	ended(s, STEP_SUCCEEDED, NULL);
	settle(run, s->node, PORT_SUCCESS);
	return 0;
}

/* As a fact: the end of a step whose skip went by message. */
static int
on_skipped(struct run *run, const struct event *e, struct error *err)
{
	int32_t node =
	    flow_find(run->flow, json_str(json_get(e->payload, "step")));
	struct step_state *s;

	if (node < 0 || !run->flow->nodes[node].skip_by_message)
		return wrong(err, e, "no such step");
	s = state_of(run, (uint32_t)node);
	if (s->begun ? s->status != STEP_SCHEDULED || !s->dying : run->whole)
		return wrong(err, e, "is not to be skipped");
	s->begun = s->changed = 1;
	s->attempt = 1;
	ended(s, STEP_SKIPPED, NULL);
	settle(run, s->node, PORT_NONE);
	return 0;
}

static int
on_cancel(struct run *run, const struct event *e, struct error *err)
{
	struct json *o = json_object(run->arena);
	struct json *reason = json_get(e->payload, "reason");

	(void)err;
	if (reason != NULL)
		json_set(run->arena, o, "reason", reason);
	end(run, RUN_CANCELLED, o);
	return 0;
}

static int
on_abandoned(struct run *run, const struct event *e, struct error *err)
{
	(void)err;
	end_failed(run, e->payload);
	return 0;
}

static const struct {
	const char *type;
	int (*fold)(struct run *, const struct event *, struct error *);
} facts[] = {
	{ "step.succeeded", on_succeeded },
	{ "step.failed", on_failed },
	{ "step.waiting", on_waiting },
	{ "timer.fired", on_fired },
	{ "run.started", on_started },
	{ "step.skipped", on_skipped },
	{ "run.cancel_requested", on_cancel },
	{ "run.abandoned", on_abandoned },
};

/* Someone else started a join that this slice knows nothing of. */
static int
foreign_start(const struct run *run, const struct event *e)
{
	int32_t node;
	const struct step_state *s;

	if (run->whole || !run->catching_up ||
	    strcmp(e->type, "step.scheduled") != 0)
		return 0;
	node = flow_find(run->flow, json_str(json_get(e->payload, "step")));
	if (node < 0 || !run->flow->nodes[node].is_join)
		return 0;
	s = state_find(run, (uint32_t)node);
	return s == NULL || !s->known;
}

static int
fold_fact(struct run *run, const struct event *e, struct error *err)
{
	for (size_t i = 0; i < sizeof(facts) / sizeof(*facts); i++)
		if (strcmp(facts[i].type, e->type) == 0)
			return facts[i].fold(run, e, err);
	return wrong(err, e, "acknowledges nothing");
}

int
run_evolve(struct run *run, const struct event *e, struct error *err)
{
	const struct command *cmd =
	    run->head < run->n_todo ? &run->todo[run->head] : NULL;

	if (run->status != RUN_RUNNING)
		return wrong(err, e, "the run is over");
	if (e->seq != run->last_seq + 1)
		return wrong(err, e, "is not the next");
	if (e->seq == 1 && strcmp(e->type, "run.started") != 0)
		return wrong(err, e, "is not how a run begins");
	if (cmd != NULL && command_acked_by(run->flow, cmd, e)) {
		if (cmd->type == CMD_END_RUN)
			run->status = cmd->status;
		run->head++;
	} else if (foreign_start(run, e)) {
		; /* and what it does is told by facts */
	} else if (cmd != NULL) {
		return wrong(err, e, "is not what was decided");
	} else {
		run->head = run->n_todo = 0;
		if (fold_fact(run, e, err) < 0)
			return -1;
		if (run->broken)
			return wrong(err, e, "an edge was resolved twice");
	}
	run->last_seq++;
	return 0;
}
