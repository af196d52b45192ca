#pragma once
/*
 * The server's end of WebSockets (RFC 6455). Their first request comes over a
 * connection of `server` and was read by http1; libwebsockets then gets the
 * socket and a head that is written here, with what a WebSocket needs and no
 * more: no extension, no subprotocol, no other upgrade (see
 * docs/decisions/0005-http-reader.md).
 *
 * A message arrives whole, fragments put together. One over message_max, or a
 * reader who leaves more than backlog_max unread, is cut off. closed() is
 * called once for every websocket that was accepted, from the loop, never
 * within a call of ours; it is dead then, and silent after websocket_close()
 * or websocket_kill().
 */
#include "realtime/server/server.h"

struct websockets;
struct websocket;

struct websocket_ops {
	void (*message)(void *arg, struct str bytes, int binary);
	void (*closed)(void *arg);
};

struct websockets_options {
	size_t message_max, backlog_max; /* bytes */
};

/* The server outlives its websockets, but not this. */
struct websockets *websockets_new(struct server *server,
    const struct websockets_options *options, struct error *err);
struct websockets *websockets_free(struct websockets *all); /* NULL */

/* Does the request ask for a WebSocket? -1 and the problem to answer. */
int websocket_asked(const struct request *req, struct problem *why);
/* Agree. The request is dead; NULL when it was answered with a problem. */
struct websocket *websocket_accept(struct websockets *all, struct request *req,
    const struct websocket_ops *ops, void *arg);

void websocket_send(struct websocket *ws, struct str bytes, int binary);
/* Read no more from it, or go on. What was read already still comes. */
void websocket_pause(struct websocket *ws, int pause);
/* Close with a code (RFC 6455, 7.4) behind what was sent. */
void websocket_close(struct websocket *ws, int code);
/* Close without a word. */
void websocket_kill(struct websocket *ws);
/* For how long nothing came from its peer, pings included. */
int64_t websocket_silent_ms(const struct websocket *ws);
