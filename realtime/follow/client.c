#include "realtime/follow/client.h"
#include "core/buf.h"
#include "core/list.h"
#include "core/log.h"
#include "core/mem.h"
#include "realtime/server/evlib.h"
#include "realtime/follow/session.h"

#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>

enum { MESSAGE_MAX = 8 << 20, HOST_MAX = 256 };

/* A connection, from its look-up to libwebsockets' last word about it. One
 * that was given up has no owner, and ends by itself. */
struct link {
	struct list all;
	struct realtime *owner;
	struct lws *wsi;
	struct buf in;   /* the message at hand */
	struct list out; /* frames */
	int open;
};

struct frame {
	struct list link;
	size_t n;
	unsigned char bytes[]; /* LWS_PRE before the text */
};

struct realtime {
	struct loop *loop;
	struct realtime_options options;
	struct arena strings;
	struct realtime_session session;
	struct loop_timer *timer;
	struct loop_defer *change; /* topic or token */
	struct loop_lookup *lookup;
	struct lws_context *lws;
	struct lws_vhost *vhost;
	struct lws *wsi; /* as libwebsockets tells it while it begins */
	struct list links;
	struct link *link; /* the one in use */
	char host[HOST_MAX];
	char host_header[HOST_MAX + 8];
	char addrs[LOOP_ADDRS][LOOP_ADDR_TEXT];
	char *path;
	int port, tls, n_addrs, addr;
};

static void input(
    struct realtime *rt, enum session_event event, struct str text, int binary);

static void
link_free(struct link *l)
{
	struct list *it;

	list_remove(&l->all);
	while ((it = list_pop(&l->out)) != NULL)
		free(list_entry(it, struct frame, link));
	buf_deinit(&l->in);
	free(l);
}

/* It is of no more use. Its end is libwebsockets' to bring about: a socket
 * that is shut down has an event, which its timers may never have. */
static void
let_go(struct realtime *rt)
{
	struct link *l = rt->link;

	rt->lookup = loop_lookup_cancel(rt->lookup);
	rt->link = NULL;
	if (l == NULL)
		return;
	l->owner = NULL;
	if (l->wsi != NULL)
		shutdown(lws_get_socket_fd(l->wsi), SHUT_RDWR);
}

static void connect_next(struct realtime *rt);

/* No connection, or not any more. Before it was open, another address of the
 * same name may do. */
static void
ended(struct link *l, struct str why)
{
	struct realtime *rt = l->owner;
	int was_open = l->open;
	char text[SESSION_WHY];

	snprintf(text, sizeof(text), "%.*s",
	    (int)(why.n < sizeof(text) ? why.n : sizeof(text) - 1), why.s);
	link_free(l);
	if (rt == NULL)
		return;
	rt->link = NULL;
	if (!was_open && rt->addr < rt->n_addrs)
		connect_next(rt);
	else
		input(rt, SESSION_CLOSED, str_of(text), 0);
}

/* A piece of a message. */
static int
take(struct link *l, struct lws *wsi, struct str piece)
{
	struct buf message;

	if (l->owner == NULL || l->in.len + piece.n > MESSAGE_MAX)
		return -1;
	buf_addstr(&l->in, piece);
	if (!lws_is_final_fragment(wsi) ||
	    lws_remaining_packet_payload(wsi) > 0)
		return 0;
	message = l->in;
	buf_init(&l->in);
	input(l->owner, SESSION_MESSAGE, buf_str(&message),
	    lws_frame_is_binary(wsi));
	buf_deinit(&message);
	return l->owner == NULL ? -1 : 0;
}

/* One frame each time, as libwebsockets wants it. */
static int
writable(struct link *l, struct lws *wsi)
{
	struct list *it = list_pop(&l->out);
	struct frame *f;
	int r;

	if (l->owner == NULL)
		return -1;
	if (it == NULL)
		return 0;
	f = list_entry(it, struct frame, link);
	r = lws_write(wsi, f->bytes + LWS_PRE, f->n, LWS_WRITE_TEXT);
	free(f);
	lws_callback_on_writable(wsi);
	return r < 0 ? -1 : 0;
}

static int
opened(struct link *l, struct lws *wsi)
{
	l->open = 1;
	l->wsi = wsi;
	if (l->owner != NULL)
		input(l->owner, SESSION_OPENED, STR(""), 0);
	return l->owner == NULL ? -1 : 0;
}

/* What libwebsockets knows of a refusal is its status. */
static struct str
refusal(struct lws *wsi, const char *in, size_t n, char text[64])
{
	unsigned status = lws_http_client_http_response(wsi);

	if (status >= 400) {
		snprintf(text, 64, "the server answers %u", status);
		return str_of(text);
	}
	return in != NULL && n > 0 ? (struct str){ in, n }
				   : STR("no connection");
}

