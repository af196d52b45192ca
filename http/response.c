#include "core/mem.h"
#include "core/testpoint.h"
#include "core/time.h"
#include "http/call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void
response_reset(struct http_call *call)
{
	uint32_t redirects = call->res.redirects;
	int64_t sent_us = call->res.sent_us;

	call->res = (struct http_response){ .redirects = redirects,
		.sent_us = sent_us };
	call->refused = (struct error){ 0 };
	call->head_bytes = 0;
	call->why[0] = '\0';
}

int
response_sending(
    void *arg, char *peer, char *local, int peer_port, int local_port)
{
	struct http_call *call = arg;

	(void)peer;
	(void)local;
	(void)peer_port;
	(void)local_port;
	if (fault_hit())
		return CURL_PREREQFUNC_ABORT;
	if (call->res.sent_us == 0)
		call->res.sent_us = time_mono_us();
	return CURL_PREREQFUNC_OK;
}

static int
is_kept(const struct http_call *call, const char *name, size_t n)
{
	const char *const *keep = call->http->options.keep_headers;

	if ((n == 11 && strncasecmp(name, "retry-after", n) == 0) ||
	    (n == 12 && strncasecmp(name, "content-type", n) == 0))
		return 1;
	for (; *keep != NULL; keep++)
		if (strlen(*keep) == n && strncasecmp(name, *keep, n) == 0)
			return 1;
	return 0;
}

static void
keep_header(struct http_call *call, const char *line, size_t n)
{
	const char *colon = memchr(line, ':', n);
	struct http_header *h = &call->headers[call->res.n_headers];
	size_t name_n, at;
	char *name;

	if (colon == NULL || call->res.n_headers == KEPT_HEADERS)
		return;
	name_n = (size_t)(colon - line);
	if (!is_kept(call, line, name_n))
		return;
	name = arena_strndup(&call->arena, line, name_n);
	for (size_t i = 0; i < name_n; i++)
		if (name[i] >= 'A' && name[i] <= 'Z')
			name[i] = (char)(name[i] | 0x20);
	for (at = name_n + 1; at < n && (line[at] == ' ' || line[at] == '\t');)
		at++;
	while (n > at && strchr(" \t\r\n", line[n - 1]) != NULL)
		n--;
	h->name = (struct str){ name, name_n };
	h->value = arena_str(&call->arena, (struct str){ line + at, n - at });
	call->res.n_headers++;
}

/* One line. A status line begins anew: what came before was informational.
 * Trailers, which come after the body began, say nothing here. */
size_t
response_header(char *p, size_t size, size_t n, void *arg)
{
	struct http_call *call = arg;

	(void)size; /* 1 */
	if (n >= 5 && memcmp(p, "HTTP/", 5) == 0)
		call->res.n_headers = 0;
	call->head_bytes += n;
	if (call->head_bytes > HEAD_LIMIT) {
		fail(&call->refused, FAULT_INPUT, "TOO_LARGE",
		    "the response has more than %d bytes of headers",
		    HEAD_LIMIT);
		return CURL_WRITEFUNC_ERROR;
	}
	if (call->res.body_bytes == 0)
		keep_header(call, p, n);
	return n;
}

/* Of a stream's answer, and not of an error or a redirect. */
static int
is_piece(struct http_call *call)
{
	long status = 0;

	if (call->req.piece == NULL)
		return 0;
	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	call->res.status = (int)status;
	return status >= 200 && status < 300;
}

static void
body_room(struct http_call *call, size_t need, size_t cap)
{
	size_t room = call->body_room > 0 ? call->body_room : 2048;

	if (need <= call->body_room)
		return;
	while (room < need)
		room *= 2;
	if (room > cap)
		room = cap;
	call->body = xrealloc(call->body, room);
	call->body_room = room;
}

/* Decoded bytes: a small compressed body can't grow past the limit. */
size_t
response_body(char *p, size_t size, size_t n, void *arg)
{
	struct http_call *call = arg;
	const struct http_options *o = &call->http->options;
	size_t have = call->res.body.n, take = n;
	int piece = is_piece(call);

	(void)size; /* 1 */
	call->res.body_bytes += n;
	if (piece) {
		body_room(call, have + n, SIZE_MAX);
		memcpy(call->body + have, p, n);
		call->res.body.n = have + n;
		list_remove(&call->stream);
		list_append(&call->http->streams, &call->stream);
		loop_defer_call(call->http->deliver);
		return n;
	}
	if (call->res.body_bytes > o->body_limit) {
		fail(&call->refused, FAULT_INPUT, "TOO_LARGE",
		    "the response has more than %zu bytes", o->body_limit);
		return CURL_WRITEFUNC_ERROR;
	}
	if (take > o->body_cap - have)
		take = o->body_cap - have;
	if (take > 0) {
		body_room(call, have + take, o->body_cap);
		memcpy(call->body + have, p, take);
		call->res.body.n = have + take;
	}
	if (take < n)
		call->res.truncated = 1;
	return n;
}

