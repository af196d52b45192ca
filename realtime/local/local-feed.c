/*
 * What those who joined hear. A trigger of the local stack names each row that
 * is inserted into realtime.messages in a notification; rows are read in that
 * order, a batch a turn. What is written while the database or its
 * notifications are away is lost, as it is there.
 */
#include "core/log.h"
#include "core/mem.h"
#include "realtime/local/local-impl.h"
#include "realtime/realtime-sql.h"

#include <stdlib.h>
#include <string.h>

struct feed {
	struct local *local;
	struct listen *listen;
	struct loop_defer *read;
	struct db_array ids, times; /* named, not yet read */
	int listening;              /* it has begun, once */
};

struct list *
topic_bucket(struct local *l, struct str topic)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < topic.n; i++)
		hash = (hash ^ (unsigned char)topic.s[i]) * 16777619u;
	return &l->topics[hash % LOCAL_TOPICS];
}

/* A frame as its versions get it; "" when a version can't. */
struct forms {
	struct phoenix_frame v1, v2;
	int v1_ok;
};

/* Version 1 knows text only; version 2 gets a binary form where it fits. */
static void
forms_of(struct arena *a, const struct phoenix_frame *f, struct forms *out)
{
	struct str bytes;

	out->v1 = *f;
	out->v2 = *f;
	out->v1_ok = 1;
	if (f->kind == PHOENIX_TEXT)
		return;
	out->v1_ok = f->json;
	out->v1 = (struct phoenix_frame){ .topic = f->topic,
		.event = STR("broadcast") };
	if (f->json)
		out->v1.body = phoenix_broadcast_text(a, f);
	if (f->json && phoenix_write_binary(a, f, &bytes, NULL) < 0)
		out->v2 = out->v1; /* a part over 255 bytes */
}

/* One receiver, unless it is one too many. */
static void
hand_to(struct local *l, struct channel *c, const struct forms *forms)
{
	enum phoenix_version version = c->socket->version;

	pace_add(&l->events, 1);
	if (l->events.over) {
		l->thrown_out++;
		channel_end(c, "Too many messages per second");
	} else if (version == PHOENIX_V2) {
		socket_send(c->socket, &forms->v2);
	} else if (forms->v1_ok) {
		socket_send(c->socket, &forms->v1);
	}
}

/* Is it lost, because a test wants it so? */
static int
is_lost(struct local *l, struct str topic)
{
	if (loop_now_ms(l->loop) < l->mute_until_ms)
		return 1;
	if (l->drop == 0 ||
	    (l->drop_topic != NULL && !str_is(topic, l->drop_topic)))
		return 0;
	l->drop--;
	return 1;
}

void
feed_deliver(struct local *l, struct outgoing *out)
{
	struct forms forms;
	struct arena a;

	pace_add(&l->events, 1);
	if (is_lost(l, out->topic))
		return;
	arena_init(&a);
	forms_of(&a, &out->frame, &forms);
	list_for_safe (it, topic_bucket(l, out->topic)) {
		struct channel *c = list_entry(it, struct channel, chain);

		if (c->private == out->private &&
		    str_is(out->topic, c->topic) &&
		    (c != out->sender || c->self))
			hand_to(l, c, &forms);
	}
	arena_deinit(&a);
}

/* A row as a broadcast, {"id"} and more as its metadata. */
static void
row_frame(struct arena *a, struct rows *rows, int i, struct str topic,
    int replayed, struct phoenix_frame *f)
{
	struct str payload = rows_str(rows, i, "payload");
	struct str bytes = rows_str(rows, i, "binary_payload");
	struct json *meta = json_object(a);

	json_set(a, meta, "id", json_string(a, rows_str(rows, i, "id")));
	if (replayed)
		json_set(a, meta, "replayed", json_bool(1));
	*f = (struct phoenix_frame){ .kind = PHOENIX_BROADCAST,
		.topic =
		    str_of(arena_printf(a, "realtime:%.*s", STR_FMT(topic))),
		.event = rows_str(rows, i, "event"),
		.meta = json_text(a, meta),
		.body = bytes.s != NULL ? bytes : payload,
		.json = bytes.s == NULL };
	if (f->body.s == NULL)
		f->body = STR("null");
}

