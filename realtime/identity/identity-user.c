/* Users' tokens: verified by the shared secret or the keys at the URL, which
 * may have to be fetched first. */
#include "core/mem.h"
#include "core/time.h"
#include "realtime/identity/identity-impl.h"

#include <stdlib.h>
#include <string.h>

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
verify(struct identities *ids, struct str token, struct identity_wait *wait,
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
		verify(ids, str_of(token), wait, 1);
	free(token);
}

void
user_check(struct identities *ids, struct str token, struct identity_wait *wait)
{
	verify(ids, token, wait, 0);
}
