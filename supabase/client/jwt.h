#pragma once
/*
 * JSON Web Tokens (RFC 7519) in compact form, verified strictly:
 *
 * - The algorithms are HS256, RS256 and ES256. A key is of one algorithm, and
 *   a token is only ever held against keys of the algorithm that it names: a
 *   public key is never a shared secret.
 * - A token that names a key ("kid") is held against that key, or those that
 *   have no name. "crit" is refused, as are several values of one header.
 * - exp is required; nbf is heeded; iss and aud where the rules name them.
 *   Clocks may differ by LEEWAY for nbf, not for exp.
 * - Base64url as RFC 7515 has it: no padding, no other alphabet, no twins.
 *
 * Nothing of the claims is looked at before a signature holds.
 */
#include <stddef.h>
#include <stdint.h>

#include "core/json.h"

enum {
	JWT_MAX = 8192,        /* bytes of a token */
	JWT_KEYS = 16,         /* of one set */
	JWT_KID_MAX = 128,     /* bytes of a key's name */
	JWT_SECRET_MIN = 32,   /* bytes; RFC 7518, 3.2 */
	JWT_SECRET_MAX = 512,  /* bytes */
	JWT_JWKS_MAX = 262144, /* bytes of a key set's text */
	JWT_LEEWAY_S = 30,
};

enum jwt_alg { JWT_HS256, JWT_RS256, JWT_ES256 };

struct jwt_key {
	enum jwt_alg alg;
	char kid[JWT_KID_MAX + 1];            /* "": it has no name */
	void *pkey;                           /* RS256, ES256: OpenSSL's */
	unsigned char secret[JWT_SECRET_MAX]; /* HS256 */
	size_t n;                             /* bytes of it */
};

/* All zero: an empty set. */
struct jwt_keys {
	struct jwt_key *keys; /* on the heap */
	size_t n;
};

void jwt_keys_deinit(struct jwt_keys *keys); /* wipes; idempotent */
/* Add a shared secret. FAULT_CONFIG when it is too short or too long. */
int jwt_keys_add_secret(
    struct jwt_keys *keys, struct str secret, struct error *err);
/*
 * Add the public keys of a JWK set (RFC 7517): RSA of 2048 to 8192 bits and
 * P-256, for signatures. Keys of other kinds are passed over, "oct" always. -1
 * with FAULT_INPUT and nothing added when the text is none, or has no key that
 * we could use.
 */
int jwt_keys_add_jwks(
    struct jwt_keys *keys, struct str text, struct error *err);

struct jwt_rules {
	struct str issuer, audience; /* s NULL: any */
	int64_t now_s;
};

struct jwt {
	struct json *claims; /* an object */
	int64_t expires_s;
};

/*
 *     0  verified: *out, in the arena
 *     1  JWT_UNKNOWN_KEY: none of the keys is the one that it names, so that
 *        others may be worth fetching; *err says so, too
 *    -1  refused, FAULT_AUTH: code "TOKEN" (malformed), "SIGNATURE", "EXPIRED",
 *        "CLAIMS" (no exp, not yet valid, another issuer or audience)
 * No error repeats anything of the token.
 */
enum { JWT_UNKNOWN_KEY = 1 };
int jwt_verify(struct arena *a, struct str token, const struct jwt_keys *keys,
    const struct jwt_rules *rules, struct jwt *out, struct error *err);
