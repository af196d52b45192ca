/*
 * What a call costs the client, against a server in a process of its own:
 *
 * http_calls_per_s  small POSTs, 64 at once, on kept connections
 * http_call_us      processor time of the client for one of them
 * http_call_kb      memory that a call in flight holds, of 500
 *
 * The best of five rounds, so that a neighbour's load doesn't count.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/time.h"
#include "http/client.h"
#include "http/test-server.h"

enum { ROUNDS = 5, AT_ONCE = 64, CALLS = 20000, WAITING = 500 };

struct bench {
	struct loop *loop;
	struct guard guard;
	struct http *http;
	char url[100];
	struct http_request req;
	int port, to_start, to_end;
};

/* The server's process ends with ours. Its port comes through the pipe. */
static pid_t
server_fork(int *port)
{
	int fds[2];
	pid_t pid;

	if (pipe(fds) < 0)
		abort();
	pid = fork();
	if (pid == 0) {
		struct loop *loop = loop_new(NULL);
		struct test_server *s = test_server_new(loop);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (write(fds[1], &s->port, sizeof(s->port)) < 0)
			abort();
		_exit(loop_run(loop));
	}
	if (pid < 0 || read(fds[0], port, sizeof(*port)) != sizeof(*port))
		abort();
	close(fds[0]);
	close(fds[1]);
	return pid;
}

static void done(void *arg, const struct http_response *res);

static void
start(struct bench *b)
{
	struct error err;

	if (http_call_start(b->http, &b->req, done, b, &err) == NULL) {
		fprintf(stderr, "bench/http: %s\n", err.text);
		exit(1);
	}
	b->to_start--;
}

static void
done(void *arg, const struct http_response *res)
{
	struct bench *b = arg;

	if (res->status != 200) {
		fprintf(stderr, "bench/http: %s\n", res->error.text);
		exit(1);
	}
	if (b->to_start > 0)
		start(b);
	if (--b->to_end == 0)
		loop_stop(b->loop, 0);
}

static int64_t
cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
	    u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}

static void
round_of_calls(struct bench *b, double *per_s, double *us)
{
	int64_t began = time_mono_us(), cpu = cpu_us();

	b->to_start = b->to_end = CALLS;
	for (int i = 0; i < AT_ONCE; i++)
		start(b);
	loop_run(b->loop);
	*per_s = CALLS * 1e6 / (double)(time_mono_us() - began);
	*us = (double)(cpu_us() - cpu) / CALLS;
}

static double
rss_kb(void)
{
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f == NULL || fscanf(f, "%*d %ld", &pages) != 1)
		abort();
	fclose(f);
	return (double)(pages * (sysconf(_SC_PAGESIZE) / 1024));
}

static void
stop(void *arg)
{
	loop_stop(arg, 0);
}

/* Calls that wait for an answer that never comes, each on a connection. */
static double
held_kb(struct bench *b)
{
	struct loop_timer *timer = loop_timer_new(b->loop, stop, b->loop);
	double before = rss_kb();

	snprintf(b->url, sizeof(b->url), "http://127.0.0.1:%d/never", b->port);
	b->req.url = str_of(b->url);
	for (int i = 0; i < WAITING; i++)
		start(b);
	loop_timer_set(timer, 500);
	loop_run(b->loop);
	loop_timer_free(timer);
	return (rss_kb() - before) / WAITING;
}

static void
figure(int json, const char *name, double value, const char *unit)
{
	printf(json ? "{\"name\":\"%s\",\"value\":%.1f,\"unit\":\"%s\"}\n"
		    : "%-18s %10.1f %s\n",
	    name, value, unit);
}

int
main(int argc, char **argv)
{
	int json = argc == 3 && strcmp(argv[1], "-o") == 0 &&
	    strcmp(argv[2], "json") == 0;
	struct bench b = { 0 };
	double best = 0, least = 1e9, kb;
	pid_t pid;

	if (argc > 1 && !json) {
		fprintf(stderr, "usage: bench/http [-o json]\n");
		return 2;
	}
	pid = server_fork(&b.port);
	b.loop = loop_new(NULL);
	guard_init(&b.guard, "127.0.0.0/8", NULL);
	b.http =
	    http_new(b.loop, &(struct http_options){ .guard = &b.guard }, NULL);
	snprintf(b.url, sizeof(b.url), "http://127.0.0.1:%d/ok", b.port);
	b.req = (struct http_request){ .method = STR("POST"),
		.url = str_of(b.url),
		.body = STR("{\"lead\":1}") };
	kb = held_kb(&b);
	b.http = http_free(b.http);
	b.http =
	    http_new(b.loop, &(struct http_options){ .guard = &b.guard }, NULL);
	snprintf(b.url, sizeof(b.url), "http://127.0.0.1:%d/ok", b.port);
	b.req.url = str_of(b.url);
	for (int i = 0; i < ROUNDS; i++) {
		double per_s, us;

		round_of_calls(&b, &per_s, &us);
		best = per_s > best ? per_s : best;
		least = us < least ? us : least;
	}
	figure(json, "http_calls_per_s", best, "1/s");
	figure(json, "http_call_us", least, "us");
	figure(json, "http_call_kb", kb, "KB");
	http_free(b.http);
	guard_deinit(&b.guard);
	loop_free(b.loop);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return 0;
}
