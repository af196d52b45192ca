/*
 * Tickets: a user's identity as JSON, sealed by the vault, in an alphabet that
 * needs no encoding in a URL.
 */
#include "core/json.h"
#include "core/time.h"
#include "realtime/identity/identity-impl.h"

#include <string.h>

static const struct vault_place place = { .name = { "stream/ticket", 13 },
	.version = 1 };

/* Base64 to base64url without padding, in place. */
static struct str
url_safe(struct arena *a, struct str envelope)
{
	char *s = arena_strndup(a, envelope.s, envelope.n);
	size_t n = 0;

	for (size_t i = 0; i < envelope.n; i++) {
		char c = s[i];

		if (c != '=')
			s[n++] = (char)(c == '+' ? '-' : c == '/' ? '_' : c);
	}
	s[n] = '\0';
	return (struct str){ s, n };
}

int
identity_ticket(struct identities *ids, struct arena *a,
    const struct identity *who, struct str *out, struct error *err)
{
	struct json *v = json_object(a);
	char text[UUID_TEXT];
	struct str envelope;
	struct uuid id;

	uuid_random(&id);
	json_set(a, v, "id", json_cstring(a, uuid_format(&id, text)));
	if (who->has_user)
		json_set(a, v, "user",
		    json_cstring(a, uuid_format(&who->user, text)));
	json_set(a, v, "role", json_int(a, who->role));
	json_set(a, v, "expires", json_int(a, who->expires_ms));
	json_set(a, v, "claims", json_string(a, who->claims));
	if (vault_seal(ids->vault, a, &place, json_text(a, v), &envelope, err) <
	    0)
		return -1;
	*out = str_of(
	    arena_printf(a, TICKET_PREFIX "%s", url_safe(a, envelope).s));
	return 0;
}

static int
ticket_read(const struct json *v, struct identity *who)
{
	struct str user = json_str(json_get(v, "user"));
	int64_t role;

	*who = (struct identity){ .kind = IDENTITY_TICKET,
		.claims = json_str(json_get(v, "claims")) };
	who->has_user = uuid_parse(user, &who->user) == 0;
	if (uuid_parse(json_str(json_get(v, "id")), &who->id) < 0 ||
	    json_integer(json_get(v, "role"), &role) < 0 ||
	    json_integer(json_get(v, "expires"), &who->expires_ms) < 0)
		return -1;
	who->role = role == IDENTITY_AUTHENTICATED ? IDENTITY_AUTHENTICATED
						   : IDENTITY_ANON;
	return 0;
}

void
ticket_check(
    struct identities *ids, struct str token, struct identity_wait *wait)
{
	size_t n = strlen(TICKET_PREFIX);
	struct str text = { token.s + n, token.n - n };
	struct json_limits limits = { .bytes = TOKEN_MAX, .depth = 2 };
	struct identity who;
	struct arena a;
	struct json *v;

	arena_init(&a);
	if (vault_open(ids->vault, &a, &place, text, &text, NULL) < 0 ||
	    json_parse(&a, text, &limits, &v, NULL) < 0 ||
	    ticket_read(v, &who) < 0)
		identity_refuse(wait, FAULT_AUTH, "TOKEN",
		    "the ticket is none of this gateway's");
	else if (who.expires_ms <= time_wall_ms())
		identity_refuse(wait, FAULT_AUTH, "EXPIRED",
		    "the token behind the ticket has expired");
	else
		wait->fn(wait, &who, NULL);
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
