/*
 * Replies that go on. The head goes through libwebsockets, which keeps what
 * the kernel doesn't take; all that follows goes to the descriptor itself, as
 * lws_write would copy it and queue without bound.
 */
#include "core/mem.h"
#include "realtime/server/server-impl.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static struct conn *
stream_conn(struct stream *s)
{
	return list_entry(s, struct conn, stream);
}

static void
socket_tune(int fd)
{
	static const int bytes = STREAM_KERNEL_BYTES;
	static const unsigned int silent_ms = STREAM_SILENT_MS;

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	setsockopt(
	    fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silent_ms, sizeof(silent_ms));
}

/* Everything that was for reading requests. */
static void
request_free(struct conn *c)
{
	free(c->req);
	c->req = NULL;
	c->server->bodies -= c->reserved;
	c->reserved = 0;
	buf_deinit(&c->in);
	buf_deinit(&c->ahead);
	if (c->paused)
		lws_rx_flow_control(c->wsi, 1);
	c->paused = 0;
}

struct stream *
request_stream(struct request *req, const struct reply *head,
    const struct stream_ops *ops, void *arg)
{
	struct conn *c = req->conn;
	struct buf *out = &c->server->out;

	socket_tune(lws_get_socket_fd(c->wsi));
	c->close_after = 1; /* there is no length: the end is the end */
	c->deadline_ms = 0;
	conn_head(c, head, 1);
	request_free(c);
	c->stream = (struct stream){ .ops = ops, .arg = arg };
	if (c->state == CONN_DEAD)
		return &c->stream;
	c->state = CONN_STREAM;
	if (lws_write(c->wsi, (unsigned char *)out->bytes + LWS_PRE,
		out->len - LWS_PRE, LWS_WRITE_RAW) < 0)
		conn_close(c);
	else
		c->stream.blocked = lws_partial_buffered(c->wsi);
	if (c->stream.blocked)
		lws_callback_on_writable(c->wsi);
	return &c->stream;
}

static void
block(struct conn *c)
{
	c->stream.blocked = 1;
	lws_callback_on_writable(c->wsi);
}

size_t
stream_send(struct stream *s, const struct iovec *parts, int n)
{
	struct conn *c = stream_conn(s);
	struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)parts,
		.msg_iovlen = (size_t)n };
	size_t all = 0;
	ssize_t took;

	if (c->state != CONN_STREAM || s->blocked)
		return 0;
	for (int i = 0; i < n; i++)
		all += parts[i].iov_len;
	do {
		took = sendmsg(
		    lws_get_socket_fd(c->wsi), &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (took < 0 && errno == EINTR);
	if (took < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
		conn_close(c);
		return 0;
	}
	if (took < 0)
		took = 0;
	if ((size_t)took < all)
		block(c);
	return (size_t)took;
}

void
stream_end(struct stream *s)
{
	struct conn *c = stream_conn(s);

	s->ops = NULL;
	if (c->state == CONN_STREAM)
		conn_linger(c);
}

/* Room in the kernel, and libwebsockets has flushed what it kept. */
void
stream_writable(struct conn *c)
{
	if (lws_partial_buffered(c->wsi)) {
		lws_callback_on_writable(c->wsi);
		return;
	}
	if (!c->stream.blocked)
		return;
	c->stream.blocked = 0;
	if (c->stream.ops->writable != NULL)
		c->stream.ops->writable(c->stream.arg);
}
