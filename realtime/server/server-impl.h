#pragma once
/* What server.c (the whole) and server-conn.c (one connection) share. */
#include <libwebsockets.h>

#include "core/buf.h"
#include "core/list.h"
#include "realtime/server/server.h"

struct refusals {
	int status;
	uint32_t count; /* since the last line */
	int64_t logged_ms;
};

struct server {
	struct loop *loop;
	struct lws_context *lws;
	struct lws_vhost *vhost;
	struct server_options options;
	int fd, port;
	struct loop_io *accepting; /* NULL: not listening any more */
	struct loop_timer *sweep;  /* looks for what took too long */
	struct loop_timer *retry;  /* of accept, after fds ran out */
	struct list conns;
	uint32_t n_conns;
	uint32_t n_detached; /* and not yet closed, by those who have them */
	size_t bodies;       /* bytes that are reserved for bodies */
	struct buf out;      /* a reply, LWS_PRE bytes into it */
	struct refusals refusals[24];
	int64_t date_s;
	char date[40]; /* the Date header's value of date_s */
	int draining;
	loop_fn *drained;
	void *drained_arg;
};

enum conn_state {
	CONN_IDLE,   /* between requests */
	CONN_HEAD,   /* part of a head is there */
	CONN_BEGIN,  /* the route's begin decides */
	CONN_BODY,   /* the body is coming */
	CONN_HANDLE, /* the handler has it */
	CONN_FLUSH,  /* answered, and the kernel has not taken all of it yet */
	CONN_STREAM, /* the reply goes on until its owner ends it */
	CONN_LINGER, /* answered for the last time: what comes is dropped */
	CONN_DEAD,   /* to be closed by libwebsockets */
};

/* Of a connection in CONN_STREAM. */
struct stream {
	const struct stream_ops *ops; /* NULL: its owner let go of it */
	void *arg;
	int blocked; /* its head, or a send, was not taken whole */
};

struct conn {
	struct list link; /* server->conns */
	struct server *server;
	struct lws *wsi;
	enum conn_state state;
	int64_t deadline_ms; /* 0: none */
	size_t scanned;      /* of `in`, by http1_parse */
	size_t reserved;     /* of server->bodies */
	struct buf in;       /* the request at hand, and nothing behind it */
	struct buf ahead;    /* what came behind it */
	struct request *req; /* from its head to its reply */
	struct stream stream;
	int feeding; /* within conn_feed */
	int close_after, paused, in_callback;
};

struct conn *conn_new(struct server *s, struct lws *wsi);
struct conn *conn_free(struct conn *c); /* NULL */
void conn_rx(struct conn *c, struct str bytes);
void conn_writable(struct conn *c);
void conn_timeout(struct conn *c);
void conn_close(struct conn *c); /* abruptly */
/* Answered for the last time: close behind what is on its way. */
void conn_linger(struct conn *c);
/* The head of a reply into server->out, LWS_PRE bytes into it. */
void conn_head(struct conn *c, const struct reply *r, int streams);
void stream_writable(struct conn *c);
/* Nothing is in flight on it? */
int conn_idle(const struct conn *c);

/* A line for the first of a kind, then one each 10 s with their number. */
void server_refused(struct server *s, int status, const char *detail);
/* The route of a request; NULL and the problem that there is none. */
const struct route *route_find(const struct server *s, struct request *req,
    struct problem *none, char allow[128]);
