#include "realtime/intake/signature.h"
#include "core/base64.h"
#include "core/hex.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

enum { MAC_MAX = 64, TEXT_MAX = 2 * MAC_MAX + 1 };

/* What the digests are over. */
struct parts {
	struct str id, timestamp, body;
};

/* Unsigned digits only, and few enough not to overflow. */
static int
timestamp_parse(struct str s, int64_t *out)
{
	int64_t v = 0;

	if (s.n == 0 || s.n > 15)
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		if (s.s[i] < '0' || s.s[i] > '9')
			return -1;
		v = v * 10 + (s.s[i] - '0');
	}
	*out = v;
	return 0;
}

/* content's pieces in turn: {id}, {timestamp}, {body}, or text between. */
static int
content_next(const char **at, const struct parts *parts, struct str *out)
{
	static const struct {
		const char *name;
		size_t n;
	} names[] = { { "{id}", 4 }, { "{timestamp}", 11 }, { "{body}", 6 } };
	const struct str values[] = { parts->id, parts->timestamp,
		parts->body };

	if (**at == '\0')
		return 0;
	for (size_t i = 0; i < 3; i++) {
		if (strncmp(*at, names[i].name, names[i].n) != 0)
			continue;
		*at += names[i].n;
		*out = values[i];
		return 1;
	}
	*out = (struct str){ *at, 1 + strcspn(*at + 1, "{") };
	*at += out->n;
	return 1;
}

static int
hmac(const struct signature_scheme *scheme,
    const struct signature_secret *secret, const struct parts *parts,
    unsigned char mac[MAC_MAX], size_t *n)
{
	static EVP_MAC *fetched;
	static const char *const digests[] = { "SHA256", "SHA1", "SHA512" };
	char digest[8] = "";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string("digest", digest, 0),
		OSSL_PARAM_construct_end(),
	};
	const char *at = scheme->content;
	EVP_MAC_CTX *ctx;
	struct str piece;
	int ok;

	stpncpy(digest, digests[scheme->digest], sizeof(digest) - 1);
	if (fetched == NULL) /* once: the look-up is dear */
		fetched = EVP_MAC_fetch(NULL, "HMAC", NULL);
	ctx = EVP_MAC_CTX_new(fetched);
	ok = ctx != NULL &&
	    EVP_MAC_init(ctx, secret->key, secret->n, params) == 1;
	while (ok && content_next(&at, parts, &piece))
		ok = EVP_MAC_update(ctx, (const void *)piece.s, piece.n) == 1;
	ok = ok && EVP_MAC_final(ctx, mac, n, MAC_MAX) == 1;
	EVP_MAC_CTX_free(ctx);
	return ok ? 0 : -1;
}

/* A secret's digest as the scheme writes it; its length, or 0. */
static size_t
mac_text(const struct signature_scheme *scheme,
    const struct signature_secret *secret, const struct parts *parts,
    char out[TEXT_MAX])
{
	unsigned char mac[MAC_MAX];
	size_t n = 0;

	if (hmac(scheme, secret, parts, mac, &n) < 0)
		return 0;
	if (scheme->encoding == SIGNATURE_BASE64)
		return base64_put(out, mac, n);
	hex_put(out, mac, n);
	return 2 * n;
}

static size_t
text_size(const struct signature_scheme *scheme)
{
	static const size_t bytes[] = { 32, 20, 64 };
	size_t n = bytes[scheme->digest];

	return scheme->encoding == SIGNATURE_HEX ? 2 * n : (n + 2) / 3 * 4;
}

/* The next element of a header's list, without blanks around it. */
static int
element_next(
    const struct signature_scheme *scheme, struct str *list, struct str *out)
{
	const char *end = NULL;
	size_t n, skip;

	if (list->n == 0)
		return 0;
	if (scheme->separator != '\0')
		end = memchr(list->s, scheme->separator, list->n);
	n = end != NULL ? (size_t)(end - list->s) : list->n;
	skip = end != NULL ? n + 1 : n;
	*out = (struct str){ list->s, n };
	list->s += skip;
	list->n -= skip;
	while (out->n > 0 && out->s[0] == ' ') {
		out->s++;
		out->n--;
	}
	return 1;
}

static int
has_prefix(struct str s, const char *prefix, struct str *rest)
{
	size_t n = strlen(prefix);

	if (s.n < n || memcmp(s.s, prefix, n) != 0)
		return 0;
	*rest = (struct str){ s.s + n, s.n - n };
	return 1;
}

struct candidates {
	char text[SIGNATURE_CANDIDATES][TEXT_MAX];
	size_t n;
	struct str timestamp; /* where it is an element of the list */
};

/* Hexadecimal digits count in either case. */
static void
candidate_add(const struct signature_scheme *scheme, struct candidates *c,
    struct str digest)
{
	char *out;

	if (c->n == SIGNATURE_CANDIDATES || digest.n != text_size(scheme))
		return;
	out = c->text[c->n];
	memcpy(out, digest.s, digest.n);
	for (size_t i = 0; scheme->encoding == SIGNATURE_HEX && i < digest.n;
	     i++)
		if (out[i] >= 'A' && out[i] <= 'F')
			out[i] = (char)(out[i] | 0x20);
	c->n++;
}

static void
header_read(const struct signature_scheme *scheme, struct str header,
    struct candidates *out)
{
	struct str element, rest;

