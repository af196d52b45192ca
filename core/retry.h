#pragma once
/*
 * When to try again. Pure: the clock, the randomness and what happened are
 * arguments, so a recorded decision can be decided again.
 *
 * The delay before attempt n + 1 is drawn from [0, d] (full jitter) where
 * d = min(cap, base * factor^(n-1)). A Retry-After that the policy respects is
 * the least delay, capped on its own; the first backoff's jitter is added, so
 * that callers who were told the same second don't come back together.
 */
#include <stdint.h>

#include "core/arena.h"

enum {
	RETRY_RANGES = 16,
	RETRY_GIVE_UP = -1,
	RETRY_NO_AFTER = -1,
};

struct retry_range {
	uint16_t from, to; /* both included: { 500, 599 } */
};

struct retry_policy {
	uint32_t max_attempts; /* the first one counts; 0 reads as 1 */
	int64_t base_ms, cap_ms;
	double factor; /* below 1 reads as 1 */
	int jitter;
	int on_connection;   /* no answer came: refused, cut, timed out */
	int use_retry_after; /* of answers that are retried */
	int64_t retry_after_cap_ms;
	uint32_t n_statuses;
	struct retry_range statuses[RETRY_RANGES];
};

enum retry_cause {
	RETRY_STATUS,     /* an answer with a status */
	RETRY_CONNECTION, /* no answer, may pass */
	RETRY_NEVER,      /* would fail again in the same way */
};

/* How an attempt ended. */
struct retry_try {
	uint32_t attempt; /* counted from 1 */
	enum retry_cause cause;
	int status;
	int64_t retry_after_ms; /* or RETRY_NO_AFTER */
	uint64_t random;        /* uniform over all 64 bits */
};

/* 5 attempts; 1 s, doubled, at most 60 s; jitter; connection errors and
 * 408, 425, 429, 500, 502-504; Retry-After up to 1 h. */
struct retry_policy retry_default(void);

/* Milliseconds until the next attempt, or RETRY_GIVE_UP. */
int64_t retry_next(const struct retry_policy *p, const struct retry_try *t);

/*
 * Retry-After (RFC 9110, 10.2.3): seconds, or a date in any of the three
 * formats of HTTP. *ms is the wait from now, 0 for a date that is past.
 * -1 when it is neither.
 */
int retry_after_parse(struct str s, int64_t now_ms, int64_t *ms);
