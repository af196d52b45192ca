/* Keys: shared secrets as they are, public ones out of a JWK set. */
#include "supabase/client/jwt.h"
#include "core/base64.h"
#include "core/mem.h"
#include "supabase/client/vault.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <stdlib.h>
#include <string.h>

enum {
	RSA_BITS_MIN = 2048,
	RSA_BITS_MAX = 8192,
	RSA_EXPONENT_MAX = 8, /* bytes */
	P256_BYTES = 32,
	DEPTH_MAX = 8,
};

void
jwt_keys_deinit(struct jwt_keys *keys)
{
	for (size_t i = 0; i < keys->n; i++)
		EVP_PKEY_free(keys->keys[i].pkey);
	secret_wipe(keys->keys, keys->n * sizeof(keys->keys[0]));
	free(keys->keys);
	*keys = (struct jwt_keys){ 0 };
}

static struct jwt_key *
key_add(struct jwt_keys *keys, enum jwt_alg alg)
{
	struct jwt_key *key;

	if (keys->keys == NULL)
		keys->keys = xcalloc(JWT_KEYS, sizeof(*keys->keys));
	if (keys->n == JWT_KEYS)
		return NULL;
	key = &keys->keys[keys->n++];
	*key = (struct jwt_key){ .alg = alg };
	return key;
}

int
jwt_keys_add_secret(struct jwt_keys *keys, struct str secret, struct error *err)
{
	struct jwt_key *key;

	if (secret.n < JWT_SECRET_MIN || secret.n > JWT_SECRET_MAX)
		return fail(err, FAULT_CONFIG, "SECRET",
		    "a secret of tokens has %d to %d bytes", JWT_SECRET_MIN,
		    JWT_SECRET_MAX);
	key = key_add(keys, JWT_HS256);
	if (key == NULL)
		return fail(
		    err, FAULT_CONFIG, "SECRET", "more than %d keys", JWT_KEYS);
	memcpy(key->secret, secret.s, secret.n);
	key->n = secret.n;
	return 0;
}

/* A public key of this type from its parameters; NULL when it is none. */
static EVP_PKEY *
pkey_from(const char *type, OSSL_PARAM_BLD *build)
{
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
	EVP_PKEY *pkey = NULL;

	if (c == NULL || params == NULL || EVP_PKEY_fromdata_init(c) != 1 ||
	    EVP_PKEY_fromdata(c, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
		pkey = NULL;
	OSSL_PARAM_free(params);
	EVP_PKEY_CTX_free(c);
	return pkey;
}

static const unsigned char *
bytes_of(struct str s)
{
	return (const unsigned char *)s.s;
}

static EVP_PKEY *
rsa_key(struct str n, struct str e)
{
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	BIGNUM *modulus = BN_bin2bn(bytes_of(n), (int)n.n, NULL);
	BIGNUM *exponent = BN_bin2bn(bytes_of(e), (int)e.n, NULL);
	EVP_PKEY *pkey = NULL;

	if (BN_is_odd(exponent) && !BN_is_one(exponent) && BN_is_odd(modulus) &&
	    BN_num_bits(modulus) >= RSA_BITS_MIN &&
	    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, modulus) ==
		1 &&
	    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
		pkey = pkey_from("RSA", build);
	BN_free(modulus);
	BN_free(exponent);
	OSSL_PARAM_BLD_free(build);
	return pkey;
}

/* OpenSSL refuses a point that is not on the curve. */
static EVP_PKEY *
p256_key(struct str x, struct str y)
{
	unsigned char point[1 + 2 * P256_BYTES] = { 4 }; /* uncompressed */
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	EVP_PKEY *pkey = NULL;

	memcpy(point + 1, x.s, P256_BYTES);
	memcpy(point + 1 + P256_BYTES, y.s, P256_BYTES);
	if (OSSL_PARAM_BLD_push_utf8_string(
		build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1 &&
	    OSSL_PARAM_BLD_push_octet_string(
		build, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)) == 1)
		pkey = pkey_from("EC", build);
	OSSL_PARAM_BLD_free(build);
	return pkey;
}

/* A member that is base64url; n 0 when it is none. */
static struct str
member_bytes(struct arena *a, const struct json *jwk, const char *name)
{
	struct str text = json_str(json_get(jwk, name)), out;

	if (text.n == 0 || base64_decode(a, text, &out) < 0)
		return (struct str){ "", 0 };
	return out;
}

/* Is it meant for signatures of this algorithm, as far as it says? */
static int
meant_for(const struct json *jwk, const char *alg)
{
	const struct json *use = json_get(jwk, "use");
	const struct json *named = json_get(jwk, "alg");

	return (use == NULL || str_is(json_str(use), "sig")) &&
	    (named == NULL || str_is(json_str(named), alg));
}

static EVP_PKEY *
jwk_key(struct arena *a, const struct json *jwk, enum jwt_alg *alg)
{
	struct str kty = json_str(json_get(jwk, "kty"));
	struct str n = member_bytes(a, jwk, "n"), e = member_bytes(a, jwk, "e");
	struct str x = member_bytes(a, jwk, "x"), y = member_bytes(a, jwk, "y");

	if (str_is(kty, "RSA") && meant_for(jwk, "RS256") && n.n > 0 &&
	    n.n <= RSA_BITS_MAX / 8 && e.n > 0 && e.n <= RSA_EXPONENT_MAX) {
		*alg = JWT_RS256;
		return rsa_key(n, e);
	}
	if (str_is(kty, "EC") && meant_for(jwk, "ES256") &&
	    str_is(json_str(json_get(jwk, "crv")), "P-256") &&
	    x.n == P256_BYTES && y.n == P256_BYTES) {
		*alg = JWT_ES256;
		return p256_key(x, y);
	}
	return NULL;
}

static void
jwk_add(struct arena *a, struct jwt_keys *keys, const struct json *jwk)
{
	struct str kid = json_str(json_get(jwk, "kid"));
	struct jwt_key *key;
	enum jwt_alg alg;
	EVP_PKEY *pkey;

	if (kid.n > JWT_KID_MAX || memchr(kid.s, '\0', kid.n) != NULL)
		return;
	pkey = jwk_key(a, jwk, &alg);
	if (pkey == NULL)
		return;
	key = key_add(keys, alg);
	if (key == NULL) {
		EVP_PKEY_free(pkey);
		return;
	}
	key->pkey = pkey;
	memcpy(key->kid, kid.s, kid.n);
}

int
jwt_keys_add_jwks(struct jwt_keys *keys, struct str text, struct error *err)
{
	struct json_limits limits = { .bytes = JWT_JWKS_MAX,
		.depth = DEPTH_MAX };
	size_t before = keys->n;
	struct json *set, *list;
	struct arena a;
	int r = -1;

	arena_init(&a);
	if (json_parse(&a, text, &limits, &set, err) < 0) {
		fail_in(err, "key set");
		goto out;
	}
	list = json_get(set, "keys");
	for (size_t i = 0; json_is(list, JSON_ARRAY) && i < list->n; i++)
		jwk_add(&a, keys, json_at(list, i));
	r = keys->n > before ? 0
			     : fail(err, FAULT_INPUT, "KEYS",
				   "key set: it has no RSA or P-256 key for "
				   "signatures");
out:
	arena_deinit(&a);
	return r;
}
