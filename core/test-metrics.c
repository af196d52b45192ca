#include "core/metrics.h"
#include "core/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double
seven(void *arg)
{
	(void)arg;
	return 7;
}

static void
test_text(void **state)
{
	struct metrics m;
	struct metric *a, *b, *h;
	struct buf out;

	(void)state;
	metrics_init(&m);
	buf_init(&out);
	a = metrics_counter(&m, "x_lines", "kind=\"a\"", "Lines.");
	b = metrics_counter(&m, "x_lines", "kind=\"b\"", "Lines.");
	metrics_gauge(&m, "x_open", NULL, "Open ones.", seven, NULL);
	h = metrics_histogram(&m, "x_time_seconds", NULL, "Time.");
	metric_add(a, 3);
	metric_add(b, 1);
	metric_add(b, 1);
	metric_add(NULL, 1);
	metrics_print(&m, &out);
	*strstr(out.bytes, "x_time_seconds_bucket") = '\0';
	assert_string_equal(out.bytes,
	    "# TYPE x_lines counter\n# HELP x_lines Lines.\n"
	    "x_lines_total{kind=\"a\"} 3\nx_lines_total{kind=\"b\"} 2\n"
	    "# TYPE x_open gauge\n# HELP x_open Open ones.\nx_open 7\n"
	    "# TYPE x_time_seconds histogram\n"
	    "# UNIT x_time_seconds seconds\n# HELP x_time_seconds Time.\n");
	metric_observe(h, 100);
	metric_observe(h, 300);
	buf_clear(&out);
	metrics_tick(&m, 1000);
	metric_add(b, 5);
	metrics_tick(&m, 3000);
	metrics_json(&m, &out);
	assert_string_equal(out.bytes,
	    "{\"x_lines{kind=\\\"a\\\"}\":{\"total\":3,\"per_s\":0.0},"
	    "\"x_lines{kind=\\\"b\\\"}\":{\"total\":7,\"per_s\":2.5},"
	    "\"x_open\":7,\"x_time_seconds\":{\"count\":2,\"per_s\":0.0,"
	    "\"p50_ms\":0.103,\"p99_ms\":0.319}}");
	metrics_deinit(&m);
	metrics_deinit(&m);
	buf_deinit(&out);
}

static uint64_t
bucket_of(const char *text, const char *le)
{
	char line[64];
	const char *at;

	snprintf(line, sizeof(line), "h_bucket{k=\"v\",le=\"%s\"} ", le);
	at = strstr(text, line);
	assert_non_null(at);
	return strtoull(at + strlen(line), NULL, 10);
}

/* Its bounds are the same whatever it counts, and none cuts a bucket. */
static void
test_bounds(void **state)
{
	uint64_t counts[HISTOGRAM_BUCKETS] = { 0 };
	size_t empty;
	struct buf out;

	(void)state;
	buf_init(&out);
	metrics_print_histogram(&out, "h", "k=\"v\"", counts, 0);
	empty = out.len;
	assert_int_equal(bucket_of(out.bytes, "4294.967296"), 0);
	buf_clear(&out);
	counts[0] = 1; /* 0 us */
	counts[histogram_bucket(127)] = 1;
	counts[histogram_bucket(128)] = 1;
	counts[histogram_bucket(1535)] = 1;
	counts[histogram_bucket(1536)] = 1;
	counts[histogram_bucket((INT64_C(1) << 32) - 1)] = 1;
	counts[histogram_bucket(INT64_MAX)] = 1;
	metrics_print_histogram(&out, "h", "k=\"v\"", counts, 2500000);
	assert_int_equal(bucket_of(out.bytes, "0.000128"), 2);
	assert_int_equal(bucket_of(out.bytes, "0.000192"), 3);
	assert_int_equal(bucket_of(out.bytes, "0.001024"), 3);
	assert_int_equal(bucket_of(out.bytes, "0.001536"), 4);
	assert_int_equal(bucket_of(out.bytes, "0.002048"), 5);
	assert_int_equal(bucket_of(out.bytes, "3221.225472"), 5);
	assert_int_equal(bucket_of(out.bytes, "4294.967296"), 6);
	assert_int_equal(bucket_of(out.bytes, "+Inf"), 7);
	assert_non_null(strstr(out.bytes, "h_sum{k=\"v\"} 2.5\n"));
	assert_non_null(strstr(out.bytes, "h_count{k=\"v\"} 7\n"));
	assert_int_equal(out.len, empty + strlen(".5"));
	buf_deinit(&out);
}

/* An eighth of the value, and never below it. */
static void
test_quantiles(void **state)
{
	struct metrics m;

	(void)state;
	metrics_init(&m);
	for (int64_t us = 1; us < (int64_t)1 << 34; us = us * 5 / 4 + 1) {
		struct metric *h = metrics_histogram(&m, "h_seconds", NULL, "");
		int64_t q;

		assert_int_equal(metric_quantile(h, 0.5), 0);
		metric_observe(h, us);
		q = metric_quantile(h, 0.5);
		assert_true(q >= us && q <= us + us / 8);
		metric_observe(h, 0);
		assert_int_equal(metric_quantile(h, 0.5), 0);
		assert_int_equal(metric_quantile(h, 0.99), q);
		metric_observe(h, INT64_MAX); /* in the last bucket */
		assert_int_equal(metric_count(h), 3);
	}
	metrics_deinit(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_quantiles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
