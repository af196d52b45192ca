#include "realtime/server/server.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/time.h"
#include "realtime/server/evlib.h"
#include "realtime/server/server-impl.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Listening and accepting are done here: libwebsockets' own listener spins
 * when file descriptors run out, can't be closed before its connections, and
 * turns a taken port into a use after free.
 */
enum {
	SWEEP_MS = 250,
	ACCEPTS_PER_TURN = 64,
	REFUSED_EVERY_MS = 10000,
};

static int
connection_event(struct lws *wsi, enum lws_callback_reasons reason, void *user,
    void *in, size_t len)
{
	struct conn *c = lws_get_opaque_user_data(wsi);

	(void)user;
	switch ((int)reason) {
	case LWS_CALLBACK_RAW_ADOPT:
		c = conn_new(lws_context_user(lws_get_context(wsi)), wsi);
		lws_set_opaque_user_data(wsi, c);
		return 0;
	case LWS_CALLBACK_RAW_RX:
		c->in_callback = 1;
		conn_rx(c, (struct str){ in, len });
		c->in_callback = 0;
		return c->state == CONN_DEAD ? -1 : 0;
	case LWS_CALLBACK_RAW_WRITEABLE:
		conn_writable(c);
		return 0;
	case LWS_CALLBACK_RAW_CLOSE:
		lws_set_opaque_user_data(wsi, conn_free(c));
		return 0;
	default:
		return 0;
	}
}

static const struct lws_protocols protocols[] = {
	{ .name = "http", .callback = connection_event },
	{ 0 },
};

static void
lws_line(int level, const char *line)
{
	int n = (int)strcspn(line, "\n");
	char text[256];

	snprintf(text, sizeof(text), "%.*s", n, line);
	/* one of its errors is none: each adopted WebSocket says it */
	if (level == LLL_ERR && strstr(text, ": calling service") == NULL)
		log_warn("lws", S_("text", text));
	else
		log_debug("lws", S_("text", text));
}

void
server_refused(struct server *s, int status, const char *detail)
{
	int64_t now = loop_now_ms(s->loop);
	struct refusals *r = s->refusals;

	while (r < s->refusals + NELEM(s->refusals) - 1 && r->status != 0 &&
	    r->status != status)
		r++;
	r->status = status;
	r->count++;
	if (r->logged_ms != 0 && now - r->logged_ms < REFUSED_EVERY_MS)
		return;
	log_warn("request.refused", I_("status", status), I_("count", r->count),
	    S_("detail", detail != NULL ? detail : http1_phrase(status)));
	r->logged_ms = now;
	r->count = 0;
}

/* Close what took too long. A walk over all of them four times a second costs
 * less than a timer's moves at each request. */
static void
sweep(void *arg)
{
	struct server *s = arg;
	int64_t now = loop_now_ms(s->loop);

	list_for_safe (it, &s->conns) {
		struct conn *c = list_entry(it, struct conn, link);

		if (c->deadline_ms != 0 && c->deadline_ms <= now)
			conn_timeout(c);
	}
	if (s->draining && server_connections(s) == 0 && s->drained != NULL) {
		loop_fn *fn = s->drained;

		s->drained = NULL;
		loop_timer_clear(s->sweep);
		fn(s->drained_arg);
	}
}

static void
accept_again(void *arg)
{
	struct server *s = arg;

	if (s->accepting != NULL)
		loop_io_set(s->accepting, LOOP_READ);
}

static void
adopt(struct server *s, int fd)
{
	static const int on = 1;
	lws_sock_file_fd_type desc = { .sockfd = fd };

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	/* closes the descriptor itself when it fails */
	lws_adopt_descriptor_vhost(
	    s->vhost, LWS_ADOPT_SOCKET, desc, protocols[0].name, NULL);
}

static void
accept_ready(void *arg, int events)
{
	struct server *s = arg;

	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		int fd;

		if (server_connections(s) >= s->options.connections) {
			loop_io_set(s->accepting, 0);
			loop_timer_set(s->retry, SWEEP_MS);
			return;
		}
		fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			adopt(s, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
		    errno == ENOMEM) {
			log_warn("accept.exhausted",
			    S_("error", strerror(errno)),
			    I_("connections", server_connections(s)));
			loop_io_set(s->accepting, 0);
			loop_timer_set(s->retry, SWEEP_MS);
		}
		return; /* EAGAIN; ECONNABORTED comes back if there is more */
	}
}

