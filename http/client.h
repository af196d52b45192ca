#pragma once
/*
 * HTTP calls out: hundreds at once on the loop, by libcurl's multi interface,
 * whose header is included nowhere else.
 *
 * A struct http is one guard and one set of kept connections: calls of
 * different trust need a struct http each. Names are resolved off the loop.
 * No environment variable (proxies, .netrc) has a say.
 *
 * A call ends exactly once: its done function is called at the end of a loop
 * turn, never from within http_call_start or libcurl, or it is cancelled and
 * the function is not called. The pieces of a stream come before, as it does. The call and its response die when the done
 * function returns; that function may start and cancel other calls.
 *
 * Redirects are followed as browsers do (303 becomes GET, 307 and 308 keep
 * method and body), each hop guarded again. Headers marked secret, and always
 * Authorization and Cookie, stay with the origin of the request's URL.
 */
#include <stddef.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/retry.h"
#include "http/guard.h"

struct http;
struct http_call;

enum http_outcome {
	HTTP_ANSWERED,   /* a whole response came, of whatever status */
	HTTP_DNS,        /* the name does not resolve */
	HTTP_CONNECT,    /* refused or unreachable */
	HTTP_TLS,        /* handshake or certificate */
	HTTP_TIMEOUT,    /* the per-try or the connect timeout */
	HTTP_BROKEN,     /* cut, or not HTTP, before the end of the response */
	HTTP_BLOCKED,    /* the guard refused the address */
	HTTP_TOO_LARGE,  /* the response went beyond the hard limit */
	HTTP_REDIRECTS,  /* too many, or one that must not be followed */
	HTTP_BAD_REQUEST /* URL, method, header or body can't be sent */
};
enum { N_HTTP_OUTCOMES = HTTP_BAD_REQUEST + 1 };

struct http_options {
	const struct guard
	    *guard;             /* outlives the http; NULL: none but public */
	const char *ca_file;    /* PEM bundle; NULL: the system's */
	const char *user_agent; /* NULL: "meshhook" */
	/* Response headers to keep, lower case, NULL-terminated; NULL: a list of
	 * common ones. retry-after and content-type are kept in any case. */
	const char *const *keep_headers;
	size_t body_cap;   /* response bytes kept; 0: 256 KiB */
	size_t body_limit; /* response bytes read before giving up; 0: 16 MiB */
	size_t send_cap;   /* request body; 0: 16 MiB */
	int64_t timeout_ms, connect_timeout_ms; /* 0: 30 s, 10 s */
	uint32_t max_kept; /* connections, busy ones too; 0: 1024 */
};

struct http_response;
/* A piece of a body, in res->body; status and headers are there. It may cancel
 * the call. */
typedef void http_piece_fn(void *arg, const struct http_response *res);

struct http_header {
	struct str name, value;
	int secret; /* never sent to another origin than the URL's */
};

/* Copied by http_call_start. */
struct http_request {
	struct str method,
	    url; /* "GET", ...; http or https, no fragment needed */
	const struct http_header *headers;
	uint32_t n_headers;
	struct str body;
	int64_t timeout_ms, connect_timeout_ms; /* 0: the options' */
	uint32_t max_redirects;                 /* 0: none are followed */
	int body_secret; /* a redirect that takes it elsewhere isn't followed */
	/* A stream: what comes of a 2xx answer's body is handed on at the end of
	 * each turn, with the call's arg, and not kept; neither body_limit nor
	 * timeout_ms hold then, the caller knows how long silence is. NULL: the
	 * body is kept whole. */
	http_piece_fn *piece;
};

/* Microseconds since the call began, of the last hop; 0 where not reached. */
struct http_timing {
	int64_t dns, connect, tls, first_byte, total;
};

struct http_response {
	enum http_outcome outcome;
	int status; /* 0 when none came */
	/* Nothing for an answer below 400, else why: code "HTTP503", "ECONNREFUSED",
	 * "ETIMEDOUT", "DNS", "TLS", "SSRF", ...; the fault says whether a retry
	 * makes sense by itself. The text is a sentence for people. */
	struct error error;
	const struct http_header *headers; /* names in lower case */
	uint32_t n_headers;
	struct str body;     /* decoded, at most body_cap bytes */
	uint64_t body_bytes; /* as received and decoded */
	int truncated;       /* body holds less than body_bytes */
	struct http_timing timing;
	int64_t sent_us; /* time_mono_us() when the first request went out; 0 */
	int http_version; /* 10, 11, 20; 0 when none */
	uint32_t redirects;
	char ip[48]; /* of the last peer; "" when none */
};

typedef void http_done_fn(void *arg, const struct http_response *res);

struct http *http_new(
    struct loop *loop, const struct http_options *options, struct error *err);
struct http *http_free(struct http *http); /* cancels what is in flight */

/* NULL with *err (FAULT_INPUT, code "REQUEST") when the request can't be sent;
 * then fn is never called. */
struct http_call *http_call_start(struct http *http,
    const struct http_request *req, http_done_fn *fn, void *arg,
    struct error *err);
struct http_call *http_call_cancel(struct http_call *call); /* NULL */

/* Calls that have not come to their done function. */
uint32_t http_in_flight(const struct http *http);
/* Start no more calls; fn once, at the end of a turn, when none is left. */
void http_drain(struct http *http, loop_fn *fn, void *arg);

/* The value of a kept header (name in lower case); {NULL, 0} when absent. */
struct str http_response_header(
    const struct http_response *res, const char *name);
/* How a retry policy sees it; Retry-After dates are measured from now_ms. */
struct retry_try http_retry_try(const struct http_response *res,
    uint32_t attempt, int64_t now_ms, uint64_t random);
const char *http_outcome_name(enum http_outcome outcome); /* "answered", ... */

/* "POST https://api.example.com/x?key= answered 503 in 41 ms". Userinfo,
 * fragment and the values of the query are left out. */
char *http_summary(struct arena *a, const struct http_request *req,
    const struct http_response *res);
/* The same for a URL alone, for log lines. */
char *http_url_redacted(struct arena *a, struct str url);
