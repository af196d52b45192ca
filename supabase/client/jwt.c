#include "supabase/client/jwt.h"
#include "core/base64.h"
#include "supabase/client/vault.h"

#include <math.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <string.h>

enum { ES256_BYTES = 64, ES256_DER_MAX = 80, DEPTH_MAX = 32 };

/* 9999-12-31: what lies beyond is no time of this world. */
static const double latest_s = 253402300799.0;

static const char *const alg_names[] = {
	[JWT_HS256] = "HS256",
	[JWT_RS256] = "RS256",
	[JWT_ES256] = "ES256",
};

/* The parts of a compact JWS, and what is signed of it. */
struct parts {
	struct str header, claims, signature, signed_;
};

static int
malformed(struct error *err, const char *why)
{
	return fail(
	    err, FAULT_AUTH, "TOKEN", "the token is malformed: %s", why);
}

static int
parts_split(struct str token, struct parts *p)
{
	const char *end = token.s + token.n;
	const char *dot = memchr(token.s, '.', token.n), *second;

	if (dot == NULL)
		return -1;
	second = memchr(dot + 1, '.', (size_t)(end - dot) - 1);
	if (second == NULL ||
	    memchr(second + 1, '.', (size_t)(end - second) - 1) != NULL)
		return -1;
	p->header = (struct str){ token.s, (size_t)(dot - token.s) };
	p->claims = (struct str){ dot + 1, (size_t)(second - dot) - 1 };
	p->signature = (struct str){ second + 1, (size_t)(end - second) - 1 };
	p->signed_ = (struct str){ token.s, (size_t)(second - token.s) };
	return 0;
}

static struct json *
part_object(struct arena *a, struct str part)
{
	struct json_limits limits = { .bytes = JWT_MAX, .depth = DEPTH_MAX };
	struct str text;
	struct json *v;

	if (base64url_decode(a, part, &text) < 0 ||
	    json_parse(a, text, &limits, &v, NULL) < 0)
		return NULL;
	return json_is(v, JSON_OBJECT) ? v : NULL;
}

/* The algorithm and the key's name (s NULL: none). */
static int
header_read(const struct json *header, enum jwt_alg *alg, struct str *kid,
    struct error *err)
{
	struct str name = json_str(json_get(header, "alg"));
	const struct json *id = json_get(header, "kid");
	size_t i = 0;

	while (i < sizeof(alg_names) / sizeof(alg_names[0]) &&
	    !str_is(name, alg_names[i]))
		i++;
	if (i == sizeof(alg_names) / sizeof(alg_names[0]))
		return fail(err, FAULT_AUTH, "TOKEN",
		    "the token's algorithm is none of HS256, RS256, ES256");
	*alg = (enum jwt_alg)i;
	if (json_get(header, "crit") != NULL || json_get(header, "b64") != NULL)
		return malformed(err, "it has an extension");
	*kid = (struct str){ 0 };
	if (id != NULL && !json_is(id, JSON_STRING))
		return malformed(err, "kid is no string");
	if (id != NULL)
		*kid = json_str(id);
	return 0;
}

static int
hs256_holds(const struct jwt_key *key, struct str text, struct str signature)
{
	unsigned char mac[SHA256_DIGEST_LENGTH];
	unsigned n = sizeof(mac);

	if (HMAC(EVP_sha256(), key->secret, (int)key->n,
		(const unsigned char *)text.s, text.n, mac, &n) == NULL)
		return 0;
	return secret_eq((struct str){ (const char *)mac, n }, signature);
}

/* RFC 7518, 3.4: r and s, 32 bytes each; OpenSSL wants them in DER. */
static int
es256_der(struct str raw, unsigned char der[ES256_DER_MAX])
{
	const unsigned char *bytes = (const unsigned char *)raw.s;
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(bytes, ES256_BYTES / 2, NULL);
	BIGNUM *s = BN_bin2bn(bytes + ES256_BYTES / 2, ES256_BYTES / 2, NULL);
	int n = -1;

	if (sig != NULL && r != NULL && s != NULL &&
	    ECDSA_SIG_set0(sig, r, s) == 1) {
		r = s = NULL; /* they are sig's */
		n = i2d_ECDSA_SIG(sig, &der);
	}
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(sig);
	return n;
}

