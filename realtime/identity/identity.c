/* Of any kind: which one it is, and the request that shows it. */
#include "realtime/identity/identity.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/time.h"
#include "realtime/identity/identity-impl.h"
#include "realtime/wire/query.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CHALLENGE "WWW-Authenticate: Bearer\r\n"

static int
begins(struct str s, const char *prefix)
{
	size_t n = strlen(prefix);

	return s.n >= n && memcmp(s.s, prefix, n) == 0;
}

void
identity_token(struct identities *ids, struct str token, unsigned kinds,
    struct identity_wait *wait)
{
	enum identity_kind kind = begins(token, SERVICE_PREFIX)
	    ? IDENTITY_SERVICE
	    : begins(token, TICKET_PREFIX) ? IDENTITY_TICKET
					   : IDENTITY_USER;

	wait->pending = NULL;
	if ((kinds & kind) == 0)
		identity_refuse(wait, FAULT_AUTH, "KIND",
		    kind == IDENTITY_SERVICE ? "a service token only publishes"
			: kind == IDENTITY_TICKET
			? "a ticket only opens streams"
			: "this takes a service token, not a user's");
	else if (token.n > TOKEN_MAX)
		identity_refuse(
		    wait, FAULT_AUTH, "TOKEN", "the token is too long");
	else if (kind == IDENTITY_SERVICE)
		service_check(ids, token, wait);
	else if (kind == IDENTITY_TICKET)
		ticket_check(ids, token, wait);
	else
		user_check(ids, token, wait);
}

/* Requests ----------------------------------------------------------------- */

struct check {
	struct identity_wait wait;
	struct request *req;
	identity_fn *fn;
	void *arg;
};

static void
check_gone(struct request *req)
{
	struct check *c = req->owner;

	identity_cancel(&c->wait);
	free(c);
}

static void
check_answer(struct request *req, const struct error *err)
{
	struct problem p = { .status = 401,
		.kind = "token",
		.detail = err->text,
		.headers = CHALLENGE };

	if (err->fault == FAULT_RETRY)
		p = (struct problem){ .status = 503,
			.kind = "unavailable",
			.detail = "who asks can't be found out now",
			.headers = "Retry-After: 2\r\n" };
	else if (strcmp(err->code, "KIND") == 0)
		p = (struct problem){
			.status = 403, .kind = "token", .detail = err->text
		};
	request_problem(req, &p);
}

static void
check_done(struct identity_wait *wait, const struct identity *who,
    const struct error *err)
{
	struct check *c = list_entry(wait, struct check, wait);
	struct request *req = c->req;
	identity_fn *fn = c->fn;
	void *arg = c->arg;

	free(c);
	req->owner = NULL;
	req->gone = NULL;
	if (who == NULL)
		check_answer(req, err);
	else
		fn(arg, req, who);
}

/* "Bearer <token>"; s NULL when it is something else. */
static struct str
bearer(const struct http1_head *head)
{
	struct str value = http1_get(head, "authorization");
	size_t n = strlen("Bearer ");

	if (value.s == NULL || value.n <= n ||
	    strncasecmp(value.s, "Bearer ", n) != 0)
		return (struct str){ 0 };
	value = (struct str){ value.s + n, value.n - n };
	while (value.n > 0 && *value.s == ' ')
		value = (struct str){ value.s + 1, value.n - 1 };
	return value;
}

