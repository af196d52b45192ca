/* Each stream is fed whole, and cut at every place. */
#include "core/mem.h"
#include "realtime/follow/sse-client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* last: cmocka has a macro named fail */
#include "core/test.h"

static void
note(void *arg, const struct sse_event *e)
{
	buf_addf(arg, "%.*s|%.*s|%.*s\n", STR_FMT(e->type), STR_FMT(e->data),
	    STR_FMT(e->id));
}

static void
feed(struct sse_client *c, struct buf *got, const char *s, size_t n)
{
	struct error err;
	char *copy = xmalloc(n + 1); /* so that ASan sees its end */

	memcpy(copy, s, n);
	assert_int_equal(
	    sse_client_feed(c, (struct str){ copy, n }, note, got, &err), 0);
	free(copy);
}

static void
stream_is_n(const char *stream, size_t n, const char *expected, int64_t retry)
{
	for (size_t cut = 0; cut <= n; cut++) {
		struct sse_client c;
		struct buf got;

		sse_client_init(&c, 1 << 20);
		buf_init(&got);
		buf_adds(&got, "");
		if (cut == n) /* byte by byte */
			for (size_t i = 0; i < n; i++)
				feed(&c, &got, stream + i, 1);
		else {
			feed(&c, &got, stream, cut);
			feed(&c, &got, stream + cut, n - cut);
		}
		buf_addc(&got, '\0');
		assert_string_equal(got.bytes, expected);
		assert_int_equal(c.retry_ms, retry);
		buf_deinit(&got);
		sse_client_deinit(&c);
	}
}
#define stream_is(stream, ...)                                                 \
	stream_is_n(stream, sizeof(stream) - 1, __VA_ARGS__)

static void
test_events(void **state)
{
	(void)state;
	stream_is("event: log\nid: c1\ndata: {\"a\":1}\n\n"
		  ": heartbeat\n\n"
		  "data: x\n\n",
	    "log|{\"a\":1}|c1\nmessage|x|c1\n", -1);
}

/* The examples and rules of WHATWG HTML, 9.2.6. */
static void
test_standard(void **state)
{
	(void)state;
	stream_is("data: YHOO\ndata: +2\ndata: 10\n\n",
	    "message|YHOO\n+2\n10|\n", -1);
	stream_is(": test stream\n\ndata: first event\nid: 1\n\n"
		  "data:second event\nid\n\ndata:  third event\n\n",
	    "message|first event|1\nmessage|second event|\n"
	    "message| third event|\n",
	    -1);
	stream_is(
	    "data\n\ndata\ndata\n\ndata:", "message||\nmessage|\n|\n", -1);
	stream_is("data:test\n\ndata: test\n\n",
	    "message|test|\nmessage|test|\n", -1);
	stream_is("event: a\n\ndata: b\n\n", "message|b|\n", -1);
	stream_is("foo: bar\ndata: x\nevent : y\n\n", "message|x|\n", -1);
}

static void
test_line_ends(void **state)
{
	(void)state;
	stream_is("data: a\r\n\r\ndata: b\r\rdata: c\n\ndata: d\r\n\n",
	    "message|a|\nmessage|b|\nmessage|c|\nmessage|d|\n", -1);
	stream_is("\xef\xbb\xbf"
		  "data: bom\n\n",
	    "message|bom|\n", -1);
	stream_is("data: cut", "", -1);
	stream_is("data: cut\n", "", -1);
}

static void
test_id_and_retry(void **state)
{
	(void)state;
	stream_is("retry: 1500\n\n", "", 1500);
	stream_is("retry: 15x\nretry:\nretry: 99999999999999\n\n", "", -1);
	stream_is("id: 1\n\ndata: x\n\n", "message|x|1\n", -1);
	stream_is("id: a\0b\ndata: x\n\n", "message|x|\n", -1);
}

static void
test_new_connection(void **state)
{
	struct sse_client c;
	struct buf got;

	(void)state;
	sse_client_init(&c, 100);
	buf_init(&got);
	feed(&c, &got, "id: 7\nretry: 9\ndata: x\n\nda", 24);
	sse_client_reset(&c);
	feed(&c, &got,
	    "\xef\xbb\xbf"
	    "data: y\n\n",
	    12);
	buf_addc(&got, '\0');
	assert_string_equal(got.bytes, "message|x|7\nmessage|y|7\n");
	assert_int_equal(c.retry_ms, 9);
	buf_deinit(&got);
	sse_client_deinit(&c);
}

static void
test_too_large(void **state)
{
	struct sse_client c;
	struct buf got;
	struct error err = { 0 };
	struct str piece = STR("data: 0123456789\n");
	int n = 0;

	(void)state;
	sse_client_init(&c, 100);
	buf_init(&got);
	while (sse_client_feed(&c, piece, note, &got, &err) == 0)
		n++;
	assert_int_equal(n, 8);
	assert_string_equal(err.code, "SSE");
	sse_client_reset(&c);
	piece = STR("0123456789");
	for (n = 0; sse_client_feed(&c, piece, note, &got, &err) == 0;)
		n++;
	assert_int_equal(n, 10);
	buf_deinit(&got);
	sse_client_deinit(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_standard),
		cmocka_unit_test(test_line_ends),
		cmocka_unit_test(test_id_and_retry),
		cmocka_unit_test(test_new_connection),
		cmocka_unit_test(test_too_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