static void
rows_read(void *arg, struct rows *rows, const struct error *err)
{
	struct feed *feed = arg;
	struct outgoing out;
	struct arena a;

	if (err != NULL) {
		log_warn("realtime.lost", E_(err));
		return;
	}
	arena_init(&a);
	for (int i = 0; i < rows->n; i++) {
		struct str topic = rows_str(rows, i, "topic");

		arena_reset(&a);
		out = (struct outgoing){ .topic = topic,
			.private = rows_bool(rows, i, "private") };
		row_frame(&a, rows, i, topic, 0, &out.frame);
		if (out.frame.body.n <= LOCAL_PAYLOAD_MAX)
			feed_deliver(feed->local, &out);
	}
	arena_deinit(&a);
}

static void
read_named(void *arg)
{
	struct feed *f = arg;
	struct error err;

	if (db_call(f->local->db, &sql_local_messages, rows_read, f, &err,
		db_array(&f->ids), db_array(&f->times)) < 0)
		log_warn("realtime.lost", E_(&err));
	db_array_reset(&f->ids);
	db_array_reset(&f->times);
}

void
feed_ready(const struct feed *f)
{
	if (f != NULL && f->listening && db_ready(f->local->db))
		log_info("realtime.ready");
}

/* "<id> <inserted_at>"; no channel: listening has begun, maybe anew. */
static void
notified(void *arg, const char *channel, const char *payload)
{
	struct feed *f = arg;
	struct uuid id;

	if (channel == NULL) {
		f->listening = 1;
		feed_ready(f);
	}
	if (channel == NULL || strlen(payload) < UUID_TEXT ||
	    uuid_parse((struct str){ payload, UUID_TEXT - 1 }, &id) < 0)
		return;
	db_array_uuid(&f->ids, &id);
	db_array_str(&f->times, str_of(payload + UUID_TEXT));
	loop_defer_call(f->read);
}

struct feed *
feed_new(struct local *l, struct error *err)
{
	static const char *const channels[] = { "realtime_messages", NULL };
	struct listen_options o = {
		.db = { .url = l->options.db_url,
		    .application_name = "meshhook realtime" },
		.channels = channels,
		.via = l->db,
		.fn = notified,
	};
	struct feed *f = xcalloc(1, sizeof(*f));

	f->local = l;
	db_array_init(&f->ids, DB_UUID);
	db_array_init(&f->times, DB_TEXT);
	f->read = loop_defer_new(l->loop, read_named, f);
	o.arg = f;
	f->listen = listen_new(l->loop, &o, err);
	return f->listen != NULL ? f : feed_free(f);
}

struct feed *
feed_free(struct feed *f)
{
	if (f == NULL)
		return NULL;
	if (f->listen != NULL)
		listen_free(f->listen);
	loop_defer_free(f->read);
	db_array_deinit(&f->times);
	db_array_deinit(&f->ids);
	free(f);
	return NULL;
}

/* Replay --------------------------------------------------------------------*/

/* A replayed message is text in either version, unless it is bytes. */
static void
replay_row(struct arena *a, struct channel *c, struct rows *rows, int i)
{
	struct phoenix_frame f;
	struct json *payload;

	row_frame(a, rows, i, str_of(c->topic), 1, &f);
	if (f.json) {
		if (json_parse(a, f.body, NULL, &payload, NULL) < 0)
			return;
		f.body = json_canonical(a, payload);
		f.body = phoenix_broadcast_text(a, &f);
		f.event = STR("broadcast");
		f.kind = PHOENIX_TEXT;
		f.join_ref = c->join_ref != NULL ? str_of(c->join_ref)
						 : (struct str){ 0 };
	}
	if (f.json || c->socket->version == PHOENIX_V2)
		socket_send(c->socket, &f);
}

static void
replayed(void *arg, struct rows *rows, const struct error *err)
{
	struct access *ask = arg;
	struct socket *s = ask->socket;
	struct arena a;

	arena_init(&a);
	for (int i = 0;
	     err == NULL && s != NULL && ask->channel != NULL && i < rows->n;
	     i++)
		replay_row(&a, ask->channel, rows, i);
	arena_deinit(&a);
	access_free(ask);
	if (s != NULL)
		socket_go_on(s);
}

void
feed_replay(struct access *ask)
{
	struct socket *s = ask->socket;

	if (ask->limit > 0 &&
	    db_call(s->local->db, &sql_local_replay, replayed, ask, NULL,
		db_text(ask->channel->topic), db_int8(ask->since_ms),
		db_int4(ask->limit)) == 0)
		return;
	access_free(ask);
	socket_go_on(s);
}
