/* What a client sends on its channels, and what it is answered. */
#include "core/log.h"
#include "core/mem.h"
#include "realtime/local/local-impl.h"

#include <stdlib.h>
#include <string.h>

static struct str
or_null(const char *text)
{
	return text != NULL ? str_of(text) : (struct str){ 0 };
}

/* Of a frame's topic, "realtime:NAME"; -1 when it is none. */
static int
name_of(struct str topic, struct str *name)
{
	static const char prefix[] = "realtime:";
	size_t n = sizeof(prefix) - 1;

	if (topic.n < n || memcmp(topic.s, prefix, n) != 0 ||
	    memchr(topic.s, '\0', topic.n) != NULL)
		return -1;
	*name = (struct str){ topic.s + n, topic.n - n };
	return 0;
}

static struct channel *
channel_find(struct socket *s, struct str topic)
{
	struct str name;

	if (name_of(topic, &name) < 0)
		return NULL;
	list_for (it, &s->channels) {
		struct channel *c = list_entry(it, struct channel, link);

		if (str_is(name, c->topic))
			return c;
	}
	return NULL;
}

struct channel *
channel_free(struct channel *c)
{
	if (c == NULL)
		return NULL;
	if (!list_empty(&c->link))
		c->socket->n_channels--;
	if (c->socket->asking != NULL && c->socket->asking->channel == c)
		c->socket->asking->channel = NULL;
	list_remove(&c->link);
	list_remove(&c->chain);
	bearer_clear(&c->who);
	free(c->join_ref);
	free(c->topic);
	free(c);
	return NULL;
}

/* Sending --------------------------------------------------------------------*/

static void
reply(struct socket *s, struct arena *a, const struct phoenix_frame *to, int ok,
    struct str response)
{
	socket_send(s,
	    &(struct phoenix_frame){ .join_ref = to->join_ref,
		.ref = to->ref,
		.topic = to->topic,
		.event = STR("phx_reply"),
		.body = phoenix_reply(a, ok, response) });
}

static struct str
reason_of(struct arena *a, const char *reason)
{
	struct json *v = json_object(a);

	json_set(a, v, "reason", json_cstring(a, reason));
	return json_text(a, v);
}

/* Phoenix's answer to a message on a channel that isn't there. */
static void
reply_unmatched(
    struct socket *s, struct arena *a, const struct phoenix_frame *to)
{
	struct phoenix_frame f = *to;

	f.join_ref = (struct str){ 0 };
	reply(s, a, &f, 0, STR("{\"reason\":\"unmatched topic\"}"));
}

/* An event of a channel: from_join says which join it is about. */
static void
channel_say(
    struct channel *c, const char *event, int from_join, struct str body)
{
	struct arena a;

	arena_init(&a);
	socket_send(c->socket,
	    &(struct phoenix_frame){ .join_ref = or_null(c->join_ref),
		.ref = from_join ? or_null(c->join_ref) : (struct str){ 0 },
		.topic = str_of(arena_printf(&a, "realtime:%s", c->topic)),
		.event = str_of(event),
		.body = body });
	arena_deinit(&a);
}

void
channel_system(
    struct channel *c, const char *extension, int ok, const char *message)
{
	struct json *v;
	struct arena a;

	arena_init(&a);
	v = json_object(&a);
	json_set(&a, v, "channel", json_cstring(&a, c->topic));
	json_set(&a, v, "extension", json_cstring(&a, extension));
	json_set(&a, v, "message", json_cstring(&a, message));
	json_set(&a, v, "status", json_cstring(&a, ok ? "ok" : "error"));
	channel_say(c, "system", 0, json_text(&a, v));
	arena_deinit(&a);
}

void
channel_end(struct channel *c, const char *message)
{
	if (message != NULL)
		channel_system(c, "system", 0, message);
	channel_say(c, "phx_close", 1, STR("{}"));
	channel_free(c);
}

void
channel_crash(struct channel *c)
{
	channel_say(c, "phx_error", 1, STR("{\"reason\":\"channel_crash\"}"));
	channel_free(c);
}

/* Joining --------------------------------------------------------------------*/

