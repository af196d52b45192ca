#include "worker/flow/node-impl.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/time.h"
#include "worker/flow/run-impl.h"

/* A string in the making. */
struct maker {
	struct arena *a;
	char *s;
	size_t n, room;
};

static void
make_add(struct maker *m, const char *s, size_t n)
{
	if (m->n + n > m->room) {
		size_t room = (m->n + n) * 2 + 64;

		m->s = arena_grow(m->a, m->s, m->n, room, 1);
		m->room = room;
	}
	if (n > 0)
		memcpy(m->s + m->n, s, n);
	m->n += n;
}

/* RFC 3986, 2.3: all but the unreserved. */
static void
make_encoded(struct maker *m, struct str s)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.s[i];
		char three[3] = { '%', hex[c >> 4], hex[c & 15] };
		int bare = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c >= '0' && c <= '9') ||
		    (c != '\0' && strchr("-._~", c) != NULL);

		make_add(m, bare ? &s.s[i] : three, bare ? 1 : 3);
	}
}

static int
url_make(struct beginning *b, const union node_config *c, struct error *err)
{
	struct maker m = { .a = b->a };
	struct json *v;
	struct str url;
	const char *hash, *query;

	if (node_render(b, c->http.url, TEMPLATE_URL, &v, err) < 0)
		return fail_in(err, "url");
	url = json_str(v);
	hash = memchr(url.s, '#', url.n); /* a fragment is not sent */
	if (hash != NULL)
		url.n = (size_t)(hash - url.s);
	query = memchr(url.s, '?', url.n);
	make_add(&m, url.s, url.n);
	for (uint32_t i = 0; i < c->http.n_query; i++) {
		const struct pair *q = &c->http.query[i];

		if (node_render(b, q->value, TEMPLATE_PLAIN, &v, err) < 0)
			return fail_in(err, "query");
		if (json_is(v, JSON_NULL))
			continue;
		make_add(&m, query == NULL ? "?" : "&", 1);
		query = url.s;
		make_encoded(&m, q->name);
		make_add(&m, "=", 1);
		make_encoded(&m, node_text(b->a, v));
	}
	b->out->http.url = (struct str){ m.s, m.n };
	return 0;
}

static void
header_add(
    struct http_step *http, struct str name, struct str value, int secret)
{
	http->headers[http->n_headers++] =
	    (struct header){ .name = name, .value = value, .secret = secret };
}

static int
has_header(const struct http_step *http, const char *name)
{
	for (uint32_t i = 0; i < http->n_headers; i++)
		if (http->headers[i].name.n == strlen(name) &&
		    strncasecmp(http->headers[i].name.s, name,
			http->headers[i].name.n) == 0)
			return 1;
	return 0;
}

static int
headers_make(struct beginning *b, const union node_config *c, struct error *err)
{
	struct http_step *http = &b->out->http;
	struct str run = json_str(json_get(b->context->run, "id"));
	struct json *v;

	http->headers =
	    arena_array(b->a, c->http.n_headers + 2, sizeof(*http->headers));
	for (uint32_t i = 0; i < c->http.n_headers; i++) {
		const struct pair *h = &c->http.headers[i];

		if (node_render(b, h->value, TEMPLATE_HEADER, &v, err) < 0)
			return fail_in(err,
			    arena_printf(
				b->a, "header %.*s", STR_FMT(h->name)));
		if (json_str(v).n > 0)
			header_add(http, h->name, json_str(v), h->secret);
	}
	if (c->http.body != NULL && !has_header(http, "content-type"))
		header_add(
		    http, STR("Content-Type"), STR("application/json"), 0);
	if (c->http.body_text != NULL && !has_header(http, "content-type"))
		header_add(http, STR("Content-Type"),
		    STR("text/plain; charset=utf-8"), 0);
	header_add(http, STR("Idempotency-Key"),
	    str_of(arena_printf(
		b->a, "%.*s.%.*s", STR_FMT(run), STR_FMT(b->node->id))),
	    0);
	return 0;
}

int
http_begin(struct beginning *b, const union node_config *c, struct error *err)
{
	struct http_step *http = &b->out->http;
	struct json *v;

	b->out->type = EFFECT_HTTP;
	http->method = c->http.method;
	http->timeout_ms = c->http.timeout_ms;
	http->deadline_ms = c->http.deadline_ms;
	http->max_redirects = c->http.max_redirects;
	http->body_secret = c->http.body_secret;
	if (url_make(b, c, err) < 0 || headers_make(b, c, err) < 0)
		return -1;
	if (node_render(b, c->http.body, TEMPLATE_PLAIN, &v, err) < 0)
		return fail_in(err, "body");
	if (c->http.body != NULL)
		http->body = json_text(b->a, v);
	if (node_render(b, c->http.body_text, TEMPLATE_PLAIN, &v, err) < 0)
		return fail_in(err, "body_text");
	if (c->http.body_text != NULL)
		http->body = node_text(b->a, v);
	return 0;
}

/* application/json, application/problem+json, ...; parameters don't matter. */
static int
is_json_type(const struct http_result *r)
{
	for (uint32_t i = 0; i < r->n_headers; i++) {
		struct str v = r->headers[i].value;
		size_t n = 0;

		if (!(r->headers[i].name.n == 12 &&
			strncasecmp(r->headers[i].name.s, "content-type", 12) ==
			    0))
			continue;
		while (n < v.n && v.s[n] != ';' && v.s[n] != ' ')
			n++;
		return (n == 16 &&
			   strncasecmp(v.s, "application/json", 16) == 0) ||
		    (n > 5 && strncasecmp(v.s + n - 5, "+json", 5) == 0);
	}
	return 0;
}

