/*
 * Every point at which a call may fail, failed once: whatever breaks, each call
 * ends exactly once, with a reason that is worth a retry, and leaks nothing.
 */
#include "core/testpoint.h"
#include "http/test-caller.h"

#include <stdio.h>

#ifdef TESTPOINTS
static void
test_each_fault_ends_a_call_once(void **state)
{
	struct caller *c = *state;
	struct http_request req = {
		.method = STR("POST"), .body = STR("{}"), .max_redirects = 2
	};
	int n, failed;

	for (n = 1; n < 100; n++) {
		int before = c->got.n;

		failed = 0;
		fault_set(n);
		for (int i = 0; i < 3 && !failed; i++) {
			req.url = caller_url(c, "/redirect?307,/ok");
			if (http_call_start(c->http, &req, caller_done, c,
				&c->err) == NULL) {
				assert_int_equal(c->err.fault, FAULT_RETRY);
				failed = 1;
				continue;
			}
			caller_wait(c);
			assert_int_equal(c->got.n, ++before);
			failed = c->got.outcome != HTTP_ANSWERED;
			if (failed)
				assert_int_equal(
				    c->got.retry.cause, RETRY_CONNECTION);
			else
				assert_string_equal(c->got.body, "hello");
		}
		assert_int_equal(http_in_flight(c->http), 0);
		if (!failed)
			break;
	}
	fault_set(0);
	assert_in_range(n, 7, 99); /* 3 calls: a start and two hops each */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    test_each_fault_ends_a_call_once, caller_setup,
		    caller_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int
main(void)
{
	printf("skipped: needs meson -Dtestpoints=true\n");
	return 77;
}
#endif
