#include "core/retry.h"
#include "core/mem.h"
#include "core/time.h"

struct retry_policy
retry_default(void)
{
	return (struct retry_policy){
		.max_attempts = 5,
		.base_ms = 1000,
		.cap_ms = 60000,
		.factor = 2.0,
		.jitter = 1,
		.on_connection = 1,
		.use_retry_after = 1,
		.retry_after_cap_ms = 3600000,
		.n_statuses = 5,
		.statuses = { { 408, 408 }, { 425, 425 }, { 429, 429 },
		    { 500, 500 }, { 502, 504 } },
	};
}

static int
retries_status(const struct retry_policy *p, int status)
{
	for (uint32_t i = 0; i < p->n_statuses && i < RETRY_RANGES; i++)
		if (status >= p->statuses[i].from &&
		    status <= p->statuses[i].to)
			return 1;
	return 0;
}

/* base * factor^(attempt-1), at most cap; a double can't wrap around. */
static int64_t
backoff(const struct retry_policy *p, uint32_t attempt)
{
	double delay = (double)p->base_ms, cap = (double)p->cap_ms;

	if (p->factor > 1.0)
		for (uint32_t i = 1; i < attempt && delay < cap; i++) {
			double next = delay * p->factor;

			if (next <= delay) /* base 0: it will never grow */
				break;
			delay = next;
		}
	if (delay >= cap)
		return p->cap_ms > 0 ? p->cap_ms : 0;
	return delay > 0.0 ? (int64_t)delay : 0;
}

/* Uniform over [0, max]: the high half of a 128-bit product. */
static int64_t
jittered(const struct retry_policy *p, int64_t max, uint64_t random)
{
	unsigned __int128 wide = (unsigned __int128)random;

	if (!p->jitter)
		return max;
	return (int64_t)((wide * ((uint64_t)max + 1)) >> 64);
}

static int64_t
delay_after(const struct retry_policy *p, const struct retry_try *t)
{
	int64_t least = t->retry_after_ms, spread, sum;

	if (least > p->retry_after_cap_ms)
		least = p->retry_after_cap_ms;
	spread = p->jitter ? jittered(p, backoff(p, 1), t->random) : 0;
	if (__builtin_add_overflow(least, spread, &sum))
		return least;
	return sum;
}

int64_t
retry_next(const struct retry_policy *p, const struct retry_try *t)
{
	if (t->attempt >= p->max_attempts || t->cause == RETRY_NEVER)
		return RETRY_GIVE_UP;
	if (t->cause == RETRY_CONNECTION && !p->on_connection)
		return RETRY_GIVE_UP;
	if (t->cause == RETRY_STATUS && !retries_status(p, t->status))
		return RETRY_GIVE_UP;
	if (p->use_retry_after && t->retry_after_ms >= 0)
		return delay_after(p, t);
	return jittered(p, backoff(p, t->attempt), t->random);
}

int
retry_after_parse(struct str s, int64_t now_ms, int64_t *ms)
{
	static const int64_t most = INT64_MAX / 1000 - 1;
	int64_t at, seconds = 0;
	size_t i;

	for (i = 0; i < s.n && s.s[i] >= '0' && s.s[i] <= '9'; i++) {
		seconds = seconds * 10 + (s.s[i] - '0');
		if (seconds > most / 10)
			seconds = most / 10;
	}
	if (s.n > 0 && i == s.n) {
		*ms = seconds * 1000;
		return 0;
	}
	if (time_parse_http(s, now_ms, &at) < 0)
		return -1;
	*ms = at > now_ms ? at - now_ms : 0;
	return 0;
}
