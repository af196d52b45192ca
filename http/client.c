#include "http/client.h"
#include "core/mem.h"
#include "core/testpoint.h"
#include "core/time.h"
#include "http/call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * A connection that we opened keeps its watch while it is idle between two
 * calls: taking it off and on again would cost system calls each time. It is
 * stopped when libcurl closes the socket. Other descriptors (the resolver's
 * wake-up pipe) libcurl closes itself after asking to have them removed.
 */
struct http_sock {
	struct http *http;
	struct loop_io *io;
	curl_socket_t fd;
	int opened; /* by us */
};

static struct http_sock *
sock_get(struct http *http, curl_socket_t fd)
{
	size_t n = (size_t)fd + 1;

	if (n > http->n_socks) {
		size_t room = n + n / 2 + 16;

		http->socks =
		    xrealloc(http->socks, room * sizeof(*http->socks));
		memset(http->socks + http->n_socks, 0,
		    (room - http->n_socks) * sizeof(*http->socks));
		http->n_socks = room;
	}
	if (http->socks[fd] == NULL) {
		struct http_sock *sock = xcalloc(1, sizeof(*sock));

		sock->http = http;
		sock->fd = fd;
		http->socks[fd] = sock;
	}
	return http->socks[fd];
}

static void
sock_drop(struct http *http, curl_socket_t fd)
{
	struct http_sock *sock;

	if (fd < 0 || (size_t)fd >= http->n_socks)
		return;
	sock = http->socks[fd];
	http->socks[fd] = NULL;
	if (sock != NULL)
		loop_io_stop(sock->io);
	free(sock);
}

/* Take the finished call out of libcurl's hands; its handle may be reused. */
static void
call_detach(struct http_call *call)
{
	struct http *http = call->http;

	if (call->easy == NULL)
		return;
	curl_multi_remove_handle(http->multi, call->easy);
	if (http->n_idle < IDLE_HANDLES) {
		curl_easy_reset(call->easy);
		http->idle[http->n_idle++] = call->easy;
	} else {
		curl_easy_cleanup(call->easy);
	}
	call->easy = NULL;
	curl_slist_free_all(call->slist);
	call->slist = NULL;
}

struct http_call *
http_call_free(struct http_call *call)
{
	list_remove(&call->link);
	list_remove(&call->stream);
	call_detach(call);
	free(call->body);
	arena_wipe(&call->arena); /* headers and bodies may hold secrets */
	arena_deinit(&call->arena);
	free(call);
	return NULL;
}

/* 0 the redirect is being followed; 1 it is none; -1 it must not be. */
static int
call_follow(struct http_call *call, struct error *err)
{
	CURLM *multi = call->http->multi;
	int r = hop_follow(call, err);

	if (r != 0)
		return r;
	curl_multi_remove_handle(multi, call->easy);
	if (hop_prepare(call, err) < 0)
		return -1;
	curl_multi_add_handle(multi, call->easy);
	return 0;
}

/* The hop is over: follow its redirect, or queue the call for its function. */
static void
call_ended(struct http_call *call, CURLcode code)
{
	struct http *http = call->http;
	struct error err = { 0 };
	int r = code == CURLE_OK ? call_follow(call, &err) : HOP_OUT_FINAL;

	if (r == 0)
		return;
	response_finish(call, code);
	if (r < 0)
		response_refuse(call,
		    err.fault == FAULT_RETRY ? HTTP_TIMEOUT : HTTP_REDIRECTS,
		    &err);
	call_detach(call);
	list_remove(&call->link);
	list_append(&http->done, &call->link);
	loop_defer_call(http->deliver);
}

static void
reap(struct http *http)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(http->multi, &left)) != NULL) {
		CURLcode code = msg->data.result; /* dies with the handle */
		struct http_call *call;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(
		    msg->easy_handle, CURLINFO_PRIVATE, (char **)&call);
		call_ended(call, code);
	}
}

static void
sock_ready(void *arg, int events)
{
	struct http_sock *sock = arg;
	struct http *http = sock->http;
	int mask = 0, running;

	if (events & LOOP_READ)
		mask |= CURL_CSELECT_IN;
	if (events & LOOP_WRITE)
		mask |= CURL_CSELECT_OUT;
	curl_multi_socket_action(http->multi, sock->fd, mask, &running);
	reap(http);
}

static void
timer_due(void *arg)
{
	struct http *http = arg;
	int running;

	curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	reap(http);
}

