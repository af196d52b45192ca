#include "core/mem.h"
#include "http/client.h"
#include "core/test.h"

static void
test_urls_are_redacted(void **state)
{
	static const struct {
		const char *url, *shown;
	} rows[] = {
		{ "https://api.example.com/x", "https://api.example.com/x" },
		{ "https://u:p@example.com/x", "https://example.com/x" },
		{ "https://u:p@q@example.com", "https://example.com" },
		{ "http://h/p?a=1&b=2", "http://h/p?a=&b=" },
		{ "http://h/p?token&b=2=3", "http://h/p?*&b=" },
		{ "http://h?a=1", "http://h?a=" },
		{ "http://h/p?", "http://h/p?" },
		{ "http://h/p?a=1&", "http://h/p?a=&" },
		{ "http://h/p#secret", "http://h/p" },
		{ "http://h/p?a=1#x&b=2", "http://h/p?a=" },
		{ "http://h/a@b?c=d@e", "http://h/a@b?c=" },
		{ "http://u@h\\@x/", "http://h\\@x/" },
		{ "http://[::1]:80/", "http://[::1]:80/" },
		{ "u:p@h/x", "h/x" },
		{ "", "" },
		{ "http://h/\x1b[31m\r\n\xff", "http://h/?[31m???" },
	};
	struct arena a;
	char big[1000];

	(void)state;
	arena_init(&a);
	for (size_t i = 0; i < NELEM(rows); i++)
		assert_string_equal(
		    http_url_redacted(&a, str_of(rows[i].url)), rows[i].shown);
	memset(big, 'a', sizeof(big));
	assert_int_equal(
	    strlen(http_url_redacted(&a, (struct str){ big, sizeof(big) })),
	    300);
	memset(big, '&', sizeof(big));
	big[0] = '?';
	http_url_redacted(&a, (struct str){ big, sizeof(big) });
	arena_deinit(&a);
}

static void
test_lines_for_people(void **state)
{
	struct http_request req = { .method = STR("POST"),
		.url = STR("https://me:pw@api.example.com/x?key=abc") };
	struct http_response res = { .status = 503,
		.timing = { .total = 41200 } };
	struct arena a;

	(void)state;
	arena_init(&a);
	assert_string_equal(http_summary(&a, &req, &res),
	    "POST https://api.example.com/x?key= answered 503 in 41 ms");
	res.outcome = HTTP_TIMEOUT;
	res.timing.total = 10000000;
	memcpy(res.error.text, "no answer in time", 18);
	assert_string_equal(http_summary(&a, &req, &res),
	    "POST https://api.example.com/x?key= failed after 10.0 s: "
	    "no answer in time");
	for (int i = 0; i < N_HTTP_OUTCOMES; i++)
		assert_non_null(http_outcome_name((enum http_outcome)i));
	arena_deinit(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls_are_redacted),
		cmocka_unit_test(test_lines_for_people),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
