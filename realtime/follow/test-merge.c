/*
 * The reader's algorithm by traces, in virtual time. test-merge-world.c has it
 * against a world that loses, doubles and delays whatever it may.
 */
#include "realtime/follow/test-merge.h"
#include "core/buf.h"
#include "core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* last: cmocka has a macro named fail */
#include "core/test.h"

static const char *const acts[] = {
	[MERGE_DO_WATCH] = "watch",
	[MERGE_DO_JOIN] = "join",
	[MERGE_DO_FETCH] = "fetch",
	[MERGE_DO_LINE] = "line",
	[MERGE_DO_GAP] = "gap",
	[MERGE_DO_RESET] = "reset",
	[MERGE_DO_REST] = "rest",
	[MERGE_DO_END] = "end",
};

static void
print(struct buf *b, int64_t now, const struct merge_outputs *out)
{
	for (uint32_t i = 0; i < out->n; i++) {
		const struct merge_output *o = &out->at[i];

		buf_addf(b, "[%5lld] %s", (long long)now, acts[o->act]);
		if (o->act == MERGE_DO_JOIN)
			buf_addf(b, " %s", o->text);
		else if (o->act == MERGE_DO_LINE)
			buf_addf(b, " %.*s", STR_FMT(o->line->message));
		else if (o->act == MERGE_DO_RESET)
			buf_addf(b, " e%lld %lld", (long long)o->epoch,
			    (long long)o->seq);
		else if (o->act == MERGE_DO_FETCH || o->act == MERGE_DO_GAP)
			buf_addf(b, " %lld", (long long)o->seq);
		buf_addc(b, '\n');
	}
}

/*
 *     [   0] tick
 *     [   5] watched t1 e7 12 [ended]
 *     [   9] fetched e7 1-3       or  fetched e7 none
 *     [   9] lines e7 4-5         hint e7 9
 *     [   9] watch_failed  fetch_failed  joined  parted  moved
 */
static void
parse_input(struct arena *a, const char *text, struct merge_input *in)
{
	static const char *const names[N_MERGE_EVENTS] = { "tick", "watched",
		"fetched", "watch_failed", "fetch_failed", "joined", "parted",
		"lines", "hint", "moved" };
	long long now, epoch = 0, from = 0, to = 0, last = 0;
	char name[32] = "", topic[64] = "", more[32] = "";
	int n = 0;

	*in = (struct merge_input){ .event = N_MERGE_EVENTS };
	assert_true(sscanf(text, "[%lld] %31s%n", &now, name, &n) == 2);
	for (int i = 0; i < N_MERGE_EVENTS; i++)
		if (strcmp(name, names[i]) == 0)
			in->event = (enum merge_event)i;
	assert_true(in->event != N_MERGE_EVENTS);
	text += n;
	if (in->event == MERGE_WATCHED)
		assert_true(sscanf(text, " %63s e%lld %lld %31s", topic, &epoch,
				&last, more) >= 3);
	else if (in->event == MERGE_HINT)
		assert_int_equal(sscanf(text, " e%lld %lld", &epoch, &last), 2);
	else if (sscanf(text, " e%lld %lld-%lld %31s", &epoch, &from, &to,
		     more) >= 3)
		last = to;
	in->now_ms = now;
	in->random = 250;
	in->topic = arena_strdup(a, topic);
	in->epoch = epoch;
	in->last = last;
	in->ended = strcmp(more, "ended") == 0;
	if (from > 0)
		make_lines(a, in, epoch, from, to);
}

static void
trace_from(struct merge *m, const char *inputs, const char *expected)
{
	struct arena a;
	struct buf got;

	arena_init(&a);
	buf_init(&got);
	buf_adds(&got, "");
	while (*inputs != '\0') {
		struct merge_outputs out;
		struct merge_input in;

		parse_input(&a, inputs, &in);
		merge_step(m, &in, &out);
		print(&got, in.now_ms, &out);
		inputs += strcspn(inputs, "\n");
		inputs += *inputs == '\n';
	}
	buf_addc(&got, '\0');
	assert_string_equal(got.bytes, expected);
	buf_deinit(&got);
	arena_deinit(&a);
	merge_deinit(m);
}

