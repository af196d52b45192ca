#include "realtime/follow/session.h"
#include "realtime/wire/phoenix.h"

#include <stdio.h>
#include <string.h>

/* Outputs are few: at most a PARTED, a DISCONNECT, a CONNECT and two frames. */
static struct session_output *
put(struct session_outputs *out, enum session_act act)
{
	struct session_output *o = &out->at[out->n++];

	*o = (struct session_output){ .act = act };
	return o;
}

static int
set(char *to, size_t room, const char *text)
{
	size_t n = text != NULL ? strlen(text) : 0;

	if (n >= room)
		return -1;
	memcpy(to, n > 0 ? text : "", n + 1);
	return 0;
}

static void
because(struct realtime_session *s, struct str why)
{
	snprintf(s->why, sizeof(s->why), "%.*s",
	    (int)(why.n < sizeof(s->why) ? why.n : sizeof(s->why) - 1), why.s);
}

static int64_t
backoff(struct realtime_session *s, const struct session_input *in)
{
	uint32_t n = s->failures < 8 ? s->failures : 8;
	int64_t most = (int64_t)SESSION_AGAIN_MS << n;

	s->failures++;
	if (most > SESSION_AGAIN_MOST_MS)
		most = SESSION_AGAIN_MOST_MS;
	return in->now_ms + most / 2 +
	    (int64_t)(in->random % (uint64_t)(most / 2 + 1));
}

static void
parted(struct realtime_session *s, const struct session_input *in,
    struct session_outputs *out)
{
	if (s->join == SESSION_IN &&
	    in->now_ms - s->joined_ms >= SESSION_GOOD_MS)
		s->failures = 0;
	s->join = SESSION_OUT;
	s->again_at = backoff(s, in);
	put(out, SESSION_PARTED)->text =
	    str_of(arena_strdup(&s->arena, s->why));
}

static void
down(struct realtime_session *s, const struct session_input *in,
    struct session_outputs *out)
{
	s->link = SESSION_DOWN;
	parted(s, in, out);
}

static void
drop(struct realtime_session *s, const struct session_input *in,
    struct session_outputs *out, const char *why)
{
	because(s, str_of(why));
	put(out, SESSION_DISCONNECT);
	down(s, in, out);
}

/*
 * What the server says.
 */
static int
is_ref(struct str ref, uint32_t mine)
{
	char text[16];

	snprintf(text, sizeof(text), "\"%u\"", mine);
	return mine != 0 && str_is(ref, text);
}

static void
replied(struct realtime_session *s, const struct phoenix_frame *f,
    const struct session_input *in, struct session_outputs *out)
{
	const struct json *response;

	if (s->join != SESSION_SENT || !is_ref(f->ref, s->join_ref))
		return;
	if (str_is(json_str(json_get(f->payload, "status")), "ok")) {
		s->join = SESSION_IN;
		s->joined_ms = in->now_ms;
		s->why[0] = '\0';
		put(out, SESSION_JOINED);
		return;
	}
	response = json_get(f->payload, "response");
	because(s, json_str(json_get(response, "reason")));
	parted(s, in, out);
}

/* phx_close and phx_error: of the join at hand, or of one that is no more. */
static void
ended(struct realtime_session *s, const struct phoenix_frame *f,
    const struct session_input *in, struct session_outputs *out)
{
	if (s->join == SESSION_OUT || !is_ref(f->join_ref, s->join_ref))
		return;
	if (s->why[0] == '\0')
		because(s, str_of("the server closed the channel"));
	parted(s, in, out);
}

static void
broadcast(struct realtime_session *s, const struct phoenix_frame *f,
    struct session_outputs *out)
{
	struct phoenix_broadcast b;
	struct session_output *o;

	if (s->join != SESSION_IN || phoenix_broadcast(&s->arena, f, &b) != 0)
		return;
	o = put(out, SESSION_BROADCAST);
	o->text = arena_str(&s->arena, b.event);
	o->payload = b.payload;
}

