/* Replies that go on, over real sockets. */
#include "realtime/server/test-client.h"

enum { FLOOD = 2000000 };
static struct stream *flooding;
static size_t flooded, offset;
static _Atomic int blocked, gone;

/* A stream of FLOOD bytes, as fast as they are taken, then its end. */
static void
flood(void *arg)
{
	static char bytes[1000];

	(void)arg;
	while (flooded < FLOOD) {
		struct iovec parts[2] = { { bytes + offset, 1000 - offset },
			{ bytes, 1000 } };
		size_t took, all;

		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (char)('a' + i % 26);
		all = parts[0].iov_len + (flooded < 500000 ? 1000 : 0);
		took = stream_send(flooding, parts, flooded < 500000 ? 2 : 1);
		flooded += took;
		offset = (offset + took) % 1000;
		if (took < all) {
			blocked++;
			return;
		}
	}
	stream_end(flooding);
}

static void
stream_gone(void *arg)
{
	(void)arg;
	gone++;
}

static void
stream_flood(void *arg, struct request *req)
{
	static const struct stream_ops ops = { flood, stream_gone };

	(void)arg;
	flooded = offset = 0;
	flooding = request_stream(req,
	    &(struct reply){ .status = 200, .type = "text/plain" }, &ops, NULL);
	flood(NULL);
}

static void
stream_greet(void *arg, struct request *req)
{
	static const struct stream_ops ops = { NULL, stream_gone };
	static char text[] = "data: hello\n\n";
	struct iovec part = { text, sizeof(text) - 1 };
	struct reply head = { .status = 200,
		.type = "text/event-stream",
		.headers = "X-Test: 1\r\n" };
	struct stream *s = request_stream(req, &head, &ops, NULL);

	assert_int_equal(stream_send(s, &part, 1), part.iov_len);
	if (arg != NULL)
		stream_end(s);
}

static const struct route routes[] = {
	{ "GET", "/flood", 0, NULL, stream_flood, NULL },
	{ "GET", "/greet", 0, NULL, stream_greet, NULL },
	{ "GET", "/greet/end", 0, NULL, stream_greet, &gone },
};

static int
setup(void **state)
{
	struct server_options o = { .routes = routes,
		.n_routes = sizeof(routes) / sizeof(routes[0]),
		.head_ms = 600,
		.body_ms = 600,
		.idle_ms = 1200 };

	(void)state;
	return server_up(&o) < 0 ? -1 : server_run();
}

static int
teardown(void **state)
{
	(void)state;
	server_stop();
	loop = loop_free(loop);
	return 0;
}

static void
test_streams(void **state)
{
	int fd = dial();

	(void)state;
	say(fd, "GET /greet/end HTTP/1.1\r\n" HOST "\r\n");
	assert_true(hear(fd, 0) >= 0);
	assert_non_null(strstr(answer, "\r\nX-Test: 1\r\n"));
	assert_non_null(strstr(answer, "\r\nConnection: close\r\n"));
	assert_null(strstr(answer, "Content-Length"));
	assert_string_equal(
	    strstr(answer, "\r\n\r\n"), "\r\n\r\ndata: hello\n\n");
	close(fd);
}

/* What it sends is dropped; that it leaves is told, once. */
static void
test_streams_that_are_left(void **state)
{
	char text[40000];
	int fd = dial(), before = gone;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	say(fd, "GET /greet HTTP/1.1\r\n" HOST "\r\nGET /greet HTTP");
	for (int i = 0; i < 10; i++)
		say(fd, text);
	usleep(1500000); /* beyond every deadline of requests */
	assert_int_equal(gone, before);
	close(fd);
	for (int i = 0; i < 2000 && gone == before; i++)
		usleep(10000);
	assert_int_equal(gone, before + 1);
}

/* A reader that sleeps is seen, and gets everything when it wakes. */
static void
test_streams_have_backpressure(void **state)
{
	int fd = dial(), before = gone, small = 16384;
	size_t all = 0;
	ssize_t n;
	char *body;

	(void)state;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	say(fd, "GET /flood HTTP/1.1\r\n" HOST "\r\n");
	for (int i = 0; i < 2000 && blocked == 0; i++)
		usleep(10000);
	usleep(100000);
	assert_int_equal(blocked, 1);
	n = recv(fd, answer, 2000, 0);
	answer[n] = '\0';
	body = strstr(answer, "\r\n\r\n") + 4;
	all = (size_t)(answer + n - body);
	for (;;) {
		n = recv(fd, answer, sizeof(answer), 0);
		assert_true(n >= 0);
		if (n == 0)
			break;
		for (ssize_t i = 0; i < n; i++)
			if (answer[i] !=
			    (char)('a' + (all + (size_t)i) % 1000 % 26))
				fail_msg("byte %zu", all + (size_t)i);
		all += (size_t)n;
	}
	assert_int_equal(all, FLOOD);
	assert_true(blocked > 1);
	assert_int_equal(gone, before); /* it was ended, not left */
	close(fd);
}
int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_streams),
		cmocka_unit_test(test_streams_that_are_left),
		cmocka_unit_test(test_streams_have_backpressure),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
