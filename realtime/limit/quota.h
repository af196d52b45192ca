#pragma once
/*
 * A rate that all gateways share. The bucket is a row in the database; a
 * gateway leases slices of it, a 20th of a second's worth or what is asked for,
 * and spends them without asking again. What it doesn't spend within a quarter
 * of a second is void: the sum over all gateways never exceeds the rate, and
 * may fall short of it by what sparse callers leave over. An empty bucket says
 * when to ask again, and until then nobody asks.
 */
#include "core/list.h"
#include "core/loop.h"
#include "core/uuid.h"
#include "supabase/client/db.h"

enum { QUOTA_SLICE = 20, QUOTA_KEEP_MS = 250, QUOTA_HEADERS = 200 };

struct quota;

struct quota_limit {
	int32_t rate, burst; /* a second; at once */
};

/* What a caller is told: draft-ietf-httpapi-ratelimit-headers. */
struct quota_state {
	struct quota_limit limit; /* rate 0: none */
	int32_t left;
	int32_t retry_s; /* refused: when to come again */
};

enum quota_verdict { QUOTA_GRANTED, QUOTA_REFUSED, QUOTA_UNKNOWN };

/* fn is called once, from the loop, unless quota_wait_cancel. */
struct quota_wait {
	struct list link;
	void (*fn)(struct quota_wait *wait, enum quota_verdict verdict,
	    const struct quota_state *state);
};

struct quota *quota_new(
    struct loop *loop, struct db *db, const struct uuid *endpoint);
/* Who waits is told QUOTA_UNKNOWN. db_gone: nothing comes back from it any more.
 * NULL. */
struct quota *quota_free(struct quota *r, int db_gone);

/*
 * One more. Within the rate?
 *     0  QUOTA_GRANTED or QUOTA_REFUSED, in *verdict, with *state
 *     1  QUOTA_LATER: wait->fn follows; QUOTA_UNKNOWN where the database can't
 *        be asked
 *    -1  it can't be asked now
 */
enum { QUOTA_LATER = 1 };
int quota_take(struct quota *r, const struct quota_limit *limit,
    struct quota_wait *wait, enum quota_verdict *verdict,
    struct quota_state *state);
void quota_wait_cancel(struct quota_wait *wait); /* idempotent */

/* The header lines RateLimit-Policy and RateLimit, and Retry-After where it
 * was refused; "" without a limit. */
const char *quota_headers(const struct quota_state *s, char out[QUOTA_HEADERS]);
