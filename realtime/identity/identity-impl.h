#pragma once
/* identity.c asks one of identity-user.c, identity-service.c and
 * identity-ticket.c, which tell who waits by identity-wait.c. */
#include <openssl/sha.h>

#include "core/list.h"
#include "realtime/identity/identity.h"
#include "supabase/client/jwks.h"
#include "supabase/client/ticket.h"

#define SERVICE_PREFIX "mhs_"

enum {
	SERVICE_SLOTS = 1024,
	SERVICE_FRESH_MS = 5000,
	SERVICE_STALE_MS = 60000,
	SERVICE_ABSENT_MS = 1000,
	SERVICE_LOADS_MAX =
	    256,           /* at once: tokens that don't exist are cheap */
	TOKEN_MAX = 12288, /* bytes of any kind */
};

enum slot_state { SLOT_EMPTY, SLOT_KNOWN, SLOT_ABSENT };

/* What the database said of a service token. Direct-mapped by its hash: of two
 * that meet in a slot, the later one stays. */
struct service_slot {
	unsigned char hash[SHA256_DIGEST_LENGTH];
	enum slot_state state;
	int loading;
	int64_t read_ms, expires_ms;
	struct uuid id, project;
	char slug[IDENTITY_NAME_MAX + 1], service[IDENTITY_NAME_MAX + 1];
};

struct identities {
	struct loop *loop;
	struct db *db;
	const struct vault *vault;
	struct jwt_keys secret;
	char *issuer, *audience; /* NULL: any */
	struct guard guard;
	struct http *http; /* NULL: no JWKS */
	struct jwks *jwks;
	struct list pending;
	uint32_t n_loads;
	struct service_slot slots[SERVICE_SLOTS];
};

/* A token that something must be fetched for. */
struct pending {
	struct list link; /* identities->pending */
	struct identities *ids;
	struct identity_wait *wait; /* NULL: nobody waits any more */
	struct jwks_wait keys;
	unsigned char hash[SHA256_DIGEST_LENGTH]; /* a service token's */
	char *token;                              /* a user's; NULL */
};

/* wait NULL: nobody waits. */
struct pending *pending_new(struct identities *ids, struct identity_wait *wait);
/* Frees it; NULL when it was cancelled: then there is nobody to tell. */
struct identity_wait *pending_end(struct pending *p);
void identity_refuse(struct identity_wait *wait, enum fault fault,
    const char *code, const char *why);

/* Each tells it who bears the token, now or later. */
void user_check(
    struct identities *ids, struct str token, struct identity_wait *wait);
void service_check(
    struct identities *ids, struct str token, struct identity_wait *wait);
void ticket_check(
    struct identities *ids, struct str token, struct identity_wait *wait);
