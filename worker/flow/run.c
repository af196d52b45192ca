#include "worker/flow/run.h"
#include "worker/flow/run-impl.h"

static uint32_t
slot_of(const struct run *run, uint32_t node)
{
	uint32_t at = (node * 2654435761U) & (run->n_slots - 1);

	while (
	    run->slots[at] != 0 && run->steps[run->slots[at] - 1].node != node)
		at = (at + 1) & (run->n_slots - 1);
	return at;
}

static void
states_grow(struct run *run)
{
	uint32_t room = run->room_steps != 0 ? run->room_steps * 2 : 8;

	run->steps = arena_grow(
	    run->arena, run->steps, run->n_steps, room, sizeof(*run->steps));
	run->room_steps = room;
	run->n_slots = room * 2;
	run->slots =
	    arena_zalloc(run->arena, run->n_slots * sizeof(*run->slots));
	for (uint32_t i = 0; i < run->n_steps; i++)
		run->slots[slot_of(run, run->steps[i].node)] = i + 1;
}

struct step_state *
state_find(const struct run *run, uint32_t node)
{
	uint32_t at;

	if (run->n_slots == 0)
		return NULL;
	at = run->slots[slot_of(run, node)];
	return at != 0 ? &run->steps[at - 1] : NULL;
}

struct step_state *
state_of(struct run *run, uint32_t node)
{
	struct step_state *s = state_find(run, node);

	if (s != NULL)
		return s;
	if (run->n_steps == run->room_steps)
		states_grow(run);
	s = &run->steps[run->n_steps++];
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): no cap */
	*s = (struct step_state){
		.node = node,
		.known = run->whole || !run->flow->nodes[node].is_join,
		.waits = (int32_t)run->flow->nodes[node].n_in,
	};
	run->slots[slot_of(run, node)] = run->n_steps;
	return s;
}

int
state_has_row(const struct run *run, const struct step_state *s)
{
	if (!s->begun || !s->known)
		return 0;
	if (run->flow->nodes[s->node].is_join)
		return 1;
	if (s->node == run->flow->n_nodes) /* "$end" after one step */
		return 0;
	return s->status != STEP_SCHEDULED || s->attempt > 1;
}

struct run *
run_new(struct arena *a, const struct flow *flow)
{
	struct run *run = arena_zalloc(a, sizeof(*run));

	run->arena = a;
	run->flow = flow;
	run->whole = 1;
	return run;
}

struct run *
run_slice(struct arena *a, const struct flow *flow, int32_t last_seq)
{
	struct run *run = run_new(a, flow);

	run->whole = 0;
	run->last_seq = last_seq;
	return run;
}

int
run_load(struct run *run, const struct step_row *row, struct error *err)
{
	int32_t node = flow_find(run->flow, row->step), n_in;
	struct step_state *s;

	if (node < 0)
		return fail(err, FAULT_BUG, "ROW", "no step \"%.*s\"",
		    STR_FMT(row->step));
	n_in = (int32_t)run->flow->nodes[node].n_in;
	if (row->waits < 0 || row->live < 0 || row->waits > n_in ||
	    row->live > n_in - row->waits)
		return fail(err, FAULT_BUG, "ROW",
		    "step \"%.*s\": waits %d, live %d of %d edges",
		    STR_FMT(row->step), row->waits, row->live, n_in);
	s = state_of(run, (uint32_t)node);
	*s = (struct step_state){
		.node = (uint32_t)node,
		.begun = 1,
		.known = 1,
		.stored = 1,
		.dying = row->status == STEP_SCHEDULED && row->live == 0 &&
		    run->flow->nodes[node].is_join,
		.status = row->status,
		.attempt = row->attempt,
		.waits = row->waits,
		.live = row->live,
		.seq = row->seq,
	};
	return 0;
}

int
run_claimed(struct run *run, const struct json *json, struct error *err)
{
	const struct json *joins = json_get(json, "j");

	for (uint32_t i = 0; joins != NULL && i < joins->n; i++) {
		struct str id = json_str(json_at(joins, i));
		int32_t node = flow_find(run->flow, id);

		if (node < 0)
			return fail(err, FAULT_BUG, "MESSAGE",
			    "no step \"%.*s\"", STR_FMT(id));
		state_of(run, (uint32_t)node)->known = 1;
	}
	return 0;
}

int
run_catch_up(
    struct run *run, const struct event *events, uint32_t n, struct error *err)
{
	run->catching_up = 1;
	for (uint32_t i = 0; i < n; i++)
		if (run_evolve(run, &events[i], err) < 0)
			return -1;
	run->catching_up = 0;
	for (uint32_t i = 0; i < run->n_steps; i++) {
		run->steps[i].changed = 0;
		if (state_has_row(run, &run->steps[i]))
			run->steps[i].stored = 1;
	}
	return 0;
}

int
run_append(struct run *run, struct event *event, struct error *err)
{
	event->seq = run->last_seq + 1;
	return run_evolve(run, event, err);
}

int
run_holds(const struct run *run, uint32_t node)
{
	const struct node *n = &run->flow->nodes[node];

	for (uint32_t i = 0; !run->whole && i < n->n_joins; i++) {
		const struct step_state *s = state_find(run, n->joins[i]);

		if (s == NULL || !s->known)
			return 0;
	}
	return 1;
}

enum run_status
run_status(const struct run *run)
{
	return run->status;
}

int32_t
run_last_seq(const struct run *run)
{
	return run->last_seq;
}

static struct step_row
row_of(const struct run *run, const struct step_state *s)
{
	return (struct step_row){
		.step = run->flow->nodes[s->node].id,
		.status = s->status,
		.attempt = s->attempt,
		.waits = run->flow->nodes[s->node].is_join ? s->waits : 0,
		.live = run->flow->nodes[s->node].is_join ? s->live : 0,
		.seq = s->seq,
		.fresh = !s->stored && !run->flow->nodes[s->node].is_join,
	};
}

int
run_step(const struct run *run, uint32_t node, struct step_row *out)
{
	const struct step_state *s = state_find(run, node);

	if (s == NULL || !s->begun)
		return 0;
	*out = row_of(run, s);
	return 1;
}

int
run_output(const struct run *run, uint32_t node, const struct json **out)
{
	const struct step_state *s = state_find(run, node);

	if (s == NULL || !s->ended)
		return 0;
	*out = s->output;
	return 1;
}

uint32_t
run_changed(struct arena *a, const struct run *run, struct step_row **out)
{
	uint32_t n = 0;

	*out = arena_array(a, run->n_steps, sizeof(**out));
	for (uint32_t i = 0; i < run->n_steps; i++) {
		const struct step_state *s = &run->steps[i];

		if (s->changed && state_has_row(run, s))
			(*out)[n++] = row_of(run, s);
	}
	return n;
}
