/*
 * A stream's own endpoints, and the other gateways: which of them has a stream
 * nobody knows but itself, so what isn't for one of ours is told to all.
 *
 * A message is JSON, sealed under the intake key, which all gateways share:
 * whoever may NOTIFY can't forge one.
 *     {"do": "token", "stream", "user", "expires"}
 *     {"do": "channels", "stream", "user", "add": [...], "remove": [...]}
 *     {"do": "ticket", "ticket", "from", "at"}: a stream of that gateway has
 *     it since then
 */
#include "core/log.h"
#include "core/time.h"
#include "realtime/stream/stream-impl.h"
#include "realtime/realtime-sql.h"

#include <string.h>

enum { PAYLOAD_MAX = 7900 }; /* of NOTIFY: below 8,000 */

static const struct vault_place place = { .name = { "streams", 7 },
	.version = 1 };

static void
told(void *arg, struct rows *rows, const struct error *err)
{
	(void)arg;
	(void)rows;
	if (err != NULL)
		log_warn("stream.peers", E_(err));
}

/* -1: there is no way to tell them. */
static int
tell(struct streams *s, struct arena *a, const struct json *v)
{
	struct error err;
	struct str text;

	if (!listen_works(s->listen) ||
	    vault_seal(s->o.vault, a, &place, json_text(a, v), &text, &err) <
		0 ||
	    text.n > PAYLOAD_MAX)
		return -1;
	return db_call(
	    s->o.db, &sql_streams_notify, told, s, &err, db_str(text));
}

static void
set_id(struct arena *a, struct json *v, const char *name, const struct uuid *id)
{
	char text[UUID_TEXT];

	json_set(a, v, name, json_cstring(a, uuid_format(id, text)));
}

static struct json *
message(struct arena *a, const char *what, const struct uuid *stream)
{
	struct json *v = json_object(a);

	json_set(a, v, "do", json_cstring(a, what));
	set_id(a, v, "stream", stream);
	return v;
}

void
peers_ticket(struct viewer *x)
{
	struct arena a;
	struct json *v;

	if (!x->has_ticket)
		return;
	viewer_ticket_used(x->streams, &x->ticket, x, INT64_MAX);
	arena_init(&a);
	v = message(&a, "ticket", &x->id);
	set_id(&a, v, "ticket", &x->ticket);
	set_id(&a, v, "from", &x->streams->id);
	json_set(&a, v, "at", json_int(&a, x->opened_ms));
	tell(x->streams, &a, v);
	arena_deinit(&a);
}

/* Requests ---------------------------------------------------------------- */

static void
no_such_stream(struct request *req)
{
	request_problem(req,
	    &(struct problem){ .status = 404,
		.kind = "stream",
		.detail = "there is no such stream; open it again" });
}

static void
passed_on(struct streams *s, struct request *req, struct arena *a,
    struct json *v, const struct identity *who)
{
	set_id(a, v, "user", &who->user);
	if (tell(s, a, v) < 0)
		no_such_stream(req);
	else
		request_reply(
		    req, &(struct reply){ .status = 202, .body = STR("{}") });
}

/* The stream that a request names: 1 ours, 0 not ours, -1 answered. */
static int
named(struct streams *s, struct request *req, const struct identity *who,
    struct uuid *id, struct viewer **out)
{
	*out = NULL;
	if (!who->has_user || uuid_parse(req->params[0], id) < 0) {
		no_such_stream(req);
		return -1;
	}
	*out = viewer_find(s, id);
	if (*out == NULL)
		return 0;
	if (uuid_cmp(&(*out)->user, &who->user) == 0)
		return 1;
	no_such_stream(req);
	return -1;
}

