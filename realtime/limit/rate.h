#pragma once
/*
 * Token buckets by key, in a table of fixed size: a rate a second, and as much
 * again at once. A key that was quiet for as long as its bucket takes to fill
 * is forgotten; when the table is full of others, the fullest makes room.
 */
#include "core/uuid.h"

enum { RATE_SLOTS = 1024, RATE_PROBES = 8 };

struct rates {
	uint32_t rate; /* a second; 0: unlimited */
	struct rate_slot {
		struct uuid key;
		int64_t at_ms;      /* when it was last looked at; 0: free */
		int64_t left_milli; /* thousandths */
	} slots[RATE_SLOTS];
};

/* Take n, or as many as a bucket holds where that is less; 0 when they were
 * there, else seconds to wait. */
int rate_take(
    struct rates *r, const struct uuid *key, uint32_t n, int64_t now_ms);
