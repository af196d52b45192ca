/*
 * Faults on demand, for tests of what stands on this: POST /realtime/v1/faults
 * with a token of service_role as the header apikey, and any of
 *     {"mute_ms": 22000}      no broadcast is heard until then
 *     {"drop": 1, "topic": T} the next so many broadcasts of T are lost
 *     {"kill": true}          every socket ends without a word
 *     {"close": 1012}         every socket is closed with that code
 *     {"disconnect": true}    each is told first, as when a project is reloaded
 *     {"crash": "topic"}      the channels of that topic crash
 *     {"events": n, "joins": n, "users": n}  other limits; 0 events: none
 * GET answers what there is: sockets, channels, the averages that are held
 * against the limits, and how many channels were thrown out by them.
 */
#include "core/mem.h"
#include "realtime/local/local-impl.h"

#include <stdlib.h>
#include <string.h>

static void
begin(void *arg, struct request *req)
{
	struct local *l = arg;
	struct bearer who = { 0 };
	int ok;

	ok = bearer_of_token(l, http1_get(&req->head, "apikey"), &who) ==
		TOKEN_OK &&
	    strcmp(who.role, "service_role") == 0;
	bearer_clear(&who);
	if (ok)
		request_read(req, req->route->body_max);
	else
		request_problem(req,
		    &(struct problem){ .status = 401,
			.detail =
			    "the header apikey has a token of service_role" });
}

/* A member that is a whole number of at least 0; -1: there is none. */
static int64_t
number(const struct json *v, const char *name)
{
	int64_t n;

	return json_integer(json_get(v, name), &n) == 0 && n >= 0 ? n : -1;
}

static void
drop(struct local *l, int64_t n, const struct json *topic)
{
	free(l->drop_topic);
	l->drop_topic = json_is(topic, JSON_STRING) ? xstrdup(topic->s) : NULL;
	l->drop = n;
}

static void
crash(struct local *l, struct str topic)
{
	list_for_safe (it, topic_bucket(l, topic)) {
		struct channel *c = list_entry(it, struct channel, chain);

		if (str_is(topic, c->topic))
			channel_crash(c);
	}
}

static void
say_disconnect(struct socket *s)
{
	list_for (it, &s->channels)
		channel_system(list_entry(it, struct channel, link), "system",
		    1, "Server requested disconnect");
}

static void
end_sockets(struct local *l, const struct json *v)
{
	int told = json_is(json_get(v, "disconnect"), JSON_TRUE);
	int64_t code = told ? 1012 : number(v, "close");

	list_for_safe (it, &l->sockets) {
		struct socket *s = list_entry(it, struct socket, link);

		if (told)
			say_disconnect(s);
		if (json_is(json_get(v, "kill"), JSON_TRUE))
			websocket_kill(s->ws);
		else if (code > 0)
			websocket_close(s->ws, (int)code);
	}
}

static void
set_limits(struct local *l, const struct json *v)
{
	if (number(v, "events") >= 0)
		pace_init(&l->events, (uint32_t)number(v, "events"));
	if (number(v, "joins") >= 0)
		pace_init(&l->joins, (uint32_t)number(v, "joins"));
	if (number(v, "users") >= 0)
		l->users = (uint32_t)number(v, "users");
}

static void
state(struct local *l, struct request *req)
{
	int64_t channels = 0;
	struct json *v;
	struct arena a;

	arena_init(&a);
	list_for (it, &l->sockets)
		channels += list_entry(it, struct socket, link)->n_channels;
	v = json_object(&a);
	json_set(&a, v, "sockets", json_int(&a, l->n_sockets));
	json_set(&a, v, "channels", json_int(&a, channels));
	json_set(
	    &a, v, "events_per_s", json_double(&a, pace_average(&l->events)));
	json_set(
	    &a, v, "joins_per_s", json_double(&a, pace_average(&l->joins)));
	json_set(&a, v, "thrown_out", json_int(&a, (int64_t)l->thrown_out));
	request_reply(
	    req, &(struct reply){ .status = 200, .body = json_text(&a, v) });
	arena_deinit(&a);
}

static void
cause(struct local *l, struct request *req)
{
	struct json *v = NULL;
	struct error err;
	struct arena a;

	arena_init(&a);
	if (json_parse(&a, req->body, NULL, &v, &err) < 0) {
		request_problem(req,
		    &(struct problem){ .status = 400, .detail = err.text });
		arena_deinit(&a);
		return;
	}
	if (number(v, "mute_ms") >= 0)
		l->mute_until_ms = loop_now_ms(l->loop) + number(v, "mute_ms");
	if (number(v, "drop") >= 0)
		drop(l, number(v, "drop"), json_get(v, "topic"));
	set_limits(l, v);
	if (json_is(json_get(v, "crash"), JSON_STRING))
		crash(l, json_str(json_get(v, "crash")));
	end_sockets(l, v);
	arena_deinit(&a);
	request_reply(req, &(struct reply){ .status = 204 });
}

static void
handle(void *arg, struct request *req)
{
	if (str_is(req->head.method, "POST"))
		cause(arg, req);
	else
		state(arg, req);
}

size_t
fault_routes(struct local *l, struct route *out)
{
	out[0] = (struct route){ .method = "POST",
		.pattern = "/realtime/v1/faults",
		.body_max = 4096,
		.begin = begin,
		.handle = handle,
		.arg = l };
	out[1] = (struct route){ .method = "GET",
		.pattern = "/realtime/v1/faults",
		.begin = begin,
		.handle = handle,
		.arg = l };
	return 2;
}
