#pragma once
/*
 * Whether a webhook comes from who holds its endpoint's secret. A scheme is
 * data: the header that holds the digests and how they are written, and what
 * they are over. Providers are rows of one table; "hmac" is a row that the
 * endpoint's owner fills in. (signature-scheme.c reads schemes.)
 *
 * Nothing of the body is looked at before a digest holds. The time to refuse
 * depends on lengths and counts alone: every candidate is compared, in constant
 * time, with every secret's digest.
 */
#include <stdint.h>

#include "core/arena.h"
#include "core/error.h"
#include "core/json.h"
#include "realtime/wire/http1.h"
#include "supabase/client/jwt.h"

enum {
	SIGNATURE_ID_MAX = 256,     /* bytes of what tells deliveries apart */
	SIGNATURE_CANDIDATES = 16,  /* more than these are not read */
	SIGNATURE_TOLERANCE = 300,  /* seconds, either way, unless set */
	SIGNATURE_SECRET_MIN = 16,  /* bytes; what providers choose: 8 */
	SIGNATURE_SECRET_MAX = 256, /* bytes */
	SIGNATURE_URL = 512,        /* of a key set, with its NUL */
	SIGNATURE_NAME = 64,        /* of a header, with its NUL */
	SIGNATURE_SIGN_HEADERS = 4, /* what signature_sign() makes at most */
};

enum signature_type {
	SIGNATURE_STANDARD, /* standardwebhooks.com */
	SIGNATURE_STRIPE,
	SIGNATURE_GITHUB,
	SIGNATURE_SLACK,
	SIGNATURE_SHOPIFY,
	SIGNATURE_HMAC,
	SIGNATURE_JWT,  /* a token says who sent it */
	SIGNATURE_NONE, /* anybody's: only where it was set so */
	N_SIGNATURE_TYPES,
};

enum signature_digest { SIGNATURE_SHA256, SIGNATURE_SHA1, SIGNATURE_SHA512 };
enum signature_encoding { SIGNATURE_HEX, SIGNATURE_BASE64 };
enum signature_key {
	SIGNATURE_KEY_TEXT,   /* the secret's text is the key */
	SIGNATURE_KEY_BASE64, /* "whsec_" and base64, or base64 alone */
	SIGNATURE_KEY_HEX,
};

struct signature_scheme {
	enum signature_type type;
	enum signature_digest digest;
	enum signature_encoding encoding;
	enum signature_key key;
	int64_t tolerance_s;
	char header[SIGNATURE_NAME]; /* lower case, as all names here */
	char prefix[SIGNATURE_NAME]; /* of each digest in it: "v1=" */
	char separator; /* between its elements; '\0': there is one */
	char time_header[SIGNATURE_NAME]; /* "": none */
	char time_prefix[SIGNATURE_NAME]; /* or it is an element: "t=" */
	char content[SIGNATURE_NAME];   /* "{id}.{timestamp}.{body}", signed */
	char id_header[SIGNATURE_NAME]; /* tells deliveries apart; "": none */
	char id_member[SIGNATURE_NAME]; /* or a member of the body does */
	/* of a token; "": any, or none */
	char issuer[SIGNATURE_URL], audience[SIGNATURE_URL];
	char jwks_url[SIGNATURE_URL];    /* RS256 and ES256; else HS256 */
	char body_claim[SIGNATURE_NAME]; /* that holds the body's SHA-256 */
};

/* A secret's bytes, and the version that it has in the database. */
struct signature_secret {
	unsigned char key[SIGNATURE_SECRET_MAX];
	uint16_t n;
	int version;
};

struct signature_request {
	const struct signature_scheme *scheme;
	const struct http1_head *head;
	struct str body;
	const struct signature_secret *secrets;
	size_t n_secrets;
	int64_t now_s;
	const struct jwt_keys *keys; /* at jwks_url */
	struct arena *arena;         /* for a token's claims */
};

struct signature {
	const struct signature_secret *signer; /* NULL: the scheme has none */
	struct str
	    id; /* what id_header says, if it may be stored; else s NULL */
};

const char *signature_type_name(enum signature_type type);
/* Its requests are verified without a secret of the endpoint. */
int signature_is_keyless(const struct signature_scheme *scheme);
/* A provider's scheme as it is in the table. */
struct signature_scheme signature_scheme_of(enum signature_type type);
/*
 * {"type": "stripe", "tolerance": 300} or, of type "hmac", also "header",
 * "algorithm", "encoding", "key", "prefix", "separator", "timestamp_header",
 * "timestamp_prefix", "content" and "id_header". FAULT_INPUT says what is
 * wrong.
 */
int signature_scheme_parse(
    const struct json *config, struct signature_scheme *out, struct error *err);
/* The secret's text as the scheme writes it. FAULT_CONFIG when it is none; the
 * error does not repeat it. */
int signature_secret_parse(const struct signature_scheme *scheme,
    struct str text, struct signature_secret *out, struct error *err);

/*
 * 0 and whose it is. 1, SIGNATURE_UNKNOWN_KEY: a token's key is none of those
 * that are known. -1 with FAULT_AUTH and code "HEADERS" (one is absent or
 * malformed), "CLOCK" (the timestamp is more than the tolerance away from
 * now_s) or "SIGNATURE".
 */
enum { SIGNATURE_UNKNOWN_KEY = 1 };
int signature_verify(const struct signature_request *req, struct signature *out,
    struct error *err);

/* The headers of a request that this secret signs, in the arena; how many. */
size_t signature_sign(struct arena *a, const struct signature_request *req,
    struct str id, struct http1_header out[SIGNATURE_SIGN_HEADERS]);

/* The parts of both for tokens (signature-jwt.c). */
int signature_jwt_verify(const struct signature_request *req,
    struct signature *out, struct error *err);
const char *signature_jwt_make(
    struct arena *a, const struct signature_request *req, struct str id);

/* What may be stored and logged as it is: 1 to SIGNATURE_ID_MAX visible ASCII
 * characters. */
int signature_id_valid(struct str id);
