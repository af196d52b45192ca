#include "realtime/lines.h"
#include "realtime/cors.h"
#include "realtime/rate.h"

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

static const char *
allowed(const char *list, const char *origin)
{
	static struct buf out;
	struct http1_head head = { .method = STR("GET"), .n_headers = 1 };
	struct cors c;

	head.headers[0] =
	    (struct http1_header){ STR("Origin"), str_of(origin) };
	assert_int_equal(cors_init(&c, list, NULL), 0);
	buf_deinit(&out);
	cors_headers(&c, &head, &out);
	return strstr(out.len > 0 ? out.bytes : "", "Allow-Origin");
}

static void
test_origins(void **state)
{
	static const char *const bad[] = { "app.example", "https://",
		"https://a.example/", "https://A.example", "://a", "null" };
	struct error err;
	struct cors c;

	(void)state;
	assert_non_null(allowed("https://a.example", "https://a.example"));
	assert_non_null(
	    allowed(" http://x:1 ,https://a.example", "https://a.example"));
	assert_non_null(allowed("*", "null"));
	assert_null(allowed("https://a.example", "https://a.example.evil"));
	assert_null(allowed("https://a.example", "http://a.example"));
	assert_null(allowed("https://a.example", ""));
	assert_null(allowed(NULL, "https://a.example"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(cors_init(&c, bad[i], &err), -1);
		assert_int_equal(err.fault, FAULT_CONFIG);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_channels),
		cmocka_unit_test(test_channels_apart),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_rates_of_many),
		cmocka_unit_test(test_origins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
