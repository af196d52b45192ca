#pragma once
/*
 * The buckets of histograms of durations: logarithmic by octave and linear
 * within one, an eighth each. Below 8 us each microsecond has its own. So a
 * bucket's middle is within a sixteenth of whatever fell into it, from 1 us to
 * three days.
 *
 * They are the same in every process and in the database (its bucket_end()), so
 * histograms are merged by adding them up, and nothing is lost by it.
 */
#include <stdint.h>

enum {
	HISTOGRAM_STEPS = 8,    /* of an octave */
	HISTOGRAM_OCTAVES = 36, /* up to 2^38 us */
	HISTOGRAM_BUCKETS = HISTOGRAM_OCTAVES * HISTOGRAM_STEPS,
};

/* Which one a duration falls into: the first, if it is negative; the last, if
 * it is longer than all. */
uint32_t histogram_bucket(int64_t us);
/* The least duration, in microseconds, that is above a bucket. */
int64_t histogram_end(uint32_t bucket);
/* The middle of those that fall into it, in microseconds. */
double histogram_middle(uint32_t bucket);
