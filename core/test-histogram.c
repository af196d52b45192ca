#include "core/histogram.h"
#include "core/test.h"

#include <math.h>
#include <stdlib.h>

enum { ROUNDS = 200000 };

/* splitmix64 */
static uint64_t
random_of(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

static int64_t
begin_of(uint32_t bucket)
{
	return bucket > 0 ? histogram_end(bucket - 1) : 0;
}

/* Without a gap and without an overlap, from 0 on. */
static void
test_buckets_meet(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		assert_int_equal(histogram_bucket(begin_of(i)), i);
		assert_int_equal(histogram_bucket(histogram_end(i) - 1), i);
	}
	assert_int_equal(
	    histogram_end(HISTOGRAM_BUCKETS - 1), (int64_t)1 << 38);
	assert_int_equal(histogram_bucket(-1), 0);
	assert_int_equal(histogram_bucket(INT64_MIN), 0);
	assert_int_equal(
	    histogram_bucket((int64_t)1 << 38), HISTOGRAM_BUCKETS - 1);
	assert_int_equal(histogram_bucket(INT64_MAX), HISTOGRAM_BUCKETS - 1);
}

/* The middle of its bucket is within a sixteenth of any duration. */
static void
test_error_is_bounded(void **state)
{
	uint64_t seed = 4;

	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		int64_t us = (int64_t)(random_of(&seed) >> (26 + i % 38));
		uint32_t b = histogram_bucket(us);
		double middle = histogram_middle(b);
		double off = fabs((double)us - middle);

		assert_true(begin_of(b) <= us && us < histogram_end(b));
		assert_true(off * 16 <= (double)us);
	}
}

static int
order(const void *x, const void *y)
{
	int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;

	return (a > b) - (a < b);
}

/* The bucket in which this share of n ends. */
static uint32_t
quantile(const uint64_t *buckets, uint64_t n, uint64_t percent)
{
	uint64_t seen = 0;
	uint32_t i = 0;

	while ((seen += buckets[i]) * 100 < n * percent)
		i++;
	return i;
}

/* What two processes counted, added up, has the quantiles of all durations:
 * the bucket of the very one in that place. */
static void
test_merging_is_exact(void **state)
{
	static uint64_t sum[2][HISTOGRAM_BUCKETS];
	static int64_t all[ROUNDS];
	uint64_t seed = 7;

	(void)state;
	for (uint32_t i = 0; i < ROUNDS; i++) {
		uint32_t b;

		all[i] = (int64_t)(random_of(&seed) >> (30 + i % 30));
		b = histogram_bucket(all[i]);
		sum[random_of(&seed) % 3 == 0][b]++;
	}
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		sum[0][i] += sum[1][i];
	qsort(all, ROUNDS, sizeof(all[0]), order);
	for (uint64_t percent = 1; percent <= 100; percent++)
		assert_int_equal(quantile(sum[0], ROUNDS, percent),
		    histogram_bucket(all[ROUNDS * percent / 100 - 1]));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buckets_meet),
		cmocka_unit_test(test_error_is_bounded),
		cmocka_unit_test(test_merging_is_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