	out->n = 0;
	out->timestamp = (struct str){ NULL, 0 };
	while (element_next(scheme, &header, &element)) {
		if (scheme->time_prefix[0] != '\0' &&
		    has_prefix(element, scheme->time_prefix, &rest)) {
			if (out->timestamp.s == NULL)
				out->timestamp = rest;
		} else if (has_prefix(element, scheme->prefix, &rest)) {
			candidate_add(scheme, out, rest);
		}
	}
}

static int
missing(struct error *err, const char *header)
{
	return fail(
	    err, FAULT_AUTH, "HEADERS", "the header %s is missing", header);
}

static int
timestamp_check(const struct signature_request *req, struct str timestamp,
    struct error *err)
{
	const struct signature_scheme *scheme = req->scheme;
	int64_t at;

	if (timestamp_parse(timestamp, &at) < 0)
		return fail(err, FAULT_AUTH, "HEADERS",
		    "the timestamp in %s is seconds since 1970, in digits",
		    scheme->time_header[0] != '\0' ? scheme->time_header
						   : scheme->header);
	if (at < req->now_s - scheme->tolerance_s ||
	    at > req->now_s + scheme->tolerance_s)
		return fail(err, FAULT_AUTH, "CLOCK",
		    "the timestamp is more than %lld s away from now",
		    (long long)scheme->tolerance_s);
	return 0;
}

/* All that can be known before a digest is made. */
static int
headers_check(const struct signature_request *req, struct parts *parts,
    struct candidates *candidates, struct error *err)
{
	const struct signature_scheme *scheme = req->scheme;
	struct str header;

	if (strstr(scheme->content, "{id}") != NULL) {
		parts->id = http1_get(req->head, scheme->id_header);
		if (parts->id.s == NULL)
			return missing(err, scheme->id_header);
		if (!signature_id_valid(parts->id))
			return fail(err, FAULT_AUTH, "HEADERS",
			    "%s has 1 to %d visible ASCII characters",
			    scheme->id_header, SIGNATURE_ID_MAX);
	}
	header = http1_get(req->head, scheme->header);
	if (header.s == NULL)
		return missing(err, scheme->header);
	header_read(scheme, header, candidates);
	parts->timestamp = candidates->timestamp;
	if (scheme->time_header[0] != '\0')
		parts->timestamp = http1_get(req->head, scheme->time_header);
	if (scheme->time_header[0] == '\0' && scheme->time_prefix[0] == '\0')
		return 0;
	if (parts->timestamp.s == NULL)
		return missing(err,
		    scheme->time_header[0] != '\0' ? scheme->time_header
						   : scheme->header);
	return timestamp_check(req, parts->timestamp, err);
}

int
signature_verify(const struct signature_request *req, struct signature *out,
    struct error *err)
{
	const struct signature_scheme *scheme = req->scheme;
	struct parts parts = { .body = req->body };
	struct candidates candidates = { 0 };

	*out = (struct signature){ 0 };
	if (scheme->type == SIGNATURE_JWT)
		return signature_jwt_verify(req, out, err);
	if (scheme->type != SIGNATURE_NONE &&
	    headers_check(req, &parts, &candidates, err) < 0)
		return -1;
	for (size_t i = 0; scheme->type != SIGNATURE_NONE && i < req->n_secrets;
	     i++) {
		char expected[TEXT_MAX];
		size_t n = mac_text(scheme, &req->secrets[i], &parts, expected);
		unsigned differ = 1;

		if (n == 0)
			return fail(err, FAULT_BUG, "HMAC", "HMAC failed");
		for (size_t j = 0; j < candidates.n; j++)
			differ &=
			    CRYPTO_memcmp(expected, candidates.text[j], n) != 0;
		if (!differ && out->signer == NULL)
			out->signer = &req->secrets[i];
	}
	if (scheme->type != SIGNATURE_NONE && out->signer == NULL)
		return fail(err, FAULT_AUTH, "SIGNATURE",
		    "no signature in %s is valid for this body",
		    scheme->header);
	if (scheme->id_header[0] != '\0')
		out->id = http1_get(req->head, scheme->id_header);
	if (!signature_id_valid(out->id))
		out->id = (struct str){ NULL, 0 };
	return 0;
}

static void
header_add(
    struct http1_header *out, size_t *n, const char *name, const char *value)
{
	out[(*n)++] = (struct http1_header){ str_of(name), str_of(value) };
}

size_t
signature_sign(struct arena *a, const struct signature_request *req,
    struct str id, struct http1_header out[SIGNATURE_SIGN_HEADERS])
{
	const struct signature_scheme *s = req->scheme;
	const char *at = arena_printf(a, "%lld", (long long)req->now_s);
	struct parts parts = { id, str_of(at), req->body };
	char text[TEXT_MAX];
	size_t n = 0, length;

	if (s->type == SIGNATURE_JWT) {
		header_add(out, &n, s->header,
		    arena_printf(
			a, "%s%s", s->prefix, signature_jwt_make(a, req, id)));
		return n;
	}
	if (s->id_header[0] != '\0')
		header_add(out, &n, s->id_header, arena_strndup(a, id.s, id.n));
	if (s->type == SIGNATURE_NONE)
		return n;
	if (s->time_header[0] != '\0')
		header_add(out, &n, s->time_header, at);
	length = mac_text(s, req->secrets, &parts, text);
	if (s->time_prefix[0] != '\0')
		header_add(out, &n, s->header,
		    arena_printf(a, "%s%s%c%s%.*s", s->time_prefix, at,
			s->separator, s->prefix, (int)length, text));
	else
		header_add(out, &n, s->header,
		    arena_printf(a, "%s%.*s", s->prefix, (int)length, text));
	return n;
}
