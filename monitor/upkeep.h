#pragma once
/*
 * What the leader does beside measuring, one small step at a time, between
 * ticks: each step is one statement with a bound of its own. A chore that has
 * more to do goes on after a pause several times as long as the step was. A
 * chore that fails is said in the log, in the metrics and by doctor, and tried
 * again at its next turn.
 */
#include <stdint.h>

struct monitor;
struct loop_timer;

enum upkeep_chore {
	UPKEEP_MINUTES,
	UPKEEP_DAYS,
	UPKEEP_PARTITIONS,
	UPKEEP_MESSAGES,
	UPKEEP_WORKERS,
	UPKEEP_QUEUES,
	UPKEEP_RUNS,
	UPKEEP_COUNTERS,
	UPKEEP_RETENTION,
};
enum { UPKEEP_CHORES = UPKEEP_RETENTION + 1 };

struct upkeep {
	int64_t due_ms[UPKEEP_CHORES]; /* on the loop's clock; 0: at once */
	int asked[UPKEEP_CHORES];      /* whether it is due in this reign */
	struct loop_timer *timer;
	int busy;
	enum upkeep_chore chore; /* the last one, begun then */
	int64_t begun_ms;
};

void upkeep_begin(struct monitor *m);
void upkeep_end(struct monitor *m); /* idempotent */
/* Another reign: what was not done within its hour is due. */
void upkeep_reset(struct monitor *m);
/* As the leader: at most one step of a chore that is due. */
void upkeep_step(struct monitor *m);
/* There is something for this one to do, whenever it was done. */
void upkeep_due(struct monitor *m, enum upkeep_chore chore);
