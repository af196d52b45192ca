#include "core/mem.h"
#include "core/time.h"
#include "http/test-caller.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void
test_answer(void **state)
{
	struct caller *c = *state;
	int64_t before = time_mono_us();
	const struct got *got = caller_get(c, "/ok");
	const struct http_timing *t = &got->res.timing;

	assert_int_equal(got->outcome, HTTP_ANSWERED);
	assert_int_equal(got->res.status, 200);
	assert_string_equal(got->code, "");
	assert_string_equal(got->body, "hello");
	assert_int_equal(got->res.body_bytes, 5);
	assert_false(got->res.truncated);
	assert_string_equal(got->type, "text/plain");
	assert_string_equal(got->request_id, "r1");
	assert_string_equal(got->private, ""); /* not on the list */
	assert_string_equal(got->res.ip, "127.0.0.1");
	assert_int_equal(got->res.http_version, 11);
	assert_in_range(got->res.sent_us, before, time_mono_us());
	assert_true(t->connect > 0 && t->first_byte >= t->connect);
	assert_true(t->total >= t->first_byte);
	assert_int_equal(t->tls, 0);
	got = caller_get(c, "/status?404");
	assert_string_equal(got->code, "HTTP404");
	assert_int_equal(got->res.error.fault, FAULT_INPUT);
	got = caller_get(c, "/status?500");
	assert_string_equal(got->code, "HTTP500");
	assert_int_equal(got->res.error.fault, FAULT_RETRY);
}

static void
test_kept_headers_are_chosen(void **state)
{
	static const char *const keep[] = { "x-private", NULL };
	struct caller *c = *state;
	const struct got *got;

	caller_renew(c, (struct http_options){ .keep_headers = keep });
	got = caller_get(c, "/ok");
	assert_string_equal(got->private, "no");
	assert_string_equal(got->request_id, "");
	assert_string_equal(got->type, "text/plain"); /* always */
}

static void
has_line(const char *request, const char *line, int times)
{
	char text[200];
	int n = 0;

	snprintf(text, sizeof(text), "\r\n%s\r\n", line);
	while ((request = strstr(request, text)) != NULL) {
		request += 2;
		n++;
	}
	assert_int_equal(n, times);
}

static void
test_request_as_sent(void **state)
{
	struct http_header headers[] = {
		{ STR("Idempotency-Key"), STR("step-1"), 0 },
		{ STR("content-type"), STR("application/json"), 0 },
		{ STR("X-Empty"), STR(""), 0 },
		{ STR("X-Tab"), STR("a\tb"), 0 },
	};
	struct caller *c = *state;
	const struct got *got = caller_send(c,
	    (struct http_request){ .method = STR("POST"),
		.url = caller_url(c, "/echo?a=b"),
		.headers = headers,
		.n_headers = NELEM(headers),
		.body = STR("{\"a\":1}") });

	assert_ptr_equal(
	    got->body, strstr(got->body, "POST /echo?a=b HTTP/1.1"));
	has_line(got->body, "Idempotency-Key: step-1", 1);
	has_line(got->body, "content-type: application/json", 1);
	has_line(got->body, "X-Empty:", 1);
	has_line(got->body, "X-Tab: a\tb", 1);
	has_line(got->body, "User-Agent: meshhook", 1);
	has_line(got->body, "Content-Length: 7", 1);
	assert_non_null(strstr(got->body, "\r\n\r\n{\"a\":1}"));
	assert_null(strcasestr(got->body, "Expect"));
	assert_null(strstr(got->body, "application/x-www-form-urlencoded"));
}

