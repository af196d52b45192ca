#pragma once
/*
 * Standard Webhooks 1.0 signatures: HMAC-SHA256 under the endpoint's secret of
 *     <webhook-id>.<webhook-timestamp>.<body>
 * in webhook-signature as "v1,<base64>", several by spaces while secrets
 * rotate. Nothing of the body is looked at before one of them holds.
 *
 * The time to refuse depends on the lengths and counts alone: every "v1"
 * candidate is compared, in constant time, with every secret's signature.
 */
#include <stdint.h>

#include "core/arena.h"
#include "core/error.h"

enum {
	SIGNATURE_ID_MAX = 256,     /* bytes of webhook-id */
	SIGNATURE_CANDIDATES = 16,  /* more than these are not read */
	SIGNATURE_TOLERANCE = 300,  /* seconds, either way */
	SIGNATURE_SECRET_MIN = 16,  /* bytes */
	SIGNATURE_SECRET_MAX = 128, /* bytes */
};

/* A secret's bytes, and the version that it has in the database. */
struct signature_secret {
	unsigned char key[SIGNATURE_SECRET_MAX];
	uint8_t n;
	int version;
};

struct signature_headers {
	struct str id, timestamp, signature; /* s NULL: absent */
};

/* "whsec_<base64>", or the base64 alone. FAULT_CONFIG when it is neither, or
 * not of 16 to 128 bytes; the error does not repeat it. */
int signature_secret_parse(
    struct str text, struct signature_secret *out, struct error *err);

/*
 * 0 and the secret that signed. -1 with FAULT_AUTH and code "HEADERS" (one is
 * absent or malformed), "CLOCK" (the timestamp is more than the tolerance away
 * from now_s) or "SIGNATURE".
 */
int signature_verify(const struct signature_headers *h, struct str body,
    const struct signature_secret *secrets, size_t n_secrets, int64_t now_s,
    const struct signature_secret **signer, struct error *err);
