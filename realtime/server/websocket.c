#include "realtime/server/websocket.h"
#include "core/mem.h"
#include "realtime/server/server-impl.h"

#include <ctype.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	CLOSE_ACK_MS = 2000, /* for the peer to answer our close */
	KEY_CHARS = 24,      /* of Sec-WebSocket-Key */
};

struct websockets {
	struct server *server;
	struct websockets_options options;
	struct lws_vhost *vhost;
	struct list all;            /* that libwebsockets has */
	struct list fresh;          /* and hasn't yet */
	struct websocket *adopting; /* is being handed over */
	struct loop_defer *adopt;   /* outside of its callbacks */
	struct loop_timer *closing; /* looks for closes without an answer */
};

struct frame {
	struct list link;
	int binary;
	size_t n;
	unsigned char bytes[];
};

struct websocket {
	struct list link; /* of all, or fresh */
	struct websockets *owner;
	const struct websocket_ops *ops;
	void *arg;
	struct lws *wsi; /* NULL while fresh */
	int fd;          /* libwebsockets' to close, once it has it */
	char key[KEY_CHARS + 1];
	struct buf in; /* the message at hand */
	struct list out;
	size_t backlog;   /* bytes in out */
	int code;         /* of the close that was asked for */
	int64_t since_ms; /* its time */
	int established, close_sent, dead;
};

static struct websocket *
websocket_free(struct websocket *ws)
{
	struct list *it;

	list_remove(&ws->link);
	while ((it = list_pop(&ws->out)) != NULL)
		free(list_entry(it, struct frame, link));
	buf_deinit(&ws->in);
	free(ws);
	return NULL;
}

static void
gone(struct websocket *ws)
{
	if (ws->owner->server != NULL)
		server_detached_closed(ws->owner->server);
	ws->ops->closed(ws->arg);
	websocket_free(ws);
}

/* A piece of a message. -1: cut it off. */
static int
take(struct websocket *ws, struct str piece)
{
	struct lws *wsi = ws->wsi;

	if (ws->dead || ws->code != 0)
		return ws->dead ? -1 : 0;
	if (ws->in.len + piece.n > ws->owner->options.message_max)
		return -1;
	buf_addstr(&ws->in, piece);
	if (lws_is_final_fragment(wsi) &&
	    lws_remaining_packet_payload(wsi) == 0) {
		struct buf message = ws->in;

		buf_init(&ws->in);
		ws->ops->message(
		    ws->arg, buf_str(&message), lws_frame_is_binary(wsi));
		buf_deinit(&message);
	}
	return ws->dead ? -1 : 0;
}

/* Our close, written by hand: libwebsockets 4.1.6, as Debian builds it, closes
 * a socket on libuv before its own close was sent. Its buffer is empty now, and
 * the kernel's has room. */
static int
write_close(struct websocket *ws)
{
	unsigned char frame[4] = { 0x88, 2, (unsigned char)(ws->code >> 8),
		(unsigned char)ws->code };

	if (ws->close_sent)
		return 0;
	ws->close_sent = 1;
	return send(ws->fd, frame, 4, MSG_NOSIGNAL) == 4 ? 0 : -1;
}

/* One frame each time, as libwebsockets wants it; then the close. */
static int
writable(struct websocket *ws)
{
	struct list *it = list_pop(&ws->out);
	struct frame *f;
	int r;

	if (ws->dead)
		return -1;
	if (it == NULL)
		return ws->code != 0 ? write_close(ws) : 0;
	f = list_entry(it, struct frame, link);
	ws->backlog -= f->n;
	r = lws_write(ws->wsi, f->bytes + LWS_PRE, f->n,
	    f->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);
	free(f);
	lws_callback_on_writable(ws->wsi);
	return r < 0 ? -1 : 0;
}

/* Which one is it? The first event of a socket that was just handed over is
 * for the one that waits for it. */
static struct websocket *
of_event(struct lws *wsi, enum lws_callback_reasons reason)
{
	struct websockets *all = lws_get_vhost_user(lws_get_vhost(wsi));

	if (reason == LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED) {
		all->adopting->wsi = wsi;
		lws_set_opaque_user_data(wsi, all->adopting);
		all->adopting = NULL;
	}
	return lws_get_opaque_user_data(wsi);
}

