/*
 * A world: a channel that is written to, whose broadcasts may be lost, doubled
 * and late, whose requests may fail and take their time, whose old lines
 * expire, which may be restored. A reader must have had, of each epoch, each
 * number once, in order, as a line or as gone, and in the end be at the end.
 */
#include "core/mem.h"
#include "realtime/follow/merge.h"
#include "realtime/follow/test-merge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* last: cmocka has a macro named fail */
#include "core/test.h"

struct world {
	uint64_t state;
	int64_t now, epoch, last, expired;
	struct merge m;
	struct arena a;
	struct flight {
		int64_t at; /* 0: free */
		struct merge_input in;
	} flights[256];
	/* what the reader had */
	int64_t had_epoch, had;
	int mute_until;
	unsigned lines, gaps, resets;
};

static uint64_t
draw(struct world *w, uint64_t below)
{
	w->state += 0x9e3779b97f4a7c15;
	uint64_t z = w->state;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (z ^ (z >> 31)) % below;
}

static void
fly(struct world *w, const struct merge_input *in, uint64_t within)
{
	for (size_t i = 0; i < NELEM(w->flights); i++) {
		if (w->flights[i].at != 0)
			continue;
		w->flights[i].in = *in;
		w->flights[i].at = w->now + 1 + (int64_t)draw(w, within);
		return;
	}
	assert_int_equal(in->event, MERGE_LINES); /* may be lost */
}

static void
reply_watch(struct world *w)
{
	struct merge_input in = { .event = MERGE_WATCHED,
		.topic = w->epoch % 2 ? "odd" : "even",
		.epoch = w->epoch,
		.last = w->last };

	if (draw(w, 10) == 0)
		in.event = MERGE_WATCH_FAILED;
	fly(w, &in, 60);
}

static void
reply_fetch(struct world *w, int64_t after)
{
	struct merge_input in = { .event = MERGE_FETCHED };
	int64_t from = after < w->expired ? w->expired + 1 : after + 1;
	int64_t to = from + 49 < w->last ? from + 49 : w->last;

	if (draw(w, 10) == 0)
		in.event = MERGE_FETCH_FAILED;
	else
		make_lines(&w->a, &in, w->epoch, from, to);
	fly(w, &in, 60);
}

static void
take(struct world *w, const struct merge_output *o)
{
	char expected[64];

	switch (o->act) {
	case MERGE_DO_WATCH:
		reply_watch(w);
		break;
	case MERGE_DO_FETCH:
		assert_int_equal(o->seq, w->had);
		reply_fetch(w, o->seq);
		break;
	case MERGE_DO_JOIN:
		fly(w, &(struct merge_input){ .event = MERGE_JOINED }, 100);
		break;
	case MERGE_DO_LINE:
		w->had++;
		w->lines++;
		snprintf(expected, sizeof(expected), "e%lld#%lld",
		    (long long)w->had_epoch, (long long)w->had);
		assert_true(str_is(o->line->message, expected));
		break;
	case MERGE_DO_GAP:
		assert_true(o->seq > w->had);
		if (w->had_epoch == w->epoch)
			assert_true(o->seq <= w->expired);
		w->had = o->seq;
		w->gaps++;
		break;
	case MERGE_DO_RESET:
		assert_true(o->epoch != w->had_epoch);
		w->had_epoch = o->epoch;
		w->had = 0;
		w->resets++;
		break;
	case MERGE_DO_REST:
	case MERGE_DO_END:
		break;
	}
}

static void
step(struct world *w, struct merge_input in)
{
	struct merge_outputs out;

	in.now_ms = w->now;
	in.random = draw(w, UINT64_MAX);
	merge_step(&w->m, &in, &out);
	for (uint32_t i = 0; i < out.n; i++)
		take(w, &out.at[i]);
}

static void
write_some(struct world *w)
{
	struct merge_input in = { .event = MERGE_LINES, .epoch = w->epoch };
	int64_t n = 1 + (int64_t)draw(w, 20);

	w->last += n;
	in.last = w->last;
	if (draw(w, 5) == 0)
		in.event = MERGE_HINT;
	else
		make_lines(&w->a, &in, w->epoch, w->last - n + 1, w->last);
	if (w->now < w->mute_until || draw(w, 6) == 0)
		return;
	fly(w, &in, 40);
	if (draw(w, 6) == 0)
		fly(w, &in, 200);
}

static void
disturb(struct world *w)
{
	switch (draw(w, 200)) {
	case 0:
		w->epoch++;
		w->last = (int64_t)draw(w, (uint64_t)w->last + 1);
		w->expired = w->expired < w->last ? w->expired : w->last;
		break;
	case 1:
		w->expired +=
		    (int64_t)draw(w, (uint64_t)(w->last - w->expired) + 1);
		break;
	case 2:
		w->mute_until = (int)(w->now + 22000);
		break;
	case 3:
		step(w, (struct merge_input){ .event = MERGE_PARTED });
		fly(w, &(struct merge_input){ .event = MERGE_JOINED }, 3000);
		break;
	case 4:
		step(w, (struct merge_input){ .event = MERGE_MOVED });
		break;
	default:
		break;
	}
}

static void
land(struct world *w)
{
	for (size_t i = 0; i < NELEM(w->flights); i++) {
		if (w->flights[i].at == 0 || w->flights[i].at > w->now)
			continue;
		w->flights[i].at = 0;
		step(w, w->flights[i].in);
	}
	if (merge_wake(&w->m) <= w->now)
		step(w, (struct merge_input){ .event = MERGE_TICK });
}

static void
run_world(uint64_t seed, struct world *sum)
{
	struct world *w = xcalloc(1, sizeof(*w));

	w->state = seed;
	w->now = 1;
	w->epoch = 1;
	arena_init(&w->a);
	merge_init(&w->m);
	w->m.epoch = w->had_epoch = 1;
	for (int i = 0; i < 3000; i++, w->now += 10) {
		if (draw(w, 4) == 0)
			write_some(w);
		disturb(w);
		land(w);
	}
	for (int i = 0; i < 3000; i++, w->now += 10)
		land(w);
	assert_int_equal(w->had, w->last);
	assert_int_equal(w->had_epoch, w->epoch);
	sum->lines += w->lines;
	sum->gaps += w->gaps;
	sum->resets += w->resets;
	merge_deinit(&w->m);
	arena_deinit(&w->a);
	free(w);
}

static void
test_any_world(void **state)
{
	struct world sum = { 0 };

	(void)state;
	for (uint64_t seed = 1; seed <= 200; seed++)
		run_world(seed, &sum);
	/* the worlds were hostile enough to mean something */
	assert_true(sum.lines > 100000 && sum.gaps > 100 && sum.resets > 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_world),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
