/* Who a client is, and what it is told when that isn't clear: in the words of
 * the real server, which has others at each place. */
#include "core/mem.h"
#include "realtime/local/local-impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
bearer_clear(struct bearer *who)
{
	free(who->token);
	free(who->claims);
	*who = (struct bearer){ 0 };
}

void
bearer_copy(struct bearer *to, const struct bearer *from)
{
	bearer_clear(to);
	*to = *from;
	to->token = xstrdup(from->token);
	to->claims = xstrdup(from->claims);
}

static void
fill(struct bearer *out, struct str token, struct str role, struct str claims,
    int64_t expires_s)
{
	bearer_clear(out);
	out->token = xmemdup(token.s, token.n);
	out->claims = xmemdup(claims.s, claims.n);
	out->expires_s = expires_s;
	snprintf(out->role, sizeof(out->role), "%.*s", STR_FMT(role));
}

static enum token_fault
fault_of(const struct error *err)
{
	static const struct {
		const char *code;
		enum token_fault fault;
	} faults[] = {
		{ "SIGNATURE", TOKEN_SIGNATURE },
		{ "EXPIRED", TOKEN_EXPIRED },
		{ "CLAIMS", TOKEN_CLAIMS },
	};

	for (size_t i = 0; i < NELEM(faults); i++)
		if (strcmp(err->code, faults[i].code) == 0)
			return faults[i].fault;
	return TOKEN_MALFORMED;
}

static enum token_fault
verify(const struct local *l, struct arena *a, struct str token,
    struct bearer *out)
{
	struct jwt_rules rules = { .now_s = local_now_s() };
	const struct json *role;
	struct error err;
	struct jwt jwt;
	int r = jwt_verify(a, token, &l->keys, &rules, &jwt, &err);

	if (r != 0 && fault_of(&err) == TOKEN_EXPIRED) {
		rules.now_s = 0; /* for how long, then? */
		r = jwt_verify(a, token, &l->keys, &rules, &jwt, &err);
	}
	if (r != 0)
		return fault_of(&err);
	role = json_get(jwt.claims, "role");
	if (!json_is(role, JSON_STRING) || role->n >= sizeof(out->role))
		return TOKEN_CLAIMS;
	fill(out, token, json_str(role), json_text(a, jwt.claims),
	    jwt.expires_s);
	return bearer_check(out);
}

enum token_fault
bearer_of_token(const struct local *l, struct str token, struct bearer *out)
{
	enum token_fault fault;
	struct arena a;

	arena_init(&a);
	fault = verify(l, &a, token, out);
	arena_deinit(&a);
	return fault;
}

enum token_fault
bearer_check(const struct bearer *who)
{
	return who->expires_s <= local_now_s() ? TOKEN_EXPIRED : TOKEN_OK;
}

const char *
token_fault_text(struct arena *a, enum token_fault fault,
    enum token_place place, const struct bearer *who)
{
	static const char *const texts[][3] = {
		[TOKEN_MISSING] = { "API key is missing", "", "" },
		[TOKEN_MALFORMED] = { "The token provided is not a valid JWT",
		    "MalformedJWT: The token provided is not a valid JWT",
		    "The token provided is not a valid JWT" },
		[TOKEN_SIGNATURE] = { "Failed to validate JWT signature",
		    "JwtSignatureError: Failed to validate JWT signature",
		    ":signature_error" },
		[TOKEN_EXPIRED] = { "Token has expired",
		    "InvalidJWTToken: ", "" },
		[TOKEN_CLAIMS] = { "Fields `role` and `exp` are required in "
				   "JWT",
		    "InvalidJWTToken: Fields `role` and `exp` are required in "
		    "JWT",
		    "Fields `role` and `exp` are required in JWT" },
	};
	const char *text = texts[fault][place];

	if (fault == TOKEN_EXPIRED && place != TOKEN_AT_CONNECT)
		return arena_printf(a, "%sToken has expired %lld seconds ago",
		    text, (long long)(local_now_s() - who->expires_s));
	return text;
}
