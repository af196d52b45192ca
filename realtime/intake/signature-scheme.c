/* Schemes as they are written down: the providers' table, and an endpoint's
 * own. */
#include "realtime/intake/signature.h"

#include "core/base64.h"
#include "core/hex.h"
#include "core/suggest.h"

#include <openssl/crypto.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { RAW = SIGNATURE_SECRET_MAX + 3 }; /* with the rest of a last group */

static const char *const type_names[] = { "standard", "stripe", "github",
	"slack", "shopify", "hmac", "jwt", "none" };
static const char *const digest_names[] = { "sha256", "sha1", "sha512", NULL };
static const char *const encoding_names[] = { "hex", "base64", NULL };
static const char *const key_names[] = { "text", "base64", "hex", NULL };

static const struct signature_scheme schemes[N_SIGNATURE_TYPES] = {
	/* Standard Webhooks 1.0, "Signature scheme" */
	[SIGNATURE_STANDARD] = {
		.encoding = SIGNATURE_BASE64,
		.key = SIGNATURE_KEY_BASE64,
		.header = "webhook-signature",
		.prefix = "v1,",
		.separator = ' ',
		.time_header = "webhook-timestamp",
		.content = "{id}.{timestamp}.{body}",
		.id_header = "webhook-id",
	},
	/* docs.stripe.com/webhooks#verify-manually: all of the secret's text,
	 * "whsec_" included, is the key */
	[SIGNATURE_STRIPE] = {
		.header = "stripe-signature",
		.prefix = "v1=",
		.separator = ',',
		.time_prefix = "t=",
		.content = "{timestamp}.{body}",
		.id_member = "id",
	},
	[SIGNATURE_GITHUB] = {
		.header = "x-hub-signature-256",
		.prefix = "sha256=",
		.content = "{body}",
		.id_header = "x-github-delivery",
	},
	[SIGNATURE_SLACK] = {
		.header = "x-slack-signature",
		.prefix = "v0=",
		.time_header = "x-slack-request-timestamp",
		.content = "v0:{timestamp}:{body}",
		.id_member = "event_id",
	},
	[SIGNATURE_SHOPIFY] = {
		.encoding = SIGNATURE_BASE64,
		.header = "x-shopify-hmac-sha256",
		.content = "{body}",
		.id_header = "x-shopify-webhook-id",
	},
	[SIGNATURE_HMAC] = {
		.header = "x-signature",
		.content = "{body}",
		.id_header = "idempotency-key",
	},
	[SIGNATURE_JWT] = { .header = "authorization", .prefix = "Bearer " },
	[SIGNATURE_NONE] = { .id_header = "idempotency-key" },
};

const char *
signature_type_name(enum signature_type type)
{
	return type_names[type];
}

struct signature_scheme
signature_scheme_of(enum signature_type type)
{
	struct signature_scheme s = schemes[type];

	s.type = type;
	s.tolerance_s = SIGNATURE_TOLERANCE;
	return s;
}

int
signature_is_keyless(const struct signature_scheme *scheme)
{
	return scheme->type == SIGNATURE_NONE || scheme->jwks_url[0] != '\0';
}

enum member_kind {
	MEMBER_NAME,
	MEMBER_TEXT,
	MEMBER_LONG,
	MEMBER_URL,
	MEMBER_CHAR,
	MEMBER_CHOICE,
};
enum { OF_HMAC = 1, OF_JWT = 2, OF_NONE = 4 };

