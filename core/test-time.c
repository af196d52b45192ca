#include "core/test.h"
#include "core/time.h"

static void
test_timestamps(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} ok[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "2026-11-21T04:05:06.789Z", 1795233906789 },
		{ "2026-11-21 04:05:06.789123+00", 1795233906789 },
		{ "2026-11-21T05:35:06.789+01:30", 1795233906789 },
		{ "2000-02-29T23:59:59-00:01", 951868859000 },
		{ "2026-12-31T23:59:60+0000", 1798761600000 },
	};
	static const char *const bad[] = { "", "2026-11-21",
		"2026-13-01T00:00:00Z", "2026-11-21T04:05:06",
		"2026-11-21T04:05:06Zx", "2026-11-21T24:00:00Z",
		"2026-02-29T00:00:00Z",
		"2026-11-21T04:05:06+00:", "2100-02-29T00:00:00Z" };
	char out[TIME_TEXT];
	int64_t ms;

	(void)state;
	for (size_t i = 0; i < sizeof(ok) / sizeof(ok[0]); i++) {
		assert_int_equal(time_parse(str_of(ok[i].text), &ms), 0);
		assert_int_equal(ms, ok[i].ms);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(time_parse(str_of(bad[i]), &ms), -1);
	assert_string_equal(
	    time_format(1795233906789, out), "2026-11-21T04:05:06.789Z");
	assert_string_equal(time_format(-1, out), "1969-12-31T23:59:59.999Z");
}

static void
test_durations(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} ok[] = { { "250ms", 250 }, { "1.5s", 1500 }, { "10m", 600000 },
		{ "2h", 7200000 }, { "7d", 604800000 }, { "PT1M30S", 90000 },
		{ "P1DT0.5S", 86400500 }, { "0s", 0 } };
	static const char *const bad[] = { "", "5", "s", "1.s", "-1s", "P",
		"PT", "PT5", "1y", "99999999999999s", "999999999999d" };
	int64_t ms;

	(void)state;
	for (size_t i = 0; i < sizeof(ok) / sizeof(ok[0]); i++) {
		assert_int_equal(duration_parse(str_of(ok[i].text), &ms), 0);
		assert_int_equal(ms, ok[i].ms);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(duration_parse(str_of(bad[i]), &ms), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_timestamps),
		cmocka_unit_test(test_durations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
