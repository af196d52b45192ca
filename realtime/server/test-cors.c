#include "realtime/server/cors.h"

#include <string.h>
/* last: cmocka has a macro named fail */
#include "core/test.h"

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
		cmocka_unit_test(test_origins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
