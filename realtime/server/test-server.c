/*
 * The server over real sockets. It runs on a thread; each test speaks to it
 * with a blocking socket and reads until the answer is whole or it is closed.
 */
#include "realtime/server/test-server.h"
#include "realtime/server/test-client.h"

static struct request *held; /* of /later: answered by a timer */
static struct loop_timer *later;
static _Atomic int gone;

static void
echo(void *arg, struct request *req)
{
	(void)arg;
	request_reply(req,
	    &(struct reply){
		.status = 200, .type = "text/plain", .body = req->body });
}

static void
name(void *arg, struct request *req)
{
	(void)arg;
	request_reply(
	    req, &(struct reply){ .status = 200, .body = req->params[1] });
}

static void
held_gone(struct request *req)
{
	(void)req;
	held = NULL;
	gone++;
}

static void
answer_later(void *arg)
{
	(void)arg;
	if (held != NULL)
		request_reply(
		    held, &(struct reply){ .status = 202, .body = held->body });
	held = NULL;
}

static void
hold(void *arg, struct request *req)
{
	(void)arg;
	held = req;
	req->gone = held_gone;
	loop_timer_set(later, 100);
}

/* Decides about the body when it has been looked up, which takes a while. */
static struct request *deciding;
static struct loop_timer *decide;

static void
decided(void *arg)
{
	struct request *req = deciding;

	(void)arg;
	deciding = NULL;
	request_read(req, 300000);
}

static void
begin_later(void *arg, struct request *req)
{
	(void)arg;
	deciding = req;
	loop_timer_set(decide, 50);
}

enum { BIG = 500000 };
static _Atomic int bigs; /* how often it was asked for */

static void
big(void *arg, struct request *req)
{
	static char body[BIG];

	(void)arg;
	bigs++;
	request_reply(req,
	    &(struct reply){ .status = 200, .body = { body, sizeof(body) } });
}

static const struct route routes[] = {
	{ "GET", "/", 0, NULL, echo, NULL },
	{ "POST", "/echo", 100000, NULL, echo, NULL },
	{ "GET", "/a/{x}/b/{y}", 0, NULL, name, NULL },
	{ "POST", "/later", 100, NULL, hold, NULL },
	{ "POST", "/begin", 0, begin_later, echo, NULL },
	{ "GET", "/big", 0, NULL, big, NULL },
};

static int
setup(void **state)
{
	struct server_options o = { .routes = routes,
		.n_routes = sizeof(routes) / sizeof(routes[0]),
		.connections = 20,
		.bodies_max = 350000,
		.head_ms = 600,
		.body_ms = 600,
		.idle_ms = 1200 };

	(void)state;
	if (server_up(&o) < 0)
		return -1;
	later = loop_timer_new(loop, answer_later, NULL);
	decide = loop_timer_new(loop, decided, NULL);
	return server_run();
}

static int
teardown(void **state)
{
	(void)state;
	server_stop();
	loop_timer_free(later);
	loop_timer_free(decide);
	loop = loop_free(loop);
	return 0;
}

static void
expect(const char *request, const char *status, int closes)
{
	int fd = dial();

	say(fd, request);
	if (hear(fd, closes ? 0 : 1) < 0 ||
	    strncmp(answer, "HTTP/1.1 ", 9) != 0 ||
	    strncmp(answer + 9, status, strlen(status)) != 0)
		fail_msg("not %s: %s\n%s", status, request, answer);
	if (closes && strstr(answer, "Connection: close") == NULL)
		fail_msg("closed unsaid: %s\n%s", request, answer);
	close(fd);
}

