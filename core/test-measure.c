#include "core/measure.h"
#include "core/test.h"

#include <string.h>

/* The order in which others add their lines, and what OpenMetrics asks of
 * names and texts. */
static void
test_table(void **state)
{
	(void)state;
	for (const struct measure *m = measures; m->name != NULL; m++) {
		struct buf family;

		if (m > measures)
			assert_true(strcmp(m[-1].name, m->name) < 0);
		assert_int_equal(
		    strspn(m->name, "abcdefghijklmnopqrstuvwxyz0123456789_"),
		    strlen(m->name));
		assert_true(m->help[strlen(m->help) - 1] == '.');
		assert_null(strpbrk(m->help, "\n\\\""));
		assert_ptr_equal(measure_find(str_of(m->name)), m);
		buf_init(&family);
		measure_family(str_of(m->name), &family);
		if (m->unit != NULL)
			assert_string_equal(
			    family.bytes + family.len - strlen(m->unit),
			    m->unit);
		else
			assert_null(strstr(family.bytes, "_seconds"));
		assert_null(strstr(family.bytes, "_total"));
		buf_deinit(&family);
	}
	assert_null(measure_find(STR("oldest")));
	assert_null(measure_find(STR("")));
}

static void
test_text(void **state)
{
	const struct str none = { NULL, 0 };
	struct buf out;

	(void)state;
	buf_init(&out);
	measure_head(STR("oldest_age"), &out);
	measure_sample(STR("oldest_age"), none, STR("work"), 0.25, &out);
	measure_sample(STR("oldest_age"), STR("a\"b\\c\nd"), STR("x"), 1, &out);
	measure_head(STR("wal_bytes_total"), &out);
	measure_sample(
	    STR("wal_bytes_total"), none, none, 12345678901234, &out);
	measure_head(STR("new_total"), &out);
	measure_sample(STR("new_total"), STR("p"), STR("y"), 2, &out);
	measure_sample(STR("new"), none, none, 0.0 / 0.0, &out);
	assert_string_equal(out.bytes,
	    "# TYPE meshhook_oldest_age_seconds gauge\n"
	    "# UNIT meshhook_oldest_age_seconds seconds\n"
	    "# HELP meshhook_oldest_age_seconds How long the first one waits, "
	    "by queue.\n"
	    "meshhook_oldest_age_seconds{queue=\"work\"} 0.25\n"
	    "meshhook_oldest_age_seconds{project=\"a\\\"b\\\\c\\nd\","
	    "queue=\"x\"} 1\n"
	    "# TYPE meshhook_wal_bytes counter\n"
	    "# UNIT meshhook_wal_bytes bytes\n"
	    "# HELP meshhook_wal_bytes Write-ahead log written.\n"
	    "meshhook_wal_bytes_total 12345678901234\n"
	    "# TYPE meshhook_new counter\n"
	    "meshhook_new_total{project=\"p\",of=\"y\"} 2\n"
	    "meshhook_new NaN\n");
	buf_deinit(&out);
}

/* Its sum is that of the middles. */
static void
test_histogram(void **state)
{
	uint64_t counts[HISTOGRAM_BUCKETS] = { 0 };
	struct buf out;

	(void)state;
	buf_init(&out);
	assert_true(measure_is_histogram(STR("attempt_wait_seconds")));
	assert_false(measure_is_histogram(STR("step_wait_seconds")));
	counts[histogram_bucket(1000000)] = 10;
	measure_head(STR("attempt_wait_seconds"), &out);
	measure_histogram(STR("attempt_wait_seconds"), counts, &out);
	assert_ptr_equal(strstr(out.bytes,
			     "# TYPE meshhook_attempt_wait_seconds histogram\n"
			     "# UNIT meshhook_attempt_wait_seconds seconds\n"
			     "# HELP meshhook_attempt_wait_seconds "),
	    out.bytes);
	assert_non_null(strstr(out.bytes,
	    "meshhook_attempt_wait_seconds_bucket{le=\"+Inf\"} 10\n"));
	assert_non_null(
	    strstr(out.bytes, "meshhook_attempt_wait_seconds_count 10\n"));
	assert_non_null(
	    strstr(out.bytes, "meshhook_attempt_wait_seconds_sum 10.158075\n"));
	buf_deinit(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_histogram),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