/* The socket, bound and listening. */
static int
listen_on(struct server *s, struct error *err)
{
	const char *host = s->options.host;
	struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
		.ai_socktype = SOCK_STREAM },
			*ai;
	struct sockaddr_storage bound = { 0 };
	socklen_t n = sizeof(bound);
	static const int on = 1;
	char port[16];
	int r;

	snprintf(port, sizeof(port), "%d", s->options.port);
	r = getaddrinfo(host, port, &hints, &ai);
	if (r != 0)
		return fail(err, FAULT_CONFIG, "LISTEN",
		    "can't listen on %s: %s", host, gai_strerror(r));
	s->fd = socket(
	    ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	r = s->fd;
	if (r >= 0)
		r = setsockopt(
		    s->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (r >= 0)
		r = bind(s->fd, ai->ai_addr, ai->ai_addrlen);
	freeaddrinfo(ai);
	if (r >= 0)
		r = listen(s->fd, 1024);
	if (r < 0)
		return fail(err, FAULT_CONFIG, "LISTEN",
		    "can't listen on %s port %d: %s%s", host, s->options.port,
		    strerror(errno),
		    errno == EADDRINUSE ? "; give another one with --port"
					: "");
	getsockname(s->fd, (struct sockaddr *)&bound, &n);
	s->port = ntohs(bound.ss_family == AF_INET6
		? ((struct sockaddr_in6 *)&bound)->sin6_port
		: ((struct sockaddr_in *)&bound)->sin_port);
	s->accepting =
	    loop_io_start(s->loop, s->fd, LOOP_READ, accept_ready, s);
	return 0;
}

static int
lws_start(struct server *s, struct error *err)
{
	void *foreign[] = { loop_foreign(s->loop) };
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN,
		.options =
		    LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
		.foreign_loops = foreign,
		.protocols = protocols,
		.pt_serv_buf_size = 65536, /* read at once */
		.user = s,
		.gid = -1,
		.uid = -1,
		.vhost_name = "http",
	};

	lws_set_log_level(LLL_ERR | LLL_WARN, lws_line);
	s->lws = lws_create_context(&info);
	if (s->lws == NULL)
		return fail(err, FAULT_CONFIG, "LWS",
		    "libwebsockets can't start on libuv; is its plugin "
		    "libwebsockets-evlib-uv installed?");
	s->vhost = lws_create_vhost(s->lws, &info);
	if (s->vhost == NULL)
		return fail(err, FAULT_BUG, "LWS", "no virtual host");
	return 0;
}

static void
options_fill(struct server_options *o)
{
	if (o->host == NULL)
		o->host = "127.0.0.1";
	if (o->connections == 0)
		o->connections = 4096;
	if (o->bodies_max == 0)
		o->bodies_max = (size_t)64 << 20;
	if (o->head_ms == 0)
		o->head_ms = 10000;
	if (o->body_ms == 0)
		o->body_ms = 10000;
	if (o->idle_ms == 0)
		o->idle_ms = 65000;
}

struct server *
server_new(
    struct loop *loop, const struct server_options *options, struct error *err)
{
	struct server *s = xcalloc(1, sizeof(*s));

	s->loop = loop;
	s->options = *options;
	s->fd = -1;
	options_fill(&s->options);
	list_init(&s->conns);
	s->sweep = loop_timer_new(loop, sweep, s);
	s->retry = loop_timer_new(loop, accept_again, s);
	if (listen_on(s, err) < 0 || lws_start(s, err) < 0)
		return server_free(s);
	loop_timer_every(s->sweep, SWEEP_MS);
	return s;
}

static void
listen_stop(struct server *s)
{
	if (s->accepting != NULL)
		s->accepting = loop_io_stop(s->accepting);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

struct server *
server_free(struct server *s)
{
	if (s == NULL)
		return NULL;
	listen_stop(s);
	loop_timer_clear(s->sweep);
	if (s->lws != NULL)
		evlib_context_end(s->loop, s->lws); /* conn_free for each */
	loop_timer_free(s->retry);
	loop_timer_free(s->sweep);
	buf_deinit(&s->out);
	free(s);
	return NULL;
}

int
server_port(const struct server *s)
{
	return s->port;
}

uint32_t
server_connections(const struct server *s)
{
	return s->n_conns + s->n_detached;
}

void
server_drain(struct server *s, loop_fn *fn, void *arg)
{
	listen_stop(s);
	s->draining = 1;
	s->drained = fn;
	s->drained_arg = arg;
	list_for_safe (it, &s->conns) {
		struct conn *c = list_entry(it, struct conn, link);

		if (conn_idle(c))
			conn_close(c);
	}
}

/* The next segment of a path, without its '/'. */
static struct str
segment(struct str *path)
{
	const char *slash;
	struct str out;

	*path = (struct str){ path->s + 1, path->n - 1 };
	slash = memchr(path->s, '/', path->n);
	out = (struct str){ path->s,
		slash != NULL ? (size_t)(slash - path->s) : path->n };
	*path = (struct str){ path->s + out.n, path->n - out.n };
	return out;
}

/* By segments. A {name} takes one that is not empty, as it was sent: what ids
 * are made of needs no percent-encoding. */
static int
pattern_fits(const char *pattern, struct str path, struct str params[4])
{
	struct str rest = str_of(pattern);
	size_t n = 0;

	while (rest.n > 0 && path.n > 0) {
		struct str want = segment(&rest), got = segment(&path);

		if (want.n > 0 && want.s[0] == '{' && got.n > 0)
			params[n++] = got;
		else if (!str_eq(want, got))
			return 0;
	}
	return rest.n == 0 && path.n == 0;
}

static int
method_fits(const char *route, struct str method)
{
	return str_is(method, route) ||
	    (strcmp(route, "GET") == 0 && str_is(method, "HEAD"));
}

const struct route *
route_find(const struct server *s, struct request *req, struct problem *none,
    char allow[128])
{
	size_t n = (size_t)snprintf(allow, 128, "Allow: OPTIONS");
	int known = 0;

	for (size_t i = 0; i < s->options.n_routes; i++) {
		const struct route *r = &s->options.routes[i];

		if (!pattern_fits(r->pattern, req->head.path, req->params))
			continue;
		if (method_fits(r->method, req->head.method))
			return r;
		known = 1;
		n += (size_t)snprintf(allow + n, 128 - n, ", %s%s", r->method,
		    strcmp(r->method, "GET") == 0 ? ", HEAD" : "");
	}
	snprintf(allow + n, 128 - n, "\r\n");
	if (!known)
		*none = (struct problem){ .status = 404,
			.detail = "there is nothing at this path" };
	else
		*none = (struct problem){ .status = 405,
			.detail = "this path doesn't take that method",
			.headers = allow };
	if (known && str_is(req->head.method, "OPTIONS"))
		none->status = 204;
	return NULL;
}
