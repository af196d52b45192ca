#include "core/mem.h"
#include "core/time.h"
#include "http/call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	URL_CAP = 16 * 1024,
	METHOD_CAP = 20,
	HEADERS_CAP = 100,
	HEADER_BYTES_CAP = 64 * 1024,
};

/* RFC 9110, 5.6.2. */
static int
is_token(struct str s)
{
	static const char more[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < s.n; i++) {
		char c = s.s[i];
		int alnum = (c >= '0' && c <= '9') ||
		    ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');

		if (!alnum && (c == '\0' || strchr(more, c) == NULL))
			return 0;
	}
	return s.n > 0;
}

/* Any byte that ends a line or hides one; a tab is allowed in a value. */
static int
has_control(struct str s, int tab_too)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.s[i];

		if ((c < 0x20 && (c != '\t' || tab_too)) || c == 0x7f)
			return 1;
	}
	return 0;
}

static int
name_is(struct str name, const char *lower)
{
	return name.n == strlen(lower) &&
	    strncasecmp(name.s, lower, name.n) == 0;
}

/* Who frames the message and names the host is us. */
static int
is_reserved(struct str name)
{
	static const char *const reserved[] = { "connection", "content-length",
		"expect", "host", "keep-alive", "proxy-authorization",
		"proxy-connection", "te", "trailer", "transfer-encoding",
		"upgrade" };

	for (size_t i = 0; i < NELEM(reserved); i++)
		if (name_is(name, reserved[i]))
			return 1;
	return 0;
}

static int
header_check(const struct http_header *h, struct error *err)
{
	if (!is_token(h->name))
		return fail(err, FAULT_INPUT, "REQUEST",
		    "a header name is not a token of RFC 9110");
	if (is_reserved(h->name))
		return fail(err, FAULT_INPUT, "REQUEST",
		    "header %.*s can't be set: the client sets it",
		    STR_FMT(h->name));
	if (has_control(h->value, 0))
		return fail(err, FAULT_INPUT, "REQUEST",
		    "header %.100s has a line break or control byte in its "
		    "value",
		    h->name.s);
	return 0;
}

int
request_check(const struct http_request *req,
    const struct http_options *options, struct error *err)
{
	size_t bytes = 0;

	if (!is_token(req->method) || req->method.n > METHOD_CAP)
		return fail(err, FAULT_INPUT, "REQUEST", "no valid method");
	if (req->url.n > URL_CAP)
		return fail(err, FAULT_INPUT, "REQUEST",
		    "the URL has %zu bytes, more than %d", req->url.n, URL_CAP);
	if (has_control(req->url, 1) ||
	    (req->url.n > 0 && memchr(req->url.s, ' ', req->url.n) != NULL))
		return fail(err, FAULT_INPUT, "REQUEST",
		    "the URL has a blank or control byte");
	if (req->n_headers > HEADERS_CAP)
		return fail(err, FAULT_INPUT, "REQUEST",
		    "%u headers, more than %d", req->n_headers, HEADERS_CAP);
	for (uint32_t i = 0; i < req->n_headers; i++) {
		const struct http_header *h = &req->headers[i];

		bytes += h->name.n + h->value.n;
		if (bytes > HEADER_BYTES_CAP)
			return fail(err, FAULT_INPUT, "REQUEST",
			    "more than %d bytes of headers", HEADER_BYTES_CAP);
		if (header_check(h, err) < 0)
			return -1;
	}
	if (req->body.n > options->send_cap)
		return fail(err, FAULT_INPUT, "REQUEST",
		    "the body has %zu bytes, more than %zu", req->body.n,
		    options->send_cap);
	return 0;
}

void
request_copy(struct http_call *call, const struct http_request *req)
{
	struct arena *a = &call->arena;
	struct http_header *headers;

	call->req = *req;
	call->req.method = arena_str(a, req->method);
	call->req.url = arena_str(a, req->url);
	call->req.body = arena_str(a, req->body);
	headers = arena_array(a, req->n_headers, sizeof(*headers));
	for (uint32_t i = 0; i < req->n_headers; i++) {
		headers[i].name = arena_str(a, req->headers[i].name);
		headers[i].value = arena_str(a, req->headers[i].value);
		headers[i].secret = req->headers[i].secret;
	}
	call->req.headers = headers;
	if (call->req.timeout_ms <= 0)
		call->req.timeout_ms = call->http->options.timeout_ms;
	if (call->req.connect_timeout_ms <= 0)
		call->req.connect_timeout_ms =
		    call->http->options.connect_timeout_ms;
}

static int
locate(struct http_call *call, CURLU *u, struct error *err)
{
	char *scheme = NULL, *host = NULL, *port = NULL;
	int r = -1;

	if (curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
	    (strcasecmp(scheme, "http") != 0 &&
		strcasecmp(scheme, "https") != 0))
		fail(err, FAULT_INPUT, "REQUEST",
		    "the URL begins with neither http:// nor https://");
	else if (curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
	    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) !=
		CURLUE_OK)
		fail(err, FAULT_INPUT, "REQUEST", "the URL names no host");
	else if (strcmp(port, "0") == 0)
		fail(err, FAULT_INPUT, "REQUEST", "port 0 can't be called");
	else
		r = 0;
	if (r == 0) {
		call->host = arena_strdup(&call->arena, host);
		call->origin = arena_printf(
		    &call->arena, "%s://%s:%s", scheme, host, port);
	}
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	return r;
}

