#include "realtime/limit/rate.h"
/* last: cmocka has a macro named fail */
#include "core/test.h"

static void
test_rates(void **state)
{
	static struct rates r = { .rate = 10 };
	struct uuid a = { { 1 } }, b = { { 2 } };

	(void)state;
	assert_int_equal(rate_take(&r, &a, 20, 1000), 0); /* twice the rate */
	assert_int_equal(rate_take(&r, &a, 1, 1000), 1);
	assert_int_equal(rate_take(&r, &b, 5, 1000), 0); /* its own */
	assert_int_equal(rate_take(&r, &a, 1, 1099), 1);
	assert_int_equal(rate_take(&r, &a, 1, 1100), 0);
	assert_int_equal(rate_take(&r, &a, 15, 1100), 2);
	/* more than a bucket holds: a full one will do */
	assert_int_equal(rate_take(&r, &a, 1000, 10000), 0);
	assert_int_equal(rate_take(&r, &a, 1, 10000), 1);
	r.rate = 0;
	assert_int_equal(rate_take(&r, &a, 1000000, 10000), 0);
}

/* Strangers by the thousand push nobody out who is spending. */
static void
test_rates_of_many(void **state)
{
	static struct rates r = { .rate = 10 };
	struct uuid busy = { { 0 } };
	int refused = 0;

	(void)state;
	assert_int_equal(rate_take(&r, &busy, 20, 1000), 0);
	for (int i = 0; i < 20000; i++) {
		struct uuid other;

		uuid_random(&other);
		rate_take(&r, &other, 1, 1000 + i / 1000);
		refused += rate_take(&r, &busy, 1, 1000 + i / 1000) > 0;
	}
	assert_int_equal(refused, 20000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_rates_of_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
