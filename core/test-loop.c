#include "core/loop.h"
#include "core/mem.h"
#include "core/test.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct world {
	struct loop *loop;
	struct loop_io *io;
	struct loop_timer *timer;
	struct loop_defer *defer, *other;
	struct loop_signal *signal;
	int fds[2], calls, ticks, events;
	char trace[64];
};

static int epoll_ctls;

/* Stands before the C library's, so that a test can count libuv's calls. */
int
epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	int (*real)(int, int, int, struct epoll_event *);

	*(void **)&real = dlsym(RTLD_NEXT, "epoll_ctl");
	epoll_ctls++;
	return real(epfd, op, fd, event);
}

static int
world_setup(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));

	w->loop = loop_new(NULL);
	assert_non_null(w->loop);
	assert_int_equal(pipe2(w->fds, O_CLOEXEC | O_NONBLOCK), 0);
	*state = w;
	return 0;
}

static int
world_teardown(void **state)
{
	struct world *w = *state;

	loop_io_stop(w->io);
	loop_timer_free(w->timer);
	loop_defer_free(w->defer);
	loop_defer_free(w->other);
	loop_signal_stop(w->signal);
	loop_free(w->loop);
	close(w->fds[0]);
	close(w->fds[1]);
	free(w);
	return 0;
}

static void
say(struct world *w, const char *what)
{
	size_t n = strlen(w->trace);

	snprintf(w->trace + n, sizeof(w->trace) - n, "%s", what);
}

static void
stop(void *arg)
{
	struct world *w = arg;

	loop_stop(w->loop, 7);
}

/* Let what is ready happen: one timer of so many ms. */
static void
run_for(struct world *w, int64_t ms)
{
	struct loop_timer *t = loop_timer_new(w->loop, stop, w);

	loop_timer_set(t, ms);
	assert_int_equal(loop_run(w->loop), 7);
	loop_timer_free(t);
}

static void
readable(void *arg, int events)
{
	struct world *w = arg;
	char c;

	w->calls++;
	w->events |= events;
	if (events & LOOP_READ)
		while (read(w->fds[0], &c, 1) == 1)
			;
}

static void
count_and_stop(void *arg)
{
	struct world *w = arg;

	w->calls++;
	loop_stop(w->loop, 3);
}

static void
readable_once(void *arg, int events)
{
	struct world *w = arg;

	assert_int_equal(events, LOOP_READ);
	w->io = loop_io_stop(w->io);
	loop_defer_call(w->defer);
	loop_defer_call(w->defer);
}

static void
third_tick_writes(void *arg)
{
	struct world *w = arg;

	if (++w->ticks == 3) {
		w->timer = loop_timer_free(w->timer);
		assert_int_equal(write(w->fds[1], "x", 1), 1);
	}
}

static void
test_io_timer_defer(void **state)
{
	struct world *w = *state;

	w->io = loop_io_start(w->loop, w->fds[0], LOOP_READ, readable_once, w);
	w->timer = loop_timer_new(w->loop, third_tick_writes, w);
	w->defer = loop_defer_new(w->loop, count_and_stop, w);
	loop_timer_every(w->timer, 1);
	assert_int_equal(loop_run(w->loop), 3);
	assert_int_equal(w->calls, 1);
	assert_int_equal(w->ticks, 3);
}

/* Going to and fro between wanting to read and not costs no system call. */
static void
test_io_set_is_cheap(void **state)
{
	struct world *w = *state;
	int before;

	w->io = loop_io_start(w->loop, w->fds[0], LOOP_READ, readable, w);
	run_for(w, 0);
	before = epoll_ctls;
	for (int i = 0; i < 50; i++) {
		loop_io_set(w->io, 0);
		run_for(w, 0);
		loop_io_set(w->io, LOOP_READ);
		assert_int_equal(write(w->fds[1], "x", 1), 1);
		run_for(w, 0);
	}
	assert_int_equal(w->calls, 50);
	assert_int_equal(epoll_ctls, before);
}

/* What isn't wanted isn't told, and is told once it is wanted again. */
static void
test_io_unwanted_read_waits(void **state)
{
	struct world *w = *state;

	w->io = loop_io_start(w->loop, w->fds[0], LOOP_READ, readable, w);
	run_for(w, 0);
	loop_io_set(w->io, 0);
	assert_int_equal(write(w->fds[1], "x", 1), 1);
	for (int i = 0; i < 3; i++)
		run_for(w, 0);
	assert_int_equal(w->calls, 0);
	loop_io_set(w->io, LOOP_READ);
	run_for(w, 0);
	run_for(w, 0);
	assert_int_equal(w->calls, 1);
}