static void
test_methods(void **state)
{
	static const struct {
		const char *method, *body;
		int length; /* of Content-Length; -1: none */
	} rows[] = { { "GET", "", -1 }, { "GET", "x", 1 }, { "POST", "", 0 },
		{ "PUT", "", 0 }, { "PUT", "abc", 3 }, { "PATCH", "", 0 },
		{ "DELETE", "", -1 }, { "DELETE", "x", 1 },
		{ "OPTIONS", "", -1 }, { "PURGE", "", -1 } };
	struct caller *c = *state;
	const struct got *got;
	char line[100];

	for (size_t i = 0; i < NELEM(rows); i++) {
		got = caller_send(c,
		    (struct http_request){ .method = str_of(rows[i].method),
			.url = caller_url(c, "/echo"),
			.body = str_of(rows[i].body) });
		assert_int_equal(
		    strncmp(got->body, rows[i].method, strlen(rows[i].method)),
		    0);
		snprintf(
		    line, sizeof(line), "Content-Length: %d", rows[i].length);
		has_line(got->body, line, rows[i].length >= 0);
		assert_null(strstr(got->body, "Content-Type"));
	}
	got = caller_send(c,
	    (struct http_request){
		.method = STR("HEAD"), .url = caller_url(c, "/ok") });
	assert_int_equal(got->res.status, 200);
	assert_string_equal(got->body, "");
	assert_int_equal(c->server->n_conns, 1);
}

static void
test_connection_is_kept(void **state)
{
	struct caller *c = *state;

	for (int i = 0; i < 20; i++)
		assert_int_equal(caller_get(c, "/ok")->res.status, 200);
	assert_int_equal(c->server->n_conns, 1);
	assert_int_equal(http_in_flight(c->http), 0);
	/* A kept connection that the server closed is replaced unseen. */
	assert_int_equal(caller_get(c, "/ok-once")->res.status, 200);
	assert_int_equal(caller_get(c, "/ok")->res.status, 200);
	assert_int_equal(c->server->n_conns, 2);
}

static void
test_refused_then_accepted(void **state)
{
	struct caller *c = *state;
	struct retry_policy p = retry_default();
	const struct got *got;

	p.jitter = 0;
	c->server->refusals = 2;
	for (int i = 0; i < 2; i++) {
		got = caller_get(c, "/fail");
		assert_string_equal(got->code, "HTTP503");
		assert_string_equal(got->body, "busy");
		assert_int_equal(got->retry.retry_after_ms, 7000);
		assert_int_equal(retry_next(&p, &got->retry), 7000);
	}
	got = caller_get(c, "/fail");
	assert_int_equal(got->res.status, 200);
	assert_int_equal(retry_next(&p, &got->retry), RETRY_GIVE_UP);
}

static void
test_timeouts(void **state)
{
	struct caller *c = *state;
	struct http_request req = { .method = STR("GET"), .timeout_ms = 60 };
	const struct got *got;

	req.url = caller_url(c, "/never");
	got = caller_send(c, req);
	assert_int_equal(got->outcome, HTTP_TIMEOUT);
	assert_string_equal(got->code, "ETIMEDOUT");
	assert_int_equal(got->retry.cause, RETRY_CONNECTION);
	assert_in_range(got->res.timing.total, 55000, 20000000);
	assert_int_equal(got->res.status, 0);
	req.timeout_ms = 1000; /* in which its part has come */
	req.url = caller_url(c, "/stall");
	got = caller_send(c, req);
	assert_int_equal(got->outcome, HTTP_TIMEOUT);
	assert_int_equal(got->res.status, 200);
	assert_string_equal(got->body, "part");
}

static void
test_body_cap_and_limit(void **state)
{
	struct caller *c = *state;
	const struct got *got = caller_get(c, "/bytes?262144");

	assert_int_equal(got->res.body.n, 262144);
	assert_false(got->res.truncated);
	got = caller_get(c, "/bytes?300000");
	assert_int_equal(got->outcome, HTTP_ANSWERED);
	assert_int_equal(got->res.body.n, 262144);
	assert_int_equal(got->res.body_bytes, 300000);
	assert_true(got->res.truncated);
	assert_int_equal(got->body[262143], 'x');
	got = caller_get(c, "/bytes?17000000");
	assert_int_equal(got->outcome, HTTP_TOO_LARGE);
	assert_string_equal(got->code, "TOO_LARGE");
	assert_int_equal(got->retry.cause, RETRY_NEVER);
	assert_int_equal(got->res.body.n, 262144);
	assert_string_equal(caller_get(c, "/ok")->body, "hello");
}

