#pragma once
/*
 * A run as its events tell it. An event is a fact from outside, or it
 * acknowledges one command:
 *
 *	run_evolve folds a fact: the state moves, and with it everything
 *	that follows without the outside (skips behind a dead edge, joins, the
 *	end of the run). What it asks for are the commands that run_decide returns.
 *	Each is acknowledged by exactly one event (command_event), in order,
 *	before the next fact; then there is nothing left to decide.
 *
 * Time, jitter and answers are in the facts, so nothing here needs a clock:
 * same events, same state, same commands, whoever folds them and whenever.
 *
 * The state is sparse: it holds the steps that events or loaded rows speak of,
 * never all nodes, so a slice (decisions/0001) costs what it holds. Folding
 * the whole history and folding on top of a slice give the same commands. The
 * arena has no cap.
 *
 * A worker's item, with run_append for "number it and fold it":
 *
 *	run = run_slice(a, flow, last_seq);
 *	run_load() each row, message_parse() and run_claimed() each message;
 *	run_catch_up() with the tail, when the commit before was stale;
 *	run_append() the fact; run_decide(); run_append() each command_event();
 *	... more facts (inlined steps, other messages) while run_status is running;
 *	commit all that was appended, run_changed() rows, message_make() messages.
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

/* "pending", ...; "running", ...: as in the database. */
const char *step_status_name(enum step_status status);
const char *run_status_name(enum run_status status);
int step_status_parse(struct str name, enum step_status *out); /* -1: none */

/* One event, as stored; docs/events.md has the payloads. */
struct event {
	int32_t seq;
	const char *type;
	const struct json *payload;
};

struct step_row { /* one row of meshhook.steps; step may be "$end" */
	struct str step;
	enum step_status status;
	int32_t attempt; /* WAITING for a retry: the attempt to come */
	int32_t waits, live;
	int32_t seq; /* of the event that holds the output; 0: none */
	int fresh;   /* run_changed: it can't be in the table yet */
};

/* What a message asks for, its "k". */
enum message_kind {
	MESSAGE_STEP,  /* carry the step out */
	MESSAGE_RETRY, /* timer.fired, then carry it out again */
	MESSAGE_DELAY, /* timer.fired: the delay is over, and with it the step */
	MESSAGE_SKIP,  /* step.skipped: no edge into it is alive */
};
const char *message_kind_name(enum message_kind kind);

struct message {
	uint32_t node;
	int32_t attempt;
	enum message_kind kind;
	int64_t deadline_ms; /* of all attempts; 0: none, or not begun */
};

enum command_type {
	CMD_START_STEP, /* kind STEP: send its message; SKIP; RETRY: its timer
			 * fired, whoever appended that carries it out */
	CMD_SET_TIMER, /* kind RETRY or DELAY; message_make: what enters then */
	CMD_SKIP_STEP,
	CMD_END_RUN,
};

struct command {
	enum command_type type;
	uint32_t node;
	int32_t attempt;
	enum message_kind kind;
	int64_t due_ms;
	int64_t deadline_ms;       /* for the message */
	enum run_status status;    /* END_RUN */
	const struct json *result; /* END_RUN: its event's payload */
};

struct commands {
	struct command *items;
	uint32_t n;
};

struct run;

/* A run before its first event, for whole histories. */
struct run *run_new(struct arena *a, const struct flow *flow);

/* A run in the midst, of which little is known but its last event's number. */
struct run *run_slice(
    struct arena *a, const struct flow *flow, int32_t last_seq);
/* A row that claim returned. */
int run_load(struct run *run, const struct step_row *row, struct error *err);
/* A message that claim returned: the rows that it names are loaded, or there
 * are none. json: the message, for its "j". */
int run_claimed(struct run *run, const struct json *json, struct error *err);
/* The events that others appended since the slice was read. */
int run_catch_up(
    struct run *run, const struct event *events, uint32_t n, struct error *err);

/*
 * Fold one event in. -1 with FAULT_BUG when it can't follow (a gap, an unknown
 * step, a result for a step that has one, a fact before the commands are
 * acknowledged, an acknowledgement of nothing): not a history of ours. The
 * state is then of no further use. A run that is over takes no more events.
 */
int run_evolve(struct run *run, const struct event *event, struct error *err);
/* Number the event, then fold it. */
int run_append(struct run *run, struct event *event, struct error *err);

/* The slice lacks a row that the last fact moved: fold the whole history. */
enum { RUN_OUT_NOT_LOADED = 1 };
/* What is not yet acknowledged, a copy. */
int run_decide(struct arena *a, const struct run *run, struct commands *out);
/* Does the slice hold the joins that the end of this step may move? If not it
 * must not be inlined. */
int run_holds(const struct run *run, uint32_t node);

enum run_status run_status(const struct run *run);
int32_t run_last_seq(const struct run *run);
/* 0 when the state has nothing on it. */
int run_step(const struct run *run, uint32_t node, struct step_row *out);
/* 1 and the output (NULL: it has none), when the step's end was folded. */
int run_output(const struct run *run, uint32_t node, const struct json **out);
/* The rows that changed since run_new, or since the slice was complete; of
 * those steps that have one (decisions/0001). */
uint32_t run_changed(
    struct arena *a, const struct run *run, struct step_row **out);

/* The event that acknowledges a command. Not numbered. */
void command_event(struct arena *a, const struct flow *flow,
    const struct command *cmd, struct event *out);

/* The facts, not numbered. node.h makes those that carry results. */
void event_skipped(
    struct arena *a, const struct flow *flow, uint32_t node, struct event *out);
void event_timer_fired(struct arena *a, const struct flow *flow,
    const struct message *message, struct event *out);
void event_cancel_requested(
    struct arena *a, const char *reason, struct event *out); /* or NULL */
/* The engine gives the run up (a message that kills its workers): it fails. */
void event_abandoned(struct arena *a, const char *code, const char *message,
    struct str step, struct event *out);

/*
 * The message of a START_STEP, or what a timer puts into the queue: {"n", "a",
 * "k", "i", "o", "j", "d"} (decisions/0001), without "p" and "r"; closed over
 * the steps that may be inlined behind it.
 */
struct json *message_make(
    struct arena *a, const struct flow *flow, const struct command *cmd);
/* -1 with FAULT_BUG: not a message of this flow's. */
int message_parse(const struct flow *flow, const struct json *json,
    struct message *out, struct error *err);