void
identity_check(struct identities *ids, struct request *req, unsigned kinds,
    identity_fn *fn, void *arg)
{
	struct str token = bearer(&req->head);
	struct check *c;
	struct arena a;

	arena_init(&a);
	if (token.s == NULL && (kinds & IDENTITY_TICKET) != 0 &&
	    query_get(&a, req->head.query, "ticket", &token) < 0)
		token = (struct str){ 0 };
	if (token.s == NULL) {
		request_problem(req,
		    &(struct problem){ .status = 401,
			.kind = "token",
			.detail = kinds == IDENTITY_SERVICE
			    ? "send Authorization: Bearer and a service token"
			    : "send Authorization: Bearer and a user's token",
			.headers = CHALLENGE });
	} else {
		c = xcalloc(1, sizeof(*c));
		c->wait.fn = check_done;
		c->req = req;
		c->fn = fn;
		c->arg = arg;
		req->owner = c;
		req->gone = check_gone;
		identity_token(ids, token, kinds, &c->wait);
	}
	arena_deinit(&a);
}

/* POST /api/logs/stream/ticket */
static void
ticket_for(void *arg, struct request *req, const struct identity *who)
{
	struct identities *ids = arg;
	char expires[TIME_TEXT];
	struct json *v;
	struct str ticket;
	struct error err;
	struct arena a;

	arena_init(&a);
	if (identity_ticket(ids, &a, who, &ticket, &err) < 0) {
		request_problem(req, &(struct problem){ .status = 500 });
	} else {
		v = json_object(&a);
		json_set(&a, v, "ticket", json_string(&a, ticket));
		json_set(&a, v, "expires_at",
		    json_cstring(&a, time_format(who->expires_ms, expires)));
		request_reply(req,
		    &(struct reply){ .status = 201,
			.headers = "Cache-Control: no-store\r\n",
			.body = json_text(&a, v) });
	}
	arena_deinit(&a);
}

static void
ticket_handle(void *arg, struct request *req)
{
	identity_check(arg, req, IDENTITY_USER, ticket_for, arg);
}

size_t
identity_routes(struct identities *ids, struct route *out)
{
	out[0] = (struct route){ .method = "POST",
		.pattern = "/api/logs/stream/ticket",
		.body_max = 1024,
		.handle = ticket_handle,
		.arg = ids };
	return 1;
}

/* ---------------------------------------------------------------------------- */

static int
keys_start(struct identities *ids, const char *url, struct error *err)
{
	struct http_options o = { .guard = &ids->guard,
		.body_cap = JWT_JWKS_MAX,
		.body_limit = JWT_JWKS_MAX };

	if (guard_init_url(&ids->guard, url, err) < 0)
		return fail_in(err, "MESHHOOK_JWKS_URL");
	ids->http = http_new(ids->loop, &o, err);
	if (ids->http == NULL)
		return fail_in(err, "MESHHOOK_JWKS_URL");
	ids->jwks = jwks_new(ids->loop, ids->http, url);
	jwks_keys(ids->jwks); /* fetch them before the first is asked for */
	return 0;
}

struct identities *
identities_new(
    struct loop *loop, const struct identities_options *o, struct error *err)
{
	struct identities *ids = xcalloc(1, sizeof(*ids));

	ids->loop = loop;
	ids->db = o->db;
	ids->vault = o->vault;
	list_init(&ids->pending);
	if (o->issuer != NULL)
		ids->issuer = xstrdup(o->issuer);
	if (o->audience != NULL)
		ids->audience = xstrdup(o->audience);
	if (o->jwt_secret.s != NULL &&
	    jwt_keys_add_secret(&ids->secret, o->jwt_secret, err) < 0) {
		fail_in(err, "MESHHOOK_JWT_SECRET");
		return identities_free(ids);
	}
	if (o->jwks_url != NULL && keys_start(ids, o->jwks_url, err) < 0)
		return identities_free(ids);
	return ids;
}

struct identities *
identities_free(struct identities *ids)
{
	if (ids == NULL)
		return NULL;
	while (!list_empty(&ids->pending))
		pending_end(
		    list_entry(ids->pending.next, struct pending, link));
	jwks_free(ids->jwks);
	http_free(ids->http);
	guard_deinit(&ids->guard);
	jwt_keys_deinit(&ids->secret);
	free(ids->issuer);
	free(ids->audience);
	free(ids);
	return NULL;
}
