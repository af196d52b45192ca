/* Sockets: who may connect, what they read and send, when they end. */
#include "realtime/local/local.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/time.h"
#include "realtime/local/local-impl.h"

#include <stdlib.h>
#include <string.h>

enum {
	SWEEP_MS = 100,
	CLOSE_IDLE = 1000,
	CLOSE_RESTART = 1012, /* "service restart" */
};

int64_t
local_now_s(void)
{
	return time_wall_ms() / 1000;
}

/* Frames --------------------------------------------------------------------*/

void
socket_send(struct socket *s, const struct phoenix_frame *f)
{
	struct str bytes;
	struct error err;
	struct arena a;
	int binary = f->kind != PHOENIX_TEXT;

	arena_init(&a);
	if (!binary)
		bytes = phoenix_write(&a, s->version, 1, f);
	else if (phoenix_write_binary(&a, f, &bytes, &err) < 0)
		log_debug("realtime.dropped", E_(&err));
	if (!binary || bytes.s != NULL)
		websocket_send(s->ws, bytes, binary);
	arena_deinit(&a);
}

void
socket_go_on(struct socket *s)
{
	struct list *it;

	if (s->going_on)
		return;
	s->going_on = 1;
	while (s->asking == NULL && (it = list_pop(&s->inbox)) != NULL)
		socket_frame(s, list_entry(it, struct inbound, link));
	s->going_on = 0;
	websocket_pause(s->ws, s->asking != NULL);
}

static void
socket_message(void *arg, struct str bytes, int binary)
{
	struct socket *s = arg;
	struct inbound *in = xmalloc(sizeof(*in) + bytes.n);

	in->binary = binary;
	in->bytes = (struct str){ memcpy(in + 1, bytes.s, bytes.n), bytes.n };
	list_append(&s->inbox, &in->link);
	socket_go_on(s);
}

static void
socket_closed(void *arg)
{
	struct socket *s = arg;
	struct list *it;

	log_info("realtime.left", I_("sockets", --s->local->n_sockets));
	if (s->asking != NULL)
		access_cancel(s->asking);
	while (!list_empty(&s->channels))
		channel_free(
		    list_entry(s->channels.next, struct channel, link));
	while ((it = list_pop(&s->inbox)) != NULL)
		free(list_entry(it, struct inbound, link));
	list_remove(&s->link);
	bearer_clear(&s->key);
	free(s);
}

/* Connecting ----------------------------------------------------------------*/

/* A parameter of the query. Keys, tokens and versions need no decoding. */
static struct str
param(struct str query, const char *name)
{
	size_t n = strlen(name);

	while (query.n > 0) {
		const char *end = memchr(query.s, '&', query.n);
		size_t len = end != NULL ? (size_t)(end - query.s) : query.n;

		if (len > n && memcmp(query.s, name, n) == 0 &&
		    query.s[n] == '=')
			return (struct str){ query.s + n + 1, len - n - 1 };
		len += end != NULL;
		query = (struct str){ query.s + len, query.n - len };
	}
	return (struct str){ "", 0 };
}

/* In the real server's words: {"error": "..."}. */
static void
refuse(struct request *req, int status, const char *why)
{
	struct arena a;
	struct json *v;

	arena_init(&a);
	v = json_object(&a);
	json_set(&a, v, "error", json_cstring(&a, why));
	log_info("realtime.refused", I_("status", status), S_("error", why));
	request_reply(
	    req, &(struct reply){ .status = status, .body = json_text(&a, v) });
	arena_deinit(&a);
}

/* 0 when the request may become a socket; else it was answered. */
static int
connect_check(struct local *l, struct request *req, struct socket *s)
{
	struct str key = param(req->head.query, "apikey");
	struct problem why;
	enum token_fault fault;

	if (l->websockets == NULL || l->draining) {
		request_problem(req, &(struct problem){ .status = 503 });
		return -1;
	}
	if (websocket_asked(req, &why) < 0) {
		request_problem(req, &why);
		return -1;
	}
	if (phoenix_version(param(req->head.query, "vsn"), &s->version) < 0) {
		request_reply(req, &(struct reply){ .status = 403 });
		return -1;
	}
	if (key.n == 0)
		key = http1_get(&req->head, "x-api-key");
	fault = key.n == 0 ? TOKEN_MISSING : bearer_of_token(l, key, &s->key);
	if (fault != TOKEN_OK) {
		refuse(req, 401,
		    token_fault_text(NULL, fault, TOKEN_AT_CONNECT, NULL));
		return -1;
	}
	if (l->n_sockets >= l->users || l->joins.over) {
		refuse(req, 429,
		    l->joins.over ? "Too many joins per second"
				  : "Too many connected users");
		return -1;
	}
	return 0;
}

