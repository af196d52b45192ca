#include "realtime/lines/lines.h"

#include <stdio.h>
/* last: cmocka has a macro named fail */
#include "core/test.h"

static const struct lines_scope scope = { .project = { { 7 } },
	.slug = { "acme", 4 },
	.service = { "etl", 3 },
	.now_ms = 1795000000000 };

static void
test_many_channels(void **state)
{
	struct line_channels set = { .seed = 99 };
	struct arena a;

	(void)state;
	arena_init(&a);
	for (int round = 0; round < 2; round++)
		for (uint32_t i = 0; i < 5000; i++) {
			struct line_channel c = { .service = STR("etl"),
				.resource = str_of(arena_printf(&a, "%u", i)) };

			assert_int_equal(line_channels_add(&a, &set, &c), i);
		}
	assert_int_equal(set.n, 5000);
	arena_deinit(&a);
}

/* Two that read alike when they are put together. */
static void
test_channels_apart(void **state)
{
	struct line_channels set = { 0 };
	struct line_channel one = { .service = STR("a"), .resource = STR("b") },
			    other = { .service = STR("ab"),
				    .resource = STR("") },
			    third = one;
	struct arena a;

	(void)state;
	arena_init(&a);
	third.project.bytes[3] = 1;
	assert_int_equal(line_channels_add(&a, &set, &one), 0);
	assert_int_equal(line_channels_add(&a, &set, &other), 1);
	assert_int_equal(line_channels_add(&a, &set, &third), 2);
	assert_int_equal(line_channels_add(&a, &set, &one), 0);
	arena_deinit(&a);
}

static void
test_times(void **state)
{
	static const struct {
		const char *time;
		int64_t ms;
	} cases[] = {
		{ "\"2026-11-18T09:46:40Z\"", 1794995200000 },
		{ "\"2026-11-18T10:46:40.5+01:00\"", 1794995200500 },
		{ "1794995200", 1794995200000 },
		{ "1794995200.25", 1794995200250 },
		{ "1794995200123", 1794995200123 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct lines lines;
		struct arena a;
		char body[128];

		arena_init(&a);
		snprintf(body, sizeof(body),
		    "{\"logData\":{\"msg\":\"m\",\"ts\":%s}}", cases[i].time);
		assert_int_equal(
		    lines_parse(&a, str_of(body), 0, &scope, &lines, NULL), 0);
		assert_int_equal(lines.at[0].client_ms, cases[i].ms);
		arena_deinit(&a);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_channels),
		cmocka_unit_test(test_channels_apart),
		cmocka_unit_test(test_times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