static int
websocket_event(struct lws *wsi, enum lws_callback_reasons reason, void *user,
    void *in, size_t len)
{
	struct websocket *ws;

	(void)user;
	if (wsi == NULL || lws_get_vhost(wsi) == NULL ||
	    (ws = of_event(wsi, reason)) == NULL)
		return 0;
	switch ((int)reason) {
	case LWS_CALLBACK_ESTABLISHED:
		ws->established = 1;
		lws_callback_on_writable(wsi);
		return ws->dead ? -1 : 0;
	case LWS_CALLBACK_RECEIVE:
		return take(ws, (struct str){ in, len });
	case LWS_CALLBACK_SERVER_WRITEABLE:
		return writable(ws);
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		return ws->close_sent ? -1 : 0; /* the answer to ours */
	case LWS_CALLBACK_CLOSED:
	case LWS_CALLBACK_WSI_DESTROY: /* it was never established */
		lws_set_opaque_user_data(wsi, NULL);
		gone(ws);
		return 0;
	default:
		return 0;
	}
}

static const struct lws_protocols protocols[] = {
	{ .name = "websocket",
	    .callback = websocket_event,
	    .rx_buffer_size = 16384 },
	{ 0 },
};

/* Hand a socket over, with the head of the request that was granted: what a
 * WebSocket needs, and nothing that the client wrote but its key. */
static void
adopt(struct websockets *all, struct websocket *ws)
{
	char head[256];
	int n = snprintf(head, sizeof(head),
	    "GET / HTTP/1.1\r\nHost: websocket\r\nUpgrade: websocket\r\n"
	    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
	    "Sec-WebSocket-Key: %s\r\n\r\n",
	    ws->key);

	list_append(&all->all, &ws->link);
	all->adopting = ws;
	lws_adopt_socket_vhost_readbuf(all->vhost, ws->fd, head, (size_t)n);
	if (all->adopting == NULL)
		return; /* libwebsockets has it, or had: ws may be gone */
	all->adopting = NULL;
	gone(ws);
}

static void
adopt_fresh(void *arg)
{
	struct websockets *all = arg;
	struct list *it;

	while ((it = list_pop(&all->fresh)) != NULL)
		adopt(all, list_entry(it, struct websocket, link));
}

/* Of a close that got no answer. libwebsockets' own timers don't run while
 * nothing happens on its sockets. */
static void
close_unanswered(void *arg)
{
	struct websockets *all = arg;
	int64_t late = loop_now_ms(all->server->loop) - CLOSE_ACK_MS;
	int more = 0;

	list_for_safe (it, &all->all) {
		struct websocket *ws = list_entry(it, struct websocket, link);

		if (ws->code == 0 || ws->dead)
			continue;
		if (ws->since_ms <= late)
			websocket_kill(ws);
		else
			more = 1;
	}
	if (more)
		loop_timer_set(all->closing, CLOSE_ACK_MS);
}

struct websockets *
websockets_new(struct server *server, const struct websockets_options *options,
    struct error *err)
{
	struct websockets *all = xcalloc(1, sizeof(*all));
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN_SERVER,
		.vhost_name = "websocket",
		.protocols = protocols,
		.user = all,
	};

	all->server = server;
	all->options = *options;
	list_init(&all->all);
	list_init(&all->fresh);
	all->adopt = loop_defer_new(server->loop, adopt_fresh, all);
	all->closing = loop_timer_new(server->loop, close_unanswered, all);
	all->vhost = lws_create_vhost(server->lws, &info);
	if (all->vhost != NULL)
		return all;
	fail(err, FAULT_BUG, "LWS", "no virtual host for WebSockets");
	return websockets_free(all);
}

struct websockets *
websockets_free(struct websockets *all)
{
	struct list *it;

	if (all == NULL)
		return NULL;
	all->server = NULL; /* is gone */
	while ((it = list_pop(&all->fresh)) != NULL) {
		struct websocket *ws = list_entry(it, struct websocket, link);

		close(ws->fd);
		gone(ws);
	}
	loop_timer_free(all->closing);
	loop_defer_free(all->adopt);
	free(all);
	return NULL;
}

/* Is the word in the list, which commas separate? */
static int
has_word(struct str list, const char *word)
{
	size_t n = strlen(word);

	for (size_t i = 0; i + n <= list.n; i++) {
		char before = i > 0 ? list.s[i - 1] : ',';
		char behind = i + n < list.n ? list.s[i + n] : ',';

		if (strncasecmp(list.s + i, word, n) == 0 &&
		    strchr(", \t", before) != NULL &&
		    strchr(", \t", behind) != NULL)
			return 1;
	}
	return 0;
}