static void
test_compressed_bodies(void **state)
{
	struct caller *c = *state;
	const struct got *got = caller_get(c, "/gzip?1000");

	assert_int_equal(got->outcome, HTTP_ANSWERED);
	assert_int_equal(got->res.body_bytes, 1000);
	assert_int_equal(got->body[999], 'z');
	got = caller_get(c, "/gzip?64000000"); /* 62 KB on the wire */
	assert_int_equal(got->outcome, HTTP_TOO_LARGE);
	assert_true(got->res.body_bytes < 17u << 20);
}

static void
test_broken_answers(void **state)
{
	static const char *const paths[] = { "/cut", "/hang-up", "/raw?0",
		"/raw?1", "/raw?2", "/raw?3", "/raw?4" };
	struct caller *c = *state;

	for (size_t i = 0; i < NELEM(paths); i++) {
		const struct got *got = caller_get(c, paths[i]);

		assert_int_equal(got->outcome, HTTP_BROKEN);
		assert_int_equal(got->retry.cause, RETRY_CONNECTION);
		assert_true(got->res.error.text[0] != '\0');
	}
	assert_string_equal(caller_get(c, "/cut")->code, "ECONNRESET");
	assert_string_equal(caller_get(c, "/ok")->body, "hello");
}

static void
test_response_headers(void **state)
{
	struct caller *c = *state;
	const struct got *got = caller_get(c, "/continues");

	assert_string_equal(got->etag, "final");
	assert_string_equal(got->body, "ab");
	got = caller_get(c, "/headers?60");
	assert_int_equal(got->res.n_headers, 61);
	got = caller_get(c, "/headers?80");
	assert_int_equal(got->outcome, HTTP_TOO_LARGE);
}

/* What can't be sent never leaves, and the reason is told at once. */
static void
test_bad_requests(void **state)
{
	static const struct {
		struct str method, url, name, value;
	} rows[] = {
		{ STR(""), STR("http://x/"), STR("a"), STR("b") },
		{ STR("G T"), STR("http://x/"), STR("a"), STR("b") },
		{ STR("GET\r\n"), STR("http://x/"), STR("a"), STR("b") },
		{ STR("GET"), STR(""), STR("a"), STR("b") },
		{ STR("GET"), STR("/path"), STR("a"), STR("b") },
		{ STR("GET"), STR("file:///etc/passwd"), STR("a"), STR("b") },
		{ STR("GET"), STR("gopher://x/"), STR("a"), STR("b") },
		{ STR("GET"), STR("http://"), STR("a"), STR("b") },
		{ STR("GET"), STR("http://x:0/"), STR("a"), STR("b") },
		{ STR("GET"), STR("http://x:99999/"), STR("a"), STR("b") },
		{ STR("GET"), STR("http://x/a b"), STR("a"), STR("b") },
		{ STR("GET"), STR("http://x/a\r\nHost: y"), STR("a"),
		    STR("b") },
		{ STR("GET"), STR("http://x/\0y"), STR("a"), STR("b") },
		{ STR("GET"), STR("http://x/"), STR(""), STR("b") },
		{ STR("GET"), STR("http://x/"), STR("a b"), STR("b") },
		{ STR("GET"), STR("http://x/"), STR("a:"), STR("b") },
		{ STR("GET"), STR("http://x/"), STR("a\r\nb"), STR("b") },
		{ STR("GET"), STR("http://x/"), STR("a"), STR("b\r\nc: d") },
		{ STR("GET"), STR("http://x/"), STR("a"), STR("b\nc") },
		{ STR("GET"), STR("http://x/"), STR("a"), STR("b\rc") },
		{ STR("GET"), STR("http://x/"), STR("a"), STR("b\0c") },
		{ STR("GET"), STR("http://x/"), STR("a"), STR("b\x7f") },
		{ STR("GET"), STR("http://x/"), STR("Host"), STR("y") },
		{ STR("GET"), STR("http://x/"), STR("content-LENGTH"),
		    STR("1") },
		{ STR("GET"), STR("http://x/"), STR("Transfer-Encoding"),
		    STR("chunked") },
	};
	struct caller *c = *state;

	for (size_t i = 0; i < NELEM(rows); i++) {
		struct http_header h = { rows[i].name, rows[i].value, 0 };
		struct http_request req = { .method = rows[i].method,
			.url = rows[i].url,
			.headers = &h,
			.n_headers = 1 };

		c->err = (struct error){ 0 };
		assert_null(
		    http_call_start(c->http, &req, caller_done, c, &c->err));
		assert_int_equal(c->err.fault, FAULT_INPUT);
		assert_string_equal(c->err.code, "REQUEST");
		assert_null(strpbrk(c->err.text, "\r\n"));
	}
	assert_int_equal(http_in_flight(c->http), 0);
	assert_int_equal(c->got.n, 0);
}