/* A flag of the configuration, of which clients have sent strings, too. */
static int
flag(const struct json *v)
{
	return json_is(v, JSON_TRUE) || str_is(json_str(v), "true");
}

/* The bindings as they were asked for, each with an id: without them
 * supabase-js takes the channel for another server's. */
static struct str
bindings_of(struct arena *a, const struct json *config)
{
	const struct json *asked = json_get(config, "postgres_changes");
	struct json *out = json_object(a), *list = json_array(a);

	for (size_t i = 0; json_is(asked, JSON_ARRAY) && i < asked->n; i++) {
		const struct json *v = json_at(asked, i);
		struct json *copy = json_object(a);

		json_set(a, copy, "id", json_int(a, (int64_t)i + 1));
		for (size_t k = 0; json_is(v, JSON_OBJECT) && k < v->n; k++)
			json_set_str(a, copy, v->of[k].key, v->of[k].value);
		json_push(a, list, copy);
	}
	json_set(a, out, "postgres_changes", list);
	return json_text(a, out);
}

/* What isn't served is said on the channel, which stays open. */
static void
say_what_is_missing(struct channel *c, const struct json *config)
{
	const struct json *changes = json_get(config, "postgres_changes");

	if (json_is(changes, JSON_ARRAY) && changes->n > 0)
		channel_system(c, "postgres_changes", 0,
		    "Unable to subscribe to changes with given parameters. "
		    "Postgres Changes are not part of this local endpoint");
	if (flag(json_get(json_get(config, "presence"), "enabled")))
		channel_system(c, "presence", 0,
		    "Presence is not part of this local endpoint");
}

/* The join holds: answer it, and put the channel in the place of an older one
 * of that topic, which is told so. */
static void
join_done(struct channel *c, const struct phoenix_frame *f, struct arena *a)
{
	struct socket *s = c->socket;
	struct channel *old = channel_find(s, f->topic);
	const struct json *config = json_get(f->payload, "config");

	list_append(&s->channels, &c->link);
	s->n_channels++;
	list_append(topic_bucket(s->local, str_of(c->topic)), &c->chain);
	reply(s, a, f, 1, bindings_of(a, config));
	if (old != NULL)
		channel_end(old, NULL);
	say_what_is_missing(c, config);
}

/* It doesn't; an older one of that topic ends all the same. */
static void
join_refused(struct socket *s, struct arena *a, const struct phoenix_frame *f,
    const char *reason)
{
	struct channel *old = channel_find(s, f->topic);

	reply(s, a, f, 0, reason_of(a, reason));
	if (old != NULL)
		channel_end(old, NULL);
}

/* The answer to whether the user may read; the frame is read once more. */
static void
join_asked(struct access *ask, enum may answer)
{
	struct socket *s = ask->socket;
	struct channel *c = ask->channel;
	struct phoenix_frame f;
	struct arena a;

	arena_init(&a);
	phoenix_read(
	    &a, s->version, ask->again->bytes, ask->again->binary, &f, NULL);
	if (answer == MAY) {
		join_done(c, &f, &a);
		arena_deinit(&a);
		feed_replay(ask);
		return;
	}
	join_refused(s, &a, &f,
	    answer == MAY_UNKNOWN
		? "IncreaseConnectionPool: Please increase your connection "
		  "pool size"
		: arena_printf(&a,
		      "Unauthorized: You do not have permissions to read from "
		      "this Channel topic: %s",
		      c->topic));
	channel_free(c);
	arena_deinit(&a);
	access_free(ask);
	socket_go_on(s);
}

/* {since, limit}: 0, or why it can't be. */
static const char *
replay_of(const struct json *config, struct access *ask)
{
	const struct json *replay =
	    json_get(json_get(config, "broadcast"), "replay");
	const struct json *limit = json_get(replay, "limit");
	int64_t n = LOCAL_REPLAY_MAX;

	if (!json_is(replay, JSON_OBJECT))
		return NULL;
	if (ask == NULL)
		return "UnableToReplayMessages: Replay is not allowed for "
		       "public channels";
	if (json_integer(json_get(replay, "since"), &ask->since_ms) < 0 ||
	    (limit != NULL && json_integer(limit, &n) < 0))
		return "UnableToReplayMessages: Replay params are not valid";
	ask->limit = n < 1         ? 1
	    : n > LOCAL_REPLAY_MAX ? LOCAL_REPLAY_MAX
				   : (int)n;
	return NULL;
}

