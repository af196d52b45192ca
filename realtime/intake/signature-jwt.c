/* A token in a header: who sent the request and, with body_claim, also what. */
#include "realtime/intake/signature.h"
#include "core/base64.h"
#include "core/hex.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <strings.h>

enum { DIGEST = 32, MADE_FOR_S = 60 };

/* The body's SHA-256, in hexadecimal digits. */
static void
body_digest(struct str body, char out[2 * DIGEST + 1])
{
	unsigned char digest[DIGEST];

	EVP_Digest(body.s, body.n, digest, NULL, EVP_sha256(), NULL);
	hex_put(out, digest, DIGEST);
	out[2 * DIGEST] = '\0';
}

static int
claims_check(const struct signature_request *req, const struct jwt *token,
    struct signature *out, struct error *err)
{
	const struct signature_scheme *scheme = req->scheme;
	struct str id = json_str(json_get(token->claims, "jti"));
	char expected[2 * DIGEST + 1];
	struct str claim;

	if (scheme->body_claim[0] != '\0') {
		claim = json_str(json_get(token->claims, scheme->body_claim));
		body_digest(req->body, expected);
		if (claim.n != 2 * DIGEST ||
		    CRYPTO_memcmp(claim.s, expected, 2 * DIGEST) != 0)
			return fail(err, FAULT_AUTH, "SIGNATURE",
			    "the token's %s is not the body's SHA-256",
			    scheme->body_claim);
	}
	if (signature_id_valid(id))
		out->id = id;
	return 0;
}

/* Each secret on its own, so as to know which it was. */
static int
verify_by_secrets(const struct signature_request *req, struct str token,
    const struct jwt_rules *rules, struct jwt *out, struct signature *sig,
    struct error *err)
{
	fail(err, FAULT_AUTH, "SIGNATURE", "no secret fits the token");
	for (size_t i = 0; i < req->n_secrets && sig->signer == NULL; i++) {
		const struct signature_secret *s = &req->secrets[i];
		struct str key = { (const char *)s->key, s->n };
		struct jwt_keys keys = { 0 };

		if (jwt_keys_add_secret(&keys, key, err) == 0 &&
		    jwt_verify(req->arena, token, &keys, rules, out, err) == 0)
			sig->signer = s;
		jwt_keys_deinit(&keys);
	}
	return sig->signer != NULL ? 0 : -1;
}

int
signature_jwt_verify(const struct signature_request *req, struct signature *out,
    struct error *err)
{
	static const struct jwt_keys none;
	const struct signature_scheme *s = req->scheme;
	struct str token = http1_get(req->head, s->header);
	struct jwt_rules rules = { .now_s = req->now_s };
	size_t n = strlen(s->prefix);
	struct jwt jwt;
	int r;

	if (s->issuer[0] != '\0')
		rules.issuer = str_of(s->issuer);
	if (s->audience[0] != '\0')
		rules.audience = str_of(s->audience);
	if (token.s == NULL || token.n <= n ||
	    strncasecmp(token.s, s->prefix, n) != 0)
		return fail(err, FAULT_AUTH, "HEADERS",
		    "the header %s has no token", s->header);
	token = (struct str){ token.s + n, token.n - n };
	if (s->jwks_url[0] == '\0')
		r = verify_by_secrets(req, token, &rules, &jwt, out, err);
	else
		r = jwt_verify(req->arena, token,
		    req->keys != NULL ? req->keys : &none, &rules, &jwt, err);
	if (r == JWT_UNKNOWN_KEY)
		return SIGNATURE_UNKNOWN_KEY;
	if (r == 0)
		r = claims_check(req, &jwt, out, err);
	if (r < 0)
		*out = (struct signature){ 0 };
	return r;
}

const char *
signature_jwt_make(
    struct arena *a, const struct signature_request *req, struct str id)
{
	const struct signature_scheme *s = req->scheme;
	const struct signature_secret *key = req->secrets;
	struct json *claims = json_object(a);
	unsigned char mac[DIGEST];
	char digest[2 * DIGEST + 1];
	const char *text;
	unsigned n = sizeof(mac);

	json_set(a, claims, "iat", json_int(a, req->now_s));
	json_set(a, claims, "exp", json_int(a, req->now_s + MADE_FOR_S));
	json_set(a, claims, "jti", json_string(a, id));
	if (s->issuer[0] != '\0')
		json_set(a, claims, "iss", json_cstring(a, s->issuer));
	if (s->audience[0] != '\0')
		json_set(a, claims, "aud", json_cstring(a, s->audience));
	if (s->body_claim[0] != '\0') {
		body_digest(req->body, digest);
		json_set(a, claims, s->body_claim, json_cstring(a, digest));
	}
	text = arena_printf(a, "%s.%s",
	    base64url_encode(a, STR("{\"alg\":\"HS256\",\"typ\":\"JWT\"}")).s,
	    base64url_encode(a, json_text(a, claims)).s);
	HMAC(EVP_sha256(), key->key, key->n, (const unsigned char *)text,
	    strlen(text), mac, &n);
	return arena_printf(a, "%s.%s", text,
	    base64url_encode(a, (struct str){ (const char *)mac, n }).s);
}
