#include "realtime/identity/identity.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/time.h"
#include "realtime/identity/identity-impl.h"
#include "realtime/wire/query.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CHALLENGE "WWW-Authenticate: Bearer\r\n"

const char *
identity_role_name(enum identity_role role)
{
	return role == IDENTITY_AUTHENTICATED ? "authenticated" : "anon";
}

struct identity *
identity_keep(const struct identity *who)
{
	struct identity *copy = xmalloc(sizeof(*copy) + who->claims.n + 1);
	char *text = (char *)(copy + 1);

	*copy = *who;
	memcpy(text, who->claims.n > 0 ? who->claims.s : "", who->claims.n);
	text[who->claims.n] = '\0';
	copy->claims.s = text;
	return copy;
}

struct identity *
identity_free(struct identity *who)
{
	free(who);
	return NULL;
}

struct pending *
pending_new(struct identities *ids, struct identity_wait *wait)
{
	struct pending *p = xcalloc(1, sizeof(*p));

	p->ids = ids;
	p->wait = wait;
	if (wait != NULL)
		wait->pending = p;
	list_init(&p->keys.link);
	list_append(&ids->pending, &p->link);
	return p;
}

struct identity_wait *
pending_end(struct pending *p)
{
	struct identity_wait *wait = p->wait;

	if (wait != NULL)
		wait->pending = NULL;
	jwks_cancel(&p->keys);
	list_remove(&p->link);
	free(p->token);
	free(p);
	return wait;
}

void
identity_cancel(struct identity_wait *wait)
{
	struct pending *p = wait->pending;

	if (p == NULL)
		return;
	wait->pending = NULL;
	p->wait = NULL;
	if (p->token != NULL) /* a call of the database's will end it */
		pending_end(p);
}

void
identity_refuse(struct identity_wait *wait, enum fault fault, const char *code,
    const char *why)
{
	struct error err;

	fail(&err, fault, code, "%s", why);
	wait->fn(wait, NULL, &err);
}

/* Users ------------------------------------------------------------------- */

static int
claims_identity(struct arena *a, const struct jwt *jwt, struct identity *who,
    struct error *err)
{
	struct str role = json_str(json_get(jwt->claims, "role"));
	struct str sub = json_str(json_get(jwt->claims, "sub"));

	if (json_storable(jwt->claims, NULL) < 0)
		return fail(err, FAULT_AUTH, "CLAIMS",
		    "the token's claims can't be stored");
	*who = (struct identity){ .kind = IDENTITY_USER,
		.expires_ms = jwt->expires_s * 1000,
		.service_role = str_is(role, "service_role"),
		.has_user = uuid_parse(sub, &who->user) == 0,
		.claims = json_text(a, jwt->claims) };
	if (!str_is(role, "authenticated"))
		return 0;
	if (uuid_parse(sub, &who->user) < 0)
		return fail(err, FAULT_AUTH, "CLAIMS",
		    "the token's sub is no user's id");
	who->role = IDENTITY_AUTHENTICATED;
	return 0;
}

/* By the shared secret, or else by the keys at the URL: jwt_verify()'s result. */
static int
user_verify(struct identities *ids, struct arena *a, struct str token,
    struct jwt *jwt, struct error *err)
{
	struct jwt_rules rules = { .now_s = time_wall_ms() / 1000 };
	int r;

	if (ids->issuer != NULL)
		rules.issuer = str_of(ids->issuer);
	if (ids->audience != NULL)
		rules.audience = str_of(ids->audience);
	r = jwt_verify(a, token, &ids->secret, &rules, jwt, err);
	if (r == JWT_UNKNOWN_KEY && ids->jwks != NULL)
		r = jwt_verify(
		    a, token, jwks_keys(ids->jwks), &rules, jwt, err);
	return r;
}

static void keys_came(struct jwks_wait *keys, const struct error *err);

/* final: keys were fetched for it just now. */
static void
user_check(struct identities *ids, struct str token, struct identity_wait *wait,
    int final)
{
	struct identity who;
	struct error err;
	struct arena a;
	struct jwt jwt;
	int r;

	arena_init(&a);
	r = user_verify(ids, &a, token, &jwt, &err);
	if (r == JWT_UNKNOWN_KEY && ids->jwks != NULL && !final) {
		struct pending *p = pending_new(ids, wait);

		p->keys.fn = keys_came;
		p->token = strndup(token.s, token.n);
		r = jwks_refresh(ids->jwks, &p->keys, &err);
		if (r == JWKS_LATER) {
			arena_deinit(&a);
			return;
		}
		pending_end(p);
		if (r == 0)
			fail(&err, FAULT_AUTH, "SIGNATURE",
			    "the token is signed by a key that isn't known "
			    "here");
	} else if (r == 0 && claims_identity(&a, &jwt, &who, &err) == 0) {
		wait->fn(wait, &who, NULL);
		arena_deinit(&a);
		return;
	}
	wait->fn(wait, NULL, &err);
	arena_deinit(&a);
}

static void
keys_came(struct jwks_wait *keys, const struct error *err)
{
	struct pending *p = list_entry(keys, struct pending, keys);
	struct identities *ids = p->ids;
	char *token = p->token;
	struct identity_wait *wait;

	p->token = NULL;
	wait = pending_end(p);
	if (wait != NULL && err != NULL)
		wait->fn(wait, NULL, err);
	else if (wait != NULL)
		user_check(ids, str_of(token), wait, 1);
	free(token);
}

/* Of any kind -------------------------------------------------------------- */

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
		user_check(ids, token, wait, 0);
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