static const struct member {
	const char *key;
	enum member_kind kind;
	size_t at; /* in struct signature_scheme */
	const char *const *choices;
	unsigned of;
} members[] = {
	{ "header", MEMBER_NAME, offsetof(struct signature_scheme, header),
	    NULL, OF_HMAC | OF_JWT },
	{ "timestamp_header", MEMBER_NAME,
	    offsetof(struct signature_scheme, time_header), NULL, OF_HMAC },
	{ "id_header", MEMBER_NAME,
	    offsetof(struct signature_scheme, id_header), NULL,
	    OF_HMAC | OF_NONE },
	{ "prefix", MEMBER_TEXT, offsetof(struct signature_scheme, prefix),
	    NULL, OF_HMAC | OF_JWT },
	{ "timestamp_prefix", MEMBER_TEXT,
	    offsetof(struct signature_scheme, time_prefix), NULL, OF_HMAC },
	{ "content", MEMBER_TEXT, offsetof(struct signature_scheme, content),
	    NULL, OF_HMAC },
	{ "separator", MEMBER_CHAR,
	    offsetof(struct signature_scheme, separator), NULL, OF_HMAC },
	{ "algorithm", MEMBER_CHOICE, offsetof(struct signature_scheme, digest),
	    digest_names, OF_HMAC },
	{ "encoding", MEMBER_CHOICE,
	    offsetof(struct signature_scheme, encoding), encoding_names,
	    OF_HMAC },
	{ "key", MEMBER_CHOICE, offsetof(struct signature_scheme, key),
	    key_names, OF_HMAC },
	{ "issuer", MEMBER_LONG, offsetof(struct signature_scheme, issuer),
	    NULL, OF_JWT },
	{ "audience", MEMBER_LONG, offsetof(struct signature_scheme, audience),
	    NULL, OF_JWT },
	{ "jwks_url", MEMBER_URL, offsetof(struct signature_scheme, jwks_url),
	    NULL, OF_JWT },
	{ "body_claim", MEMBER_TEXT,
	    offsetof(struct signature_scheme, body_claim), NULL, OF_JWT },
};

static int
choice(const char *const *names, struct str s)
{
	for (int i = 0; names[i] != NULL; i++)
		if (str_is(s, names[i]))
			return i;
	return -1;
}

/* A header's name (RFC 9110, 5.1), into lower case. */
static int
name_copy(char out[SIGNATURE_NAME], struct str s)
{
	if (s.n >= SIGNATURE_NAME)
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.s[i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c | 0x20);
		if (c <= ' ' || c >= 127 ||
		    strchr("\"(),/:;<=>?@[\\]{}", c) != NULL)
			return -1;
		out[i] = c;
	}
	out[s.n] = '\0';
	return 0;
}

static int
text_copy(char *out, size_t room, struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.s[i] < ' ' || s.s[i] >= 127)
			return -1;
	if (s.n >= room)
		return -1;
	memcpy(out, s.s, s.n);
	out[s.n] = '\0';
	return 0;
}

static int
member_set(
    struct signature_scheme *scheme, const struct member *m, struct str s)
{
	char *at = (char *)scheme + m->at;
	int n;

	switch (m->kind) {
	case MEMBER_NAME:
		return name_copy(at, s);
	case MEMBER_TEXT:
		return text_copy(at, SIGNATURE_NAME, s);
	case MEMBER_LONG:
		return text_copy(at, SIGNATURE_URL, s);
	case MEMBER_URL:
		return s.n > 8 && memcmp(s.s, "http", 4) == 0
		    ? text_copy(at, SIGNATURE_URL, s)
		    : -1;
	case MEMBER_CHAR:
		*at = s.n == 1 ? s.s[0] : '\0';
		return s.n == 0 || (s.n == 1 && strchr(" ,;&", *at)) ? 0 : -1;
	case MEMBER_CHOICE:
		n = choice(m->choices, s);
		memcpy(at, &n, sizeof(n));
		return n < 0 ? -1 : 0;
	}
	return -1;
}

static int
member_read(struct signature_scheme *scheme, const struct json_member *member,
    struct error *err)
{
	unsigned of = scheme->type == SIGNATURE_HMAC ? OF_HMAC
	    : scheme->type == SIGNATURE_JWT          ? OF_JWT
	    : scheme->type == SIGNATURE_NONE         ? OF_NONE
						     : 0;
	int64_t tolerance;

	if (str_is(member->key, "type"))
		return 0;
	if (str_is(member->key, "tolerance")) {
		if (json_integer(member->value, &tolerance) < 0 ||
		    tolerance < 1 || tolerance > 86400)
			return fail(err, FAULT_INPUT, "SCHEME",
			    "a tolerance is 1 to 86,400 seconds");
		scheme->tolerance_s = tolerance;
		return 0;
	}
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		if (!str_is(member->key, members[i].key))
			continue;
		if ((members[i].of & of) == 0)
			break;
		if (!json_is(member->value, JSON_STRING) ||
		    member_set(scheme, &members[i], json_str(member->value)) <
			0)
			return fail(err, FAULT_INPUT, "SCHEME",
			    "\"%s\" can't have this value", members[i].key);
		return 0;
	}
	return fail(err, FAULT_INPUT, "SCHEME",
	    "the scheme \"%s\" has no \"%.*s\"", type_names[scheme->type],
	    (int)(member->key.n < 60 ? member->key.n : 60), member->key.s);
}

