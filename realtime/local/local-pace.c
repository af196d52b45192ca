#include "realtime/local/local-pace.h"

void
pace_init(struct pace *r, uint32_t limit)
{
	*r = (struct pace){ .limit = limit, .n = 1 };
}

void
pace_add(struct pace *r, uint32_t events)
{
	r->counts[r->at] += events;
}

static uint64_t
sum_of(const struct pace *r)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < r->n; i++)
		sum += r->counts[i];
	return sum;
}

double
pace_average(const struct pace *r)
{
	return (double)sum_of(r) / r->n;
}

void
pace_tick(struct pace *r)
{
	uint64_t sum = sum_of(r);

	if (sum == 0) {
		pace_init(r, r->limit);
		return;
	}
	if ((r->at + 1) % PACE_LOOK_S == 0)
		r->over = r->limit > 0 && sum > (uint64_t)r->limit * r->n;
	r->at = (r->at + 1) % PACE_WINDOW_S;
	r->counts[r->at] = 0;
	if (r->n < PACE_WINDOW_S)
		r->n++;
}
