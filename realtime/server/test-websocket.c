/*
 * WebSockets over real sockets: an echo on a thread, and clients that write
 * their frames by hand. Message "close" is answered with a close, "kill" with
 * its end, "flood" with more than a client that doesn't read is granted.
 */
#include "realtime/server/websocket.h"
#include "core/time.h"
#include "realtime/server/test-server.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define UPGRADE "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define HELLO                                                                  \
	"GET /ws HTTP/1.1\r\nHost: h\r\n" UPGRADE VERSION KEY                  \
	"Sec-WebSocket-Extensions: permessage-deflate\r\n"                     \
	"Sec-WebSocket-Protocol: x\r\nx-a: 1\r\n\r\n"

enum { MESSAGE_MAX = 100000, BACKLOG_MAX = 4000000, CONNECTIONS = 12 };

static struct websockets *sockets;
static _Atomic int opened, ended, silent_ms = -1;

struct echo {
	struct websocket *ws;
	int later;
};

static void
on_message(void *arg, struct str bytes, int binary)
{
	static char flood[100000];
	struct echo *e = arg;

	if (str_is(bytes, "close"))
		websocket_close(e->ws, 1012);
	else if (str_is(bytes, "kill"))
		websocket_kill(e->ws);
	else if (str_is(bytes, "silent"))
		silent_ms = (int)websocket_silent_ms(e->ws);
	else if (str_is(bytes, "flood"))
		for (int i = 0; i < 200; i++)
			websocket_send(
			    e->ws, (struct str){ flood, sizeof(flood) }, 1);
	else
		websocket_send(e->ws, bytes, binary);
}

static void
on_closed(void *arg)
{
	free(arg);
	ended++;
}

static void
begin(void *arg, struct request *req)
{
	static const struct websocket_ops ops = { on_message, on_closed };
	struct problem why;
	struct echo *e;

	(void)arg;
	if (websocket_asked(req, &why) < 0) {
		request_problem(req, &why);
		return;
	}
	e = calloc(1, sizeof(*e));
	e->ws = websocket_accept(sockets, req, &ops, e);
	opened++;
}

/* The same, when the request's own callback is long over. */
static struct request *waiting;
static struct loop_timer *later;

static void
begin_now(void *arg)
{
	begin(arg, waiting);
}

static void
begin_later(void *arg, struct request *req)
{
	(void)arg;
	waiting = req;
	loop_timer_set(later, 50);
}

static const struct route routes[] = {
	{ "GET", "/ws", 0, begin, NULL, NULL },
	{ "GET", "/later", 0, begin_later, NULL, NULL },
};

static int
setup(void **state)
{
	struct server_options o = {
		.routes = routes, .n_routes = 2, .connections = CONNECTIONS
	};
	struct websockets_options w = { MESSAGE_MAX, BACKLOG_MAX };
	struct error err;

	(void)state;
	if (server_up(&o) < 0)
		return -1;
	sockets = websockets_new(server, &w, &err);
	later = loop_timer_new(loop, begin_now, NULL);
	return server_run();
}

static int
teardown(void **state)
{
	(void)state;
	server_stop();
	loop_timer_free(later);
	sockets = websockets_free(sockets);
	loop = loop_free(loop);
	return opened == ended ? 0 : -1; /* closed() came for each */
}

static char answer[300000];
static size_t heard;

static int
call(const char *head)
{
	int fd = dial();

	assert_int_equal(
	    send(fd, head, strlen(head), MSG_NOSIGNAL), (ssize_t)strlen(head));
	return fd;
}

static int
ask(const char *head)
{
	int fd = call(head);

	heard = 0;
	for (;;) {
		ssize_t r = recv(fd, answer + heard, 1, 0);

		assert_true(r >= 0);
		heard += (size_t)r;
		answer[heard] = '\0';
		if (r == 0 || strstr(answer, "\r\n\r\n") != NULL)
			return fd;
	}
}