static void
trace(const char *inputs, const char *expected)
{
	struct merge m;

	merge_init(&m);
	m.epoch = 7;
	trace_from(&m, inputs, expected);
}

static void
test_watch_join_fetch_merge(void **state)
{
	(void)state;
	trace("[    0] tick\n"
	      "[   10] watched t1 e7 2\n"
	      "[   15] lines e7 3-3\n" /* before the page: held */
	      "[   20] fetched e7 1-2\n"
	      "[   30] watched t1 e7 3\n"
	      "[   40] joined\n"
	      "[   50] fetched e7 none\n"
	      "[   60] watched t1 e7 3\n"
	      "[   70] lines e7 3-5\n", /* 3 is known */

	    "[    0] watch\n"
	    "[   10] join t1\n"
	    "[   10] fetch 0\n"
	    "[   20] watch\n"
	    "[   30] line e7#1\n"
	    "[   30] line e7#2\n"
	    "[   30] line e7#3\n"
	    "[   30] rest\n"
	    "[   40] fetch 3\n"
	    "[   50] watch\n"
	    "[   70] line e7#4\n"
	    "[   70] line e7#5\n"
	    "[   70] rest\n");
}

/* Where a reader at its cursor is joined to a channel without news. */
#define SETTLED(epoch, seq)                                                    \
	"[    0] tick\n"                                                       \
	"[    0] watched t1 e" #epoch " " #seq "\n"                            \
	"[    0] joined\n"                                                     \
	"[    0] fetched e" #epoch " none\n"                                   \
	"[    0] watched t1 e" #epoch " " #seq "\n"
#define HAS_SETTLED(seq)                                                       \
	"[    0] watch\n"                                                      \
	"[    0] join t1\n"                                                    \
	"[    0] rest\n"                                                       \
	"[    0] fetch " #seq "\n"                                             \
	"[    0] watch\n"

static void
trace_at(int64_t epoch, int64_t seq, const char *inputs, const char *expected)
{
	struct merge m;

	merge_init(&m);
	m.epoch = epoch;
	m.seq = seq;
	trace_from(&m, inputs, expected);
}

static void
test_hole_is_fetched(void **state)
{
	(void)state;
	trace_at(7, 10,
	    SETTLED(7, 10) "[  100] lines e7 13-14\n"
			   "[  110] lines e7 15-15\n"
			   "[  120] fetched e7 11-13\n"
			   "[  130] lines e7 16-16\n"
			   "[  140] watched t1 e7 16\n",

	    HAS_SETTLED(10) "[  100] fetch 10\n"
			    "[  120] watch\n"
			    "[  140] line e7#11\n"
			    "[  140] line e7#12\n"
			    "[  140] line e7#13\n"
			    "[  140] line e7#14\n"
			    "[  140] line e7#15\n"
			    "[  140] line e7#16\n"
			    "[  140] rest\n");
}

static void
test_hint_is_fetched(void **state)
{
	(void)state;
	trace_at(7, 10,
	    SETTLED(7, 10) "[  100] hint e7 12\n"
			   "[  110] fetched e7 11-12\n"
			   "[  120] watched t1 e7 12\n"
			   "[  130] hint e7 12\n", /* late */

	    HAS_SETTLED(10) "[  100] fetch 10\n"
			    "[  110] watch\n"
			    "[  120] line e7#11\n"
			    "[  120] line e7#12\n"
			    "[  120] rest\n");
}

/* All broadcasts cease, the socket stays: the renewal knows. */
static void
test_silence_is_healed_by_the_renewal(void **state)
{
	(void)state;
	trace_at(7, 10,
	    SETTLED(7, 10) "[14999] tick\n"
			   "[15000] tick\n"
			   "[15010] watched t1 e7 11\n"
			   "[15020] fetched e7 11-11\n"
			   "[15030] watched t1 e7 11\n",

	    HAS_SETTLED(10) "[15000] watch\n"
			    "[15010] fetch 10\n"
			    "[15020] watch\n"
			    "[15030] line e7#11\n"
			    "[15030] rest\n");
}

