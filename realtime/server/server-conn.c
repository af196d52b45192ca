/*
 * One connection: bytes in, requests through their routes, replies out.
 *
 * `in` holds the request at hand and nothing else, so that its slices stay
 * where they are until the reply; what a client sends beyond it waits in
 * `ahead`, and beyond AHEAD_MAX in the client's kernel. Freeing is
 * libwebsockets' to begin: conn_close() only marks, conn_free() follows.
 */
#include "core/json.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/time.h"
#include "realtime/server/server-impl.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
	AHEAD_MAX = 65536,
	KEEP_BYTES = 4096, /* of `in` between requests */
	LINGER_MS = 2000,
	BODY_BYTES_PER_MS = 16,
};

struct conn *
conn_new(struct server *s, struct lws *wsi)
{
	struct conn *c = xcalloc(1, sizeof(*c));

	c->server = s;
	c->wsi = wsi;
	c->deadline_ms = loop_now_ms(s->loop) + s->options.head_ms;
	list_append(&s->conns, &c->link);
	s->n_conns++;
	return c;
}

struct conn *
conn_free(struct conn *c)
{
	if (c == NULL)
		return NULL;
	if (c->req != NULL && c->req->gone != NULL)
		c->req->gone(c->req);
	if (c->stream.ops != NULL)
		c->stream.ops->gone(c->stream.arg);
	free(c->req);
	c->server->bodies -= c->reserved;
	c->server->n_conns--;
	list_remove(&c->link);
	buf_deinit(&c->in);
	buf_deinit(&c->ahead);
	free(c);
	return NULL;
}

/* There is room in `ahead` again. */
static void
unpause(struct conn *c)
{
	if (c->paused)
		lws_rx_flow_control(c->wsi, 1);
	c->paused = 0;
}

void
conn_close(struct conn *c)
{
	if (c->state == CONN_DEAD)
		return;
	c->state = CONN_DEAD;
	c->deadline_ms = 0;
	if (c->in_callback)
		return; /* its return value says so */
	/* libwebsockets' timers don't run unless something happens on a
	 * socket: make it happen, the read of an end */
	unpause(c);
	shutdown(lws_get_socket_fd(c->wsi), SHUT_RDWR);
}

int
conn_idle(const struct conn *c)
{
	return c->state == CONN_IDLE;
}

static void
deadline(struct conn *c, int64_t after_ms)
{
	c->deadline_ms =
	    after_ms > 0 ? loop_now_ms(c->server->loop) + after_ms : 0;
}

/* Answered and to be closed: our end first, so that a client still sending
 * reads the answer and not a reset (RFC 9112, 9.6). */
void
conn_linger(struct conn *c)
{
	c->state = CONN_LINGER;
	deadline(c, LINGER_MS);
	if (lws_partial_buffered(c->wsi))
		lws_callback_on_writable(c->wsi);
	else
		shutdown(lws_get_socket_fd(c->wsi), SHUT_WR);
}

