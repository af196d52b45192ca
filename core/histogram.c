#include "core/histogram.h"

uint32_t
histogram_bucket(int64_t us)
{
	uint32_t octave, i;

	if (us < HISTOGRAM_STEPS)
		return us > 0 ? (uint32_t)us : 0;
	octave = 63 - (uint32_t)__builtin_clzll((uint64_t)us); /* 3, 4, ... */
	i = (octave - 2) * HISTOGRAM_STEPS +
	    (uint32_t)((us >> (octave - 3)) % HISTOGRAM_STEPS);
	return i < HISTOGRAM_BUCKETS ? i : HISTOGRAM_BUCKETS - 1;
}

int64_t
histogram_end(uint32_t bucket)
{
	uint32_t octave = bucket / HISTOGRAM_STEPS;

	if (octave == 0)
		return bucket + 1;
	return (int64_t)(HISTOGRAM_STEPS + bucket % HISTOGRAM_STEPS + 1)
	    << (octave - 1);
}

double
histogram_middle(uint32_t bucket)
{
	int64_t begin = bucket > 0 ? histogram_end(bucket - 1) : 0;

	return (double)(begin + histogram_end(bucket) - 1) / 2;
}
