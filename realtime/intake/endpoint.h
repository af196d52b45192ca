#pragma once
/*
 * What the gateway knows about endpoints: read from the database when first
 * asked for, kept for seconds. An entry is used as it is for FRESH_MS; older,
 * it is still used and read anew behind the scenes; older than STALE_MS, the
 * asker waits. That there is no such endpoint is kept for ABSENT_MS. At most
 * ENTRIES are kept, those asked for last. What is stale can't harm: intake() checks in
 * the database that the endpoint is enabled and the secret valid.
 */
#include "core/list.h"
#include "core/uuid.h"
#include "realtime/limit/quota.h"
#include "realtime/intake/signature.h"
#include "supabase/client/db.h"
#include "supabase/client/jwks.h"
#include "supabase/client/vault.h"
#include "worker/flow/expr.h"

enum {
	ENDPOINT_SECRETS = 4, /* valid at once; the newest count */
	ENDPOINT_FRESH_MS = 5000,
	ENDPOINT_STALE_MS = 60000,
	ENDPOINT_ABSENT_MS = 1000,
	ENDPOINT_ENTRIES = 4096,
	ENDPOINT_NAME_MAX = 63, /* of a project or endpoint: slug or id */
};

struct endpoint {
	struct uuid id, project;
	size_t max_body;
	struct signature_scheme scheme;
	struct signature_secret secrets[ENDPOINT_SECRETS];
	size_t n_secrets;
	struct jwks *jwks;    /* NULL: its scheme names none */
	struct arena arena;   /* of what follows */
	struct expr *mapping; /* NULL: the body is the input */
	struct str *headers;  /* that the mapping may see, in lower case */
	size_t n_headers;
	int keep_body;
	struct error broken;      /* its scheme or mapping is none: why */
	struct quota_limit limit; /* 0 where it says nothing */
	struct quota *rate;       /* made with the first that needs it */
};

struct endpoints;

/* Asks for an endpoint. fn is called once, from the loop: with the endpoint;
 * with NULL and err NULL when there is none; or with why it isn't known. */
struct endpoint_wait {
	struct list link;
	void (*fn)(struct endpoint_wait *wait, struct endpoint *e,
	    const struct error *err);
};

/* All outlive it. http fetches the keys that endpoints name. */
struct endpoints *endpoints_new(struct loop *loop, struct db *db,
    const struct vault *vault, struct http *http);
/* After db, whose calls are gone with it. NULL; no fn. */
struct endpoints *endpoints_free(struct endpoints *all);

/*
 *     0  known: *out, or NULL when there is none
 *     1  ENDPOINT_LATER: wait->fn follows, unless endpoint_wait_cancel
 *    -1  can't be known now
 * *out is valid until the loop's next turn.
 */
enum { ENDPOINT_LATER = 1 };
int endpoint_get(struct endpoints *all, struct str project, struct str name,
    struct endpoint **out, struct endpoint_wait *wait, struct error *err);
void endpoint_wait_cancel(struct endpoint_wait *wait); /* idempotent */

/* One more webhook of this endpoint; as quota_take. */
int endpoint_quota(struct endpoints *all, struct endpoint *e,
    const struct quota_limit *limit, struct quota_wait *wait,
    enum quota_verdict *verdict, struct quota_state *state);

/* A signature by an unknown secret: there may be a newer one. ENDPOINT_LATER:
 * it is read again, and wait->fn follows; 0: it was read a moment ago. */
int endpoint_doubt(
    struct endpoints *all, struct endpoint *e, struct endpoint_wait *wait);