static int
is_about(const struct realtime_session *s, struct str topic)
{
	size_t n = strlen("realtime:"), m = strlen(s->joined);

	return m > 0 && topic.n == n + m &&
	    memcmp(topic.s, "realtime:", n) == 0 &&
	    memcmp(topic.s + n, s->joined, m) == 0;
}

/* Real servers send frames that are none, at times: those are dropped. */
static void
take_message(struct realtime_session *s, const struct session_input *in,
    struct session_outputs *out)
{
	struct phoenix_frame f;

	if (phoenix_read(
		&s->arena, PHOENIX_V2, in->text, in->binary, &f, NULL) < 0)
		return;
	if (str_is(f.topic, "phoenix")) {
		if (is_ref(f.ref, s->beat_ref))
			s->beat_ref = 0;
		return;
	}
	if (!is_about(s, f.topic))
		return;
	if (f.kind == PHOENIX_BROADCAST || str_is(f.event, "broadcast"))
		broadcast(s, &f, out);
	else if (str_is(f.event, "phx_reply"))
		replied(s, &f, in, out);
	else if (str_is(f.event, "phx_close") || str_is(f.event, "phx_error"))
		ended(s, &f, in, out);
	else if (str_is(f.event, "system") &&
	    !str_is(json_str(json_get(f.payload, "status")), "ok"))
		because(s, json_str(json_get(f.payload, "message")));
}

/*
 * What it says itself.
 */
static uint32_t
say(struct realtime_session *s, struct session_outputs *out, const char *topic,
    const char *event, struct json *payload)
{
	struct arena *a = &s->arena;
	uint32_t ref = ++s->ref;
	struct phoenix_frame f = {
		.kind = PHOENIX_TEXT,
		.ref = str_of(arena_printf(a, "\"%u\"", ref)),
		.topic = str_of(topic),
		.event = str_of(event),
		.body = json_text(a, payload),
	};

	if (strcmp(event, "phx_join") == 0)
		s->join_ref = ref;
	if (strcmp(topic, "phoenix") != 0)
		f.join_ref = str_of(arena_printf(a, "\"%u\"", s->join_ref));
	put(out, SESSION_SEND)->text = phoenix_write(a, PHOENIX_V2, 0, &f);
	return ref;
}

static const char *
full_topic(struct realtime_session *s, const char *topic)
{
	return arena_printf(&s->arena, "realtime:%s", topic);
}

static void
say_join(struct realtime_session *s, const struct session_input *in,
    struct session_outputs *out)
{
	static const char config[] =
	    "{\"broadcast\":{\"ack\":false,\"self\":false},"
	    "\"presence\":{\"key\":\"\",\"enabled\":false},"
	    "\"postgres_changes\":[],\"private\":true}";
	struct arena *a = &s->arena;
	struct json *payload = json_object(a), *v;

	json_parse(a, STR(config), NULL, &v, NULL);
	json_set(a, payload, "config", v);
	json_set(a, payload, "access_token", json_cstring(a, s->token));
	set(s->joined, sizeof(s->joined), s->topic);
	set(s->pushed, sizeof(s->pushed), s->token);
	say(s, out, full_topic(s, s->topic), "phx_join", payload);
	s->join = SESSION_SENT;
	s->deadline_ms = in->now_ms + SESSION_JOIN_MS;
}

static void
say_leave(struct realtime_session *s, struct session_outputs *out)
{
	say(s, out, full_topic(s, s->joined), "phx_leave",
	    json_object(&s->arena));
	s->join = SESSION_OUT;
	s->joined[0] = '\0';
	s->why[0] = '\0';
	s->again_at = 0;
}

