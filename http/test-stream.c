/* Answers that are handed on piece by piece. */
#include "core/buf.h"
#include "core/mem.h"
#include "http/test-caller.h"

struct stream {
	struct caller *caller;
	struct buf body;
	int pieces, status, dones;
	size_t left; /* of the body, in the done function */
	enum http_outcome outcome;
	struct http_call *call; /* cancelled by the first piece */
};

static void
piece(void *arg, const struct http_response *res)
{
	struct stream *s = arg;

	s->pieces++;
	s->status = res->status;
	assert_true(
	    str_is(http_response_header(res, "content-type"), "text/plain") ||
	    http_response_header(res, "content-type").s == NULL);
	buf_addstr(&s->body, res->body);
	if (s->call != NULL) {
		s->call = http_call_cancel(s->call);
		loop_stop(s->caller->loop, 0);
	}
}

static void
done(void *arg, const struct http_response *res)
{
	struct stream *s = arg;

	s->dones++;
	s->status = res->status;
	s->left = res->body.n;
	s->outcome = res->outcome;
	loop_stop(s->caller->loop, 0);
}

static struct http_call *
start(struct stream *s, struct caller *c, const char *path)
{
	struct http_request req = { .method = STR("GET"),
		.url = caller_url(c, path),
		.timeout_ms = 1, /* does not hold */
		.piece = piece };
	struct http_call *call;

	*s = (struct stream){ .caller = c };
	buf_init(&s->body);
	call = http_call_start(c->http, &req, done, s, &c->err);
	assert_non_null(call);
	return call;
}

static void
body_is(struct stream *s, const char *expected)
{
	assert_true(str_is(buf_str(&s->body), expected));
	buf_deinit(&s->body);
}

static void
test_whole(void **state)
{
	struct stream s;

	start(&s, *state, "/ok");
	caller_wait(*state);
	assert_int_equal(s.outcome, HTTP_ANSWERED);
	assert_int_equal(s.status, 200);
	assert_int_equal(s.left, 0);
	assert_int_equal(s.dones, 1);
	body_is(&s, "hello");
}

/* What came before the cut was handed on before the end is said. */
static void
test_cut(void **state)
{
	struct stream s;

	start(&s, *state, "/cut");
	caller_wait(*state);
	assert_int_equal(s.outcome, HTTP_BROKEN);
	assert_int_equal(s.dones, 1);
	body_is(&s, "part");
}

/* An error's body is kept as ever. */
static void
test_refused(void **state)
{
	struct caller *c = *state;
	struct stream s;

	c->server->refusals = 1;
	start(&s, c, "/fail");
	caller_wait(c);
	assert_int_equal(s.outcome, HTTP_ANSWERED);
	assert_int_equal(s.status, 503);
	assert_int_equal(s.pieces, 0);
	assert_int_equal(s.left, 4);
	body_is(&s, "");
}

/* A stream that doesn't end is cancelled in its own function, and its
 * connection is not kept. */
static void
test_cancelled_by_a_piece(void **state)
{
	struct caller *c = *state;
	struct stream s;

	s.call = start(&s, c, "/stall");
	caller_wait(c);
	assert_int_equal(s.pieces, 1);
	assert_int_equal(s.dones, 0);
	assert_int_equal(http_in_flight(c->http), 0);
	body_is(&s, "part");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    test_whole, caller_setup, caller_teardown),
		cmocka_unit_test_setup_teardown(
		    test_cut, caller_setup, caller_teardown),
		cmocka_unit_test_setup_teardown(
		    test_refused, caller_setup, caller_teardown),
		cmocka_unit_test_setup_teardown(
		    test_cancelled_by_a_piece, caller_setup, caller_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