static int
set_timer(CURLM *multi, long ms, void *arg)
{
	struct http *http = arg;

	(void)multi;
	if (ms < 0)
		loop_timer_clear(http->timer);
	else
		loop_timer_set(http->timer, ms);
	return 0;
}

static int
watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
	struct http *http = arg;
	struct http_sock *sock;
	int events = 0;

	(void)easy;
	(void)unused;
	if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
		events |= LOOP_READ;
	if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
		events |= LOOP_WRITE;
	sock = sock_get(http, fd);
	if (what == CURL_POLL_REMOVE && !sock->opened)
		sock_drop(http, fd);
	else if (sock->io != NULL)
		loop_io_set(sock->io, events);
	else if (events != 0)
		sock->io =
		    loop_io_start(http->loop, fd, events, sock_ready, sock);
	return 0;
}

/* The guard's place: the address is resolved, nothing has been sent to it. */
static curl_socket_t
open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
	struct http_call *call = arg;
	struct http *http = call->http;
	curl_socket_t fd;

	(void)purpose;
	if (guard_check(
		http->options.guard, call->host, &to->addr, &call->refused) < 0)
		return CURL_SOCKET_BAD;
	fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
	if (fd < 0)
		return CURL_SOCKET_BAD;
	sock_get(http, fd)->opened = 1;
	return fd;
}

static int
close_socket(void *arg, curl_socket_t fd)
{
	sock_drop(arg, fd);
	return close(fd);
}

static void
deliver_piece(struct http_call *call)
{
	call->res.headers = call->headers;
	call->res.body.s = call->body;
	call->delivering = 1;
	call->req.piece(call->arg, &call->res);
	call->delivering = 0;
	call->res.body.n = 0;
	if (call->cancelled)
		http_call_cancel(call);
}

/* The functions die with their call, but may end and begin others. */
static void
deliver(void *arg)
{
	struct http *http = arg;
	struct list *l;
	loop_fn *drained;

	while ((l = list_pop(&http->streams)) != NULL)
		deliver_piece(list_entry(l, struct http_call, stream));
	while ((l = list_pop(&http->done)) != NULL) {
		struct http_call *call = list_entry(l, struct http_call, link);

		http->n_in_flight--;
		call->delivering = 1;
		call->fn(call->arg, &call->res);
		http_call_free(call);
	}
	drained = http->drained;
	if (http->n_in_flight > 0 || drained == NULL)
		return;
	http->drained = NULL;
	drained(http->drained_arg);
}

static const char *const common_headers[] = { "cache-control", "content-length",
	"date", "etag", "last-modified", "link", "location", "ratelimit-limit",
	"ratelimit-remaining", "ratelimit-reset", "server", "www-authenticate",
	"x-correlation-id", "x-ratelimit-limit", "x-ratelimit-remaining",
	"x-ratelimit-reset", "x-request-id", NULL };

static const char *const *
copy_names(struct arena *a, const char *const *names)
{
	const char **copy;
	size_t n = 0;

	while (names[n] != NULL)
		n++;
	copy = arena_array(a, n + 1, sizeof(*copy));
	for (size_t i = 0; i < n; i++)
		copy[i] = arena_strdup(a, names[i]);
	copy[n] = NULL;
	return copy;
}

static void
options_copy(struct http *http, const struct http_options *given)
{
	struct http_options *o = &http->options;
	struct arena *a = &http->strings;

	*o = *given;
	o->keep_headers = copy_names(a,
	    given->keep_headers != NULL ? given->keep_headers : common_headers);
	o->user_agent = arena_strdup(
	    a, given->user_agent != NULL ? given->user_agent : "meshhook");
	if (given->ca_file != NULL)
		o->ca_file = arena_strdup(a, given->ca_file);
	o->body_cap = o->body_cap > 0 ? o->body_cap : 256 << 10;
	o->body_limit = o->body_limit > 0 ? o->body_limit : 16 << 20;
	o->send_cap = o->send_cap > 0 ? o->send_cap : 16 << 20;
	o->timeout_ms = o->timeout_ms > 0 ? o->timeout_ms : 30000;
	o->connect_timeout_ms =
	    o->connect_timeout_ms > 0 ? o->connect_timeout_ms : 10000;
	o->max_kept = o->max_kept > 0 ? o->max_kept : 1024;
}

struct http *
http_new(
    struct loop *loop, const struct http_options *options, struct error *err)
{
	struct http *http;