static void
test_request_caps(void **state)
{
	struct caller *c = *state;
	struct http_header many[101];
	struct http_request req = { .method = STR("POST"),
		.url = caller_url(c, "/ok"),
		.headers = many,
		.n_headers = NELEM(many) };
	char *big = xcalloc(20000, 1);

	for (size_t i = 0; i < NELEM(many); i++)
		many[i] = (struct http_header){ STR("A"), STR("b"), 0 };
	assert_null(http_call_start(c->http, &req, caller_done, c, &c->err));
	memset(big, 'a', 20000);
	req.n_headers = 4;
	for (size_t i = 0; i < 4; i++)
		many[i].value = (struct str){ big, 20000 };
	assert_null(http_call_start(c->http, &req, caller_done, c, &c->err));
	req.n_headers = 0;
	req.url = (struct str){ big, 20000 };
	assert_null(http_call_start(c->http, &req, caller_done, c, &c->err));
	req.url = caller_url(c, "/ok");
	caller_renew(c, (struct http_options){ .send_cap = 19999 });
	req.body = (struct str){ big, 20000 };
	assert_null(http_call_start(c->http, &req, caller_done, c, &c->err));
	assert_non_null(strstr(c->err.text, "20000"));
	req.body.n = 19999;
	assert_int_equal(caller_send(c, req)->res.status, 200);
	free(big);
}

static void
test_no_connection(void **state)
{
	struct caller *c = *state;
	const struct got *got = caller_get(c, "http://127.0.0.1:1/");

	assert_int_equal(got->outcome, HTTP_BLOCKED);
	assert_string_equal(got->code, "SSRF");
	assert_int_equal(got->retry.cause, RETRY_NEVER);
	assert_non_null(strstr(got->res.error.text, "127.0.0.1"));
	guard_deinit(&c->guard);
	guard_init(&c->guard, "127.0.0.0/8", &c->err);
	got = caller_get(c, "http://127.0.0.1:1/");
	assert_int_equal(got->outcome, HTTP_CONNECT);
	assert_string_equal(got->code, "ECONNREFUSED");
	assert_int_equal(got->res.error.fault, FAULT_RETRY);
	got = caller_get(c, "http://no-such-host.invalid/");
	assert_int_equal(got->outcome, HTTP_DNS);
	assert_string_equal(got->code, "DNS");
}

static void
test_other_spellings_are_blocked(void **state)
{
	static const char *const urls[] = { "http://2130706433/",
		"http://0x7f.1/", "http://127.1/", "http://0/", "http://[::1]/",
		"http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/",
		"http://169.254.169.254/latest", "http://0251.0376.0251.0376/",
		"http://user@127.0.0.1/", "http://10.0.0.1/" };
	struct caller *c = *state;

	for (size_t i = 0; i < NELEM(urls); i++)
		assert_int_equal(caller_get(c, urls[i])->outcome, HTTP_BLOCKED);
	assert_int_equal(c->server->n_conns, 0);
}

static void
cancel_other(void *arg, const struct http_response *res)
{
	struct http_call **other = arg;

	(void)res;
	*other = http_call_cancel(*other);
}

static void
unwanted(void *arg, const struct http_response *res)
{
	(void)arg;
	(void)res;
	fail_msg("a cancelled call came to its end");
}