static void
test_routes(void **state)
{
	(void)state;
	expect("GET / HTTP/1.1\r\n" HOST "\r\n", "200 OK", 0);
	expect("GET /?q=1 HTTP/1.1\r\n" HOST "\r\n", "200", 0);
	expect("GET /a/1/b/two HTTP/1.1\r\n" HOST "\r\n", "200", 0);
	assert_non_null(strstr(answer, "\r\n\r\ntwo"));
	expect("GET /a/1/b/ HTTP/1.1\r\n" HOST "\r\n", "404", 0);
	assert_non_null(strstr(answer, "application/problem+json"));
	assert_non_null(strstr(answer, "\"status\":404"));
	assert_non_null(strstr(answer, "\"instance\":\"/a/1/b/\""));
	expect("GET //a/1/b/2 HTTP/1.1\r\n" HOST "\r\n", "404", 0);
	expect("GET /a/1/../b/2 HTTP/1.1\r\n" HOST "\r\n", "404", 0);
	expect("GET /nothing HTTP/1.1\r\n" HOST "\r\n", "404", 0);
	expect("GET /echo HTTP/1.1\r\n" HOST "\r\n", "405", 0);
	assert_non_null(strstr(answer, "Allow: OPTIONS, POST\r\n"));
	expect("BREW / HTTP/1.1\r\n" HOST "\r\n", "405", 0);
	assert_non_null(strstr(answer, "Allow: OPTIONS, GET, HEAD\r\n"));
	expect("OPTIONS /echo HTTP/1.1\r\n" HOST "\r\n", "204", 0);
	expect("HEAD /a/1/b/two HTTP/1.1\r\n" HOST "\r\n", "200", 0);
	assert_non_null(strstr(answer, "Content-Length: 3\r\n"));
	assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
	expect("GET / HTTP/1.0\r\n\r\n", "200", 1);
}

/* What libwebsockets' own reader gets wrong, one by one. */
static void
test_framing_is_strict(void **state)
{
	(void)state;
	expect(
	    "POST /echo HTTP/1.1\r\n" HOST
	    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
	    "411", 1);
	assert_null(strstr(answer + 9, "HTTP/1.1"));
	expect("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n"
	       "Content-Length: 30\r\n\r\nabcGET / HTTP/1.1\r\n\r\n",
	    "400", 1);
	assert_null(strstr(answer + 9, "HTTP/1.1"));
	expect("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3x\r\n\r\nabc",
	    "400", 1);
	expect("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 100001\r\n\r\n",
	    "413", 1);
	expect("GET / HTTP/1.1\r\n" HOST "Upgrade: h2c\r\nConnection: Upgrade, "
	       "HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
	    "200", 0);
	expect("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505", 1);
	expect("\x16\x03\x01\x02\r\n\r\n\r\n", "400", 1); /* TLS by mistake */
}

/* A last header whose name begins like a known one: answered at once. */
static void
test_header_prefixes_do_not_hang(void **state)
{
	static const char *const names[] = { "x-a", "if", "up", "x", "c",
		"content-", "sec-websocket" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char text[100];
		int fd = dial();

		snprintf(text, sizeof(text),
		    "GET / HTTP/1.1\r\n" HOST "%s: 1\r\n\r\n", names[i]);
		say(fd, text);
		assert_in_range(hear(fd, 1), 0, 300);
		close(fd);
	}
}

static void
test_large_heads(void **state)
{
	char *text = malloc(40000);

	(void)state;
	snprintf(
	    text, 40000, "GET / HTTP/1.1\r\n" HOST "X: %012000d\r\n\r\n", 0);
	expect(text, "200", 0);
	snprintf(
	    text, 40000, "GET / HTTP/1.1\r\n" HOST "X: %020000d\r\n\r\n", 0);
	expect(text, "431", 1);
	free(text);
}

static void
test_bodies(void **state)
{
	char *text = malloc(200000);
	int fd = dial();

	(void)state;
	snprintf(text, 200000,
	    "POST /echo HTTP/1.1\r\n" HOST "Connection: close\r\n"
	    "Content-Length: 100000\r\n\r\n%0100000d",
	    7);
	say(fd, text);
	assert_true(hear(fd, 0) >= 0);
	assert_true(strlen(answer) > 100000);
	close(fd);
	/* in two pieces, on a kept connection, with 100-continue */
	fd = dial();
	for (int i = 0; i < 3; i++) {
		say(fd,
		    "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n"
		    "Content-Length: 6\r\n\r\n");
		assert_true(hear(fd, 1) >= 0);
		assert_string_equal(answer, "HTTP/1.1 100 Continue\r\n\r\n");
		say(fd, "abc");
		usleep(20000);
		say(fd, "def");
		assert_true(hear(fd, 1) >= 0);
		assert_non_null(strstr(answer, "\r\n\r\nabcdef"));
	}
	close(fd);
	free(text);
}