/* What libcurl's results mean; anything else is HTTP_BROKEN. */
static const struct meaning {
	CURLcode curl;
	enum http_outcome outcome;
	enum fault fault;
	const char *code, *text;
} meanings[] = {
	{ CURLE_COULDNT_RESOLVE_HOST, HTTP_DNS, FAULT_RETRY, "DNS",
	    "the name does not resolve" },
	{ CURLE_COULDNT_CONNECT, HTTP_CONNECT, FAULT_RETRY, "ECONNECT",
	    "no connection" },
	{ CURLE_OPERATION_TIMEDOUT, HTTP_TIMEOUT, FAULT_RETRY, "ETIMEDOUT",
	    "no answer in time" },
	{ CURLE_SSL_CONNECT_ERROR, HTTP_TLS, FAULT_RETRY, "TLS",
	    "the TLS handshake failed" },
	{ CURLE_PEER_FAILED_VERIFICATION, HTTP_TLS, FAULT_INPUT, "TLS",
	    "the server's certificate is not trusted" },
	{ CURLE_SSL_CACERT_BADFILE, HTTP_TLS, FAULT_CONFIG, "TLS",
	    "the CA file can't be read" },
	{ CURLE_SSL_CERTPROBLEM, HTTP_TLS, FAULT_INPUT, "TLS",
	    "a certificate is unusable" },
	{ CURLE_SSL_CIPHER, HTTP_TLS, FAULT_INPUT, "TLS",
	    "no common TLS cipher" },
	{ CURLE_URL_MALFORMAT, HTTP_BAD_REQUEST, FAULT_INPUT, "REQUEST",
	    "not a valid URL" },
	{ CURLE_BAD_CONTENT_ENCODING, HTTP_BROKEN, FAULT_RETRY, "EPROTO",
	    "the body can't be decoded" },
	{ CURLE_GOT_NOTHING, HTTP_BROKEN, FAULT_RETRY, "ECONNRESET",
	    "the connection was closed without an answer" },
	{ CURLE_PARTIAL_FILE, HTTP_BROKEN, FAULT_RETRY, "ECONNRESET",
	    "the connection was closed in the middle of the answer" },
	{ CURLE_RECV_ERROR, HTTP_BROKEN, FAULT_RETRY, "ECONNRESET",
	    "the answer broke off" },
	{ CURLE_SEND_ERROR, HTTP_BROKEN, FAULT_RETRY, "ECONNRESET",
	    "the request could not be sent" },
	{ CURLE_ABORTED_BY_CALLBACK, HTTP_BROKEN, FAULT_RETRY, "ECONNRESET",
	    "the request was not sent" },
	{ CURLE_OUT_OF_MEMORY, HTTP_BROKEN, FAULT_RETRY, "ENOMEM",
	    "out of memory" },
};

static const struct meaning *
meaning_of(CURLcode code)
{
	static const struct meaning broken = { CURLE_OK, HTTP_BROKEN,
		FAULT_RETRY, "EPROTO", "the answer is not HTTP" };

	for (size_t i = 0; i < NELEM(meanings); i++)
		if (meanings[i].curl == code)
			return &meanings[i];
	return &broken;
}

static void
explain_failure(struct http_call *call, CURLcode code)
{
	const struct meaning *m = meaning_of(code);
	const char *why = call->why, *name = NULL;
	long number = 0;

	call->res.outcome = m->outcome;
	if (call->refused.code[0] != '\0' &&
	    (code == CURLE_COULDNT_CONNECT || code == CURLE_WRITE_ERROR)) {
		response_refuse(call,
		    code == CURLE_WRITE_ERROR ? HTTP_TOO_LARGE : HTTP_BLOCKED,
		    &call->refused);
		return;
	}
	if (m->outcome == HTTP_CONNECT) {
		curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &number);
		if (number != 0)
			name = strerrorname_np((int)number);
	}
	fail(&call->res.error, m->fault, name != NULL ? name : m->code,
	    "%s%s%s%s", m->text, why[0] != '\0' ? " (" : "", why,
	    why[0] != '\0' ? ")" : "");
}