static void
test_expired_lines_are_a_gap(void **state)
{
	(void)state;
	trace("[    0] tick\n"
	      "[    1] watched t1 e7 9\n"
	      "[    2] fetched e7 5-6\n" /* 1-4 are gone, 7-9 another page */
	      "[    3] watched t1 e7 9\n"
	      "[    4] fetched e7 none\n" /* and these are gone, too */
	      "[    5] watched t1 e7 10\n"
	      "[    6] fetched e7 10-10\n"
	      "[    7] watched t1 e7 10\n",

	    "[    0] watch\n"
	    "[    1] join t1\n"
	    "[    1] fetch 0\n"
	    "[    2] watch\n"
	    "[    3] gap 4\n"
	    "[    3] line e7#5\n"
	    "[    3] line e7#6\n"
	    "[    3] fetch 6\n"
	    "[    4] watch\n"
	    "[    5] gap 9\n"
	    "[    5] fetch 9\n"
	    "[    6] watch\n"
	    "[    7] line e7#10\n"
	    "[    7] rest\n");
}

/* A broadcast can be faster than its commit is visible: no gap, look again. */
static void
test_heard_but_not_yet_there(void **state)
{
	(void)state;
	trace_at(7, 10,
	    SETTLED(7, 10) "[  100] hint e7 12\n"
			   "[  110] fetched e7 none\n"
			   "[  120] watched t1 e7 12\n"
			   "[  130] fetched e7 11-12\n"
			   "[  140] watched t1 e7 12\n",

	    HAS_SETTLED(10) "[  100] fetch 10\n"
			    "[  110] watch\n"
			    "[  120] fetch 10\n"
			    "[  130] watch\n"
			    "[  140] line e7#11\n"
			    "[  140] line e7#12\n"
			    "[  140] rest\n");
}

/* The page came from a restored database: it is not believed. */
static void
test_page_of_another_epoch(void **state)
{
	(void)state;
	trace_at(7, 10,
	    SETTLED(7, 10) "[  100] hint e7 12\n"
			   "[  110] fetched e8 11-12\n"
			   "[  120] watched t2 e8 12\n"
			   "[  130] fetched e8 1-12\n"
			   "[  140] watched t2 e8 12\n",

	    HAS_SETTLED(10) "[  100] fetch 10\n"
			    "[  110] watch\n"
			    "[  120] join t2\n"
			    "[  120] reset e8 0\n"
			    "[  120] fetch 0\n"
			    "[  130] watch\n"
			    "[  140] line e8#1\n"
			    "[  140] line e8#2\n"
			    "[  140] line e8#3\n"
			    "[  140] line e8#4\n"
			    "[  140] line e8#5\n"
			    "[  140] line e8#6\n"
			    "[  140] line e8#7\n"
			    "[  140] line e8#8\n"
			    "[  140] line e8#9\n"
			    "[  140] line e8#10\n"
			    "[  140] line e8#11\n"
			    "[  140] line e8#12\n"
			    "[  140] rest\n");
}

static void
test_broadcast_of_another_epoch_asks(void **state)
{
	(void)state;
	trace_at(7, 10,
	    SETTLED(7, 10) "[  100] lines e8 11-11\n"
			   "[  110] watched t1 e7 10\n"
			   "[  120] lines e7 11-11\n",

	    HAS_SETTLED(10) "[  100] watch\n"
			    "[  120] line e7#11\n"
			    "[  120] rest\n");
}

/* A watch that was answered before a line was broadcast, and came after it,
 * says a smaller number; one that was sent after it must not. */
