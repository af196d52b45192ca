#pragma once
/* A server on a thread, and blocking sockets to it. */
#include "core/log.h"
#include "core/test.h"
#include "realtime/server/server.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static struct loop *loop;
static struct server *server;
static struct loop_timer *watch;
static pthread_t thread;
static _Atomic int stop;

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

/* A loop with a server on it; what its handlers need is made on the loop, too,
 * before server_run gives it to the thread. */
static int
server_up(struct server_options *o)
{
	struct error err;

	log_setup(LOG_ERROR, LOG_JSON);
	loop = loop_new(&err);
	server = server_new(loop, o, &err);
	return server != NULL ? 0 : -1;
}

static int
server_run(void)
{
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
