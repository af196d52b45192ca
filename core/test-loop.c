#include "core/loop.h"
#include "core/test.h"

#include <signal.h>
#include <unistd.h>

struct world {
	struct loop *loop;
	struct loop_io *io;
	struct loop_timer *timer;
	struct loop_defer *defer;
	int fds[2], deferred, ticks;
};

static void
deferred(void *arg)
{
	struct world *w = arg;

	w->deferred++;
	loop_stop(w->loop, 3);
}

static void
readable(void *arg, int events)
{
	struct world *w = arg;

	assert_true(events & LOOP_READ);
	w->io = loop_io_stop(w->io);
	loop_defer_call(w->defer);
	loop_defer_call(w->defer);
}

static void
tick(void *arg)
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
	struct world w = { 0 };
	struct error err;

	(void)state;
	assert_int_equal(pipe(w.fds), 0);
	w.loop = loop_new(&err);
	w.io = loop_io_start(w.loop, w.fds[0], LOOP_READ, readable, &w);
	w.timer = loop_timer_new(w.loop, tick, &w);
	w.defer = loop_defer_new(w.loop, deferred, &w);
	loop_timer_every(w.timer, 1);
	assert_int_equal(loop_run(w.loop), 3);
	assert_int_equal(w.deferred, 1);
	assert_int_equal(w.ticks, 3);
	w.defer = loop_defer_free(w.defer);
	loop_free(w.loop);
	close(w.fds[0]);
	close(w.fds[1]);
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
test_lookup(void **state)
{
	struct world w = { 0 };
	struct error err;

	(void)state;
	w.loop = loop_new(&err);
	loop_lookup_cancel(
	    loop_lookup_start(w.loop, "127.0.0.1", resolved, NULL));
	loop_lookup_start(w.loop, "127.0.0.1", resolved, &w);
	assert_int_equal(loop_run(w.loop), 5);
	loop_free(w.loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_io_timer_defer),
		cmocka_unit_test(test_lookup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
