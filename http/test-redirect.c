#include "core/mem.h"
#include "http/test-caller.h"

#include <stdio.h>

static struct http_request
request(struct caller *c, const char *method, const char *path)
{
	return (struct http_request){ .method = str_of(method),
		.url = caller_url(c, path),
		.max_redirects = 5 };
}

/* How each status changes the method, and whether the body goes along. */
static void
test_method_after_redirect(void **state)
{
	static const struct {
		const char *status, *before, *after;
		int body;
	} rows[] = {
		{ "301", "POST", "GET", 0 },
		{ "302", "POST", "GET", 0 },
		{ "303", "POST", "GET", 0 },
		{ "307", "POST", "POST", 1 },
		{ "308", "POST", "POST", 1 },
		{ "301", "PUT", "PUT", 1 },
		{ "302", "PATCH", "PATCH", 1 },
		{ "303", "PUT", "GET", 0 },
		{ "303", "DELETE", "GET", 0 },
		{ "308", "DELETE", "DELETE", 1 },
		{ "302", "GET", "GET", 1 },
	};
	struct http_header type = { STR("Content-Type"), STR("text/x"), 0 };
	struct caller *c = *state;

	for (size_t i = 0; i < NELEM(rows); i++) {
		char path[100], line[40];
		struct http_request req;
		const struct got *got;

		snprintf(
		    path, sizeof(path), "/redirect?%s,/echo", rows[i].status);
		req = request(c, rows[i].before, path);
		req.body = STR("payload");
		req.headers = &type;
		req.n_headers = 1;
		got = caller_send(c, req);
		assert_int_equal(got->res.status, 200);
		assert_int_equal(got->res.redirects, 1);
		snprintf(line, sizeof(line), "%s /echo ", rows[i].after);
		assert_ptr_equal(strstr(got->body, line), got->body);
		assert_int_equal(
		    strstr(got->body, "payload") != NULL, rows[i].body);
		assert_int_equal(
		    strstr(got->body, "text/x") != NULL, rows[i].body);
	}
	assert_string_equal(
	    caller_send(c, request(c, "HEAD", "/redirect?303,/ok"))->body, "");
	assert_int_equal(strncmp(c->server->last.bytes, "HEAD /ok", 8), 0);
}

static void
test_redirects_are_bounded(void **state)
{
	struct caller *c = *state;
	struct http_request req = request(c, "GET", "/loop");
	const struct got *got = caller_send(c, req);

	assert_int_equal(got->outcome, HTTP_REDIRECTS);
	assert_string_equal(got->code, "REDIRECTS");
	assert_int_equal(got->retry.cause, RETRY_NEVER);
	assert_int_equal(got->res.status, 302);
	assert_int_equal(c->server->n_requests, 6);
	req.max_redirects = 0; /* not followed: an answer like any other */
	got = caller_send(c, req);
	assert_int_equal(got->outcome, HTTP_ANSWERED);
	assert_int_equal(got->res.status, 302);
	assert_string_equal(got->code, "");
	got = caller_send(c, request(c, "GET", "/redirect?302"));
	assert_int_equal(got->outcome, HTTP_ANSWERED); /* to nowhere */
	got = caller_send(c, request(c, "GET", "/redirect?300,/ok"));
	assert_int_equal(got->res.status, 300);
}

static void
test_each_hop_is_guarded(void **state)
{
	static const struct {
		const char *path;
		enum http_outcome outcome;
	} rows[] = {
		{ "/redirect?302,http://169.254.169.254/latest", HTTP_BLOCKED },
		{ "/redirect?307,http://127.0.0.1:1/", HTTP_BLOCKED },
		{ "/redirect?302,http://[::1]:1/", HTTP_BLOCKED },
		{ "/redirect?302,http://0x7f000001:1/", HTTP_BLOCKED },
		{ "/redirect?302,//10.0.0.1/", HTTP_BLOCKED },
		{ "/redirect?302,file:///etc/passwd", HTTP_REDIRECTS },
		{ "/redirect?302,gopher://127.0.0.1:1/x", HTTP_REDIRECTS },
		{ "/redirect?302,http://127.0.0.1:0/", HTTP_REDIRECTS },
	};
	struct caller *c = *state;

	for (size_t i = 0; i < NELEM(rows); i++) {
		const struct got *got =
		    caller_send(c, request(c, "GET", rows[i].path));

		assert_int_equal(got->outcome, rows[i].outcome);
		assert_string_equal(got->code,
		    rows[i].outcome == HTTP_BLOCKED ? "SSRF" : "REDIRECTS");
		assert_int_equal(got->retry.cause, RETRY_NEVER);
	}
}

/* Secrets stay with the origin, and don't come back to it either. */
static void
test_secrets_stay_with_origin(void **state)
{
	struct http_header headers[] = {
		{ STR("Authorization"), STR("Bearer s1"), 0 },
		{ STR("cookie"), STR("s2"), 0 },
		{ STR("X-Api-Key"), STR("s3"), 1 },
		{ STR("X-Plain"), STR("kept"), 0 },
		{ STR("Idempotency-Key"), STR("k1"), 0 },
	};
	struct caller *c = *state;
	struct http_request req = request(c, "GET", "/redirect?302,/echo");
	const struct got *got;
	char path[200];

	req.headers = headers;
	req.n_headers = NELEM(headers);
	got = caller_send(c, req);
	assert_non_null(strstr(got->body, "Bearer s1"));
	assert_non_null(strstr(got->body, "cookie: s2"));
	assert_non_null(strstr(got->body, "X-Api-Key: s3"));
	snprintf(path, sizeof(path), "/redirect?302,http://localhost:%d/echo",
	    c->server->port);
	req.url = caller_url(c, path);
	got = caller_send(c, req);
	assert_null(strstr(got->body, "s1"));
	assert_null(strstr(got->body, "s2"));
	assert_null(strstr(got->body, "s3"));
	assert_non_null(strstr(got->body, "X-Plain: kept"));
	assert_non_null(strstr(got->body, "Idempotency-Key: k1"));
	snprintf(path, sizeof(path),
	    "/redirect?302,http://localhost:%d/redirect?302,"
	    "http://127.0.0.1:%d/echo",
	    c->server->port, c->server->port);
	req.url = caller_url(c, path);
	got = caller_send(c, req);
	assert_int_equal(got->res.redirects, 2);
	assert_null(strstr(got->body, "s1"));
}

static void
test_timeout_spans_all_hops(void **state)
{
	struct caller *c = *state;
	struct http_request req = request(c, "GET", "/redirect?302,/never");
	const struct got *got;

	req.timeout_ms = 80;
	got = caller_send(c, req);
	assert_int_equal(got->outcome, HTTP_TIMEOUT);
	assert_int_equal(got->res.status, 0);
	assert_in_range(got->res.timing.total, 75000, 20000000);
}

#define WITH_CALLER(test)                                                      \
	cmocka_unit_test_setup_teardown(test, caller_setup, caller_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_CALLER(test_method_after_redirect),
		WITH_CALLER(test_redirects_are_bounded),
		WITH_CALLER(test_each_hop_is_guarded),
		WITH_CALLER(test_secrets_stay_with_origin),
		WITH_CALLER(test_timeout_spans_all_hops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
