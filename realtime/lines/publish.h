#pragma once
/*
 * Lines of services into the log: POST /api/logs/publish.
 *
 *     head       -> a service token (401), then at most 1 MiB (413)
 *     body       -> lines (400, 403, 413, 422), rate (429)
 *     queue      -> at most QUEUE_BYTES wait (503)
 *     batch      -> one durable transaction for all that came meanwhile
 *     answer     -> 200 {"lines", "duplicates", "channels": [{channel, from,
 *                   to}]}; of a request, all is stored or nothing
 *
 * Requests are grouped as intake groups webhooks. A batch whose connection is
 * lost may have been committed: requests whose every line has an id are sent
 * again, which that makes harmless; the others are told that it isn't known.
 */
#include "core/metrics.h"
#include "realtime/identity/identity.h"
#include "realtime/server/server.h"
#include "supabase/client/flush.h"

enum {
	PUBLISH_BATCH = 500,        /* requests of a transaction */
	PUBLISH_BATCH_LINES = 5000, /* of a transaction, but for a request's */
	PUBLISH_BATCHES = 2,        /* on their way */
	PUBLISH_QUEUE_BYTES = 33554432,
	PUBLISH_DEADLINE_MS = 10000,
	PUBLISH_OUTAGE_MS = 2000,
};

struct publish;

struct publish_options {
	struct db *db;
	struct flush *flush; /* told what is left to broadcast */
	struct identities *identities;
	struct metrics *metrics;
	uint32_t rate; /* lines/s of one token; 0: unlimited */
};

struct publish *publish_new(
    struct loop *loop, const struct publish_options *options);
/* After the server, whose requests it holds, and the db. */
struct publish *publish_free(struct publish *p); /* NULL */

size_t publish_routes(struct publish *p, struct route *out);
/* The database is there, or no longer. */
void publish_database(struct publish *p, int there);
