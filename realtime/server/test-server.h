#pragma once
/*
 * A server on a thread, and a client with a blocking socket that reads until
 * the answer is whole or the connection is closed.
 */
#include "core/log.h"
#include "core/test.h"
#include "core/time.h"
#include "realtime/server/server.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define HOST "Host: h\r\n"

static struct loop *loop;
static struct server *server;
static struct loop_timer *watch;
static pthread_t thread;
static _Atomic int gone, stop;

static void
watch_stop(void *arg)
{
	(void)arg;
	if (stop)
		loop_stop(loop, 0);
}

static void *
run(void *arg)
{
	loop_run(loop);
	return arg;
}

/* On `loop`, which the test made; what its handlers need, too. */
static int
server_up(struct server_options *o)
{
	struct error err;

	server = server_new(loop, o, &err);
	if (server == NULL)
		return -1;
	watch = loop_timer_new(loop, watch_stop, NULL);
	loop_timer_every(watch, 20);
	return pthread_create(&thread, NULL, run, NULL);
}

static void
server_stop(void)
{
	stop = 1;
	pthread_join(thread, NULL);
	loop_timer_free(watch);
	server = server_free(server);
}

static int
dial(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)server_port(server)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval tv = { .tv_sec = 30 };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	assert_int_equal(connect(fd, (void *)&in, sizeof(in)), 0);
	return fd;
}

static void
say(int fd, const char *text)
{
	assert_int_equal(
	    send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static char answer[400000];

/* All that comes until the server closes (or, with n, until n answers'
 * heads are there); how long it took, in ms; -1 when neither came. */
static int
hear(int fd, int n)
{
	size_t len = 0;
	int64_t from = time_mono_ms();

	for (;;) {
		ssize_t r = recv(fd, answer + len, sizeof(answer) - 1 - len, 0);
		int heads = 0;

		if (r < 0)
			return -1;
		len += (size_t)r;
		answer[len] = '\0';
		if (r == 0)
			break;
		for (char *p = answer; (p = strstr(p, "HTTP/1.1 ")) != NULL;
		     p++)
			heads++;
		if (n > 0 && heads >= n && strstr(answer, "\r\n\r\n") != NULL)
			break;
	}
	return (int)(time_mono_ms() - from);
}