static void
test_pipelining(void **state)
{
	int fd = dial();

	(void)state;
	say(fd,
	    "GET /a/1/b/one HTTP/1.1\r\n" HOST "\r\n"
	    "POST /later HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"
	    "POST /begin HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nxyz"
	    "GET /a/1/b/two HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"
	    "GET /a/1/b/never HTTP/1.1\r\n" HOST "\r\n");
	assert_true(hear(fd, 0) >= 0);
	assert_true(
	    strstr(answer, "\r\n\r\none") < strstr(answer, "\r\n\r\nabc"));
	assert_true(
	    strstr(answer, "\r\n\r\nabc") < strstr(answer, "\r\n\r\nxyz"));
	assert_true(
	    strstr(answer, "\r\n\r\nxyz") < strstr(answer, "\r\n\r\ntwo"));
	assert_non_null(strstr(answer, "\r\n\r\none"));
	assert_null(strstr(answer, "never"));
	close(fd);
}

/* Far more than is kept for a connection while a request is at work: reading
 * stops, goes on afterwards, and nothing is lost or out of order. */
static void
test_pipelining_is_bounded(void **state)
{
	static char text[200000];
	int fd = dial(), answers = 0, last = -1;
	size_t n;

	(void)state;
	n = (size_t)snprintf(text, sizeof(text),
	    "POST /later HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n");
	for (int i = 0; i < 2000; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
		    "GET /a/%030d/b/%d HTTP/1.1\r\n" HOST "%s\r\n", 0, i,
		    i == 1999 ? "Connection: close\r\n" : "");
	assert_in_range(n, 130000, sizeof(text) - 1);
	say(fd, text);
	assert_true(hear(fd, 0) >= 0);
	for (char *p = answer; (p = strstr(p, "\r\n\r\n")) != NULL; p += 4) {
		if (answers++ == 0)
			continue; /* of /later */
		assert_int_equal(strtol(p + 4, NULL, 10), last + 1);
		last++;
	}
	assert_int_equal(answers, 2001);
	close(fd);
}

/* Who asks and doesn't read has one answer waiting here, beside what the kernel
 * took, however often it asked. Read late, they are all there. */
static void
test_answers_that_are_not_read(void **state)
{
	enum { asked = 60 };
	static char bytes[65536];
	int fd = dial(), before;
	size_t all = 0;
	ssize_t n;

	(void)state;
	for (int i = 0; i < asked; i++)
		say(fd, "GET /big HTTP/1.1\r\n" HOST "\r\n");
	do {
		before = bigs;
		usleep(100000);
	} while (bigs == 0 || bigs > before);
	assert_in_range(bigs, 1, asked * 3 / 4);
	while (all < (size_t)asked * BIG &&
	    (n = recv(fd, bytes, sizeof(bytes), 0)) > 0)
		all += (size_t)n;
	assert_in_range(all, (size_t)asked * BIG, (size_t)asked * (BIG + 500));
	assert_int_equal(bigs, asked);
	close(fd);
}

static void
test_begin_decides(void **state)
{
	char *text = malloc(400000);

	(void)state;
	/* more than is kept while begin decides: reading goes on then */
	snprintf(text, 400000,
	    "POST /begin HTTP/1.1\r\n" HOST "Connection: close\r\n"
	    "Content-Length: 300000\r\n\r\n%0300000d",
	    7);
	expect(text, "200", 1);
	assert_true(strlen(answer) > 300000);
	expect("POST /begin HTTP/1.1\r\n" HOST "Content-Length: 300001\r\n\r\n",
	    "413", 1);
	free(text);
}

