#pragma once
/*
 * A JWK set at a URL, kept: fetched when first needed and again every
 * JWKS_FRESH_MS, and when a token names a key that isn't in it, though not
 * more often than every JWKS_AGAIN_MS, whatever tokens come. When a fetch
 * fails, what is known stays in use; the next one waits JWKS_AGAIN_MS, or
 * JWKS_RETRY_MS while nothing is known.
 *
 * Where the URL may lead is for the http's guard to say.
 */
#include "core/list.h"
#include "core/loop.h"
#include "http/client.h"
#include "supabase/client/jwt.h"

enum {
	JWKS_FRESH_MS = 600000,
	JWKS_AGAIN_MS = 10000,
	JWKS_RETRY_MS = 1000,
	JWKS_TIMEOUT_MS = 5000,
};

struct jwks;

/* http outlives it; the URL is copied. */
struct jwks *jwks_new(struct loop *loop, struct http *http, const char *url);
struct jwks *jwks_free(struct jwks *j); /* NULL; no fn */

/* What is known now; valid until the loop's next turn. Fetches behind the
 * scenes when that is due. */
const struct jwt_keys *jwks_keys(struct jwks *j);

/* fn is called once, from the loop: keys may be there, or *err says why none
 * could be fetched. */
struct jwks_wait {
	struct list link;
	void (*fn)(struct jwks_wait *wait, const struct error *err);
};

/*
 * A key is missing; may there be newer ones?
 *     0  no: they were fetched a moment ago
 *     1  JWKS_LATER: wait->fn follows, unless jwks_cancel
 *    -1  they can't be fetched now, and none is known
 */
enum { JWKS_LATER = 1 };
int jwks_refresh(struct jwks *j, struct jwks_wait *wait, struct error *err);
void jwks_cancel(struct jwks_wait *wait); /* idempotent */
