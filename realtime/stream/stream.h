#pragma once
/*
 * Live logs over server-sent events.
 *
 *     GET  /api/logs/stream?channels=a,b   opens one: identity, attach(), ready
 *     POST /api/logs/stream/{id}/token     a new token for it
 *     POST /api/logs/stream/{id}/channels  {"add": [...], "remove": [...]}
 *
 * What a user may follow is asked in the database, as that user; that they
 * still may, every MEMBERS_MS. A stream lives as long as its token, which can
 * be renewed; 60 s before, an `auth` event says so.
 *
 * The two POSTs reach any gateway: what isn't for a stream of ours is told to
 * the others by NOTIFY, sealed under the intake key. So is the use of a ticket,
 * which is good for one stream at a time: the last one.
 */
#include "realtime/stream/hub.h"
#include "realtime/identity/identity.h"

enum {
	STREAM_CHANNELS = CURSOR_MAX,
	STREAM_TAIL = 10000,
	STREAM_WARN_MS = 60000,
	STREAM_MEMBERS_MS = 5000,
};

struct streams;

struct streams_options {
	struct db *db;
	struct identities *ids;
	const struct vault *vault;
	/* at once, in this process; 0: 32, 2,000, any number */
	uint32_t of_user, of_project, in_all;
};

struct streams *streams_new(
    struct loop *loop, const struct streams_options *options);
/* After the server and the db. */
struct streams *streams_free(struct streams *s); /* NULL */
size_t streams_routes(struct streams *s, struct route *out);
struct hub *streams_hub(struct streams *s);

void streams_database(struct streams *s, int there);
void streams_listen(struct streams *s, const struct listen *l);
/* A notification on meshhook_logs or meshhook_streams; as of listen_fn. */
void streams_notified(
    struct streams *s, const char *channel, const char *payload);
/* Tell all to come back elsewhere, and end them. */
void streams_drain(struct streams *s);