	if (options->ca_file != NULL && access(options->ca_file, R_OK) < 0) {
		fail(err, FAULT_CONFIG, "CONFIG", "CA file %s: %s",
		    options->ca_file, strerror(errno));
		return NULL;
	}
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		fail(err, FAULT_RETRY, "CURL", "libcurl does not start");
		return NULL;
	}
	http = xcalloc(1, sizeof(*http));
	http->loop = loop;
	arena_init(&http->strings);
	options_copy(http, options);
	list_init(&http->running);
	list_init(&http->done);
	list_init(&http->streams);
	http->timer = loop_timer_new(loop, timer_due, http);
	http->deliver = loop_defer_new(loop, deliver, http);
	http->multi = curl_multi_init();
	if (http->multi == NULL) {
		fail(err, FAULT_RETRY, "CURL", "libcurl does not start");
		return http_free(http);
	}
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, watch);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	curl_multi_setopt(
	    http->multi, CURLMOPT_MAXCONNECTS, (long)http->options.max_kept);
	return http;
}

static void
free_calls(struct list *calls)
{
	struct list *l;

	while ((l = list_pop(calls)) != NULL)
		http_call_free(list_entry(l, struct http_call, link));
}

struct http *
http_free(struct http *http)
{
	if (http == NULL)
		return NULL;
	free_calls(&http->running);
	free_calls(&http->done);
	while (http->n_idle > 0)
		curl_easy_cleanup(http->idle[--http->n_idle]);
	curl_multi_cleanup(http->multi); /* closes the kept connections */
	for (size_t fd = 0; fd < http->n_socks; fd++)
		sock_drop(http, (curl_socket_t)fd);
	free(http->socks);
	http->timer = loop_timer_free(http->timer);
	http->deliver = loop_defer_free(http->deliver);
	arena_deinit(&http->strings);
	free(http);
	curl_global_cleanup();
	return NULL;
}

/* What holds for every hop; hop_prepare sets the rest. */
static void
easy_setup(struct http_call *call)
{
	struct http *http = call->http;
	CURL *easy = call->easy;

	curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->why);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	/* Removing a call must not wait for its resolver thread. */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
	curl_easy_setopt(easy, CURLOPT_USERAGENT, http->options.user_agent);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	if (http->options.ca_file != NULL) {
		curl_easy_setopt(easy, CURLOPT_CAINFO, http->options.ca_file);
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	}
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, http);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, response_sending);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, call);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, response_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, response_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
}

struct http_call *
http_call_new(struct http *http, http_done_fn *fn, void *arg, struct error *err)
{
	struct http_call *call;

	if (http->draining) {
		fail(err, FAULT_RETRY, "DRAINING", "HTTP client is stopping");
		return NULL;
	}
	call = xcalloc(1, sizeof(*call));
	list_init(&call->link);
	list_init(&call->stream);
	call->http = http;
	call->fn = fn;
	call->arg = arg;
	arena_init(&call->arena);
	call->began_us = call->hop_us = time_mono_us();
	call->easy =
	    http->n_idle > 0 ? http->idle[--http->n_idle] : curl_easy_init();
	if (call->easy == NULL || fault_hit()) {
		fail(err, FAULT_RETRY, "CURL", "libcurl gives no handle");
		return http_call_free(call);
	}
	easy_setup(call);
	return call;
}

void
http_call_begin(struct http_call *call)
{
	struct http *http = call->http;

	list_append(&http->running, &call->link);
	http->n_in_flight++;
	curl_multi_add_handle(http->multi, call->easy);
}

struct http_call *
http_call_start(struct http *http, const struct http_request *req,
    http_done_fn *fn, void *arg, struct error *err)
{
	struct http_call *call;

	if (request_check(req, &http->options, err) < 0)
		return NULL;
	call = http_call_new(http, fn, arg, err);
	if (call == NULL)
		return NULL;
	request_copy(call, req);
	if (hop_locate(call, call->req.url.s, err) < 0 ||
	    hop_prepare(call, err) < 0)
		return http_call_free(call);
	http_call_begin(call);
	return call;
}

struct http_call *
http_call_cancel(struct http_call *call)
{
	struct http *http;

	if (call == NULL)
		return NULL;
	if (call->delivering) {
		call->cancelled = 1; /* when its function returns */
		return NULL;
	}
	http = call->http;
	http->n_in_flight--;
	if (http->draining)
		loop_defer_call(http->deliver);
	return http_call_free(call);
}

uint32_t
http_in_flight(const struct http *http)
{
	return http->n_in_flight;
}

void
http_drain(struct http *http, loop_fn *fn, void *arg)
{
	http->draining = 1;
	http->drained = fn;
	http->drained_arg = arg;
	loop_defer_call(http->deliver);
}
