#include "http/test-caller.h"
#include "core/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { PATIENCE_MS = 20000 };

static void
out_of_patience(void *arg)
{
	(void)arg;
	fail_msg("nothing happened for %d ms", PATIENCE_MS);
}

void
caller_renew(struct caller *c, struct http_options options)
{
	http_free(c->http);
	options.guard = &c->guard;
	c->http = http_new(c->loop, &options, &c->err);
	assert_non_null(c->http);
}

int
caller_setup(void **state)
{
	struct caller *c = xcalloc(1, sizeof(*c));
	char allow[100];

	c->loop = loop_new(&c->err);
	c->watchdog = loop_timer_new(c->loop, out_of_patience, c);
	c->server = test_server_new(c->loop);
	snprintf(allow, sizeof(allow), "127.0.0.1:%d,localhost:%d",
	    c->server->port, c->server->port);
	assert_int_equal(guard_init(&c->guard, allow, &c->err), 0);
	caller_renew(c, (struct http_options){ 0 });
	*state = c;
	return 0;
}

int
caller_teardown(void **state)
{
	struct caller *c = *state;

	http_free(c->http);
	guard_deinit(&c->guard);
	test_server_free(c->server);
	loop_timer_free(c->watchdog);
	loop_free(c->loop);
	free(c->got.body);
	free(c);
	return 0;
}

struct str
caller_url(struct caller *c, const char *path)
{
	if (path[0] == '/')
		snprintf(c->url, sizeof(c->url), "http://127.0.0.1:%d%s",
		    c->server->port, path);
	else
		snprintf(c->url, sizeof(c->url), "%s", path);
	return str_of(c->url);
}

static void
keep(const struct http_response *res, const char *name, char *out, size_t room)
{
	struct str v = http_response_header(res, name);

	snprintf(out, room, "%.*s", (int)v.n, v.s != NULL ? v.s : "");
}

void
caller_done(void *arg, const struct http_response *res)
{
	struct caller *c = arg;
	struct got *got = &c->got;

	free(got->body);
	got->n++;
	got->outcome = res->outcome;
	got->res = *res;
	got->body = xcalloc(res->body.n + 1, 1);
	memcpy(got->body, res->body.s, res->body.n);
	snprintf(got->code, sizeof(got->code), "%s", res->error.code);
	keep(res, "content-type", got->type, sizeof(got->type));
	keep(res, "etag", got->etag, sizeof(got->etag));
	keep(res, "x-request-id", got->request_id, sizeof(got->request_id));
	keep(res, "x-private", got->private, sizeof(got->private));
	got->retry = http_retry_try(res, 1, 0, 0);
	if (got->n >= c->stop_after)
		loop_stop(c->loop, 0);
}

void
caller_wait(struct caller *c)
{
	loop_timer_set(c->watchdog, PATIENCE_MS);
	loop_run(c->loop);
	loop_timer_clear(c->watchdog);
}

const struct got *
caller_send(struct caller *c, struct http_request req)
{
	int n = c->got.n;

	assert_non_null(
	    http_call_start(c->http, &req, caller_done, c, &c->err));
	assert_int_equal(c->got.n, n); /* never from within the start */
	caller_wait(c);
	assert_int_equal(c->got.n, n + 1);
	return &c->got;
}

const struct got *
caller_get(struct caller *c, const char *path)
{
	return caller_send(c,
	    (struct http_request){
		.method = STR("GET"), .url = caller_url(c, path) });
}
