#pragma once
/*
 * An HTTP/1.1 server on the loop. libwebsockets carries the sockets (its
 * header stays in server*.c); heads are read by http1 and not by its own
 * reader, for the reasons in docs/decisions/0005-http-reader.md.
 *
 * A request goes through its route's functions:
 *     begin   the head is there, the body not yet read. It ends, now or later,
 *             in request_read(), which says how much body is welcome, or in a
 *             reply. A route without begin reads up to its body_max.
 *     handle  all of it is there. It ends, now or later, in one reply.
 * Until the reply the request belongs to whoever was called; with the reply,
 * or with a call of gone() when the client left before, it is dead. Requests
 * of one connection are served one after the other.
 *
 * What a client can take is bounded: connections, bytes of a head, bytes of
 * bodies in all, and the time for each of them.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/arena.h"
#include "core/error.h"
#include "core/loop.h"
#include "realtime/server/cors.h"
#include "realtime/wire/http1.h"

struct server;
struct stream;

struct request {
	struct http1_head head;
	struct str params[4]; /* of the pattern's {names}, as they were sent */
	struct str body;
	void (*gone)(struct request *req); /* set by the handler, or NULL */
	void *owner;                       /* the handler's */
	struct conn *conn;                 /* the server's */
	const struct route *route;
	int64_t began_us; /* when its head was there */
};

typedef void request_fn(void *arg, struct request *req);

struct route {
	const char *method;  /* a route for GET answers HEAD, too */
	const char *pattern; /* "/hooks/{project}/{endpoint}" */
	size_t body_max;
	request_fn *begin; /* NULL: request_read(req, body_max) */
	request_fn *handle;
	void *arg;
};

/*
 * What a module answers: size_t x_routes(struct x *x, struct route *out) fills
 * in up to MODULE_ROUTES and says how many. gateway.c collects them.
 */
enum { MODULE_ROUTES = 8 };

struct server_options {
	const char *host; /* NULL: 127.0.0.1 */
	int port;         /* 0: any that is free */
	const struct route *routes;
	size_t n_routes;
	uint32_t connections; /* detached ones too; 0: 4,096; more wait in the
				 backlog */
	size_t bodies_max;    /* bytes of bodies in memory; 0: 64 MiB */
	int64_t head_ms;      /* for a whole head; 0: 10 s */
	int64_t body_ms;      /* for a body, and 1 s each 16 KiB; 0: 10 s */
	int64_t idle_ms;      /* between two requests; 0: 65 s */
	const struct cors *cors; /* NULL: none */
	/* told of every answer; or NULL */
	void (*answered)(void *arg, const struct request *req, int status);
	void *arg;
};

/* FAULT_CONFIG when the address can't be listened on; the text names it. */
struct server *server_new(
    struct loop *loop, const struct server_options *options, struct error *err);
/* Drops every connection. Not from within a callback: it runs the loop. */
struct server *server_free(struct server *s); /* NULL */
int server_port(const struct server *s);
uint32_t server_connections(const struct server *s);

/* Accept no more; answer what is in flight, then close; call fn when all is
 * closed. Streams are their owners' to end. */
void server_drain(struct server *s, loop_fn *fn, void *arg);

struct reply {
	int status;
	const char *type;    /* NULL: application/json */
	const char *headers; /* further lines, each with CR LF; or NULL */
	struct str body;
};

/* In begin: go on, if the body has at most `max` bytes; else 413. */
void request_read(struct request *req, size_t max);
void request_reply(struct request *req, const struct reply *reply);

/*
 * An error as RFC 9457 has it: {"type": "urn:meshhook:problem:<kind>", "title",
 * "status", "detail", "instance": the path}. headers as in struct reply.
 */
struct problem {
	int status;
	const char *kind;   /* "signature"; NULL: about:blank */
	const char *detail; /* for people; NULL: none */
	const char *headers;
};
void request_problem(struct request *req, const struct problem *p);

/*
 * A reply without an end that was known when it began: events. Its body ends
 * with the connection. Nothing of it is kept here but what was handed to the
 * kernel, whose buffer is small (STREAM_KERNEL_BYTES): what stream_send didn't
 * take is the owner's to keep or to drop, so that a slow reader is seen at
 * once. What the client still sends is dropped. A peer that acknowledges
 * nothing for STREAM_SILENT_MS is gone; send something now and then, or an
 * idle one is never noticed.
 */
enum {
	STREAM_KERNEL_BYTES = 16384,
	STREAM_SILENT_MS = 30000,
};

struct stream_ops {
	/* there is room again; follows a stream_send that took less than all */
	void (*writable)(void *arg);
	/* the client left; the stream is dead. Never within a call of ours */
	void (*gone)(void *arg);
};

/* The head (its body is not used), then the stream; the request is dead with
 * it, as with a reply, and so is all that points into it. */
struct stream *request_stream(struct request *req, const struct reply *head,
    const struct stream_ops *ops, void *arg);
/* How many bytes were taken, 0 after a failure: then gone() follows. */
size_t stream_send(struct stream *s, const struct iovec *parts, int n);
/* The end, behind all that was taken. The stream is dead; gone() won't come. */
void stream_end(struct stream *s);

/*
 * Take the connection out of the server's hands: its socket, which nothing was
 * answered on, is the caller's; the request is dead, and what the client sent
 * behind its head is lost. -1 when there is no descriptor left for that; the
 * request then lives. It counts as a connection until its owner says that it is
 * closed.
 */
int request_detach(struct request *req);
void server_detached_closed(struct server *s);
