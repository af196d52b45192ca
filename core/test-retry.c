#include "core/mem.h"
#include "core/retry.h"
#include "core/test.h"
#include "core/time.h"

#define MAX_RANDOM UINT64_MAX

static struct retry_try
status_try(uint32_t attempt, int status, uint64_t random)
{
	return (struct retry_try){ .attempt = attempt,
		.cause = RETRY_STATUS,
		.status = status,
		.retry_after_ms = RETRY_NO_AFTER,
		.random = random };
}

/* Without jitter the delays are the backoff itself, up to the cap and over. */
static void
test_backoff_grows_to_cap(void **state)
{
	static const struct {
		uint32_t attempt;
		int64_t delay;
	} rows[] = { { 1, 1000 }, { 2, 2000 }, { 3, 4000 }, { 6, 32000 },
		{ 7, 60000 }, { 8, 60000 }, { 63, 60000 }, { 64, 60000 },
		{ 65, 60000 }, { 999, 60000 }, { 1000, RETRY_GIVE_UP } };
	struct retry_policy p = retry_default();

	(void)state;
	p.max_attempts = 1000;
	p.jitter = 0;
	for (size_t i = 0; i < NELEM(rows); i++) {
		struct retry_try t = status_try(rows[i].attempt, 503, 7);

		assert_int_equal(retry_next(&p, &t), rows[i].delay);
	}
}

static void
test_extreme_policies_do_not_overflow(void **state)
{
	struct retry_policy p = retry_default();
	struct retry_try t = status_try(1000, 503, MAX_RANDOM);

	(void)state;
	p.max_attempts = UINT32_MAX;
	p.cap_ms = INT64_MAX;
	assert_int_equal(retry_next(&p, &t), INT64_MAX);
	p.jitter = 0;
	assert_int_equal(retry_next(&p, &t), INT64_MAX);
	p.factor = 1e308;
	assert_int_equal(retry_next(&p, &t), INT64_MAX);
	p.base_ms = 0;
	t.attempt = UINT32_MAX - 1;
	assert_int_equal(retry_next(&p, &t), 0);
	p.factor = 0;
	p.base_ms = 5;
	assert_int_equal(retry_next(&p, &t), 5);
	p.base_ms = -5;
	assert_int_equal(retry_next(&p, &t), 0);
	p.jitter = 1;
	p.base_ms = INT64_MAX;
	t.retry_after_ms = INT64_MAX;
	p.retry_after_cap_ms = INT64_MAX;
	assert_int_equal(retry_next(&p, &t), INT64_MAX);
}

/* Full jitter: all of [0, d], each part as likely. */
static void
test_jitter_fills_the_interval(void **state)
{
	struct retry_policy p = retry_default();
	struct retry_try t = status_try(3, 503, 0);
	uint64_t random = 88172645463325252ULL;
	int low = 0;

	(void)state;
	assert_int_equal(retry_next(&p, &t), 0);
	t.random = MAX_RANDOM;
	assert_int_equal(retry_next(&p, &t), 4000);
	for (int i = 0; i < 10000; i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		t.random = random;
		assert_in_range(retry_next(&p, &t), 0, 4000);
		low += retry_next(&p, &t) < 1000;
	}
	assert_in_range(low, 2300, 2700);
}

static void
test_what_is_retried(void **state)
{
	static const struct {
		int status, again;
	} rows[] = { { 200, 0 }, { 301, 0 }, { 400, 0 }, { 404, 0 }, { 408, 1 },
		{ 409, 0 }, { 425, 1 }, { 429, 1 }, { 500, 1 }, { 501, 0 },
		{ 502, 1 }, { 503, 1 }, { 504, 1 }, { 505, 0 } };
	struct retry_policy p = retry_default();
	struct retry_try t;

	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++) {
		t = status_try(1, rows[i].status, 1);
		assert_int_equal(
		    retry_next(&p, &t) != RETRY_GIVE_UP, rows[i].again);
	}
	t.cause = RETRY_CONNECTION;
	assert_int_not_equal(retry_next(&p, &t), RETRY_GIVE_UP);
	p.on_connection = 0;
	assert_int_equal(retry_next(&p, &t), RETRY_GIVE_UP);
	t = status_try(1, 503, 1);
	t.cause = RETRY_NEVER;
	assert_int_equal(retry_next(&p, &t), RETRY_GIVE_UP);
	t = status_try(1, 503, 1);
	p.max_attempts = 0;
	assert_int_equal(retry_next(&p, &t), RETRY_GIVE_UP);
}

