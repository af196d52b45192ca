#include "realtime/local/local-pace.h"
#include "core/test.h"

/* `events` in each of so many seconds. */
static void
pass(struct pace *r, uint32_t seconds, uint32_t events)
{
	while (seconds-- > 0) {
		pace_add(r, events);
		pace_tick(r);
	}
}

/* What counts is the average. */
static void
test_a_burst_passes(void **state)
{
	struct pace r;

	(void)state;
	pace_init(&r, 100);
	pass(&r, 10, 50);
	assert_true(pace_average(&r) > 45 && pace_average(&r) <= 50);
	pass(&r, 1, 700);
	pass(&r, 60, 50);
	assert_false(r.over);
}

static void
test_too_much_is_seen_within_seconds(void **state)
{
	struct pace r;

	(void)state;
	pace_init(&r, 100);
	pass(&r, 4, 2000);
	assert_false(r.over);
	pass(&r, 1, 2000);
	assert_true(r.over);
	/* and forgiven when the average is right again */
	pass(&r, 55, 0);
	assert_true(r.over);
	pass(&r, 60, 50);
	assert_false(r.over);
}

static void
test_just_the_limit_is_no_fault(void **state)
{
	struct pace r;

	(void)state;
	pace_init(&r, 100);
	pass(&r, 300, 100);
	assert_false(r.over);
	pass(&r, 60, 101);
	assert_true(r.over);
}

/* What was quiet for long is no credit. */
static void
test_silence_begins_anew(void **state)
{
	struct pace r;

	(void)state;
	pace_init(&r, 100);
	pass(&r, 5, 10);
	pass(&r, 200, 0);
	pass(&r, 5, 200);
	assert_true(r.over);
}

static void
test_no_limit(void **state)
{
	struct pace r;

	(void)state;
	pace_init(&r, 0);
	pass(&r, 60, 1000000);
	assert_false(r.over);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_burst_passes),
		cmocka_unit_test(test_too_much_is_seen_within_seconds),
		cmocka_unit_test(test_just_the_limit_is_no_fault),
		cmocka_unit_test(test_silence_begins_anew),
		cmocka_unit_test(test_no_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