static int
open_it(void)
{
	int fd = ask(HELLO);

	assert_memory_equal(answer, "HTTP/1.1 101 ", 13);
	assert_non_null(strstr(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
	assert_null(strcasestr(answer, "extensions"));
	assert_null(strcasestr(answer, "sec-websocket-protocol"));
	return fd;
}

/* A masked frame, as clients send them. */
static void
say(int fd, int head, const char *bytes, size_t n)
{
	static unsigned char out[200000];
	size_t at = 2;

	out[0] = (unsigned char)head;
	if (n < 126) {
		out[1] = (unsigned char)(0x80 | n);
	} else {
		out[1] = 0x80 | 127;
		for (int i = 0; i < 8; i++)
			out[at++] =
			    (unsigned char)((uint64_t)n >> (56 - 8 * i));
	}
	memcpy(out + at, "\1\2\3\4", 4);
	at += 4;
	for (size_t i = 0; i < n; i++)
		out[at++] =
		    (unsigned char)((unsigned char)bytes[i] ^ (1 + i % 4));
	send(fd, out, at, MSG_NOSIGNAL);
}

static int
take(int fd, void *to, size_t n)
{
	ssize_t r = recv(fd, to, n, MSG_WAITALL);

	if (r < 0 && errno == EAGAIN)
		fail_msg("nothing came");
	return r == (ssize_t)n ? 0 : -1;
}

/* The next frame's first byte, its payload in answer[]; -1 at the end. */
static int
hear(int fd)
{
	unsigned char h[10];
	size_t n;

	if (take(fd, h, 2) < 0)
		return -1;
	n = h[1] & 127;
	assert_false(h[1] & 128);
	if (n == 126) {
		take(fd, h + 2, 2);
		n = (size_t)h[2] << 8 | h[3];
	} else if (n == 127) {
		take(fd, h + 2, 8);
		n = (size_t)h[7] << 16 | (size_t)h[8] << 8 | h[9];
	}
	assert_true(n < sizeof(answer));
	if (n > 0)
		assert_int_equal(take(fd, answer, n), 0);
	answer[n] = '\0';
	heard = n;
	return h[0];
}

static void
test_an_echo(void **state)
{
	static char big[MESSAGE_MAX];
	int fd = open_it();

	(void)state;
	say(fd, 0x81, "hello", 5);
	assert_int_equal(hear(fd), 0x81);
	assert_string_equal(answer, "hello");
	say(fd, 0x82, "\0\xff", 2);
	assert_int_equal(hear(fd), 0x82);
	assert_int_equal(heard, 2);
	memset(big, 'x', sizeof(big));
	say(fd, 0x81, big, sizeof(big));
	assert_int_equal(hear(fd), 0x81);
	assert_int_equal(heard, sizeof(big));
	say(fd, 0x81, "", 0);
	assert_int_equal(hear(fd), 0x81);
	assert_int_equal(heard, 0);
	close(fd);
}

/* Pieces, with a ping between them, are one message. */
static void
test_fragments(void **state)
{
	int fd = open_it();

	(void)state;
	say(fd, 0x01, "one ", 4);
	say(fd, 0x89, "p", 1);
	assert_int_equal(hear(fd), 0x8a);
	assert_string_equal(answer, "p");
	say(fd, 0x00, "two ", 4);
	say(fd, 0x80, "three", 5);
	assert_int_equal(hear(fd), 0x81);
	assert_string_equal(answer, "one two three");
	close(fd);
}

static void
test_a_message_has_a_size(void **state)
{
	static char big[MESSAGE_MAX + 1];
	int fd = open_it();

	(void)state;
	say(fd, 0x81, big, sizeof(big));
	assert_int_equal(hear(fd), -1);
	close(fd);
	fd = open_it();
	say(fd, 0x01, big, sizeof(big) / 2);
	say(fd, 0x80, big, sizeof(big) / 2 + 1);
	assert_int_equal(hear(fd), -1);
	close(fd);
}

static void
test_both_ends_close(void **state)
{
	int fd = open_it();

	(void)state;
	say(fd, 0x81, "close", 5);
	assert_int_equal(hear(fd), 0x88);
	assert_memory_equal(answer, "\3\364", 2);
	say(fd, 0x88, "\3\364", 2);
	assert_int_equal(hear(fd), -1);
	close(fd);
	fd = open_it();
	say(fd, 0x88, "\3\350", 2);
	assert_int_equal(hear(fd), 0x88);
	assert_int_equal(hear(fd), -1);
	close(fd);
	fd = open_it();
	say(fd, 0x81, "kill", 4);
	assert_int_equal(hear(fd), -1);
	close(fd);
}

/* Our close gets no answer: it ends all the same. */
static void
test_a_close_that_is_ignored(void **state)
{
	int fd = open_it();
	int64_t from = time_mono_ms();

	(void)state;
	say(fd, 0x81, "close", 5);
	assert_int_equal(hear(fd), 0x88);
	assert_int_equal(hear(fd), -1);
	assert_true(time_mono_ms() - from < 20000);
	close(fd);
}

/* Whoever doesn't read is cut off; others don't notice. */
static void
test_slow_readers(void **state)
{
	int fd = open_it(), other = open_it(), before = ended;

	(void)state;
	say(fd, 0x81, "flood", 5);
	for (int i = 0; i < 2000 && ended == before; i++)
		usleep(10000);
	assert_int_equal(ended, before + 1);
	say(other, 0x81, "hello", 5);
	assert_int_equal(hear(other), 0x81);
	close(other);
	close(fd);
}

/* Pings count, too. */
static void
test_silence_is_measured(void **state)
{
	int fd = open_it();

	(void)state;
	say(fd, 0x81, "silent", 6);
	for (int i = 0; i < 2000 && silent_ms < 0; i++)
		usleep(10000);
	assert_in_range(silent_ms, 0, 5000);
	close(fd);
}

/* Upgraded long after the head was read. */
static void
test_an_upgrade_that_waited(void **state)
{
	int fd = ask(
	    "GET /later HTTP/1.1\r\nHost: h\r\n" UPGRADE VERSION KEY "\r\n");

	(void)state;
	assert_memory_equal(answer, "HTTP/1.1 101 ", 13);
	usleep(400000);
	say(fd, 0x81, "hello", 5);
	assert_int_equal(hear(fd), 0x81);
	assert_string_equal(answer, "hello");
	close(fd);
}

static void
test_what_is_no_upgrade(void **state)
{
	static const struct {
		const char *head, *status;
	} bad[] = {
		{ "GET /ws HTTP/1.1\r\nHost: h\r\n\r\n", "426" },
		{ "GET /ws HTTP/1.1\r\nHost: h\r\n" VERSION KEY
		  "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
		    "426" },
		{ "GET /ws HTTP/1.1\r\nHost: h\r\n" VERSION KEY
		  "Connection: close\r\nUpgrade: websocket\r\n\r\n",
		    "426" },
		{ "GET /ws HTTP/1.1\r\nHost: h\r\n" UPGRADE KEY
		  "Sec-WebSocket-Version: 8\r\n\r\n",
		    "426" },
		{ "GET /ws HTTP/1.1\r\nHost: h\r\n" UPGRADE VERSION "\r\n",
		    "400" },
		{ "GET /ws HTTP/1.1\r\nHost: h\r\n" UPGRADE VERSION
		  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n\r\n",
		    "400" },
		{ "GET /ws HTTP/1.0\r\n" UPGRADE VERSION KEY "\r\n", "400" },
		{ "HEAD /ws HTTP/1.1\r\nHost: h\r\n" UPGRADE VERSION KEY "\r\n",
		    "400" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = ask(bad[i].head);

		if (strncmp(answer + 9, bad[i].status, 3) != 0)
			fail_msg("%zu: %s", i, answer);
		close(fd);
	}
}

/* What breaks the protocol is answered with a close, or with the end. */
static void
test_frames_that_are_none(void **state)
{
	static const struct str bad[] = {
		{ "\x83\x80\1\2\3\4", 6 },        /* an unknown opcode */
		{ "\xc1\x81\1\2\3\4x", 7 },       /* a reserved bit */
		{ "\x80\x81\1\2\3\4x", 7 },       /* goes on with nothing */
		{ "GET / HTTP/1.1\r\n\r\n", 18 }, /* another protocol */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = open_it(), r;

		send(fd, bad[i].s, bad[i].n, MSG_NOSIGNAL);
		r = hear(fd);
		if (r != 0x88 && r != -1)
			fail_msg("%zu: %x", i, (unsigned)r);
		close(fd);
	}
}

/* A WebSocket is a connection like others: beyond the limit clients wait. */
static void
test_they_are_counted(void **state)
{
	int fds[CONNECTIONS], late;
	struct pollfd p;

	(void)state;
	for (int i = 0; i < CONNECTIONS; i++)
		fds[i] = open_it();
	late = call(HELLO);
	p = (struct pollfd){ .fd = late, .events = POLLIN };
	assert_int_equal(poll(&p, 1, 1000), 0);
	assert_int_equal(server_connections(server), CONNECTIONS);
	close(fds[0]);
	assert_int_equal(poll(&p, 1, 30000), 1);
	close(late);
	for (int i = 1; i < CONNECTIONS; i++)
		close(fds[i]);
	for (int i = 0; i < 1500 && server_connections(server) > 0; i++)
		usleep(20000);
	assert_int_equal(server_connections(server), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_they_are_counted),
		cmocka_unit_test(test_an_echo),
		cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_a_message_has_a_size),
		cmocka_unit_test(test_both_ends_close),
		cmocka_unit_test(test_a_close_that_is_ignored),
		cmocka_unit_test(test_slow_readers),
		cmocka_unit_test(test_silence_is_measured),
		cmocka_unit_test(test_an_upgrade_that_waited),
		cmocka_unit_test(test_what_is_no_upgrade),
		cmocka_unit_test(test_frames_that_are_none),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
