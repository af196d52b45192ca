#include "core/testpoint.h"
#include "core/time.h"
#include "worker/engine/engine.h"
#include "worker/engine/item.h"

#include <string.h>

static const struct header *
headers_of(struct arena *a, const struct http_response *res)
{
	struct header *h = arena_array(a, res->n_headers, sizeof(*h));

	for (uint32_t i = 0; i < res->n_headers; i++)
		h[i] = (struct header){
			.name = arena_str(a, res->headers[i].name),
			.value = arena_str(a, res->headers[i].value),
		};
	return h;
}

/* The response dies when done() returns: what is kept is copied. */
static void
result_of(struct task *t, const struct http_response *res, int64_t now_ms,
    struct http_result *out)
{
	struct arena *a = &t->arena;
	struct str after = http_response_header(res, "retry-after");

	*out = (struct http_result){
		.status = res->status,
		.retryable = res->error.fault == FAULT_RETRY,
		.took_ms = res->timing.total / 1000,
		.retry_after_ms = -1,
		.headers = headers_of(a, res),
		.n_headers = res->n_headers,
		.body = arena_str(a, res->body),
		.truncated = res->truncated,
	};
	if (res->error.fault != FAULT_NONE) {
		out->code = arena_strdup(a, res->error.code);
		out->message = arena_strdup(a, res->error.text);
	}
	if (after.n > 0 &&
	    retry_after_parse(after, now_ms, &out->retry_after_ms) < 0)
		out->retry_after_ms = -1;
}

static void
done(void *arg, const struct http_response *res)
{
	struct task *t = arg;
	int64_t now_ms = poll_now_ms(t->w);
	struct http_result result;
	struct try try = {
		.message = &t->message,
		.at_ms = now_ms,
		.deadline_ms = t->deadline_ms,
		.random = random_u64(),
		.what = t->what,
		.result = &result,
	};

	t->call = NULL;
	testpoint("after_http");
	result_of(t, res, now_ms, &result);
	node_http_done(&t->arena, t->version->flow, &try, &t->event, &t->line);
	task_to(t, TASK_READY);
}

static int64_t
timeout_of(const struct task *t, const struct http_step *http)
{
	int64_t left = t->deadline_ms - t->now_ms;

	if (t->deadline_ms == 0 ||
	    (http->timeout_ms > 0 && http->timeout_ms < left))
		return http->timeout_ms;
	return left > 0 ? left : 1;
}

static void
failed(struct task *t, const char *code, const char *message)
{
	struct effect effect = {
		.type = EFFECT_FAIL, .code = code, .message = message
	};

	node_done(&t->arena, t->version->flow, &t->message, &effect, t->now_ms,
	    &t->event);
	task_to(t, TASK_READY);
}

static void
call_start(struct task *t, const struct http_step *http)
{
	struct http_header *headers =
	    arena_array(&t->arena, http->n_headers, sizeof(*headers));
	struct http_request req = {
		.method = http->method,
		.url = http->url,
		.headers = headers,
		.n_headers = http->n_headers,
		.body = http->body,
		.body_secret = http->body_secret,
		.timeout_ms = timeout_of(t, http),
		.max_redirects =
		    http->max_redirects > 0 ? (uint32_t)http->max_redirects : 0,
	};
	struct error err;

	for (uint32_t i = 0; i < http->n_headers; i++)
		headers[i] = (struct http_header){
			.name = http->headers[i].name,
			.value = http->headers[i].value,
			.secret = http->headers[i].secret,
		};
	t->what = arena_printf(&t->arena, "%.*s %s", STR_FMT(http->method),
	    http_url_redacted(&t->arena, http->url));
	testpoint("before_http");
	t->call = http_call_start(t->w->http, &req, done, t, &err);
	if (t->call == NULL)
		failed(t, arena_strdup(&t->arena, err.code),
		    arena_strdup(&t->arena, err.text));
	else
		task_to(t, TASK_CALLING);
}

void
call_begin(struct task *t)
{
	struct context context;
	struct json *secrets;
	struct effect effect;
	struct error err;
	int r;

	context_of(&t->arena, t, &context);
	if (secrets_of(t, &secrets, &err) < 0) {
		failed(t, "secret", arena_strdup(&t->arena, err.text));
		return;
	}
	context.secrets = secrets;
	r = node_begin(&t->arena, t->version->flow, t->message.node, &context,
	    t->now_ms, &effect, &err);
	if (r != 0) {
		if (r > 0)
			fail(&err, FAULT_BUG, "SLICE",
			    "its message lacks what it reads");
		t->refused = err;
		t->care = CARE_FAIL;
		task_to(t, TASK_READY);
		return;
	}
	if (effect.type != EFFECT_HTTP) {
		failed(t, effect.code, effect.message);
		return;
	}
	if (secrets_host_check(t, effect.http.url, &err) < 0) {
		failed(t, "secret", arena_strdup(&t->arena, err.text));
		return;
	}
	if (t->deadline_ms == 0 && effect.http.deadline_ms > 0)
		t->deadline_ms = t->now_ms + effect.http.deadline_ms;
	call_start(t, &effect.http);
}