static void
say_token(struct realtime_session *s, struct session_outputs *out)
{
	struct json *payload = json_object(&s->arena);

	json_set(&s->arena, payload, "access_token",
	    json_cstring(&s->arena, s->token));
	set(s->pushed, sizeof(s->pushed), s->token);
	say(s, out, full_topic(s, s->joined), "access_token", payload);
}

static void
settle_down(struct realtime_session *s, const struct session_input *in,
    struct session_outputs *out)
{
	if (s->topic[0] == '\0' || s->token[0] == '\0' ||
	    in->now_ms < s->again_at)
		return;
	s->link = SESSION_OPENING;
	s->deadline_ms = in->now_ms + SESSION_OPEN_MS;
	put(out, SESSION_CONNECT);
}

static void
settle_up(struct realtime_session *s, const struct session_input *in,
    struct session_outputs *out)
{
	if (in->now_ms >= s->beat_at && s->beat_ref != 0) {
		drop(s, in, out, "no heartbeat comes back");
		return;
	}
	if (s->join == SESSION_SENT && in->now_ms >= s->deadline_ms) {
		drop(s, in, out, "the join is not answered");
		return;
	}
	if (in->now_ms >= s->beat_at) {
		s->beat_at = in->now_ms + SESSION_BEAT_MS;
		s->beat_ref =
		    say(s, out, "phoenix", "heartbeat", json_object(&s->arena));
	}
	if (s->join != SESSION_OUT && strcmp(s->joined, s->topic) != 0)
		say_leave(s, out);
	if (s->join == SESSION_OUT && s->topic[0] != '\0' &&
	    in->now_ms >= s->again_at)
		say_join(s, in, out);
	else if (s->join == SESSION_IN && strcmp(s->pushed, s->token) != 0)
		say_token(s, out);
}

void
realtime_session_step(struct realtime_session *s,
    const struct session_input *in, struct session_outputs *out)
{
	arena_reset(&s->arena);
	out->n = 0;
	if (in->event == SESSION_OPENED && s->link == SESSION_OPENING) {
		s->link = SESSION_UP;
		s->join = SESSION_OUT;
		s->beat_at = in->now_ms + SESSION_BEAT_MS;
		s->beat_ref = 0;
		s->again_at = 0;
	} else if (in->event == SESSION_CLOSED && s->link != SESSION_DOWN) {
		because(s, in->text);
		down(s, in, out);
	} else if (in->event == SESSION_MESSAGE && s->link == SESSION_UP) {
		take_message(s, in, out);
	}
	if (s->link == SESSION_OPENING && in->now_ms >= s->deadline_ms)
		drop(s, in, out, "no connection in time");
	if (s->link == SESSION_DOWN)
		settle_down(s, in, out);
	else if (s->link == SESSION_UP)
		settle_up(s, in, out);
}

int64_t
realtime_session_wake(const struct realtime_session *s)
{
	int64_t at = s->beat_at;

	if (s->link == SESSION_OPENING)
		return s->deadline_ms;
	if (s->link == SESSION_DOWN)
		return s->topic[0] != '\0' && s->token[0] != '\0' ? s->again_at
								  : INT64_MAX;
	if (s->join == SESSION_SENT && s->deadline_ms < at)
		at = s->deadline_ms;
	if (s->join == SESSION_OUT && s->topic[0] != '\0' && s->again_at < at)
		at = s->again_at;
	return at;
}

int
realtime_session_topic(struct realtime_session *s, const char *topic)
{
	return set(s->topic, sizeof(s->topic), topic);
}

int
realtime_session_token(struct realtime_session *s, const char *token)
{
	return set(s->token, sizeof(s->token), token);
}

void
realtime_session_init(struct realtime_session *s)
{
	*s = (struct realtime_session){ 0 };
	arena_init(&s->arena);
}

void
realtime_session_deinit(struct realtime_session *s)
{
	arena_deinit(&s->arena);
	explicit_bzero(s->token, sizeof(s->token));
	explicit_bzero(s->pushed, sizeof(s->pushed));
}