static void
test_retry_after_is_the_least(void **state)
{
	struct retry_policy p = retry_default();
	struct retry_try t = status_try(1, 503, 0);

	(void)state;
	t.retry_after_ms = 30000;
	assert_int_equal(retry_next(&p, &t), 30000);
	t.random = MAX_RANDOM; /* spread over the first backoff */
	assert_int_equal(retry_next(&p, &t), 31000);
	t.attempt = 4;
	assert_int_equal(retry_next(&p, &t), 31000);
	t.retry_after_ms = 86400000;
	assert_int_equal(retry_next(&p, &t), 3601000);
	p.jitter = 0;
	assert_int_equal(retry_next(&p, &t), 3600000);
	p.use_retry_after = 0;
	assert_int_equal(retry_next(&p, &t), 8000);
	p.use_retry_after = 1;
	t.status = 400; /* of an answer that isn't retried it means nothing */
	assert_int_equal(retry_next(&p, &t), RETRY_GIVE_UP);
}

static void
test_retry_after_forms(void **state)
{
	const int64_t now = 784111777000; /* Sun, 06 Nov 1994 08:49:37 GMT */
	static const struct {
		const char *text;
		int64_t ms;
	} ok[] = {
		{ "0", 0 },
		{ "120", 120000 },
		{ "Sun, 06 Nov 1994 08:50:37 GMT", 60000 },
		{ "Sunday, 06-Nov-94 08:49:47 GMT", 10000 },
		{ "Sun Nov  6 08:49:38 1994", 1000 },
		{ "Wed Nov 16 08:49:37 1994", 864000000 },
		{ "Sun, 06 Nov 1994 08:49:36 GMT", 0 },
		{ "Thursday, 01-Jan-70 00:00:00 GMT", 0 },
		{ "Monday, 06-Nov-95 08:49:37 GMT", 31536000000 },
		{ "Thu, 29 Feb 1996 00:00:00 GMT", 41440223000 },
	};
	static const char *const bad[] = { "", " ", "-1", "1.5", "12 ", "1e3",
		"soon", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994",
		"Sun, 06 Nov 1994 08:49:37 CET",
		"Sun, 31 Feb 1995 00:00:00 GMT",
		"Sun, 06 Now 1994 08:49:37 GMT", "Sun, 6 Nov 1994 08:49:37 GMT",
		"Sun Nov  6 08:49:37 1994 GMT", "Sun, 06 Nov 1994 24:00:00 GMT",
		"Sun, 06 Nov 1994 08:49:37 GMTx" };
	int64_t ms;

	(void)state;
	for (size_t i = 0; i < NELEM(ok); i++) {
		assert_int_equal(
		    retry_after_parse(str_of(ok[i].text), now, &ms), 0);
		assert_int_equal(ms, ok[i].ms);
	}
	for (size_t i = 0; i < NELEM(bad); i++)
		assert_int_equal(
		    retry_after_parse(str_of(bad[i]), now, &ms), -1);
	/* Absurd seconds saturate rather than wrap. */
	assert_int_equal(
	    retry_after_parse(STR("99999999999999999999999999"), now, &ms), 0);
	assert_true(ms > INT64_MAX / 20);
	/* A two-digit year is within 50 years of now. */
	assert_int_equal(
	    time_parse_http(STR("Sunday, 06-Nov-44 00:00:00 GMT"), now, &ms),
	    0);
	assert_true(ms > now);
	assert_int_equal(
	    time_parse_http(STR("Sunday, 06-Nov-45 00:00:00 GMT"), now, &ms),
	    0);
	assert_true(ms < now);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_backoff_grows_to_cap),
		cmocka_unit_test(test_extreme_policies_do_not_overflow),
		cmocka_unit_test(test_jitter_fills_the_interval),
		cmocka_unit_test(test_what_is_retried),
		cmocka_unit_test(test_retry_after_is_the_least),
		cmocka_unit_test(test_retry_after_forms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