/* An enum is an int to member_set(). */
_Static_assert(sizeof(enum signature_digest) == sizeof(int), "enums are ints");

static int
hmac_check(const struct signature_scheme *s, struct error *err)
{
	int timed = s->time_header[0] != '\0' || s->time_prefix[0] != '\0';

	if (s->header[0] == '\0' || strstr(s->content, "{body}") == NULL)
		return fail(err, FAULT_INPUT, "SCHEME",
		    "what is signed must hold {body}, in a header");
	if (timed != (strstr(s->content, "{timestamp}") != NULL))
		return fail(err, FAULT_INPUT, "SCHEME",
		    "{timestamp} in what is signed, and a header or prefix for "
		    "it, belong together");
	if (strstr(s->content, "{id}") != NULL && s->id_header[0] == '\0')
		return fail(err, FAULT_INPUT, "SCHEME",
		    "{id} in what is signed needs an id header");
	if (s->time_prefix[0] != '\0' && s->separator == '\0')
		return fail(err, FAULT_INPUT, "SCHEME",
		    "a timestamp beside the digest needs a separator");
	return 0;
}

int
signature_scheme_parse(
    const struct json *config, struct signature_scheme *out, struct error *err)
{
	struct str type = json_str(json_get(config, "type"));
	int found = -1;

	for (int i = 0; i < N_SIGNATURE_TYPES; i++)
		if (str_is(type, type_names[i]))
			found = i;
	if (found < 0)
		return fail(err, FAULT_INPUT, "SCHEME", "no scheme \"%.*s\"",
		    (int)(type.n < 60 ? type.n : 60), type.s);
	*out = signature_scheme_of((enum signature_type)found);
	for (uint32_t i = 0; i < config->n; i++)
		if (member_read(out, &config->of[i], err) < 0)
			return -1;
	return out->type == SIGNATURE_HMAC ? hmac_check(out, err) : 0;
}

static ptrdiff_t
base64_bytes(struct str text, unsigned char raw[RAW])
{
	if (text.n > 6 && memcmp(text.s, "whsec_", 6) == 0)
		text = (struct str){ text.s + 6, text.n - 6 };
	return BASE64_BYTES(text.n) <= RAW ? base64_get(raw, text) : -1;
}

static ptrdiff_t
hex_bytes(struct str text, unsigned char raw[RAW])
{
	if (text.n % 2 != 0 || text.n / 2 > RAW)
		return -1;
	for (size_t i = 0; i < text.n; i += 2) {
		int high = hex_digit(text.s[i]), low = hex_digit(text.s[i + 1]);

		if (high < 0 || low < 0)
			return -1;
		raw[i / 2] = (unsigned char)(high << 4 | low);
	}
	return (ptrdiff_t)(text.n / 2);
}

int
signature_secret_parse(const struct signature_scheme *scheme, struct str text,
    struct signature_secret *out, struct error *err)
{
	static const char *const is[] = { "text", "whsec_ and base64",
		"hexadecimal digits" };
	unsigned char raw[RAW];
	int least = scheme->type == SIGNATURE_JWT ? JWT_SECRET_MIN
	    : scheme->key == SIGNATURE_KEY_BASE64 ? SIGNATURE_SECRET_MIN
						  : 8;
	ptrdiff_t n = -1;

	if (scheme->key == SIGNATURE_KEY_BASE64) {
		n = base64_bytes(text, raw);
	} else if (scheme->key == SIGNATURE_KEY_HEX) {
		n = hex_bytes(text, raw);
	} else if (text.n <= SIGNATURE_SECRET_MAX) {
		memcpy(raw, text.s, text.n);
		n = (ptrdiff_t)text.n;
	}
	if (n >= least && n <= SIGNATURE_SECRET_MAX) {
		memcpy(out->key, raw, (size_t)n);
		out->n = (uint16_t)n;
	}
	OPENSSL_cleanse(raw, sizeof(raw));
	if (n >= least && n <= SIGNATURE_SECRET_MAX)
		return 0;
	return fail(err, FAULT_CONFIG, "SECRET",
	    "this scheme's secret is %s of %d to %d bytes", is[scheme->key],
	    least, SIGNATURE_SECRET_MAX);
}

int
signature_id_valid(struct str id)
{
	for (size_t i = 0; i < id.n; i++)
		if (id.s[i] <= ' ' || id.s[i] >= 127)
			return 0;
	return id.n > 0 && id.n <= SIGNATURE_ID_MAX;
}
