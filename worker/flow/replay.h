#pragma once
/*
 * Decide a history again: after each fact, what decide asks for must be, event
 * for event, what follows. A difference means that the history was written by
 * other rules than these, or by nobody of us.
 */
#include "worker/flow/run.h"

struct replay {
	int32_t seq;      /* of the first event that differs; 0: none does */
	const char *text; /* what is wrong with it */
	uint32_t facts;   /* folded and found right */
	enum run_status status;
	int32_t last_seq;
	/* The projection, to hold against meshhook.steps. */
	struct step_row *rows;
	uint32_t n_rows;
};

enum { REPLAY_OUT_DIFFERS = 1 };
int replay_check(struct arena *a, const struct flow *flow,
    const struct event *events, uint32_t n, struct replay *out);
