#pragma once
/*
 * Events a second, as the real server counts them: an average over the seconds
 * since the first event, at most the last 60, taken anew every PACE_LOOK_S. So
 * a burst passes, and what was too much stays too much for a while. After a
 * minute without any it begins anew.
 */
#include <stdint.h>

enum { PACE_WINDOW_S = 60, PACE_LOOK_S = 5 };

struct pace {
	uint32_t limit; /* events a second; 0: none */
	uint32_t counts[PACE_WINDOW_S];
	uint32_t n, at; /* seconds in counts; the current one's */
	int over;
};

void pace_init(struct pace *r, uint32_t limit);
void pace_add(struct pace *r, uint32_t events);
/* A second went by. */
void pace_tick(struct pace *r);
double pace_average(const struct pace *r);
