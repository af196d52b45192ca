#pragma once
/*
 * Webhooks into runs: POST /hooks/{project}/{endpoint}.
 *
 *     head       -> the endpoint is known, or 404: its own cap on bodies
 *     body       -> signature (401), rate (429), JSON (400, 415, 422)
 *     queue      -> at most QUEUE_MAX wait (503)
 *     batch      -> one durable transaction for all that came meanwhile
 *     answer     -> 202 {"run_id"}; of the same webhook-id the same run
 *
 * The body, a JSON value, is the run's input; webhook_id and received_at are
 * in the payload of its run.started.
 *
 * At most BATCHES are on their way to the database: what comes meanwhile waits
 * and goes together. A batch that fails on data is halved until the culprit
 * stands alone; one that was lost with its connection is sent again, which the
 * webhook-id makes harmless. Whoever waits longer than DEADLINE_MS is told 503,
 * and everybody at once when the database has been away for OUTAGE_MS.
 */
#include "core/metrics.h"
#include "realtime/intake/endpoint.h"
#include "realtime/server/server.h"
#include "supabase/client/flush.h"

enum {
	INTAKE_BATCH = 200,
	INTAKE_BATCHES = 2,
	INTAKE_QUEUE_MAX = 10000,
	INTAKE_DEADLINE_MS = 10000,
	INTAKE_OUTAGE_MS = 2000,
	INTAKE_BODY_MAX = 16777216, /* of any endpoint */
};

struct intake;

struct intake_options {
	struct db *db;
	struct flush *flush; /* told that runs were started */
	const struct vault *vault;
	struct http *http; /* for the keys that endpoints name */
	struct metrics *metrics;
	uint32_t rate;  /* webhooks/s of one endpoint; 0: unlimited */
	uint32_t burst; /* 0: twice the rate */
};

struct intake *intake_new(
    struct loop *loop, const struct intake_options *options);
/* After the server, whose requests it holds. */
struct intake *intake_free(struct intake *in); /* NULL */

size_t intake_routes(struct intake *in, struct route *out);
/* The database is there, or no longer. */
void intake_database(struct intake *in, int there);
