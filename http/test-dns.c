/* A slow name server must hold nobody up but those who wait for it. */
#include "core/time.h"
#include "http/test-caller.h"

#include <dlfcn.h>
#include <netdb.h>
#include <unistd.h>

enum { SLOW_MS = 4000 };

static int n_slow; /* look-ups begun, ended; from resolver threads */
static int n_slow_over;

/* Stands before the C library's. */
int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
    struct addrinfo **res)
{
	int (*real)(const char *, const char *, const struct addrinfo *,
	    struct addrinfo **);

	if (node != NULL && strcmp(node, "slow.test") == 0) {
		__atomic_add_fetch(&n_slow, 1, __ATOMIC_SEQ_CST);
		usleep(SLOW_MS * 1000);
		__atomic_add_fetch(&n_slow_over, 1, __ATOMIC_SEQ_CST);
		return EAI_AGAIN;
	}
	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	return real(node, service, hints, res);
}

struct ticks {
	int64_t last, longest;
};

static void
tick(void *arg)
{
	struct ticks *t = arg;
	int64_t now = time_mono_ms();

	if (t->last > 0 && now - t->last > t->longest)
		t->longest = now - t->last;
	t->last = now;
}

static void
test_slow_name_holds_nobody_up(void **state)
{
	struct caller *c = *state;
	struct ticks t = { 0 };
	struct loop_timer *timer = loop_timer_new(c->loop, tick, &t);
	struct http_request req = { .method = STR("GET"), .timeout_ms = 80 };
	const struct got *got;
	int64_t began;

	loop_timer_every(timer, 2);
	req.url = caller_url(c, "http://slow.test/");
	got = caller_send(c, req);
	assert_int_equal(got->outcome, HTTP_TIMEOUT);
	assert_int_equal(n_slow, 1);
	assert_int_equal(n_slow_over, 0);
	assert_string_equal(caller_get(c, "/ok")->body, "hello");
	assert_true(t.longest < SLOW_MS / 2);
	/* The timer's job is done: what follows blocks nothing either. */
	began = time_mono_ms();
	for (int i = 0; i < 3; i++) {
		struct http_call *call;

		req.url = caller_url(c, "http://slow.test/");
		req.timeout_ms = 60000;
		call = http_call_start(c->http, &req, caller_done, c, &c->err);
		assert_string_equal(caller_get(c, "/ok")->body, "hello");
		http_call_cancel(call);
	}
	assert_true(time_mono_ms() - began < SLOW_MS / 2);
	loop_timer_free(timer);
	while (__atomic_load_n(&n_slow_over, __ATOMIC_SEQ_CST) < n_slow)
		usleep(10000);
	usleep(50000); /* for the detached threads to free what is theirs */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_slow_name_holds_nobody_up,
		    caller_setup, caller_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