/* Why a join can't be, before anyone is asked; NULL when it can. */
static const char *
join_check(struct socket *s, struct arena *a, const struct phoenix_frame *f,
    struct channel *c)
{
	const struct json *token = json_get(f->payload, "access_token");
	struct local *l = s->local;
	enum token_fault fault;

	if (c->topic[0] == '\0')
		return "TopicNameRequired: You must provide a topic name";
	if (s->n_channels >= LOCAL_CHANNELS && !channel_find(s, f->topic))
		return "ChannelRateLimitReached: Too many channels";
	if (l->joins.over)
		return "ClientJoinRateLimitReached: Too many joins per second";
	bearer_copy(&c->who, &s->key);
	if (json_is(token, JSON_STRING) && token->n > 0 &&
	    strncmp(token->s, "sb_", 3) != 0)
		fault = bearer_of_token(l, json_str(token), &c->who);
	else
		fault = bearer_check(&c->who);
	if (fault != TOKEN_OK)
		return token_fault_text(a, fault, TOKEN_AT_JOIN, &c->who);
	return c->private ? NULL
			  : replay_of(json_get(f->payload, "config"), NULL);
}

static struct channel *
channel_new(struct socket *s, const struct phoenix_frame *f, struct str name)
{
	const struct json *config = json_get(f->payload, "config");
	const struct json *broadcast = json_get(config, "broadcast");
	struct channel *c = xcalloc(1, sizeof(*c));

	list_init(&c->link);
	list_init(&c->chain);
	c->socket = s;
	c->topic = xmemdup(name.s, name.n);
	if (f->join_ref.s != NULL)
		c->join_ref = xmemdup(f->join_ref.s, f->join_ref.n);
	c->self = flag(json_get(broadcast, "self"));
	c->ack = flag(json_get(broadcast, "ack"));
	c->private = flag(json_get(config, "private"));
	return c;
}

static void
join(struct socket *s, struct arena *a, const struct phoenix_frame *f,
    struct inbound **in)
{
	struct access *ask = NULL;
	struct channel *c;
	struct str name;
	const char *why;

	if (name_of(f->topic, &name) < 0) {
		reply_unmatched(s, a, f);
		return;
	}
	pace_add(&s->local->joins, 1);
	c = channel_new(s, f, name);
	why = join_check(s, a, f, c);
	if (why == NULL && c->private) {
		ask = access_new(c, join_asked);
		why = replay_of(json_get(f->payload, "config"), ask);
	}
	if (why != NULL) {
		join_refused(s, a, f, why);
		if (ask != NULL)
			access_free(ask);
		channel_free(c);
	} else if (ask == NULL) {
		join_done(c, f, a);
	} else {
		ask->again = *in;
		*in = NULL;
		access_ask_read(ask);
	}
}

static void
leave(struct socket *s, struct arena *a, const struct phoenix_frame *f)
{
	struct channel *c = channel_find(s, f->topic);

	reply(s, a, f, 1, STR("{}"));
	if (c != NULL)
		channel_end(c, NULL);
}

/* Broadcasting ---------------------------------------------------------------*/

/* To everyone else, to itself if it wants so, and an answer if it wants one. */
static void
broadcast_send(
    struct channel *c, struct arena *a, const struct phoenix_frame *f)
{
	struct socket *s = c->socket;
	struct outgoing out = { .topic = str_of(c->topic),
		.private = c->private,
		.sender = c,
		.frame = { .topic = f->topic, .event = f->event } };
	int ack = c->ack;

	if (f->kind == PHOENIX_PUSH) {
		out.frame.kind = PHOENIX_BROADCAST;
		out.frame.json = f->json;
		out.frame.body = f->body;
	} else {
		out.frame.body = json_canonical(a, f->payload);
	}
	if (out.frame.body.n > LOCAL_PAYLOAD_MAX) {
		if (ack)
			reply(s, a, f, 0, STR("\"payload_size_exceeded\""));
		return;
	}
	feed_deliver(s->local, &out); /* which may end this channel */
	if (ack)
		reply(s, a, f, 1, STR("{}"));
}

