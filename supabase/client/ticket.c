#include "supabase/client/ticket.h"
#include "core/json.h"

#include <string.h>

enum { TICKET_MOST = 12288 };

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
ticket_seal(const struct vault *vault, struct arena *a,
    const struct ticket *ticket, struct str *out, struct error *err)
{
	struct json *v = json_object(a);
	char text[UUID_TEXT];
	struct str envelope;

	json_set(a, v, "id", json_cstring(a, uuid_format(&ticket->id, text)));
	if (ticket->has_user)
		json_set(a, v, "user",
		    json_cstring(a, uuid_format(&ticket->user, text)));
	json_set(a, v, "role", json_int(a, ticket->authenticated));
	json_set(a, v, "expires", json_int(a, ticket->expires_ms));
	json_set(a, v, "claims", json_string(a, ticket->claims));
	if (vault_seal(vault, a, &place, json_text(a, v), &envelope, err) < 0)
		return -1;
	*out = str_of(
	    arena_printf(a, TICKET_PREFIX "%s", url_safe(a, envelope).s));
	return 0;
}

static int
ticket_read(const struct json *v, struct ticket *out)
{
	struct str user = json_str(json_get(v, "user"));
	int64_t role;

	*out = (struct ticket){ .claims = json_str(json_get(v, "claims")) };
	out->has_user = uuid_parse(user, &out->user) == 0;
	if (uuid_parse(json_str(json_get(v, "id")), &out->id) < 0 ||
	    json_integer(json_get(v, "role"), &role) < 0 ||
	    json_integer(json_get(v, "expires"), &out->expires_ms) < 0)
		return -1;
	out->authenticated = role == 1;
	return 0;
}

int
ticket_open(const struct vault *vault, struct arena *a, struct str text,
    struct ticket *out, struct error *err)
{
	struct json_limits limits = { .bytes = TICKET_MOST, .depth = 2 };
	size_t n = strlen(TICKET_PREFIX);
	struct json *v;

	if (text.n < n || memcmp(text.s, TICKET_PREFIX, n) != 0)
		return fail(err, FAULT_INPUT, "TICKET", "it is no ticket");
	text = (struct str){ text.s + n, text.n - n };
	if (vault_open(vault, a, &place, text, &text, err) < 0 ||
	    json_parse(a, text, &limits, &v, err) < 0)
		return -1;
	if (ticket_read(v, out) < 0)
		return fail(err, FAULT_INPUT, "TICKET", "it is no ticket");
	return 0;
}