static void
writable(void *arg, int events)
{
	struct world *w = arg;

	w->calls++;
	w->events |= events;
	loop_io_set(w->io, w->calls < 3 ? LOOP_WRITE : LOOP_READ);
}

static void
test_io_write_then_read(void **state)
{
	struct world *w = *state;
	int pair[2];

	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	w->io = loop_io_start(
	    w->loop, pair[0], LOOP_READ | LOOP_WRITE, writable, w);
	for (int i = 0; i < 1000 && w->calls < 3; i++)
		run_for(w, 20);
	run_for(w, 20);
	assert_int_equal(w->calls, 3);
	assert_int_equal(w->events, LOOP_WRITE);
	w->events = 0;
	assert_int_equal(write(pair[1], "x", 1), 1);
	run_for(w, 0);
	run_for(w, 0);
	assert_int_equal(w->events, LOOP_READ);
	w->io = loop_io_stop(w->io);
	close(pair[0]);
	close(pair[1]);
}

/* A write end whose reader is gone is in error: that counts as writable. The
 * watch sleeps then, and wakes again when set. */
static void
test_io_error_is_readiness(void **state)
{
	struct world *w = *state;

	close(w->fds[0]);
	w->fds[0] = -1;
	w->calls = 3;
	w->io = loop_io_start(w->loop, w->fds[1], LOOP_READ, readable, w);
	run_for(w, 5);
	assert_int_equal(w->events, LOOP_READ);
	assert_int_equal(w->calls, 4);
	loop_io_set(w->io, LOOP_READ);
	run_for(w, 5);
	assert_int_equal(w->calls, 5);
}

/* Stopping frees the descriptor for another watch in the same turn. */
static void
test_io_descriptor_reused(void **state)
{
	struct world *w = *state;
	int fd = w->fds[0];

	w->io = loop_io_start(w->loop, fd, LOOP_READ, readable, w);
	assert_null(loop_io_start(w->loop, 987, LOOP_READ, readable, w));
	run_for(w, 0);
	for (int i = 0; i < 3; i++) {
		w->io = loop_io_stop(w->io);
		close(w->fds[0]);
		close(w->fds[1]);
		assert_int_equal(pipe2(w->fds, O_NONBLOCK), 0);
		assert_int_equal(w->fds[0], fd);
		w->io = loop_io_start(w->loop, fd, LOOP_READ, readable, w);
		assert_non_null(w->io);
		assert_int_equal(write(w->fds[1], "x", 1), 1);
		run_for(w, 0);
		run_for(w, 0);
		assert_int_equal(w->calls, i + 1);
	}
}

static void
first(void *arg)
{
	struct world *w = arg;

	say(w, "1");
	loop_defer_call(w->defer); /* waits a turn */
	if (++w->calls == 3) {
		w->defer = loop_defer_free(w->defer); /* itself, pending */
		loop_stop(w->loop, 0);
	}
}

static void
second(void *arg)
{
	say(arg, "2");
}

static void
frees_other(void *arg)
{
	struct world *w = arg;

	say(w, "f");
	w->other = loop_defer_free(w->other);
}

static void
test_deferred_run_in_order(void **state)
{
	struct world *w = *state;

	w->defer = loop_defer_new(w->loop, first, w);
	w->other = loop_defer_new(w->loop, second, w);
	loop_defer_call(w->defer);
	loop_defer_call(w->other);
	loop_defer_call(w->defer);
	loop_run(w->loop);
	assert_string_equal(w->trace, "1211");
}

/* One that is freed before its turn comes does not run. */
static void
test_deferred_freed_while_pending(void **state)
{
	struct world *w = *state;

	w->defer = loop_defer_new(w->loop, frees_other, w);
	w->other = loop_defer_new(w->loop, second, w);
	loop_defer_call(w->defer);
	loop_defer_call(w->other);
	run_for(w, 0);
	run_for(w, 0);
	assert_string_equal(w->trace, "f");
}

static void
test_free_with_deferred_pending(void **state)
{
	struct loop *loop = loop_new(NULL);
	struct loop_defer *kept = loop_defer_new(loop, second, NULL);
	struct loop_defer *freed = loop_defer_new(loop, second, NULL);

	(void)state;
	loop_defer_call(kept);
	loop_defer_call(freed);
	loop_defer_free(freed);
	loop_free(loop);
	loop_defer_free(kept);
}

