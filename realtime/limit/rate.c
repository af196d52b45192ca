#include "realtime/limit/rate.h"

#include <string.h>

/* Ids are random in their last bytes. */
static uint32_t
place_of(const struct uuid *key)
{
	uint32_t h;

	memcpy(&h, key->bytes + 12, sizeof(h));
	return h;
}

static void
refill(const struct rates *r, struct rate_slot *s, int64_t now_ms)
{
	int64_t most = (int64_t)r->rate * 2000;

	s->left_milli += (now_ms - s->at_ms) * r->rate;
	if (s->left_milli > most || s->at_ms == 0)
		s->left_milli = most;
	s->at_ms = now_ms;
}

static struct rate_slot *
slot_of(struct rates *r, const struct uuid *key, int64_t now_ms)
{
	struct rate_slot *best = NULL;

	for (uint32_t i = 0; i < RATE_PROBES; i++) {
		struct rate_slot *s =
		    &r->slots[(place_of(key) + i) % RATE_SLOTS];

		if (s->at_ms != 0 && uuid_cmp(&s->key, key) == 0)
			return s;
		if (s->at_ms != 0)
			refill(r, s, now_ms);
		if (best == NULL || s->at_ms == 0 ||
		    (best->at_ms != 0 && s->left_milli > best->left_milli))
			best = s;
	}
	*best = (struct rate_slot){ .key = *key };
	return best;
}

int
rate_take(struct rates *r, const struct uuid *key, uint32_t n, int64_t now_ms)
{
	int64_t want = (int64_t)n * 1000, most = (int64_t)r->rate * 2000;
	struct rate_slot *s;

	if (r->rate == 0)
		return 0;
	s = slot_of(r, key, now_ms);
	refill(r, s, now_ms);
	if (want > most)
		want = most;
	if (s->left_milli < want)
		return (int)((want - s->left_milli + r->rate * 1000ll - 1) /
		    (r->rate * 1000ll));
	s->left_milli -= want;
	return 0;
}