static const char *
date_now(struct server *s)
{
	time_t now = (time_t)(time_wall_ms() / 1000);
	struct tm tm;

	if (now != s->date_s) {
		gmtime_r(&now, &tm);
		strftime(
		    s->date, sizeof(s->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
		s->date_s = now;
	}
	return s->date;
}

void
conn_head(struct conn *c, const struct reply *r, int streams)
{
	struct buf *out = &c->server->out;

	buf_clear(out);
	buf_reserve(out, LWS_PRE + 512 + r->body.n);
	out->len = LWS_PRE;
	buf_addf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\n", r->status,
	    http1_phrase(r->status), date_now(c->server));
	if (r->status >= 200 && r->status != 204)
		buf_addf(out, "Content-Type: %s\r\n",
		    r->type != NULL ? r->type : "application/json");
	if (r->status >= 200 && r->status != 204 && !streams)
		buf_addf(out, "Content-Length: %zu\r\n", r->body.n);
	if (r->headers != NULL)
		buf_adds(out, r->headers);
	if (c->server->options.cors != NULL && c->req != NULL &&
	    c->state != CONN_HEAD)
		cors_headers(c->server->options.cors, &c->req->head, out);
	if (c->close_after)
		buf_adds(out, "Connection: close\r\n");
	buf_adds(out, "\r\n");
}

static void
send_reply(struct conn *c, const struct reply *r, int no_body)
{
	struct buf *out = &c->server->out;
	size_t n;

	conn_head(c, r, 0);
	if (!no_body)
		buf_addstr(out, r->body);
	n = out->len - LWS_PRE;
	if (lws_write(c->wsi, (unsigned char *)out->bytes + LWS_PRE, n,
		LWS_WRITE_RAW) < 0)
		conn_close(c);
}

static void conn_feed(struct conn *c, struct str bytes);

/* On to the next request, unless the answer to this one is still with us: so a
 * client that asks and doesn't read holds one answer and no more. */
static void
request_next(struct conn *c)
{
	struct buf ahead = c->ahead;

	deadline(c, c->server->options.idle_ms);
	if (lws_partial_buffered(c->wsi)) {
		c->state = CONN_FLUSH;
		lws_callback_on_writable(c->wsi);
		return;
	}
	c->state = CONN_IDLE;
	if (c->feeding || ahead.len == 0)
		return;
	buf_init(&c->ahead);
	unpause(c);
	conn_feed(c, buf_str(&ahead));
	buf_deinit(&ahead);
}

void
conn_writable(struct conn *c)
{
	if (c->state == CONN_LINGER)
		conn_linger(c);
	else if (c->state == CONN_STREAM)
		stream_writable(c);
	else if (c->state == CONN_FLUSH && c->server->draining)
		conn_linger(c);
	else if (c->state == CONN_FLUSH)
		request_next(c);
}

/* The request is answered: on to the next, or to the end. */
static void
request_end(struct conn *c)
{
	free(c->req);
	c->req = NULL;
	c->server->bodies -= c->reserved;
	c->reserved = 0;
	c->scanned = 0;
	if (c->in.cap > KEEP_BYTES)
		buf_deinit(&c->in);
	else
		buf_clear(&c->in);
	if (c->state == CONN_DEAD)
		return;
	if (c->close_after) {
		conn_linger(c);
		return;
	}
	request_next(c);
}

static void
access_line(const struct request *req, int status)
{
	const struct server_options *o = &req->conn->server->options;
	char method[16], path[128];

	if (o->answered != NULL)
		o->answered(o->arg, req, status);
	snprintf(method, sizeof(method), "%.*s", STR_FMT(req->head.method));
	snprintf(path, sizeof(path), "%.*s", STR_FMT(req->head.path));
	log_debug("http.request", S_("method", method), S_("path", path),
	    I_("status", status));
}

void
request_reply(struct request *req, const struct reply *reply)
{
	struct conn *c = req->conn;

	/* a body that is still coming is not worth waiting for */
	if (c->state == CONN_BEGIN && req->head.body_bytes > 0)
		c->close_after = 1;
	if (!req->head.keep_alive || c->server->draining)
		c->close_after = 1;
	access_line(req, reply->status);
	if (c->state != CONN_DEAD)
		send_reply(c, reply, str_is(req->head.method, "HEAD"));
	request_end(c);
}

/* The body of a problem, in the arena. */
static struct str
problem_text(struct arena *a, const struct problem *p, struct str instance)
{
	struct json *v = json_object(a);
	const char *type = "about:blank";

	if (p->kind != NULL)
		type = arena_printf(a, "urn:meshhook:problem:%s", p->kind);
	json_set(a, v, "type", json_cstring(a, type));
	json_set(a, v, "title", json_cstring(a, http1_phrase(p->status)));
	json_set(a, v, "status", json_int(a, p->status));
	if (p->detail != NULL)
		json_set(a, v, "detail", json_cstring(a, p->detail));
	if (instance.n > 0)
		json_set(a, v, "instance", json_string(a, instance));
	return json_text(a, v);
}

void
request_problem(struct request *req, const struct problem *p)
{
	struct reply reply = { .status = p->status,
		.headers = p->headers,
		.type = "application/problem+json" };
	struct arena a;

	arena_init(&a);
	if (p->status >= 400) {
		server_refused(req->conn->server, p->status, p->detail);
		reply.body = problem_text(&a, p, req->head.path);
	}
	request_reply(req, &reply);
	arena_deinit(&a);
}

/* A descriptor of its own stays, whoever closes the other; a raw socket of
 * libwebsockets is closed without being shut down. */
int
request_detach(struct request *req)
{
	struct conn *c = req->conn;
	int fd = fcntl(lws_get_socket_fd(c->wsi), F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	access_line(req, 101);
	c->server->n_detached++;
	c->state = CONN_DEAD;
	request_end(c);
	lws_rx_flow_control(c->wsi, 0); /* others read what comes now */
	deadline(c, 1);                 /* if no callback of it says so */
	return fd;
}

void
server_detached_closed(struct server *s)
{
	s->n_detached--;
}

/* What is no request at all, or took too long to become one. */
static void
conn_refuse(struct conn *c, int status, const char *detail)
{
	struct problem p = { .status = status, .detail = detail };
	struct reply reply = { .status = status,
		.type = "application/problem+json" };
	struct arena a;

	if (c->req != NULL && c->req->gone != NULL)
		c->req->gone(c->req);
	arena_init(&a);
	server_refused(c->server, status, detail);
	reply.body = problem_text(&a, &p, (struct str){ 0 });
	c->close_after = 1;
	send_reply(c, &reply, 0);
	request_end(c);
	arena_deinit(&a);
}

void
conn_timeout(struct conn *c)
{
	if (c->state == CONN_HEAD)
		conn_refuse(c, 408, "the head took too long");
	else if (c->state == CONN_BODY)
		conn_refuse(c, 408, "the body took too long");
	else if (c->state == CONN_DEAD) /* detached */
		lws_set_timeout(
		    c->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
	else
		conn_close(c);
}

static void
handle(struct conn *c)
{
	struct request *req = c->req;

	c->state = CONN_HANDLE;
	deadline(c, 0);
	req->body = (struct str){ c->in.bytes + req->head.bytes,
		(size_t)req->head.body_bytes };
	req->route->handle(req->route->arg, req);
}

/* Room for the whole request. When that moves it, its slices are read anew:
 * what was a head once is one again. */
static void
reserve(struct conn *c, size_t more)
{
	const char *before = c->in.bytes;
	struct http1_refusal why;
	struct problem none;
	char allow[128];
	size_t scanned = 0;

	buf_reserve(&c->in, more);
	if (c->in.bytes == before)
		return;
	http1_parse(buf_str(&c->in), &scanned, &c->req->head, &why);
	route_find(c->server, c->req, &none, allow);
}

static void
send_continue(struct conn *c)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
	unsigned char out[LWS_PRE + sizeof(text)];

	memcpy(out + LWS_PRE, text, sizeof(text) - 1);
	if (lws_write(c->wsi, out + LWS_PRE, sizeof(text) - 1, LWS_WRITE_RAW) <
	    0)
		conn_close(c);
}

void
request_read(struct request *req, size_t max)
{
	struct conn *c = req->conn;
	struct server *s = c->server;
	size_t n = (size_t)req->head.body_bytes;
	struct buf ahead = c->ahead;

	if (n > max) {
		char text[80];

		snprintf(
		    text, sizeof(text), "the body has at most %zu bytes", max);
		request_problem(
		    req, &(struct problem){ .status = 413, .detail = text });
		return;
	}
	if (s->bodies + n > s->options.bodies_max) {
		request_problem(req,
		    &(struct problem){ .status = 503,
			.detail = "too many large requests at once",
			.headers = "Retry-After: 1\r\n" });
		return;
	}
	s->bodies += n;
	c->reserved = n;
	reserve(c, n);
	c->state = CONN_BODY;
	deadline(c, s->options.body_ms + (int64_t)n / BODY_BYTES_PER_MS);
	if (n > 0 && req->head.expects_continue && ahead.len == 0)
		send_continue(c);
	if (c->feeding)
		return;
	buf_init(&c->ahead);
	unpause(c);
	conn_feed(c, buf_str(&ahead));
	buf_deinit(&ahead);
}

static void
begin(struct conn *c)
{
	struct request *req = c->req;
	struct problem none;
	char allow[128];

	req->conn = c;
	req->gone = NULL;
	req->began_us = time_mono_us();
	c->state = CONN_BEGIN;
	deadline(c, 0);
	req->route = route_find(c->server, req, &none, allow);
	if (req->route == NULL)
		request_problem(req, &none);
	else if (req->route->begin != NULL)
		req->route->begin(req->route->arg, req);
	else
		request_read(req, req->route->body_max);
}

/* More of a head. What is behind it is left in *bytes. */
static void
take_head(struct conn *c, struct str *bytes)
{
	struct http1_refusal why;
	size_t extra;
	int r;

	if (c->state == CONN_IDLE) {
		/* 9112, 2.2: an empty line before a request is nothing */
		while (bytes->n > 0 && (*bytes->s == '\r' || *bytes->s == '\n'))
			*bytes = (struct str){ bytes->s + 1, bytes->n - 1 };
		if (bytes->n == 0)
			return;
		c->state = CONN_HEAD;
		deadline(c, c->server->options.head_ms);
	}
	if (c->req == NULL)
		c->req = xmalloc(sizeof(*c->req));
	c->req->gone = NULL;
	buf_addstr(&c->in, *bytes);
	r = http1_parse(buf_str(&c->in), &c->scanned, &c->req->head, &why);
	extra = r == 0 ? c->in.len - c->req->head.bytes : 0;
	*bytes = (struct str){ bytes->s + bytes->n - extra, extra };
	c->in.len -= extra;
	if (r < 0)
		conn_refuse(c, why.status, why.reason);
	else if (r == 0)
		begin(c);
}

static void
take_body(struct conn *c, struct str *bytes)
{
	size_t whole = c->req->head.bytes + (size_t)c->req->head.body_bytes;
	size_t n = whole - c->in.len;

	if (n > bytes->n)
		n = bytes->n;
	buf_add(&c->in, bytes->s, n);
	*bytes = (struct str){ bytes->s + n, bytes->n - n };
	if (c->in.len == whole)
		handle(c);
}

/* Bytes in order. Requests that are answered at once follow each other here;
 * what can't be taken yet is kept in `ahead`, which is empty before. */
static void
conn_feed(struct conn *c, struct str bytes)
{
	c->feeding = 1;
	while (bytes.n > 0 || c->state == CONN_BODY) {
		enum conn_state before = c->state;
		size_t n = bytes.n;

		if (c->state == CONN_IDLE || c->state == CONN_HEAD)
			take_head(c, &bytes);
		else if (c->state == CONN_BODY)
			take_body(c, &bytes);
		else if (c->state >= CONN_STREAM)
			bytes.n = 0; /* nothing more is taken from it */
		if (c->state == before && bytes.n == n)
			break;
	}
	c->feeding = 0;
	if (bytes.n > 0)
		buf_addstr(&c->ahead, bytes);
}

void
conn_rx(struct conn *c, struct str bytes)
{
	if (c->ahead.len == 0) {
		conn_feed(c, bytes);
	} else if (c->state < CONN_STREAM) {
		buf_addstr(&c->ahead, bytes);
	}
	if (c->ahead.len > AHEAD_MAX && !c->paused && c->state != CONN_DEAD) {
		c->paused = 1;
		lws_rx_flow_control(c->wsi, 0);
	}
}
