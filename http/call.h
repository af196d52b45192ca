#pragma once
/*
 * Private to http/: a call and the table of sockets. The state of a call is
 * the list that it is in: running, done (its function is due), or idle.
 *
 * client.c   the multi handle on the loop, starting, ending, delivering
 * request.c  what may be sent, and one hop of it as options of an easy handle
 * mail.c     a mail in place of a request
 * response.c what libcurl hands back, and what its result means
 */
#include <curl/curl.h>

#include "core/list.h"
#include "http/client.h"

enum {
	HEAD_LIMIT = 64 * 1024, /* bytes of response headers of one hop */
	KEPT_HEADERS = 64,
	IDLE_HANDLES = 64,
};

struct http_sock;

struct http {
	struct loop *loop;
	CURLM *multi;
	struct loop_timer *timer;
	struct loop_defer *deliver;
	struct http_sock **socks; /* by descriptor */
	size_t n_socks;
	struct list running, done;
	struct list streams; /* calls with a piece to hand on */
	uint32_t n_in_flight;
	CURL *idle[IDLE_HANDLES]; /* easy handles for reuse */
	uint32_t n_idle;
	struct http_options options;
	struct arena strings; /* of the options */
	int draining;
	loop_fn *drained; /* NULL: nobody waits */
	void *drained_arg;
};

struct http_call {
	struct list link;
	struct list stream; /* in http.streams */
	struct http *http;
	http_done_fn *fn;
	void *arg;
	CURL *easy;
	struct curl_slist *slist; /* of the hop */
	struct arena arena;
	char *url, *host, *origin; /* of the hop; origin: scheme://host:port */
	struct http_request req; /* deep copy; method and body as of the hop */
	int64_t began_us, hop_us;
	struct error refused; /* by the guard or a limit; code "" if not */
	struct http_response res;
	char *body; /* res.body, growing */
	size_t body_room;
	size_t head_bytes;
	size_t sent; /* of a mail's body */
	struct http_header headers[KEPT_HEADERS];
	int delivering, cancelled;
	char why[CURL_ERROR_SIZE];
};

/* client.c: a call that isn't begun yet, with what holds for every hop set. */
struct http_call *http_call_new(
    struct http *http, http_done_fn *fn, void *arg, struct error *err);
void http_call_begin(struct http_call *call);
struct http_call *http_call_free(struct http_call *call); /* NULL */

/* request.c */
int request_check(const struct http_request *req,
    const struct http_options *options, struct error *err);
void request_copy(struct http_call *call, const struct http_request *req);
/* Take the URL apart. FAULT_INPUT when it is not one we call. */
int hop_locate(struct http_call *call, const char *url, struct error *err);
/* Set the easy handle's options for the hop at hand. */
int hop_prepare(struct http_call *call, struct error *err);
/* 0 follow_up is prepared; 1 the answer is final; -1 it must not be followed. */
enum { HOP_OUT_FINAL = 1 };
int hop_follow(struct http_call *call, struct error *err);

/* response.c */
void response_reset(struct http_call *call);
size_t response_header(char *p, size_t size, size_t n, void *arg);
size_t response_body(char *p, size_t size, size_t n, void *arg);
int response_sending(
    void *arg, char *peer, char *local, int peer_port, int local_port);
/* Fill call->res from how the last hop ended. */
void response_finish(struct http_call *call, CURLcode code);
void response_refuse(
    struct http_call *call, enum http_outcome outcome, const struct error *err);