static void
test_lost_commits_are_a_reset(void **state)
{
	(void)state;
	trace_at(7, 10,
	    SETTLED(7, 10) "[15000] tick\n"
			   "[15005] lines e7 11-11\n"
			   "[15010] watched t1 e7 10\n"
			   "[30010] tick\n"
			   "[30020] watched t1 e7 9\n",

	    HAS_SETTLED(10) "[15000] watch\n"
			    "[15005] line e7#11\n"
			    "[15005] rest\n"
			    "[30010] watch\n"
			    "[30020] reset e7 0\n"
			    "[30020] fetch 0\n");
	trace_at(7, 10,
	    "[    0] tick\n"
	    "[    1] watched t1 e7 3\n",

	    "[    0] watch\n"
	    "[    1] join t1\n"
	    "[    1] reset e7 0\n"
	    "[    1] fetch 0\n");
}

static void
test_new_topic_is_joined(void **state)
{
	(void)state;
	trace_at(7, 10,
	    SETTLED(7, 10) "[15000] tick\n"
			   "[15010] watched t2 e7 10\n"
			   "[15020] joined\n",

	    HAS_SETTLED(10) "[15000] watch\n"
			    "[15010] join t2\n"
			    "[15020] fetch 10\n");
}

/* A while after it is told (random 250), once however often. A watch that is
 * on its way may not know it yet: it is followed by another. */
static void
test_topic_that_moved(void **state)
{
	(void)state;
	trace_at(7, 10,
	    SETTLED(7, 10) "[ 1000] moved\n"
			   "[ 1001] moved\n"
			   "[ 1249] tick\n"
			   "[ 1250] tick\n"
			   "[ 1260] watched t2 e7 10\n"
			   "[ 1270] joined\n",

	    HAS_SETTLED(10) "[ 1250] watch\n"
			    "[ 1260] join t2\n"
			    "[ 1270] fetch 10\n");
	trace_at(7, 10,
	    SETTLED(7, 10) "[15000] tick\n"
			   "[15001] moved\n"
			   "[15010] watched t1 e7 10\n"
			   "[15250] tick\n"
			   "[15251] tick\n"
			   "[15260] watched t2 e7 10\n",

	    HAS_SETTLED(10) "[15000] watch\n"
			    "[15251] watch\n"
			    "[15260] join t2\n");
}

/* Without Realtime it reads all the same, only later. */
static void
test_not_joined(void **state)
{
	(void)state;
	trace_at(7, 10,
	    SETTLED(7, 10) "[ 1000] parted\n"
			   "[ 2999] tick\n"
			   "[ 3000] tick\n"
			   "[ 3010] watched t1 e7 11\n"
			   "[ 3020] fetched e7 11-11\n"
			   "[ 3030] watched t1 e7 11\n"
			   "[ 5030] tick\n",

	    HAS_SETTLED(10) "[ 3000] watch\n"
			    "[ 3010] fetch 10\n"
			    "[ 3020] watch\n"
			    "[ 3030] line e7#11\n"
			    "[ 3030] rest\n"
			    "[ 5030] watch\n");
}

static void
test_failures_back_off(void **state)
{
	(void)state;
	trace_at(7, 10,
	    SETTLED(7, 10) "[  100] hint e7 11\n"
			   "[  110] fetch_failed\n"
			   "[  500] tick\n"
			   "[  610] tick\n"
			   "[  620] fetched e7 11-11\n"
			   "[  630] watch_failed\n"
			   "[ 1120] tick\n"
			   "[ 1130] tick\n"
			   "[ 1140] watch_failed\n"
			   "[ 1880] tick\n"
			   "[ 1890] tick\n"
			   "[ 2150] watched t1 e7 11\n",

	    HAS_SETTLED(10) "[  100] fetch 10\n"
			    "[  610] fetch 10\n"
			    "[  620] watch\n"
			    "[ 1130] watch\n"
			    "[ 1890] watch\n"
			    "[ 2150] line e7#11\n"
			    "[ 2150] rest\n");
}

