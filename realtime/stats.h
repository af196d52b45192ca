#pragma once
/*
 * What a gateway tells of itself:
 *     GET /health            {"status", "version", "database", ...}: 200, or 503
 *     GET /admin/logs/stats  the same numbers with rates and quantiles, for
 *                            service_role and the admins of a project
 * None of it names a tenant.
 */
#include "core/metrics.h"
#include "realtime/stream/hub.h"
#include "realtime/identity/identity.h"

struct stats;

struct stats_options {
	struct db *db;
	struct identities *identities;
	struct metrics *metrics;
	const struct hub *hub; /* of the streams */
	const char *version;
	struct uuid gateway;
};

struct stats *stats_new(struct loop *loop, const struct stats_options *options);
/* After the server and the db. */
struct stats *stats_free(struct stats *s); /* NULL */
size_t stats_routes(struct stats *s, struct route *out);

/* The server's connections are counted once there is a server. */
void stats_server(struct stats *s, const struct server *server);
/* For struct server_options: arg is the stats. */
void stats_answered(void *arg, const struct request *req, int status);
/* What a heartbeat says, one at a time: the database moves its counters by
 * what was counted since the last one that it heard, or, where it has forgotten
 * this gateway, since the last that this knows was heard. */
void stats_heartbeat(struct stats *s, struct buf *out);
void stats_heard(struct stats *s);
/* The database is there, or no longer; this gateway is ending. */
void stats_database(struct stats *s, int there);
void stats_draining(struct stats *s);
