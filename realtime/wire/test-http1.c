#include "realtime/wire/http1.h"
#include "core/test.h"

#include <stdlib.h>

#define HOST "Host: h\r\n"

static int
parse(const char *text, struct http1_head *head, struct http1_refusal *why)
{
	size_t scanned = 0;

	return http1_parse(str_of(text), &scanned, head, why);
}

static void
test_a_request(void **state)
{
	struct http1_head h;
	struct http1_refusal why;

	(void)state;
	assert_int_equal(parse("POST /hooks/a/b?x=1&y HTTP/1.1\r\n" HOST
			       "Content-Length:  12 \r\nX-A:\r\n\r\nrest",
			     &h, &why),
	    0);
	assert_true(str_is(h.method, "POST"));
	assert_true(str_is(h.path, "/hooks/a/b"));
	assert_true(str_is(h.query, "x=1&y"));
	assert_int_equal(h.body_bytes, 12);
	assert_true(h.keep_alive);
	assert_int_equal(h.n_headers, 3);
	assert_true(str_is(http1_get(&h, "HOST"), "h"));
	assert_true(str_is(http1_get(&h, "x-a"), ""));
	assert_non_null(http1_get(&h, "x-a").s);
	assert_null(http1_get(&h, "x").s);
	assert_int_equal(parse("GET / HTTP/1.0\r\n\r\n", &h, &why), 0);
	assert_false(h.keep_alive);
	assert_int_equal(
	    parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", &h, &why),
	    0);
	assert_true(h.keep_alive);
	assert_int_equal(
	    parse("GET / HTTP/1.1\r\n" HOST "Connection: x, close\r\n\r\n", &h,
		&why),
	    0);
	assert_false(h.keep_alive);
}

/* Byte by byte, each prefix of a head asks for more and none is misread. */
static void
test_in_pieces(void **state)
{
	static const char text[] = "GET /p HTTP/1.1\r\n" HOST "If: 1\r\n\r\n";
	struct http1_head h;
	struct http1_refusal why;
	size_t scanned = 0;

	(void)state;
	for (size_t n = 1; n < sizeof(text) - 1; n++)
		assert_int_equal(
		    http1_parse((struct str){ text, n }, &scanned, &h, &why),
		    HTTP1_MORE);
	assert_int_equal(http1_parse((struct str){ text, sizeof(text) - 1 },
			     &scanned, &h, &why),
	    0);
	assert_int_equal(h.bytes, sizeof(text) - 1);
}

static void
test_refusals(void **state)
{
	static const struct {
		int status;
		const char *text;
	} cases[] = {
		{ 400, "GET / HTTP/1.1\n" HOST "\r\n\r\n" },
		{ 400, "GET  / HTTP/1.1\r\n" HOST "\r\n" },
		{ 400, "GET /\r\n" HOST "\r\n" },
		{ 400, "GET / HTTP/1.1 \r\n" HOST "\r\n" },
		{ 400, "GET /a b HTTP/1.1\r\n" HOST "\r\n" },
		{ 400, "GET http://h/ HTTP/1.1\r\n" HOST "\r\n" },
		{ 400, "GET /\x80 HTTP/1.1\r\n" HOST "\r\n" },
		{ 400, " GET / HTTP/1.1\r\n" HOST "\r\n" },
		{ 505, "GET / HTTP/2.0\r\n" HOST "\r\n" },
		{ 505, "GET / HTTP/1.2\r\n" HOST "\r\n" },
		{ 400, "GET / HTTP/1.1\r\n\r\n" },
		{ 400, "GET / HTTP/1.1\r\n" HOST HOST "\r\n" },
		{ 400, "GET / HTTP/1.1\r\n" HOST " folded: x\r\n\r\n" },
		{ 400, "GET / HTTP/1.1\r\n" HOST "A : x\r\n\r\n" },
		{ 400, "GET / HTTP/1.1\r\n" HOST "A\r\n\r\n" },
		{ 400, "GET / HTTP/1.1\r\n" HOST ": x\r\n\r\n" },
		{ 400, "GET / HTTP/1.1\r\n" HOST "A: x\ry\r\n\r\n" },
		{ 400, "GET / HTTP/1.1\r\n" HOST "A: x\ny\r\n\r\n" },
		{ 400, "GET / HTTP/1.1\r\n" HOST "A: \x01\r\n\r\n" },
		{ 411,
		    "POST / HTTP/1.1\r\n" HOST
		    "Transfer-Encoding: chunked\r\n\r\n" },
		{ 411,
		    "POST / HTTP/1.1\r\n" HOST
		    "Content-Length: 3\r\ntransfer-encoding: x\r\n\r\n" },
		{ 400,
		    "POST / HTTP/1.1\r\n" HOST "Content-Length: +3\r\n\r\n" },
		{ 400,
		    "POST / HTTP/1.1\r\n" HOST "Content-Length: -3\r\n\r\n" },
		{ 400,
		    "POST / HTTP/1.1\r\n" HOST "Content-Length: 0x3\r\n\r\n" },
		{ 400,
		    "POST / HTTP/1.1\r\n" HOST "Content-Length: 3,3\r\n\r\n" },
		{ 400, "POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n" },
		{ 400,
		    "POST / HTTP/1.1\r\n" HOST
		    "Content-Length: 3\r\nContent-Length: 3\r\n\r\n" },
		{ 413,
		    "POST / HTTP/1.1\r\n" HOST
		    "Content-Length: 99999999999999999999\r\n\r\n" },
		{ 417, "POST / HTTP/1.1\r\n" HOST "Expect: tea\r\n\r\n" },
	};
	struct http1_head h;
	struct http1_refusal why;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		why.status = 0;
		if (parse(cases[i].text, &h, &why) != -1 ||
		    why.status != cases[i].status)
			fail_msg("%d, not %d: %s", why.status, cases[i].status,
			    cases[i].text);
	}
}

static void
test_too_much(void **state)
{
	char *text = malloc(HTTP1_HEAD_MAX + 1);
	struct http1_head h;
	struct http1_refusal why;
	size_t scanned = 0;

	(void)state;
	memset(text, 'a', HTTP1_HEAD_MAX);
	text[HTTP1_HEAD_MAX] = '\0';
	assert_int_equal(http1_parse((struct str){ text, HTTP1_HEAD_MAX - 1 },
			     &scanned, &h, &why),
	    HTTP1_MORE);
	assert_int_equal(http1_parse((struct str){ text, HTTP1_HEAD_MAX },
			     &scanned, &h, &why),
	    -1);
	assert_int_equal(why.status, 431);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_request),
		cmocka_unit_test(test_in_pieces),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_too_much),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