static void
write_asked(struct access *ask, enum may answer)
{
	struct socket *s = ask->socket;
	struct inbound *in = ask->again;

	if (ask->channel != NULL)
		ask->channel->write = answer == MAY ? MAY : MAY_NOT;
	ask->again = NULL;
	access_free(ask);
	socket_frame(s, in);
	socket_go_on(s);
}

static void
broadcast(struct channel *c, struct arena *a, const struct phoenix_frame *f,
    struct inbound **in)
{
	struct access *ask;

	if (!json_is(f->payload, JSON_OBJECT) && f->kind == PHOENIX_TEXT) {
		channel_crash(c); /* as there */
	} else if (c->private && c->write == MAY_UNKNOWN) {
		ask = access_new(c, write_asked);
		ask->again = *in;
		*in = NULL;
		access_ask_write(ask);
	} else if (!c->private || c->write == MAY) {
		broadcast_send(c, a, f);
	}
}

/* Other events of a channel --------------------------------------------------*/

static void
token_asked(struct access *ask, enum may answer)
{
	struct channel *c = ask->channel;
	struct socket *s = ask->socket;
	struct arena a;

	arena_init(&a);
	if (c != NULL && answer == MAY)
		c->write = MAY_UNKNOWN;
	else if (c != NULL)
		channel_end(c,
		    arena_printf(&a,
			"You do not have permissions to read from this "
			"Channel topic: %s",
			c->topic));
	arena_deinit(&a);
	access_free(ask);
	socket_go_on(s);
}

/* A new token is never answered; one that doesn't hold ends the channel. */
static void
access_token(struct channel *c, struct arena *a, const struct phoenix_frame *f)
{
	struct str token = json_str(json_get(f->payload, "access_token"));
	enum token_fault fault;

	if (token.n == 0 || (token.n >= 3 && memcmp(token.s, "sb_", 3) == 0) ||
	    str_is(token, c->who.token))
		return;
	fault = bearer_of_token(c->socket->local, token, &c->who);
	if (fault != TOKEN_OK)
		channel_end(
		    c, token_fault_text(a, fault, TOKEN_IN_CHANNEL, &c->who));
	else if (c->private)
		access_ask_read(access_new(c, token_asked));
}

static void
on_channel(struct channel *c, struct arena *a, const struct phoenix_frame *f,
    struct inbound **in)
{
	if (f->kind == PHOENIX_PUSH || str_is(f->event, "broadcast"))
		broadcast(c, a, f, in);
	else if (str_is(f->event, "access_token"))
		access_token(c, a, f);
	else if (str_is(f->event, "presence"))
		reply(c->socket, a, f, 0,
		    STR("{\"reason\":\"Presence is not part of this local "
			"endpoint\"}"));
	/* anything else is dropped, as there */
}

static void
dispatch(struct socket *s, struct arena *a, const struct phoenix_frame *f,
    struct inbound **in)
{
	int text = f->kind == PHOENIX_TEXT;
	struct channel *c;

	if (text && str_is(f->topic, "phoenix") &&
	    str_is(f->event, "heartbeat"))
		reply(s, a, f, 1, STR("{}"));
	else if (text && str_is(f->event, "phx_join"))
		join(s, a, f, in);
	else if (text && str_is(f->event, "phx_leave"))
		leave(s, a, f);
	else if ((c = channel_find(s, f->topic)) == NULL)
		reply_unmatched(s, a, f);
	else
		on_channel(c, a, f, in);
}

void
socket_frame(struct socket *s, struct inbound *in)
{
	struct phoenix_frame f;
	struct error err;
	struct arena a;

	arena_init(&a);
	if (phoenix_read(&a, s->version, in->bytes, in->binary, &f, &err) < 0)
		log_debug("realtime.dropped", E_(&err));
	else
		dispatch(s, &a, &f, &in);
	arena_deinit(&a);
	free(in);
}