int
hop_locate(struct http_call *call, const char *url, struct error *err)
{
	CURLU *u = curl_url();
	CURLUcode code = curl_url_set(u, CURLUPART_URL, url, 0);
	int r;

	if (code != CURLUE_OK)
		r = fail(err, FAULT_INPUT, "REQUEST", "not a valid URL: %s",
		    curl_url_strerror(code));
	else
		r = locate(call, u, err);
	curl_url_cleanup(u);
	call->url = arena_strdup(&call->arena, url);
	return r;
}

static void
slist_add(struct http_call *call, const char *line)
{
	struct curl_slist *l = curl_slist_append(call->slist, line);

	if (l != NULL)
		call->slist = l;
}

static void
set_headers(struct http_call *call)
{
	curl_slist_free_all(call->slist);
	call->slist = NULL;
	/* No second of waiting for "100 Continue", no type we didn't set. */
	slist_add(call, "Expect:");
	slist_add(call, "Content-Type:");
	for (uint32_t i = 0; i < call->req.n_headers; i++) {
		const struct http_header *h = &call->req.headers[i];

		slist_add(call,
		    arena_printf(&call->arena,
			h->value.n > 0 ? "%s: %s" : "%s;", h->name.s,
			h->value.s));
	}
	curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->slist);
}

static void
set_method(struct http_call *call)
{
	const char *method = call->req.method.s;
	CURL *easy = call->easy;

	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, NULL);
	curl_easy_setopt(easy, CURLOPT_NOBODY, 0L);
	curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, NULL);
	if (strcmp(method, "HEAD") == 0) {
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
		return;
	}
	if (call->req.body.n > 0 || strcmp(method, "POST") == 0 ||
	    strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0) {
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
		    (curl_off_t)call->req.body.n);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->req.body.s);
	}
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
}

int
hop_prepare(struct http_call *call, struct error *err)
{
	CURL *easy = call->easy;
	int64_t spent;

	call->hop_us = time_mono_us();
	spent = (call->hop_us - call->began_us) / 1000;
	if (call->req.piece == NULL && spent >= call->req.timeout_ms)
		return fail(err, FAULT_RETRY, "ETIMEDOUT",
		    "no answer within %lld ms, redirects included",
		    (long long)call->req.timeout_ms);
	response_reset(call);
	curl_easy_setopt(easy, CURLOPT_URL, call->url);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS,
	    call->req.piece == NULL ? (long)(call->req.timeout_ms - spent)
				    : 0L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
	    (long)call->req.connect_timeout_ms);
	set_method(call);
	set_headers(call);
	return 0;
}

/* Drop the headers that say nothing any more, or that others must not see. */
static void
drop_headers(struct http_call *call, int body_gone, int other_origin)
{
	struct http_header *h = (struct http_header *)call->req.headers;
	uint32_t n = 0;

	for (uint32_t i = 0; i < call->req.n_headers; i++) {
		int about_body = h[i].name.n > 8 &&
		    strncasecmp(h[i].name.s, "content-", 8) == 0;
		int private = h[i].secret ||
		    name_is(h[i].name, "authorization") ||
		    name_is(h[i].name, "cookie");

		if ((body_gone && about_body) || (other_origin && private))
			continue;
		h[n++] = h[i];
	}
	call->req.n_headers = n;
}

/* What browsers do (Fetch, 4.4 HTTP-redirect fetch). */
static int
loses_body(const struct http_call *call, long status)
{
	if (status == 303)
		return !str_is(call->req.method, "GET") &&
		    !str_is(call->req.method, "HEAD");
	return (status == 301 || status == 302) &&
	    str_is(call->req.method, "POST");
}

int
hop_follow(struct http_call *call, struct error *err)
{
	const char *origin = call->origin;
	char *to = NULL;
	long status = 0;
	int body_gone, other;

	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(call->easy, CURLINFO_REDIRECT_URL, &to);
	if (to == NULL || call->req.max_redirects == 0 ||
	    (status != 301 && status != 302 && status != 303 && status != 307 &&
		status != 308))
		return HOP_OUT_FINAL;
	if (call->res.redirects == call->req.max_redirects)
		return fail(err, FAULT_INPUT, "REDIRECTS",
		    "redirected more than %u times", call->req.max_redirects);
	if (strlen(to) > URL_CAP || hop_locate(call, to, err) < 0)
		return fail(err, FAULT_INPUT, "REDIRECTS",
		    "redirected to a URL that can't be called");
	call->res.redirects++;
	body_gone = loses_body(call, status);
	if (body_gone) {
		call->req.method = STR("GET");
		call->req.body = STR("");
	}
	other = strcasecmp(origin, call->origin) != 0;
	if (other && call->req.body_secret && call->req.body.n > 0)
		return fail(err, FAULT_INPUT, "REDIRECTS",
		    "redirected to another origin, where what the body holds "
		    "must not go");
	drop_headers(call, body_gone, other);
	return 0;
}