/* A status of 400 and more: whether the same request may do better later. */
static void
explain_status(struct http_response *res)
{
	int passing = res->status >= 500 || res->status == 408 ||
	    res->status == 425 || res->status == 429;
	char code[16];

	if (res->status < 400)
		return;
	snprintf(code, sizeof(code), "HTTP%d", res->status % 1000);
	fail(&res->error, passing ? FAULT_RETRY : FAULT_INPUT, code,
	    "answered %d", res->status);
}

static int64_t
timing_of(const struct http_call *call, CURLINFO info)
{
	curl_off_t us = 0;

	curl_easy_getinfo(call->easy, info, &us);
	return us > 0 ? us + call->hop_us - call->began_us : 0;
}

static void
gather_info(struct http_call *call)
{
	struct http_response *res = &call->res;
	long status = 0, version = 0;
	char *ip = NULL;

	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(call->easy, CURLINFO_HTTP_VERSION, &version);
	curl_easy_getinfo(call->easy, CURLINFO_PRIMARY_IP, &ip);
	res->status = (int)status;
	if (status != 0)
		res->http_version = version == CURL_HTTP_VERSION_1_0 ? 10
		    : version == CURL_HTTP_VERSION_1_1               ? 11
		    : version == CURL_HTTP_VERSION_2_0               ? 20
								     : 0;
	if (ip != NULL)
		snprintf(res->ip, sizeof(res->ip), "%s", ip);
	res->timing.dns = timing_of(call, CURLINFO_NAMELOOKUP_TIME_T);
	res->timing.connect = timing_of(call, CURLINFO_CONNECT_TIME_T);
	res->timing.tls = timing_of(call, CURLINFO_APPCONNECT_TIME_T);
	res->timing.first_byte = timing_of(call, CURLINFO_STARTTRANSFER_TIME_T);
	res->timing.total = time_mono_us() - call->began_us;
}

void
response_finish(struct http_call *call, CURLcode code)
{
	struct http_response *res = &call->res;

	gather_info(call);
	res->headers = call->headers;
	res->body.s = call->body != NULL ? call->body : "";
	res->outcome = HTTP_ANSWERED;
	if (code != CURLE_OK)
		explain_failure(call, code);
	else
		explain_status(res);
}

void
response_refuse(
    struct http_call *call, enum http_outcome outcome, const struct error *err)
{
	call->res.outcome = outcome;
	call->res.error = *err;
}

struct str
http_response_header(const struct http_response *res, const char *name)
{
	for (uint32_t i = 0; i < res->n_headers; i++)
		if (str_is(res->headers[i].name, name))
			return res->headers[i].value;
	return (struct str){ 0 };
}

struct retry_try
http_retry_try(const struct http_response *res, uint32_t attempt,
    int64_t now_ms, uint64_t random)
{
	struct retry_try t = { .attempt = attempt,
		.cause = RETRY_NEVER,
		.status = res->status,
		.retry_after_ms = RETRY_NO_AFTER,
		.random = random };
	struct str after = http_response_header(res, "retry-after");

	if (res->outcome == HTTP_ANSWERED)
		t.cause = RETRY_STATUS;
	else if (res->error.fault == FAULT_RETRY)
		t.cause = RETRY_CONNECTION;
	if (after.s != NULL &&
	    retry_after_parse(after, now_ms, &t.retry_after_ms) < 0)
		t.retry_after_ms = RETRY_NO_AFTER;
	return t;
}

const char *
http_outcome_name(enum http_outcome outcome)
{
	static const char *const names[] = {
		[HTTP_ANSWERED] = "answered",
		[HTTP_DNS] = "dns",
		[HTTP_CONNECT] = "connect",
		[HTTP_TLS] = "tls",
		[HTTP_TIMEOUT] = "timeout",
		[HTTP_BROKEN] = "broken",
		[HTTP_BLOCKED] = "blocked",
		[HTTP_TOO_LARGE] = "too_large",
		[HTTP_REDIRECTS] = "redirects",
		[HTTP_BAD_REQUEST] = "bad_request",
	};

	return names[outcome];
}
