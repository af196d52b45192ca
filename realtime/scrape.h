#pragma once
/*
 * GET /metrics, OpenMetrics text: this gateway's own numbers, and behind them
 * the newest that a monitor has measured (core/measure.h), with their age.
 *
 * The database is asked at most once a second however many ask here, in one
 * bounded statement; whoever comes meanwhile waits for that answer, but not
 * for long: what the database doesn't tell in time is left out.
 */
#include "core/metrics.h"
#include "realtime/server/server.h"
#include "supabase/client/db.h"

struct scrape;

struct scrape_options {
	struct db *db;
	const struct metrics *metrics;
	int by_project; /* or of all projects together */
};

struct scrape *scrape_new(
    struct loop *loop, const struct scrape_options *options);
/* After the server and the db. */
struct scrape *scrape_free(struct scrape *s); /* NULL */
size_t scrape_routes(struct scrape *s, struct route *out);