static void
test_slow_clients(void **state)
{
	int64_t from = time_mono_ms();
	int fd = dial();

	(void)state;
	say(fd, "GET / HTTP/1.1\r\n");
	assert_true(hear(fd, 0) >= 0);
	assert_in_range(time_mono_ms() - from, 400, 20000);
	assert_non_null(strstr(answer, "408"));
	close(fd);
	from = time_mono_ms();
	fd = dial();
	say(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nab");
	assert_true(hear(fd, 0) >= 0);
	assert_in_range(time_mono_ms() - from, 400, 20000);
	assert_non_null(strstr(answer, "408"));
	close(fd);
	from = time_mono_ms();
	fd = dial(); /* one that says nothing: closed without a word */
	assert_true(hear(fd, 0) >= 0);
	assert_in_range(time_mono_ms() - from, 400, 20000);
	assert_string_equal(answer, "");
	close(fd);
}

static void
test_clients_that_leave(void **state)
{
	int before = gone, fd = dial();

	(void)state;
	say(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nab");
	close(fd);
	fd = dial();
	say(fd, "POST /later HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nab");
	usleep(30000);
	close(fd);
	for (int i = 0; gone == before && i < 2000; i++)
		usleep(10000);
	assert_int_equal(gone, before + 1);
	expect("GET / HTTP/1.1\r\n" HOST "\r\n", "200", 0);
}

/* Bodies that are promised count: two of these are over bodies_max. */
static void
test_memory_is_bounded(void **state)
{
	int fd = dial();

	(void)state;
	say(fd,
	    "POST /begin HTTP/1.1\r\n" HOST "Content-Length: 200000\r\n\r\n");
	usleep(500000);
	expect("POST /begin HTTP/1.1\r\n" HOST "Content-Length: 200000\r\n\r\n",
	    "503", 1);
	assert_non_null(strstr(answer, "Retry-After: 1\r\n"));
	close(fd);
	usleep(500000);
	expect("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc",
	    "200", 0);
}

/* Beyond the limit clients wait, and are served when others leave. */
static void
test_connections_are_bounded(void **state)
{
	int fds[30], served = 0;

	(void)state;
	for (int i = 0; i < 30; i++)
		fds[i] = dial();
	usleep(100000);
	for (int i = 0; i < 30; i++)
		say(fds[i],
		    "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	for (int i = 0; i < 30; i++) {
		served += hear(fds[i], 0) >= 0 &&
		    strncmp(answer, "HTTP/1.1 200", 12) == 0;
		close(fds[i]);
	}
	assert_int_equal(served, 30);
	assert_in_range(server_connections(server), 0, 20);
}

static void
test_a_taken_port_is_named(void **state)
{
	struct server_options o = { .port = server_port(server) };
	struct error err = { 0 };
	struct loop *other = loop_new(&err);
	char port[16];

	(void)state;
	snprintf(port, sizeof(port), "%d", o.port);
	assert_null(server_new(other, &o, &err));
	assert_int_equal(err.fault, FAULT_CONFIG);
	assert_non_null(strstr(err.text, port));
	assert_non_null(strstr(err.text, "in use"));
	o = (struct server_options){ .host = "192.0.2.1" };
	assert_null(server_new(other, &o, &err));
	assert_non_null(strstr(err.text, "192.0.2.1"));
	loop_free(other);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_framing_is_strict),
		cmocka_unit_test(test_header_prefixes_do_not_hang),
		cmocka_unit_test(test_large_heads),
		cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_pipelining),
		cmocka_unit_test(test_pipelining_is_bounded),
		cmocka_unit_test(test_answers_that_are_not_read),
		cmocka_unit_test(test_begin_decides),
		cmocka_unit_test(test_slow_clients),
		cmocka_unit_test(test_clients_that_leave),
		cmocka_unit_test(test_memory_is_bounded),
		cmocka_unit_test(test_connections_are_bounded),
		cmocka_unit_test(test_a_taken_port_is_named),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