static void
tick(void *arg)
{
	struct world *w = arg;

	w->ticks++;
}

static void
test_timers(void **state)
{
	struct world *w = *state;
	int64_t began = loop_now_ms(w->loop);

	w->timer = loop_timer_new(w->loop, tick, w);
	run_for(w, 2);
	assert_int_equal(w->ticks, 0); /* not running until set */
	loop_timer_set(w->timer, 60000);
	loop_timer_set(w->timer, -5); /* the later setting holds */
	run_for(w, 2);
	assert_int_equal(w->ticks, 1);
	loop_timer_set(w->timer, 1);
	loop_timer_clear(w->timer);
	loop_timer_clear(w->timer);
	run_for(w, 5);
	assert_int_equal(w->ticks, 1);
	loop_timer_every(w->timer, 0); /* reads as 1 ms */
	for (int i = 0; i < 1000 && w->ticks <= 3; i++)
		run_for(w, 30);
	assert_true(w->ticks > 3);
	assert_true(loop_now_ms(w->loop) - began >= 39);
}

/* All that it had is freed, or the leak is told at the end. */
static void
test_stopped_and_never_run(void **state)
{
	struct world *w = *state;

	loop_timer_free(loop_timer_new(w->loop, tick, w));
	loop_stop(w->loop, 1);
}

static void
signalled(void *arg, int signo)
{
	struct world *w = arg;

	assert_int_equal(signo, SIGUSR1);
	say(w, "s");
	w->signal = loop_signal_stop(w->signal);
}

static void
test_signals(void **state)
{
	struct world *w = *state;
	struct loop_signal *again =
	    loop_signal_start(w->loop, SIGUSR1, signalled, w);

	assert_null(loop_signal_start(w->loop, SIGKILL, signalled, w));
	assert_non_null(again);
	loop_signal_stop(again);
	w->signal = loop_signal_start(w->loop, SIGUSR1, signalled, w);
	raise(SIGUSR1);
	run_for(w, 10);
	assert_string_equal(w->trace, "s");
	assert_null(w->signal);
}

static void
resolved(void *arg, char addrs[][LOOP_ADDR_TEXT], int n, const char *reason)
{
	struct world *w = arg;

	assert_null(reason);
	assert_true(n >= 1);
	assert_string_equal(addrs[0], "127.0.0.1");
	loop_stop(w->loop, 5);
}

static void
unresolved(void *arg, char addrs[][LOOP_ADDR_TEXT], int n, const char *reason)
{
	struct world *w = arg;

	(void)addrs;
	assert_int_equal(n, 0);
	assert_non_null(reason);
	loop_stop(w->loop, 6);
}

static void
never(void *arg, char addrs[][LOOP_ADDR_TEXT], int n, const char *reason)
{
	(void)arg;
	(void)addrs;
	(void)n;
	fail_msg("a cancelled look-up was answered: %s", reason);
}

static void
test_lookup(void **state)
{
	struct world *w = *state;
	char long_name[400];

	loop_lookup_start(w->loop, "127.0.0.1", resolved, w);
	for (int i = 0; i < 8; i++) /* some queued, some already running */
		loop_lookup_cancel(
		    loop_lookup_start(w->loop, "127.0.0.1", never, w));
	assert_int_equal(loop_run(w->loop), 5);
	loop_lookup_start(w->loop, "no-such-host.invalid", unresolved, w);
	assert_int_equal(loop_run(w->loop), 6);
	memset(long_name, 'a', sizeof(long_name));
	long_name[sizeof(long_name) - 1] = '\0';
	assert_null(loop_lookup_start(w->loop, long_name, never, w));
}

#define IN_WORLD(test)                                                         \
	cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IN_WORLD(test_io_timer_defer),
		IN_WORLD(test_io_set_is_cheap),
		IN_WORLD(test_io_unwanted_read_waits),
		IN_WORLD(test_io_write_then_read),
		IN_WORLD(test_io_error_is_readiness),
		IN_WORLD(test_io_descriptor_reused),
		IN_WORLD(test_deferred_run_in_order),
		IN_WORLD(test_deferred_freed_while_pending),
		cmocka_unit_test(test_free_with_deferred_pending),
		IN_WORLD(test_timers),
		IN_WORLD(test_stopped_and_never_run),
		IN_WORLD(test_signals),
		IN_WORLD(test_lookup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
