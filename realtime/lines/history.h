#pragma once
/*
 * What was logged: GET /api/logs?channels=a,b, read as the user whose token it
 * is, under that user's row-level security.
 *
 *     channels   up to 50, by commas; `*` as a last part: all of a service, or
 *                all runs
 *     level      the least: a name, or OpenTelemetry's number
 *     since, until  RFC 3339, or how long ago ("1h")
 *     q          a text in the message; attr.NAME=VALUE, up to 8
 *     limit      lines of a page: 1 to 1,000, 100 when not given
 *     order      asc (default) or desc
 *     format     json, ndjson or csv, or by Accept
 *
 * The next page is in Link, and in a JSON answer in "next".
 *
 * All of the gateway's statements share a connection, and reading may be slow:
 * one page is read at a time, within a second, and for as long as it took the
 * next one waits. So readers leave others half of the connection, at least.
 */
#include "core/metrics.h"
#include "realtime/identity/identity.h"

enum { HISTORY_WAITING = 200 /* requests; more are refused */ };

struct history;

struct history_options {
	struct db *db;
	struct identities *identities;
	struct metrics *metrics;
	uint32_t rate; /* requests/s of one user; 0: unlimited */
};

struct history *history_new(
    struct loop *loop, const struct history_options *options);
/* After the server and the db. */
struct history *history_free(struct history *h); /* NULL */
size_t history_routes(struct history *h, struct route *out);