static void
connect_begin(void *arg, struct request *req)
{
	static const struct websocket_ops ops = { socket_message,
		socket_closed };
	struct local *l = arg;
	struct socket *s = xcalloc(1, sizeof(*s));

	if (connect_check(l, req, s) == 0)
		s->ws = websocket_accept(l->websockets, req, &ops, s);
	if (s->ws == NULL) {
		bearer_clear(&s->key);
		free(s);
		return;
	}
	s->local = l;
	list_init(&s->channels);
	list_init(&s->inbox);
	list_append(&l->sockets, &s->link);
	log_info("realtime.connected", I_("sockets", ++l->n_sockets),
	    S_("role", s->key.role));
}

size_t
local_routes(struct local *l, struct route *out)
{
	if (l == NULL)
		return 0;
	out[0] = (struct route){ .method = "GET",
		.pattern = "/realtime/v1/websocket",
		.begin = connect_begin,
		.arg = l };
	return 1 + fault_routes(l, out + 1);
}

/* The whole -----------------------------------------------------------------*/

/* Tokens that ran out. A channel goes, its socket stays. */
static void
end_expired(struct socket *s)
{
	struct arena a;

	list_for_safe (it, &s->channels) {
		struct channel *c = list_entry(it, struct channel, link);

		if (bearer_check(&c->who) == TOKEN_OK)
			continue;
		arena_init(&a);
		channel_end(c,
		    token_fault_text(
			&a, TOKEN_EXPIRED, TOKEN_IN_CHANNEL, &c->who));
		arena_deinit(&a);
	}
}

static void
sweep(void *arg)
{
	struct local *l = arg;
	int64_t second = loop_now_ms(l->loop) / 1000;
	int ticked = second != l->second;

	for (; l->second < second; l->second++) {
		pace_tick(&l->events);
		pace_tick(&l->joins);
	}
	list_for_safe (it, &l->sockets) {
		struct socket *s = list_entry(it, struct socket, link);

		end_expired(s);
		if (ticked && websocket_silent_ms(s->ws) >= LOCAL_IDLE_MS)
			websocket_close(s->ws, CLOSE_IDLE);
	}
}

static void
db_changed(void *arg, enum db_state state, const struct error *cause)
{
	const struct local *l = arg;

	if (state == DB_READY)
		feed_ready(l->feed);
	else if (cause != NULL)
		log_warn("realtime.db_lost", E_(cause));
}

static int
connect_database(struct local *l, struct error *err)
{
	struct db_options o = { .url = l->options.db_url,
		.application_name = "meshhook realtime",
		.on_state = db_changed,
		.arg = l };

	if (jwt_keys_add_secret(&l->keys, l->options.jwt_secret, err) < 0)
		return fail_in(err, "MESHHOOK_JWT_SECRET");
	l->db = db_new(l->loop, &o, err);
	if (l->db == NULL)
		return -1;
	l->feed = feed_new(l, err);
	return l->feed == NULL ? -1 : 0;
}

struct local *
local_new(
    struct loop *loop, const struct local_options *options, struct error *err)
{
	struct local *l = xcalloc(1, sizeof(*l));

	l->loop = loop;
	l->options = *options;
	l->users = LOCAL_USERS;
	pace_init(&l->events, LOCAL_EVENTS);
	pace_init(&l->joins, LOCAL_JOINS);
	list_init(&l->sockets);
	list_init(&l->asked);
	for (size_t i = 0; i < LOCAL_TOPICS; i++)
		list_init(&l->topics[i]);
	l->second = loop_now_ms(loop) / 1000;
	l->sweep = loop_timer_new(loop, sweep, l);
	if (connect_database(l, err) < 0)
		return local_free(l);
	loop_timer_every(l->sweep, SWEEP_MS);
	log_warn("realtime.local",
	    S_("note", "for local development; not for others to reach"));
	return l;
}

int
local_serve(struct local *l, struct server *server, struct error *err)
{
	struct websockets_options o = { .message_max = LOCAL_MESSAGE_MAX,
		.backlog_max = LOCAL_BACKLOG_MAX };

	l->websockets = websockets_new(server, &o, err);
	return l->websockets == NULL ? -1 : 0;
}

void
local_drain(struct local *l)
{
	if (l == NULL)
		return;
	l->draining = 1;
	list_for (it, &l->sockets)
		websocket_close(
		    list_entry(it, struct socket, link)->ws, CLOSE_RESTART);
}

struct local *
local_free(struct local *l)
{
	struct list *it;

	if (l == NULL)
		return NULL;
	loop_timer_free(l->sweep);
	l->websockets = websockets_free(l->websockets);
	l->feed = feed_free(l->feed);
	l->db = db_free(l->db);
	while ((it = list_pop(&l->asked)) != NULL) /* it never answered */
		access_free(list_entry(it, struct access, link));
	jwt_keys_deinit(&l->keys);
	free(l->drop_topic);
	free(l);
	return NULL;
}
