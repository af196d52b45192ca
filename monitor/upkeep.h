#pragma once
/*
 * What the leader does beside measuring, one small step at a time, between
 * ticks: each chore is one statement with a bound of its own. A chore that
 * fails is said in the log and tried again at its next turn.
 */
#include <stdint.h>

struct monitor;

enum { UPKEEP_CHORES = 4 };

struct upkeep {
	int64_t due_ms[UPKEEP_CHORES]; /* on the loop's clock; 0: at once */
	int busy;
};

/* After a tick, as the leader: at most one chore that is due. */
void upkeep_step(struct monitor *m);
