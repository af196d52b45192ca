#pragma once
/*
 * A run as its events tell it: run_evolve folds one event in, run_decide says
 * what is missing. Both are pure: same events, same state, same commands,
 * whoever folds them and whenever.
 *
 * The state is sparse: it holds the steps that events or loaded rows speak of,
 * never all nodes of the definition, so a slice (decisions/0001) costs what it
 * holds. Facts change the state; commands are what the state asks for and no
 * acknowledgement has recorded yet. Every command is acknowledged by exactly
 * one event (command_event), so deciding again after it adds nothing.
 */
#include <stdint.h>

#include "worker/flow/flow.h"

enum step_status {
	STEP_PENDING,   /* a join that some edge has reached */
	STEP_SCHEDULED, /* its message is in the queue or the backlog */
	STEP_WAITING,   /* for a timer: a delay, or the next attempt */
	STEP_SUCCEEDED,
	STEP_FAILED,
	STEP_SKIPPED,
};

enum run_status { RUN_RUNNING, RUN_SUCCEEDED, RUN_FAILED, RUN_CANCELLED };

/* One event, as stored. at_ms: its ts. */
struct event {
	int32_t seq;
	const char *type;
	const struct json *payload;
};

struct step_row { /* one row of meshhook.steps */
	struct str step;
	enum step_status status;
	int32_t attempt;
	int32_t waits, live;
	int32_t seq; /* of the event that holds the output; 0: none */
};

enum command_type {
	CMD_START_STEP,
	CMD_SET_TIMER, /* kind "retry" or "delay" */
	CMD_SKIP_STEP,
	CMD_END_RUN,
};

struct command {
	enum command_type type;
	uint32_t node;
	int32_t attempt;
	const char *kind;
	int64_t due_ms;
	enum run_status status;   /* END_RUN */
	const struct json *result; /* END_RUN: output, or error */
};

struct commands {
	struct command *items;
	uint32_t n, room;
};

struct run; /* opaque: run.c */

struct run *run_new(struct arena *a, const struct flow *flow);
/* A row that claim returned, before any event is folded. */
int run_load(struct run *run, const struct step_row *row, struct error *err);
/* -1 with FAULT_BUG: this event can't follow (a gap, an unknown step, a result
 * for a step that has one): the history is not one that we wrote. */
int run_evolve(struct run *run, const struct event *event, struct error *err);
int run_decide(struct arena *a, const struct run *run, int64_t now_ms,
    struct commands *out, struct error *err);

/* The event that acknowledges a command, to be appended and folded. */
int command_event(struct arena *a, const struct flow *flow,
    const struct command *cmd, struct event *out);
/* The message that a START_STEP or a fired timer puts into the queue, without
 * "p" and "r" (see decisions/0001). */
struct json *command_message(struct arena *a, const struct flow *flow,
    const struct command *cmd);

enum run_status run_status(const struct run *run);
int32_t run_last_seq(const struct run *run);
/* NULL when the state has nothing on it. */
const struct step_row *run_step(const struct run *run, uint32_t node);
/* Rows that evolve changed since the run was made, and that the projection
 * holds (decisions/0001 says which steps have none). */
uint32_t run_changed(struct arena *a, const struct run *run,
    const struct step_row **out);