/* The last line's broadcast says nothing of the end; a second of silence asks. */
static void
test_end_of_a_run(void **state)
{
	struct merge m;

	(void)state;
	merge_init(&m);
	m.epoch = 7;
	m.seq = 10;
	m.ends = 1;
	trace_from(&m,
	    SETTLED(7,
		10) "[  100] lines e7 11-11\n"
		    "[  600] lines e7 12-12\n"
		    "[ 1100] tick\n"
		    "[ 1600] tick\n"
		    "[ 1610] watched t1 e7 12\n" /* not over: asks ever later */
		    "[ 3610] tick\n"
		    "[ 3620] watched t1 e7 13 ended\n"
		    "[ 3630] fetched e7 13-13\n"
		    "[ 3640] watched t1 e7 13 ended\n"
		    "[99999] tick\n",

	    HAS_SETTLED(10) "[  100] line e7#11\n"
			    "[  100] rest\n"
			    "[  600] line e7#12\n"
			    "[  600] rest\n"
			    "[ 1600] watch\n"
			    "[ 3610] watch\n"
			    "[ 3620] fetch 12\n"
			    "[ 3630] watch\n"
			    "[ 3640] line e7#13\n"
			    "[ 3640] rest\n"
			    "[ 3640] end\n");
}

/* Where the broadcast says so, too, nobody waits. */
static void
test_end_that_is_broadcast(void **state)
{
	(void)state;
	trace_at(7, 10,
	    SETTLED(7, 10) "[  100] lines e7 11-11 ended\n"
			   "[  110] watched t1 e7 11 ended\n",

	    HAS_SETTLED(10) "[  100] line e7#11\n"
			    "[  100] watch\n"
			    "[  100] rest\n"
			    "[  110] end\n");
}

/* Beyond the bound lines are not held, but fetched; none is lost. */
static void
test_hold_is_bounded(void **state)
{
	struct merge_outputs out;
	struct merge_input in = { .event = MERGE_LINES, .epoch = 7 };
	struct arena a;
	struct merge m;
	uint32_t held;

	(void)state;
	arena_init(&a);
	merge_init(&m);
	m.epoch = 7;
	make_lines(&a, &in, 7, 2, 3 * MERGE_HELD);
	in.last = 3 * MERGE_HELD;
	merge_step(&m, &in, &out);
	held = m.held.n;
	assert_int_equal(held, MERGE_HELD);
	assert_true(m.held.arena.used < 2 * MERGE_HELD_BYTES);
	in = (struct merge_input){ .event = MERGE_FETCHED };
	make_lines(&a, &in, 7, 1, 1);
	merge_step(&m, &in, &out);
	in = (struct merge_input){ .event = MERGE_WATCHED,
		.topic = "t",
		.epoch = 7,
		.last = 3 * MERGE_HELD };
	merge_step(&m, &in, &out); /* was sent before the page came */
	assert_int_equal(m.seq, 0);
	merge_step(&m, &in, &out);
	assert_int_equal(m.seq, MERGE_HELD + 1);
	assert_int_equal(out.at[out.n - 1].act, MERGE_DO_FETCH);
	assert_int_equal(out.at[out.n - 1].seq, MERGE_HELD + 1);
	merge_deinit(&m);
	arena_deinit(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_watch_join_fetch_merge),
		cmocka_unit_test(test_hole_is_fetched),
		cmocka_unit_test(test_hint_is_fetched),
		cmocka_unit_test(test_silence_is_healed_by_the_renewal),
		cmocka_unit_test(test_expired_lines_are_a_gap),
		cmocka_unit_test(test_heard_but_not_yet_there),
		cmocka_unit_test(test_page_of_another_epoch),
		cmocka_unit_test(test_broadcast_of_another_epoch_asks),
		cmocka_unit_test(test_lost_commits_are_a_reset),
		cmocka_unit_test(test_new_topic_is_joined),
		cmocka_unit_test(test_topic_that_moved),
		cmocka_unit_test(test_not_joined),
		cmocka_unit_test(test_failures_back_off),
		cmocka_unit_test(test_end_of_a_run),
		cmocka_unit_test(test_end_that_is_broadcast),
		cmocka_unit_test(test_hold_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