static int
public_holds(const struct jwt_key *key, struct str text, struct str signature)
{
	const unsigned char *sig = (const unsigned char *)signature.s;
	unsigned char der[ES256_DER_MAX];
	EVP_MD_CTX *c;
	size_t n = signature.n;
	int ok;

	if (key->alg == JWT_ES256) {
		int len = n == ES256_BYTES ? es256_der(signature, der) : -1;

		if (len < 0)
			return 0;
		sig = der;
		n = (size_t)len;
	}
	c = EVP_MD_CTX_new();
	ok = c != NULL &&
	    EVP_DigestVerifyInit(c, NULL, EVP_sha256(), NULL, key->pkey) == 1 &&
	    EVP_DigestVerify(
		c, sig, n, (const unsigned char *)text.s, text.n) == 1;
	EVP_MD_CTX_free(c);
	return ok;
}

static int
key_fits(const struct jwt_key *key, enum jwt_alg alg, struct str kid)
{
	return key->alg == alg &&
	    (kid.s == NULL || key->kid[0] == '\0' || str_is(kid, key->kid));
}

static int
signature_check(const struct jwt_keys *keys, const struct parts *p,
    enum jwt_alg alg, struct str kid, struct str signature, struct error *err)
{
	size_t tried = 0;

	for (size_t i = 0; i < keys->n; i++) {
		const struct jwt_key *key = &keys->keys[i];

		if (!key_fits(key, alg, kid))
			continue;
		tried++;
		if (alg == JWT_HS256 ? hs256_holds(key, p->signed_, signature)
				     : public_holds(key, p->signed_, signature))
			return 0;
	}
	fail(err, FAULT_AUTH, "SIGNATURE",
	    tried > 0 ? "the token's signature is not valid"
		      : "the token is signed by a key that isn't known here");
	return tried > 0 ? -1 : JWT_UNKNOWN_KEY;
}

/* A NumericDate, in whole seconds. -1 when it is none. */
static int
date_read(const struct json *v, int64_t *out)
{
	double d = json_num(v);

	if (!json_is(v, JSON_NUMBER) || !(d >= 0) || d > latest_s)
		return -1;
	*out = (int64_t)floor(d);
	return 0;
}

static int
audience_has(const struct json *aud, struct str want)
{
	if (json_is(aud, JSON_STRING))
		return str_eq(json_str(aud), want);
	for (size_t i = 0; json_is(aud, JSON_ARRAY) && i < aud->n; i++)
		if (json_is(json_at(aud, i), JSON_STRING) &&
		    str_eq(json_str(json_at(aud, i)), want))
			return 1;
	return 0;
}

static int
claims_check(const struct json *claims, const struct jwt_rules *rules,
    int64_t *expires_s, struct error *err)
{
	const struct json *nbf = json_get(claims, "nbf");
	int64_t from;

	if (date_read(json_get(claims, "exp"), expires_s) < 0)
		return fail(err, FAULT_AUTH, "CLAIMS",
		    "the token has no exp that is a time");
	if (*expires_s <= rules->now_s)
		return fail(
		    err, FAULT_AUTH, "EXPIRED", "the token has expired");
	if (nbf != NULL && date_read(nbf, &from) < 0)
		return malformed(err, "nbf is no time");
	if (nbf != NULL && from > rules->now_s + JWT_LEEWAY_S)
		return fail(
		    err, FAULT_AUTH, "CLAIMS", "the token is not valid yet");
	if (rules->issuer.s != NULL &&
	    !str_eq(json_str(json_get(claims, "iss")), rules->issuer))
		return fail(err, FAULT_AUTH, "CLAIMS",
		    "the token is by another issuer than this gateway trusts");
	if (rules->audience.s != NULL &&
	    !audience_has(json_get(claims, "aud"), rules->audience))
		return fail(err, FAULT_AUTH, "CLAIMS",
		    "the token is for another audience than this gateway");
	return 0;
}

int
jwt_verify(struct arena *a, struct str token, const struct jwt_keys *keys,
    const struct jwt_rules *rules, struct jwt *out, struct error *err)
{
	struct str kid = { 0 }, signature;
	struct json *header;
	struct parts p;
	enum jwt_alg alg = JWT_HS256;
	int r;

	if (token.n > JWT_MAX)
		return malformed(err, "it is too long");
	if (parts_split(token, &p) < 0)
		return malformed(err, "it is not three parts");
	header = part_object(a, p.header);
	if (header == NULL || p.signature.n == 0 ||
	    base64url_decode(a, p.signature, &signature) < 0)
		return malformed(err, "its parts are not base64url of JSON");
	if (header_read(header, &alg, &kid, err) < 0)
		return -1;
	r = signature_check(keys, &p, alg, kid, signature, err);
	if (r != 0)
		return r;
	out->claims = part_object(a, p.claims);
	if (out->claims == NULL)
		return malformed(err, "its claims are not base64url of JSON");
	return claims_check(out->claims, rules, &out->expires_s, err);
}
