#include "realtime/signature.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

enum { MAC_BYTES = 32, MAC_TEXT = 44 /* in base64 */ };

int
signature_secret_parse(
    struct str text, struct signature_secret *out, struct error *err)
{
	unsigned char raw[SIGNATURE_SECRET_MAX + 3];
	size_t padding = 0;
	int n;

	if (text.n > 6 && memcmp(text.s, "whsec_", 6) == 0)
		text = (struct str){ text.s + 6, text.n - 6 };
	while (padding < 2 && padding < text.n &&
	    text.s[text.n - 1 - padding] == '=')
		padding++;
	if (text.n % 4 != 0 || text.n / 4 * 3 > sizeof(raw))
		return fail(err, FAULT_CONFIG, "SECRET",
		    "a signing secret is whsec_ and base64 of %d to %d bytes",
		    SIGNATURE_SECRET_MIN, SIGNATURE_SECRET_MAX);
	n = EVP_DecodeBlock(raw, (const unsigned char *)text.s, (int)text.n);
	n -= (int)padding;
	if (n < SIGNATURE_SECRET_MIN || n > SIGNATURE_SECRET_MAX) {
		OPENSSL_cleanse(raw, sizeof(raw));
		return fail(err, FAULT_CONFIG, "SECRET",
		    "a signing secret is whsec_ and base64 of %d to %d bytes",
		    SIGNATURE_SECRET_MIN, SIGNATURE_SECRET_MAX);
	}
	memcpy(out->key, raw, (size_t)n);
	out->n = (uint8_t)n;
	OPENSSL_cleanse(raw, sizeof(raw));
	return 0;
}

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

/* The spec's text form of one secret's signature: base64, NUL-terminated. */
static int
mac_text(const struct signature_secret *secret,
    const struct signature_headers *h, struct str body, char out[MAC_TEXT + 1])
{
	static EVP_MAC *hmac;
	unsigned char mac[MAC_BYTES];
	size_t n = 0;
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string("digest", digest, 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_MAC_CTX *ctx;
	int ok;

	if (hmac == NULL) /* fetched once: the look-up is dear */
		hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	ctx = EVP_MAC_CTX_new(hmac);
	ok = ctx != NULL &&
	    EVP_MAC_init(ctx, secret->key, secret->n, params) == 1 &&
	    EVP_MAC_update(ctx, (const void *)h->id.s, h->id.n) == 1 &&
	    EVP_MAC_update(ctx, (const void *)".", 1) == 1 &&
	    EVP_MAC_update(ctx, (const void *)h->timestamp.s, h->timestamp.n) ==
		1 &&
	    EVP_MAC_update(ctx, (const void *)".", 1) == 1 &&
	    EVP_MAC_update(ctx, (const void *)body.s, body.n) == 1 &&
	    EVP_MAC_final(ctx, mac, &n, sizeof(mac)) == 1 && n == sizeof(mac);
	EVP_MAC_CTX_free(ctx);
	if (!ok)
		return -1;
	EVP_EncodeBlock((unsigned char *)out, mac, sizeof(mac));
	return 0;
}

/* The next "v1,<44 characters>" of a list by spaces; others are skipped. */
static int
candidate_next(struct str *list, struct str *out)
{
	while (list->n > 0) {
		const char *end = memchr(list->s, ' ', list->n);
		size_t n = end != NULL ? (size_t)(end - list->s) : list->n;
		struct str word = { list->s, n };
		size_t skip = end != NULL ? n + 1 : n;

		list->s += skip;
		list->n -= skip;
		if (word.n == 3 + MAC_TEXT && memcmp(word.s, "v1,", 3) == 0) {
			*out = (struct str){ word.s + 3, MAC_TEXT };
			return 1;
		}
	}
	return 0;
}

/* What an id may be made of, so that it can be logged and stored as it is. */
static int
id_valid(struct str id)
{
	for (size_t i = 0; i < id.n; i++)
		if (id.s[i] <= ' ' || id.s[i] >= 127)
			return 0;
	return id.n > 0 && id.n <= SIGNATURE_ID_MAX;
}

static int
headers_check(
    const struct signature_headers *h, int64_t now_s, struct error *err)
{
	int64_t at;

	if (h->id.s == NULL || h->timestamp.s == NULL || h->signature.s == NULL)
		return fail(err, FAULT_AUTH, "HEADERS",
		    "%s is missing; a request is signed by webhook-id, "
		    "webhook-timestamp and webhook-signature",
		    h->id.s == NULL              ? "webhook-id"
			: h->timestamp.s == NULL ? "webhook-timestamp"
						 : "webhook-signature");
	if (!id_valid(h->id))
		return fail(err, FAULT_AUTH, "HEADERS",
		    "webhook-id has 1 to %d visible ASCII characters",
		    SIGNATURE_ID_MAX);
	if (timestamp_parse(h->timestamp, &at) < 0)
		return fail(err, FAULT_AUTH, "HEADERS",
		    "webhook-timestamp is seconds since 1970, in digits");
	if (at < now_s - SIGNATURE_TOLERANCE ||
	    at > now_s + SIGNATURE_TOLERANCE)
		return fail(err, FAULT_AUTH, "CLOCK",
		    "webhook-timestamp is more than %d s away from now",
		    SIGNATURE_TOLERANCE);
	return 0;
}

int
signature_verify(const struct signature_headers *h, struct str body,
    const struct signature_secret *secrets, size_t n_secrets, int64_t now_s,
    const struct signature_secret **signer, struct error *err)
{
	struct str list = h->signature, candidates[SIGNATURE_CANDIDATES];
	size_t n = 0;

	*signer = NULL;
	if (headers_check(h, now_s, err) < 0)
		return -1;
	while (
	    n < SIGNATURE_CANDIDATES && candidate_next(&list, &candidates[n]))
		n++;
	for (size_t i = 0; n > 0 && i < n_secrets; i++) {
		char expected[MAC_TEXT + 1];
		unsigned differ = 1;

		if (mac_text(&secrets[i], h, body, expected) < 0)
			return fail(err, FAULT_BUG, "HMAC", "HMAC failed");
		for (size_t j = 0; j < n; j++)
			differ &= CRYPTO_memcmp(
				      expected, candidates[j].s, MAC_TEXT) != 0;
		if (!differ && *signer == NULL)
			*signer = &secrets[i];
	}
	if (*signer == NULL)
		return fail(err, FAULT_AUTH, "SIGNATURE",
		    "no signature in webhook-signature is valid for this body");
	return 0;
}
