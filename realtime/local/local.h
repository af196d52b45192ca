#pragma once
/*
 * The part of Supabase Realtime that local development needs, at
 * /realtime/v1/websocket: channels, private by RLS, and broadcasts, from
 * clients and from the database. docs/realtime.md says what it is and how it
 * differs. For a machine that one developer uses: it is off unless asked for,
 * and it connects as a role that may become any user.
 */
#include "realtime/server/server.h"

struct local;

struct local_options {
	const char *db_url;    /* of a role that may write realtime.messages and
	                          become anon, authenticated, service_role */
	struct str jwt_secret; /* of HS256 */
};

struct local *local_new(
    struct loop *loop, const struct local_options *options, struct error *err);
/* Once there is a server; before, its requests are answered 503. */
int local_serve(struct local *l, struct server *server, struct error *err);
/* After the server, whose connections it holds. */
struct local *local_free(struct local *l); /* NULL */

size_t local_routes(struct local *l, struct route *out);
/* The process ends: close every socket, as the real server does. */
void local_drain(struct local *l);