static void
test_cancel(void **state)
{
	struct caller *c = *state;
	struct http_request req = { .method = STR("GET"),
		.url = caller_url(c, "/never") };
	struct http_call *call =
	    http_call_start(c->http, &req, unwanted, c, &c->err);
	struct http_call *other;

	assert_null(http_call_cancel(call)); /* before it was sent */
	call = http_call_start(c->http, &req, unwanted, c, &c->err);
	assert_int_equal(caller_get(c, "/ok")->res.status, 200);
	assert_int_equal(http_in_flight(c->http), 1);
	http_call_cancel(call); /* while waiting for the answer */
	assert_int_equal(http_in_flight(c->http), 0);
	/* From the done function of another. */
	other = http_call_start(c->http, &req, unwanted, c, &c->err);
	req.url = caller_url(c, "/ok");
	http_call_start(c->http, &req, cancel_other, &other, &c->err);
	while (other != NULL)
		caller_get(c, "/ok");
	/* Freeing the client cancels the rest. */
	req.url = caller_url(c, "/never");
	http_call_start(c->http, &req, unwanted, c, &c->err);
	caller_get(c, "/ok");
}

static void
test_500_at_once(void **state)
{
	struct caller *c = *state;

	c->stop_after = 500;
	for (int i = 0; i < 500; i++) {
		struct http_request req = { .method = STR("POST"),
			.url = caller_url(c, "/bytes?5000"),
			.body = STR("{}") };

		assert_non_null(
		    http_call_start(c->http, &req, caller_done, c, &c->err));
	}
	assert_int_equal(http_in_flight(c->http), 500);
	caller_wait(c);
	assert_int_equal(c->got.n, 500);
	assert_int_equal(c->got.res.status, 200);
	assert_int_equal(c->server->n_requests, 500);
	assert_int_equal(http_in_flight(c->http), 0);
}

struct chain {
	struct caller *caller;
	int left;
};

static void
next_in_chain(void *arg, const struct http_response *res)
{
	struct chain *chain = arg;
	struct caller *c = chain->caller;
	struct http_request req = { .method = STR("GET"),
		.url = caller_url(c, "/ok") };

	assert_int_equal(res->status, 200);
	if (--chain->left == 0)
		loop_stop(c->loop, 0);
	else
		http_call_start(c->http, &req, next_in_chain, chain, &c->err);
}

static void
test_calls_start_calls(void **state)
{
	struct chain chain = { *state, 50 };
	struct caller *c = *state;
	struct http_request req = { .method = STR("GET"),
		.url = caller_url(c, "/ok") };

	http_call_start(c->http, &req, next_in_chain, &chain, &c->err);
	caller_wait(c);
	assert_int_equal(chain.left, 0);
	assert_int_equal(c->server->n_conns, 1);
}

static void
drained(void *arg)
{
	struct caller *c = arg;

	assert_int_equal(http_in_flight(c->http), 0);
	loop_stop(c->loop, 0);
}

static void
test_drain(void **state)
{
	struct caller *c = *state;
	struct http_request req = { .method = STR("GET"),
		.url = caller_url(c, "/ok") };

	c->stop_after = 100; /* only the drain stops the loop */
	http_call_start(c->http, &req, caller_done, c, &c->err);
	http_call_start(c->http, &req, caller_done, c, &c->err);
	http_drain(c->http, drained, c);
	assert_null(http_call_start(c->http, &req, caller_done, c, &c->err));
	assert_string_equal(c->err.code, "DRAINING");
	caller_wait(c);
	assert_int_equal(c->got.n, 2);
	http_drain(c->http, drained, c); /* nothing left: at once */
	caller_wait(c);
}

#define WITH_CALLER(test)                                                      \
	cmocka_unit_test_setup_teardown(test, caller_setup, caller_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_CALLER(test_answer),
		WITH_CALLER(test_kept_headers_are_chosen),
		WITH_CALLER(test_request_as_sent),
		WITH_CALLER(test_methods),
		WITH_CALLER(test_connection_is_kept),
		WITH_CALLER(test_refused_then_accepted),
		WITH_CALLER(test_timeouts),
		WITH_CALLER(test_body_cap_and_limit),
		WITH_CALLER(test_compressed_bodies),
		WITH_CALLER(test_broken_answers),
		WITH_CALLER(test_response_headers),
		WITH_CALLER(test_bad_requests),
		WITH_CALLER(test_request_caps),
		WITH_CALLER(test_no_connection),
		WITH_CALLER(test_other_spellings_are_blocked),
		WITH_CALLER(test_cancel),
		WITH_CALLER(test_500_at_once),
		WITH_CALLER(test_calls_start_calls),
		WITH_CALLER(test_drain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
