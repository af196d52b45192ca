#pragma once
/*
 * News: what a commit of ours tells the worker's other tasks of the same runs.
 * Parallel calls of a run end one by one; without news each would be decided
 * on what was known when it was claimed, and come back stale. A commit's events
 * are kept until it is answered, where a task of the same run waits.
 */
#include "worker/engine/item.h"

struct news_item {
	struct uuid run;
	uint32_t item; /* of the commit, from 1 */
	int32_t base;  /* who knows this one hears of what follows */
	uint32_t n_events;
	const struct event *events; /* until news_keep */
	char *text;                 /* of them, as a stale item's tail has it */
};

struct news {
	struct news_item *items; /* by run */
	uint32_t n, room;
};

void news_deinit(struct news *n); /* idempotent */
/* Items come as in their commit, by run. */
void news_add(struct news *n, const struct item *item, const struct task *t);
/* All are in: keep those that a task of w waits for. */
void news_keep(struct news *n, struct worker *w, struct arena *scratch);
/* This one was applied. */
void news_tell(const struct news_item *it, struct worker *w);
