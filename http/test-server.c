#include "http/test-server.h"
#include "core/mem.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

struct conn {
	struct list link;
	struct test_server *server;
	struct loop_io *io;
	int fd, close_after;
	struct buf in, out;
};

static void
conn_free(struct conn *c)
{
	list_remove(&c->link);
	loop_io_stop(c->io);
	close(c->fd);
	buf_deinit(&c->in);
	buf_deinit(&c->out);
	free(c);
}

static void
reply(struct conn *c, const char *head, const void *body, size_t n)
{
	buf_addf(
	    &c->out, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n", head, n);
	buf_add(&c->out, body, n);
}

static void
route_ok(struct conn *c, const char *arg)
{
	(void)arg;
	reply(c,
	    "200 OK\r\nContent-Type: text/plain\r\nX-Request-ID:  r1 \r\n"
	    "X-Private: no",
	    "hello", 5);
}

static void
route_echo(struct conn *c, const char *arg)
{
	struct buf *last = &c->server->last;

	(void)arg;
	reply(c, "200 OK", last->bytes, last->len);
}

static void
route_status(struct conn *c, const char *arg)
{
	char head[64];

	snprintf(head, sizeof(head), "%s Whatever", arg);
	reply(c, head, "", 0);
}

static void
route_fail(struct conn *c, const char *arg)
{
	(void)arg;
	if (c->server->refusals > 0) {
		c->server->refusals--;
		reply(c, "503 Busy\r\nRetry-After: 7", "busy", 4);
	} else {
		reply(c, "200 OK", "done", 4);
	}
}

static void
route_never(struct conn *c, const char *arg)
{
	(void)c;
	(void)arg;
}

static void
route_stall(struct conn *c, const char *arg)
{
	(void)arg;
	buf_adds(&c->out, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
}

static void
route_cut(struct conn *c, const char *arg)
{
	route_stall(c, arg);
	c->close_after = 1;
}

static void
route_hang_up(struct conn *c, const char *arg)
{
	(void)arg;
	c->close_after = 1;
}

/* Answers once, then hangs up without saying so. */
static void
route_ok_once(struct conn *c, const char *arg)
{
	route_ok(c, arg);
	c->close_after = 1;
}

static void
route_raw(struct conn *c, const char *arg)
{
	static const char *const raws[] = {
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		"5\r\nhello\r\nZZZ\r\n",
		"SSH-2.0-OpenSSH_9.2\r\n",
		"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
		"Content-Length: 5\r\n\r\nnogzi",
		"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nabcd",
		"\r\n\r\n",
	};

	buf_adds(&c->out, raws[strtoul(arg, NULL, 10)]);
	c->close_after = 1;
}

static void
route_continues(struct conn *c, const char *arg)
{
	(void)arg;
	buf_adds(&c->out,
	    "HTTP/1.1 103 Early Hints\r\nEtag: early\r\n\r\n"
	    "HTTP/1.1 200 OK\r\nETag: final\r\n"
	    "Transfer-Encoding: chunked\r\n\r\n"
	    "2\r\nab\r\n0\r\nETag: trailer\r\n\r\n");
}

static void
route_headers(struct conn *c, const char *arg)
{
	unsigned long n = strtoul(arg, NULL, 10);

	buf_adds(&c->out, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n");
	for (unsigned long i = 0; i < n; i++)
		buf_addf(&c->out, "ETag: %0980lu\r\n", i);
	buf_adds(&c->out, "\r\n");
}

static void
route_bytes(struct conn *c, const char *arg)
{
	size_t n = strtoul(arg, NULL, 10);
	char *body = xmalloc(n);

	memset(body, 'x', n);
	reply(c, "200 OK", body, n);
	free(body);
}

static void
route_gzip(struct conn *c, const char *arg)
{
	size_t n = strtoul(arg, NULL, 10), room = n / 100 + 1024;
	unsigned char *plain = xcalloc(n, 1), *packed = xmalloc(room);
	z_stream z = { .next_in = plain,
		.avail_in = (uInt)n,
		.next_out = packed,
		.avail_out = (uInt)room };

	memset(plain, 'z', n);
	assert(deflateInit2(
		   &z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) == Z_OK);
	assert(deflate(&z, Z_FINISH) == Z_STREAM_END);
	reply(c, "200 OK\r\nContent-Encoding: gzip", packed, z.total_out);
	deflateEnd(&z);
	free(plain);
	free(packed);
}

/* /redirect?302,/where/to */
static void
route_redirect(struct conn *c, const char *arg)
{
	char head[600];

	snprintf(head, sizeof(head), "%.3s Moved\r\nLocation: %s", arg,
	    strlen(arg) > 4 ? arg + 4 : "");
	reply(c, head, "moved", 5);
}

static void
route_loop(struct conn *c, const char *arg)
{
	(void)arg;
	reply(c, "302 Found\r\nLocation: /loop", "", 0);
}

static const struct route {
	const char *path;
	void (*fn)(struct conn *c, const char *arg);
} routes[] = {
	{ "/ok", route_ok },
	{ "/ok-once", route_ok_once },
	{ "/echo", route_echo },
	{ "/status", route_status },
	{ "/fail", route_fail },
	{ "/never", route_never },
	{ "/stall", route_stall },
	{ "/cut", route_cut },
	{ "/hang-up", route_hang_up },
	{ "/raw", route_raw },
	{ "/continues", route_continues },
	{ "/headers", route_headers },
	{ "/bytes", route_bytes },
	{ "/gzip", route_gzip },
	{ "/redirect", route_redirect },
	{ "/loop", route_loop },
};

/* The bytes of the first whole request in the buffer; 0 when there is none. */
static size_t
whole_request(const struct buf *in)
{
	const char *end, *length;
	size_t n;

	if (in->len == 0 || (end = strstr(in->bytes, "\r\n\r\n")) == NULL)
		return 0;
	n = (size_t)(end - in->bytes) + 4;
	length = strcasestr(in->bytes, "\r\nContent-Length:");
	if (length != NULL && length < end)
		n += strtoul(length + 17, NULL, 10);
	return in->len >= n ? n : 0;
}

static void
answer(struct conn *c, size_t n)
{
	struct test_server *s = c->server;
	char method[32], path[1024];
	const char *arg = "";
	size_t at;

	buf_clear(&s->last);
	buf_add(&s->last, c->in.bytes, n);
	buf_drop(&c->in, n);
	s->n_requests++;
	if (sscanf(s->last.bytes, "%31s %1023s", method, path) != 2)
		return;
	at = strcspn(path, "?");
	if (path[at] == '?') {
		path[at] = '\0';
		arg = path + at + 1;
	}
	for (size_t i = 0; i < NELEM(routes); i++) {
		if (strcmp(path, routes[i].path) != 0)
			continue;
		routes[i].fn(c, arg);
		if (strcmp(method, "HEAD") == 0)
			c->out.len = (size_t)(strstr(c->out.bytes, "\r\n\r\n") -
					 c->out.bytes) +
			    4;
		return;
	}
	reply(c, "404 Not Found", "", 0);
}

static void
conn_ready(void *arg, int events)
{
	struct conn *c = arg;
	char bytes[65536];
	ssize_t n;

	if (events & LOOP_READ) {
		n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		if (n <= 0) {
			conn_free(c);
			return;
		}
		buf_add(&c->in, bytes, (size_t)n);
	}
	while ((n = (ssize_t)whole_request(&c->in)) > 0)
		answer(c, (size_t)n);
	if (c->out.len > 0) {
		n = send(c->fd, c->out.bytes, c->out.len,
		    MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0)
			buf_drop(&c->out, (size_t)n);
	}
	if (c->out.len == 0 && c->close_after)
		conn_free(c);
	else
		loop_io_set(
		    c->io, c->out.len > 0 ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

static void
accepted(void *arg, int events)
{
	struct test_server *s = arg;
	int fd;

	(void)events;
	while ((fd = accept4(
		    s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct conn *c = xcalloc(1, sizeof(*c));

		c->server = s;
		c->fd = fd;
		list_append(&s->conns, &c->link);
		c->io = loop_io_start(s->loop, fd, LOOP_READ, conn_ready, c);
		s->n_conns++;
	}
}

struct test_server *
test_server_new(struct loop *loop)
{
	struct test_server *s = xcalloc(1, sizeof(*s));
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(in);

	s->loop = loop;
	list_init(&s->conns);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (bind(s->fd, (struct sockaddr *)&in, n) < 0 ||
	    listen(s->fd, 4096) < 0 ||
	    getsockname(s->fd, (struct sockaddr *)&in, &n) < 0)
		abort();
	s->port = ntohs(in.sin_port);
	s->io = loop_io_start(loop, s->fd, LOOP_READ, accepted, s);
	return s;
}

struct test_server *
test_server_free(struct test_server *s)
{
	list_for_safe (it, &s->conns)
		conn_free(list_entry(it, struct conn, link));
	loop_io_stop(s->io);
	close(s->fd);
	buf_deinit(&s->last);
	free(s);
	return NULL;
}