static int
client_event(struct lws *wsi, enum lws_callback_reasons reason, void *user,
    void *in, size_t len)
{
	struct link *l = wsi != NULL ? lws_get_opaque_user_data(wsi) : NULL;
	char text[64];

	(void)user;
	if (l == NULL)
		return 0;
	switch ((int)reason) {
	case LWS_CALLBACK_CLIENT_ESTABLISHED:
		return opened(l, wsi);
	case LWS_CALLBACK_CLIENT_RECEIVE:
		return take(l, wsi, (struct str){ in, len });
	case LWS_CALLBACK_CLIENT_WRITEABLE:
		return writable(l, wsi);
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
		lws_set_opaque_user_data(wsi, NULL);
		ended(l, refusal(wsi, in, len, text));
		return 0;
	case LWS_CALLBACK_CLIENT_CLOSED:
	case LWS_CALLBACK_WSI_DESTROY:
		lws_set_opaque_user_data(wsi, NULL);
		ended(l, STR("the connection was closed"));
		return 0;
	default:
		return 0;
	}
}

static const struct lws_protocols protocols[] = {
	{ .name = "realtime",
	    .callback = client_event,
	    .rx_buffer_size = 16384 },
	{ 0 },
};

static void
connect_next(struct realtime *rt)
{
	struct link *l = xcalloc(1, sizeof(*l));
	struct lws_client_connect_info info = {
		.context = rt->lws,
		.vhost = rt->vhost,
		.address = rt->addrs[rt->addr++],
		.port = rt->port,
		.path = rt->path,
		.host = rt->host_header,
		.local_protocol_name = "realtime",
		.ssl_connection = rt->tls ? LCCSCF_USE_SSL : 0,
		.alpn = "http/1.1",
		.pwsi = &rt->wsi,
		.opaque_user_data = l,
	};

	l->owner = rt;
	rt->link = l;
	list_init(&l->out);
	list_append(&rt->links, &l->all);
	buf_init(&l->in);
	rt->wsi = NULL;
	lws_client_connect_via_info(&info);
	if (rt->link == l) /* else it failed at once, and is gone */
		l->wsi = rt->wsi;
}

static void
looked_up(void *arg, char addrs[][LOOP_ADDR_TEXT], int n, const char *reason)
{
	struct realtime *rt = arg;

	rt->lookup = NULL;
	rt->n_addrs = n;
	rt->addr = 0;
	if (n == 0) {
		input(rt, SESSION_CLOSED, str_of(reason), 0);
		return;
	}
	memcpy(rt->addrs, addrs, (size_t)n * LOOP_ADDR_TEXT);
	connect_next(rt);
}

static void
start_connecting(struct realtime *rt)
{
	rt->lookup = loop_lookup_start(rt->loop, rt->host, looked_up, rt);
	if (rt->lookup == NULL)
		log_error("realtime.host", S_("host", rt->host));
}

static void
queue(struct realtime *rt, struct str text)
{
	struct link *l = rt->link;
	struct frame *f;

	if (l == NULL || l->wsi == NULL || text.s == NULL)
		return;
	f = xmalloc(sizeof(*f) + LWS_PRE + text.n);
	f->n = text.n;
	memcpy(f->bytes + LWS_PRE, text.s, text.n);
	list_init(&f->link);
	list_append(&l->out, &f->link);
	lws_callback_on_writable(l->wsi);
}

static void
perform(struct realtime *rt, const struct session_output *o)
{
	const struct realtime_options *to = &rt->options;

	switch (o->act) {
	case SESSION_CONNECT:
		start_connecting(rt);
		break;
	case SESSION_DISCONNECT:
		let_go(rt);
		break;
	case SESSION_SEND:
		queue(rt, o->text);
		break;
	case SESSION_JOINED:
		to->joined(to->arg);
		break;
	case SESSION_PARTED:
		to->parted(to->arg, o->text.s);
		break;
	case SESSION_BROADCAST:
		to->broadcast(to->arg, o->text, o->payload);
		break;
	}
}

/* Callbacks only ask for changes (realtime_topic, realtime_token), which come
 * at the end of the turn: so steps never nest. */
static void
input(
    struct realtime *rt, enum session_event event, struct str text, int binary)
{
	struct session_input in = {
		.event = event,
		.now_ms = loop_now_ms(rt->loop),
		.text = text,
		.binary = binary,
	};
	struct session_outputs out;
	int64_t wake;

	if (getrandom(&in.random, sizeof(in.random), 0) < 0)
		in.random = (uint64_t)in.now_ms;
	realtime_session_step(&rt->session, &in, &out);
	for (uint32_t i = 0; i < out.n; i++)
		perform(rt, &out.at[i]);
	wake = realtime_session_wake(&rt->session);
	if (wake == INT64_MAX)
		loop_timer_clear(rt->timer);
	else
		loop_timer_set(
		    rt->timer, wake > in.now_ms ? wake - in.now_ms : 0);
}

static void
tick(void *arg)
{
	input(arg, SESSION_TICK, STR(""), 0);
}

int
realtime_topic(struct realtime *rt, const char *topic)
{
	loop_defer_call(rt->change);
	return realtime_session_topic(&rt->session, topic);
}