static int
is_key(struct str key)
{
	if (key.n != KEY_CHARS || key.s[22] != '=' || key.s[23] != '=')
		return 0;
	for (size_t i = 0; i < 22; i++)
		if (!isalnum((unsigned char)key.s[i]) && key.s[i] != '+' &&
		    key.s[i] != '/')
			return 0;
	return 1;
}

int
websocket_asked(const struct request *req, struct problem *why)
{
	const struct http1_head *h = &req->head;
	struct str upgrade = http1_get(h, "upgrade");

	*why = (struct problem){ .status = 400 };
	if (!has_word(upgrade, "websocket") ||
	    !has_word(http1_get(h, "connection"), "upgrade"))
		*why = (struct problem){ .status = 426,
			.detail = "only WebSockets are served here",
			.headers = "Upgrade: websocket\r\n" };
	else if (!str_is(http1_get(h, "sec-websocket-version"), "13"))
		*why = (struct problem){ .status = 426,
			.detail = "version 13 of WebSocket is served",
			.headers = "Sec-WebSocket-Version: 13\r\n" };
	else if (!is_key(http1_get(h, "sec-websocket-key")))
		why->detail = "Sec-WebSocket-Key is 16 bytes in base64";
	else if (http1_get(h, "host").n == 0)
		why->detail = "Host is required";
	else if (!str_is(h->method, "GET") || h->body_bytes > 0)
		why->detail = "a WebSocket begins with a GET without a body";
	else
		return 0;
	return -1;
}

struct websocket *
websocket_accept(struct websockets *all, struct request *req,
    const struct websocket_ops *ops, void *arg)
{
	struct websocket *ws = xcalloc(1, sizeof(*ws));
	struct str key = http1_get(&req->head, "sec-websocket-key");

	memcpy(ws->key, key.s, KEY_CHARS);
	ws->fd = request_detach(req);
	if (ws->fd < 0) {
		request_problem(req,
		    &(struct problem){ .status = 503,
			.detail = "too many connections",
			.headers = "Retry-After: 1\r\n" });
		free(ws);
		return NULL;
	}
	ws->owner = all;
	ws->ops = ops;
	ws->arg = arg;
	list_init(&ws->out);
	list_append(&all->fresh, &ws->link);
	loop_defer_call(all->adopt);
	return ws;
}

void
websocket_send(struct websocket *ws, struct str bytes, int binary)
{
	struct frame *f;

	if (ws->dead || ws->code != 0)
		return;
	if (ws->backlog + bytes.n > ws->owner->options.backlog_max) {
		websocket_kill(ws);
		return;
	}
	f = xmalloc(sizeof(*f) + LWS_PRE + bytes.n);
	f->binary = binary;
	f->n = bytes.n;
	memcpy(f->bytes + LWS_PRE, bytes.s, bytes.n);
	list_append(&ws->out, &f->link);
	ws->backlog += bytes.n;
	if (ws->established)
		lws_callback_on_writable(ws->wsi);
}

void
websocket_pause(struct websocket *ws, int pause)
{
	if (ws->established && !ws->dead)
		lws_rx_flow_control(ws->wsi, !pause);
}

void
websocket_close(struct websocket *ws, int code)
{
	struct websockets *all = ws->owner;

	if (ws->code != 0 || ws->dead)
		return;
	ws->code = code;
	ws->since_ms = loop_now_ms(all->server->loop);
	loop_timer_set(all->closing, CLOSE_ACK_MS);
	if (ws->established)
		lws_callback_on_writable(ws->wsi);
}

void
websocket_kill(struct websocket *ws)
{
	if (ws->dead)
		return;
	ws->dead = 1;
	/* the read of an end, which libwebsockets then finds on it */
	shutdown(ws->fd, SHUT_RDWR);
	if (ws->established)
		lws_rx_flow_control(ws->wsi, 1);
}

int64_t
websocket_silent_ms(const struct websocket *ws)
{
	struct tcp_info info;
	socklen_t n = sizeof(info);

	if (getsockopt(ws->fd, IPPROTO_TCP, TCP_INFO, &info, &n) < 0)
		return 0;
	return info.tcpi_last_data_recv;
}
