#pragma once
/*
 * The state of a run, shared by run.c (what it holds), evolve.c (how facts move
 * it) and decide.c (what it asks for).
 *
 * steps[] grows as steps are spoken of; slots[] is a hash index over it, node
 * to position plus one, probed linearly, at most half full.
 */
#include "worker/flow/run.h"

struct step_state {
	uint32_t node;
	unsigned begun : 1;   /* something happened: status means something */
	unsigned known : 1;   /* a join whose row is loaded, or has none */
	unsigned stored : 1;  /* the table may have its row */
	unsigned changed : 1; /* since the slice was complete */
	unsigned dying : 1;   /* SCHEDULED to be skipped */
	unsigned ended : 1;   /* its end was folded, so output is known */
	enum step_status status;
	int32_t attempt, waits, live, seq;
	int64_t deadline_ms;
	const struct json *output;
};

struct run {
	struct arena *arena;
	const struct flow *flow;
	struct step_state *steps;
	uint32_t n_steps, room_steps;
	uint32_t *slots, n_slots;
	int32_t last_seq;
	enum run_status status;
	unsigned whole : 1;       /* every event since the first was folded */
	unsigned catching_up : 1; /* folding what others wrote */
	unsigned blind : 1;       /* moved a join that is not loaded */
	unsigned at_end : 1;      /* the last edge into "$end" is resolved */
	unsigned broken : 1;      /* an edge was resolved twice */
	/* What is asked for; acknowledged from the front. */
	struct command *todo;
	uint32_t n_todo, room_todo, head;
};

struct step_state *state_find(const struct run *run, uint32_t node);
struct step_state *state_of(struct run *run, uint32_t node); /* or a new one */
/* Has this step a row in the projection? */
int state_has_row(const struct run *run, const struct step_state *s);
struct command *run_ask(struct run *run, enum command_type type, uint32_t node);

/* When the attempt that this step.failed tells of is followed by another, or
 * -1 when it is the last. */
int64_t retry_due(const struct node *node, const struct json *failed);

/* Is this the event that acknowledges the command? */
int command_acked_by(
    const struct flow *flow, const struct command *cmd, const struct event *e);