int
realtime_token(struct realtime *rt, const char *token)
{
	loop_defer_call(rt->change);
	return realtime_session_token(&rt->session, token);
}

/*
 * Beginning and end.
 */
static int
bad_url(struct error *err, const char *url)
{
	return fail(err, FAULT_CONFIG, "CONFIG",
	    "\"%.100s\" is no project's URL\n"
	    "it looks like https://abc.supabase.co",
	    url);
}

/* "https://host:port/path" */
static int
take_url(
    struct realtime *rt, const char *url, const char **path, struct error *err)
{
	const char *at;
	char *end;
	size_t n;

	rt->tls = strncasecmp(url, "https://", 8) == 0;
	if (!rt->tls && strncasecmp(url, "http://", 7) != 0)
		return bad_url(err, url);
	at = url + (rt->tls ? 8 : 7);
	n = strcspn(at, ":/?#");
	if (n == 0 || n >= sizeof(rt->host))
		return bad_url(err, url);
	memcpy(rt->host, at, n);
	rt->port = rt->tls ? 443 : 80;
	at += n;
	if (*at == ':') {
		rt->port = (int)strtol(at + 1, &end, 10);
		if (rt->port < 1 || rt->port > 65535 || end == at + 1)
			return bad_url(err, url);
		snprintf(rt->host_header, sizeof(rt->host_header), "%s:%d",
		    rt->host, rt->port);
		at = end;
	} else {
		snprintf(
		    rt->host_header, sizeof(rt->host_header), "%s", rt->host);
	}
	*path = at;
	return strpbrk(at, "?#") == NULL ? 0 : bad_url(err, url);
}

static void
make_path(struct realtime *rt, const char *base)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOP"
				    "QRSTUVWXYZ0123456789-._~";
	size_t n = strlen(base);
	struct buf b;

	buf_init(&b);
	while (n > 0 && base[n - 1] == '/')
		n--;
	buf_add(&b, base, n);
	buf_adds(&b, "/realtime/v1/websocket?vsn=2.0.0&apikey=");
	for (const char *c = rt->options.key; *c != '\0'; c++)
		buf_addf(&b, strchr(plain, *c) != NULL ? "%c" : "%%%02X",
		    (unsigned char)*c);
	rt->path = arena_strdup(&rt->strings, b.bytes);
	buf_deinit(&b);
}

static void
lws_line(int level, const char *line)
{
	char text[256];

	(void)level;
	snprintf(text, sizeof(text), "%.*s", (int)strcspn(line, "\n"), line);
	log_debug("lws", S_("text", text));
}

static int
lws_start(struct realtime *rt, struct error *err)
{
	void *foreign[] = { loop_foreign(rt->loop) };
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN,
		.options = LWS_SERVER_OPTION_LIBUV |
		    LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
		    LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
		.foreign_loops = foreign,
		.protocols = protocols,
		.client_ssl_ca_filepath = rt->options.ca_file,
		.vhost_name = "realtime",
		.gid = -1,
		.uid = -1,
	};

	if (rt->options.ca_file != NULL)
		info.options |= LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS;
	lws_set_log_level(LLL_ERR | LLL_WARN, lws_line);
	rt->lws = lws_create_context(&info);
	if (rt->lws == NULL)
		return fail(err, FAULT_CONFIG, "LWS",
		    "libwebsockets can't start on libuv; is its plugin "
		    "libwebsockets-evlib-uv installed?");
	rt->vhost = lws_create_vhost(rt->lws, &info);
	if (rt->vhost == NULL)
		return fail(err, FAULT_CONFIG, "LWS",
		    "libwebsockets can't start; is the CA file readable?");
	return 0;
}

struct realtime *
realtime_new(struct loop *loop, const struct realtime_options *options,
    struct error *err)
{
	struct realtime *rt = xcalloc(1, sizeof(*rt));
	const char *base = "";

	rt->loop = loop;
	rt->options = *options;
	arena_init(&rt->strings);
	rt->options.key = arena_strdup(&rt->strings, options->key);
	realtime_session_init(&rt->session);
	list_init(&rt->links);
	rt->timer = loop_timer_new(loop, tick, rt);
	rt->change = loop_defer_new(loop, tick, rt);
	if (take_url(rt, options->url, &base, err) < 0 ||
	    lws_start(rt, err) < 0)
		return realtime_free(rt);
	make_path(rt, base);
	return rt;
}

struct realtime *
realtime_free(struct realtime *rt)
{
	struct list *it;

	if (rt == NULL)
		return NULL;
	let_go(rt);
	rt->change = loop_defer_free(rt->change);
	rt->timer = loop_timer_free(rt->timer);
	if (rt->lws != NULL)
		evlib_context_end(rt->loop, rt->lws);
	while ((it = list_pop(&rt->links)) != NULL)
		link_free(list_entry(it, struct link, all));
	realtime_session_deinit(&rt->session);
	arena_deinit(&rt->strings);
	free(rt);
	return NULL;
}
