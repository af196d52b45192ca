#pragma once
/*
 * An item: what the ready tasks of one run come to. Their facts are folded on
 * the state that they know, the commands that follow are acknowledged, and
 * steps that need nothing from outside are carried out at once. Nothing is
 * kept: an item that was stale is made again from its tasks.
 */
#include "worker/engine/engine.h"

struct item_line {
	int level;
	struct str message;
	const struct json *attrs;
};

struct item_timer {
	enum message_kind kind;
	struct str step;
	int32_t attempt;
	int64_t due_ms;
	const struct json *message;
};

struct item {
	struct arena *a;
	const struct worker *w;
	const struct version *version;
	struct run *run;
	struct context context;
	uint32_t *which; /* context's */
	uint32_t room_outputs;
	int64_t now_ms;
	int inlining; /* may steps be inlined, and how many still */

	struct event *events;
	uint32_t n_events, room_events;
	struct item_line *lines;
	uint32_t n_lines, room_lines;
	const struct json **sends;
	uint32_t n_sends, room_sends;
	struct item_timer *timers;
	uint32_t n_timers, room_timers;
	struct command *starts; /* to be inlined, or sent */
	uint32_t n_starts, room_starts, next_start;
	struct step_row *rows;
	uint32_t n_rows;
	const struct json *dead;  /* a dead letter, or NULL */
	const char *status;       /* NULL unless the run ends */
	const struct json *error; /* NULL unless it failed */
};

/* What the templates of this task's step see, from its slice. */
void context_of(struct arena *a, const struct task *t, struct context *out);

/*
 * Make the item of n tasks of one run that know the same last event, the one
 * with the oldest slice first. FAULT_BUG: the history is not one of ours.
 */
int item_make(struct item *item, struct arena *a, struct task **tasks,
    uint32_t n, struct error *err);
/* n more elements in an array of an arena. */
void *item_room(
    struct arena *a, void *array, uint32_t n, uint32_t *room, size_t size);
