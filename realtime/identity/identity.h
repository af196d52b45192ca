#pragma once
/*
 * Who asks. A caller shows one of
 *     a user's token     Authorization: Bearer <JWT>; HS256 by the shared
 *                        secret, RS256 and ES256 by the keys at the JWKS URL
 *     a service token    Authorization: Bearer mhs_...; the database knows its
 *                        hash, project and service
 *     a ticket           ?ticket=, for EventSource, which can't send headers:
 *                        a user's token sealed by us, good for one stream at
 *                        a time until that token expires
 * Whatever role a token claims, in the database its bearer becomes anon or
 * authenticated and nothing else.
 *
 * Keys or the database may have to be asked first, so answers come by a
 * function, at once or later.
 */
#include "core/uuid.h"
#include "realtime/server/server.h"
#include "supabase/client/db.h"
#include "supabase/client/vault.h"

enum identity_kind {
	IDENTITY_USER = 1,
	IDENTITY_SERVICE = 2,
	IDENTITY_TICKET = 4,
};

enum identity_role { IDENTITY_ANON, IDENTITY_AUTHENTICATED };

enum { IDENTITY_NAME_MAX = 64 };

struct identity {
	enum identity_kind kind;
	enum identity_role role;
	int has_user;
	struct uuid user; /* a user's; of a ticket, too */
	int service_role; /* the token claims it: for /admin, never in SQL */
	struct uuid id;   /* of the ticket, or of the service token */
	/* a service token's: */
	struct uuid project;
	char slug[IDENTITY_NAME_MAX + 1]; /* the project's */
	char service[IDENTITY_NAME_MAX + 1];
	int64_t expires_ms; /* on the wall's clock; INT64_MAX: never */
	struct str claims;  /* JSON, for request.jwt.claims; NUL-terminated */
};

/* A copy on the heap; and its end. */
struct identity *identity_keep(const struct identity *who);
struct identity *identity_free(struct identity *who);    /* NULL */
const char *identity_role_name(enum identity_role role); /* "anon", ... */

/* The rest of the open transaction is theirs, by role and claims; its statements
 * may take a second each. */
int identity_become(
    struct db *db, const struct identity *who, struct error *err);

struct identities;

struct identities_options {
	struct db *db;
	const struct vault *vault;     /* seals tickets */
	struct str jwt_secret;         /* s NULL: no HS256 */
	const char *jwks_url;          /* NULL: no RS256, no ES256 */
	const char *issuer, *audience; /* NULL: any */
};

/* Options are copied, but for what db and vault point to. FAULT_CONFIG. */
struct identities *identities_new(struct loop *loop,
    const struct identities_options *options, struct error *err);
struct identities *identities_free(struct identities *ids); /* NULL; no fn */

/*
 * Who sent the request? kinds: those of enum identity_kind that may. fn is
 * called once, with what is valid until it returns; or the request is answered
 * here: 401 when it shows nothing or nothing valid, 403 when it's of another
 * kind, 503 when it can't be known now. Until then the request is ours, and
 * when its client leaves meanwhile nothing is called.
 */
typedef void identity_fn(
    void *arg, struct request *req, const struct identity *who);
void identity_check(struct identities *ids, struct request *req, unsigned kinds,
    identity_fn *fn, void *arg);

/*
 * The same for a token that came in another way (a message of a WebSocket, a
 * body). fn is called once, perhaps before identity_token() returns, unless
 * cancelled: with who it is, or with an error of FAULT_AUTH (it isn't valid) or
 * FAULT_RETRY.
 */
struct identity_wait {
	void (*fn)(struct identity_wait *wait, const struct identity *who,
	    const struct error *err);
	void *pending; /* private */
};
void identity_token(struct identities *ids, struct str token, unsigned kinds,
    struct identity_wait *wait);
void identity_cancel(struct identity_wait *wait); /* idempotent */

/* A fresh ticket for a user, in the arena: letters, digits, "._-". */
int identity_ticket(struct identities *ids, struct arena *a,
    const struct identity *who, struct str *out, struct error *err);

/* POST /api/logs/stream/ticket */
size_t identity_routes(struct identities *ids, struct route *out);