static void
token_known(void *arg, struct request *req, const struct identity *who)
{
	struct streams *s = arg;
	char expires[TIME_TEXT];
	struct viewer *x;
	struct uuid id;
	struct arena a;
	struct json *v;
	int r = named(s, req, who, &id, &x);

	if (r < 0)
		return;
	arena_init(&a);
	if (r == 0) {
		v = message(&a, "token", &id);
		json_set(&a, v, "expires", json_int(&a, who->expires_ms));
		passed_on(s, req, &a, v, who);
	} else {
		viewer_renew(x, who->expires_ms);
		v = json_object(&a);
		json_set(&a, v, "expires_at",
		    who->expires_ms == INT64_MAX
			? json_null()
			: json_cstring(
			      &a, time_format(who->expires_ms, expires)));
		request_reply(req,
		    &(struct reply){ .status = 200, .body = json_text(&a, v) });
	}
	arena_deinit(&a);
}

void
peers_token(void *arg, struct request *req)
{
	struct streams *s = arg;

	identity_check(s->o.ids, req, IDENTITY_USER, token_known, s);
}

static void
channels_known(void *arg, struct request *req, const struct identity *who)
{
	struct streams *s = arg;
	struct error err = { 0 };
	struct viewer *x;
	struct uuid id;
	struct arena a;
	struct json *v, *m;
	int r = named(s, req, who, &id, &x);

	if (r < 0)
		return;
	arena_init(&a);
	if (json_parse(&a, req->body, NULL, &v, &err) < 0) {
		request_problem(req,
		    &(struct problem){
			.status = 400, .kind = "body", .detail = err.text });
	} else if (r == 1) {
		attach_change(x, req, v, who);
	} else {
		m = message(&a, "channels", &id);
		json_set(&a, m, "add", json_get(v, "add"));
		json_set(&a, m, "remove", json_get(v, "remove"));
		passed_on(s, req, &a, m, who);
	}
	arena_deinit(&a);
}

void
peers_channels(void *arg, struct request *req)
{
	struct streams *s = arg;

	identity_check(s->o.ids, req, IDENTITY_USER, channels_known, s);
}

/* Messages ---------------------------------------------------------------- */

/* As the user whose stream it is: with no more rights than theirs. */
static void
change(struct arena *a, struct viewer *x, const struct json *v)
{
	struct json *claims = json_object(a);
	struct identity who = { .kind = IDENTITY_USER,
		.role = IDENTITY_AUTHENTICATED,
		.has_user = 1,
		.user = x->user,
		.expires_ms = x->expires_ms };

	set_id(a, claims, "sub", &x->user);
	json_set(a, claims, "role", json_cstring(a, "authenticated"));
	who.claims = json_text(a, claims);
	attach_change(x, NULL, v, &who);
}

static void
take_ticket(struct streams *s, const struct json *v)
{
	struct uuid ticket, from;
	int64_t at;

	if (uuid_parse(json_str(json_get(v, "ticket")), &ticket) == 0 &&
	    uuid_parse(json_str(json_get(v, "from")), &from) == 0 &&
	    json_integer(json_get(v, "at"), &at) == 0 &&
	    uuid_cmp(&from, &s->id) != 0)
		viewer_ticket_used(s, &ticket, NULL, at);
}

static void
take(struct streams *s, struct arena *a, const struct json *v)
{
	struct str what = json_str(json_get(v, "do"));
	struct uuid stream, user;
	struct viewer *x;
	int64_t expires;

	if (str_is(what, "ticket")) {
		take_ticket(s, v);
		return;
	}
	if (uuid_parse(json_str(json_get(v, "stream")), &stream) < 0)
		return;
	x = viewer_find(s, &stream);
	if (x == NULL || uuid_parse(json_str(json_get(v, "user")), &user) < 0 ||
	    uuid_cmp(&user, &x->user) != 0)
		return;
	if (str_is(what, "token") &&
	    json_integer(json_get(v, "expires"), &expires) == 0)
		viewer_renew(x, expires);
	else if (str_is(what, "channels"))
		change(a, x, v);
}

void
peers_notified(struct streams *s, const char *payload)
{
	struct error err;
	struct str text;
	struct arena a;
	struct json *v;

	arena_init(&a);
	if (vault_open(s->o.vault, &a, &place, str_of(payload), &text, &err) <
		0 ||
	    json_parse(&a, text, NULL, &v, &err) < 0)
		log_warn("stream.peers", E_(&err));
	else
		take(s, &a, v);
	arena_deinit(&a);
}