/*
 * The body: parsed when it says that it is JSON and it is; else a string when
 * it is UTF-8, which the JSON parser knows. NULL and *err when neither can be
 * stored.
 */
static struct json *
body_of(struct arena *a, const struct http_result *r, struct error *err)
{
	struct json_limits limits = { .depth = 512 };
	struct json *v;
	struct error ignored;

	if (r->body.n == 0)
		return json_null();
	if (is_json_type(r) && !r->truncated &&
	    json_parse(a, r->body, &limits, &v, &ignored) == 0)
		return json_storable(v, err) == 0 ? v : NULL;
	v = json_string(a, r->body);
	if (json_storable(v, err) < 0)
		return NULL;
	/* as a JSON text, to have its UTF-8 checked */
	if (json_parse(a, json_text(a, v), &limits, &v, err) == 0)
		return v;
	if (r->truncated) { /* cut within a character? */
		struct http_result shorter = *r;

		while (shorter.body.n > 0 && r->body.n - shorter.body.n < 3) {
			shorter.body.n--;
			v = json_string(a, shorter.body);
			if (json_parse(
				a, json_text(a, v), &limits, &v, &ignored) == 0)
				return v;
		}
	}
	return NULL;
}

static struct json *
headers_of(struct arena *a, const struct http_result *r)
{
	struct json *o = json_object(a), *v;
	struct error err;

	for (uint32_t i = 0; i < r->n_headers; i++) {
		v = json_string(a, r->headers[i].value);
		if (json_storable(v, &err) == 0 &&
		    json_parse(a, json_text(a, v), NULL, &v, &err) == 0)
			json_set_str(a, o, r->headers[i].name, v);
	}
	return o;
}

static struct json *
output_of(struct arena *a, const struct http_result *r, struct error *err)
{
	struct json *o = json_object(a), *body = body_of(a, r, err);

	json_set(a, o, "status", json_int(a, r->status));
	json_set(a, o, "headers", headers_of(a, r));
	json_set(a, o, "body", body);
	json_set(a, o, "truncated", json_bool(r->truncated));
	json_set(a, o, "ms", json_int(a, r->took_ms));
	return body != NULL ? o : NULL;
}

static const char *
line_make(struct arena *a, const struct node *node, const struct try *try,
    const char *outcome, int64_t due)
{
	uint32_t most = node->retry != NULL ? node->retry->max_attempts : 1;
	char took[TIME_TEXT], wait[TIME_TEXT];
	const char *line;

	duration_format(try->result->took_ms, took);
	if (try->result->status > 0)
		line = arena_printf(a, "%s answered %d in %s", try->what,
		    try->result->status, took);
	else
		line = arena_printf(
		    a, "%s failed in %s: %s", try->what, took, outcome);
	if (most > 1)
		line = arena_printf(a, "%s, attempt %d of %u", line,
		    try->message->attempt, most);
	if (due >= 0)
		line = arena_printf(a, "%s, next in %s", line,
		    duration_format(due - try->at_ms, wait));
	return line;
}

static void
failed_make(struct arena *a, const struct try *try, const struct error *bad,
    struct json *o)
{
	const struct http_result *r = try->result;
	const char *code = r->code, *message = r->message;
	char hex[17];

	if (code == NULL || code[0] == '\0')
		code = arena_printf(a, "HTTP%d", r->status);
	if (message == NULL || message[0] == '\0')
		message = code;
	snprintf(hex, sizeof(hex), "%016llx", (unsigned long long)try->random);
	json_set(a, o, "code", json_cstring(a, bad ? "unstorable" : code));
	json_set(a, o, "message",
	    json_cstring(a,
		bad ? arena_printf(
			  a, "the answer can't be stored: %s", bad->text)
		    : message));
	json_set(a, o, "at", json_int(a, try->at_ms));
	if (bad != NULL)
		return;
	/* an answer is judged by its status, whatever else is said of it */
	json_set(a, o, "retryable",
	    json_bool(r->retryable && strncmp(code, "HTTP", 4) != 0));
	if (r->status > 0)
		json_set(a, o, "status", json_int(a, r->status));
	json_set(a, o, "random", json_cstring(a, hex));
	if (r->retry_after_ms >= 0)
		json_set(
		    a, o, "retry_after_ms", json_int(a, r->retry_after_ms));
	if (try->deadline_ms > 0)
		json_set(a, o, "deadline_at", json_int(a, try->deadline_ms));
}

void
node_http_done(struct arena *a, const struct flow *flow, const struct try *try,
    struct event *out, struct log_line *line)
{
	const struct node *node = &flow->nodes[try->message->node];
	const struct http_result *r = try->result;
	struct json *o = json_object(a), *output = NULL;
	struct error bad = { 0 };
	int64_t due = -1;
	int answered = r->status > 0, good, ok;

	if (answered)
		output = output_of(a, r, &bad);
	good = r->code == NULL || r->code[0] == '\0';
	ok = answered && good && r->status < 400 && output != NULL;
	json_set(a, o, "step", json_string(a, node->id));
	json_set(a, o, "attempt", json_int(a, try->message->attempt));
	if (!ok) {
		/* an answer that is a failure anyway is told without its body */
		failed_make(a, try,
		    answered && output == NULL && good ? &bad : NULL, o);
		due = retry_due(node, o);
	}
	if (output != NULL)
		json_set(a, o, "output", output);
	*out = (struct event){
		.type = ok ? "step.succeeded" : "step.failed",
		.payload = o,
	};
	*line = (struct log_line){
		.level = ok    ? 9
		    : due >= 0 ? 13
			       : 17,
		.message = str_of(line_make(a, node, try,
		    ok ? "" : json_str(json_get(o, "message")).s, due)),
	};
}
