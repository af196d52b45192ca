#pragma once
/*
 * What `queue stats --watch` knows: the last minute of the installation and of
 * each project, as a monitor measured it. Rows come in by time; a frame, or an
 * object, comes out. It knows no clock, no terminal and no database.
 *
 * series[0] is the installation: its own metrics, and for those that only
 * projects have, their sum (of ages the worst). Rates are of the time since
 * the tick before; a counter that fell was reset and has none. NaN: not known.
 */
#include "cli/out.h"

enum {
	WATCH_TICKS = 120,
	WATCH_SPAN_MS = 60000,
	WATCH_LATE = 3, /* intervals without a measurement are too many */
};

enum watch_value {
	WATCH_READY,
	WATCH_FLIGHT,
	WATCH_QUEUED, /* both of them */
	WATCH_BACKLOG,
	WATCH_DELAYED,
	WATCH_DEAD,
	WATCH_RUNS,
	WATCH_OLDEST,   /* seconds */
	WATCH_STEPS,    /* a second */
	WATCH_FAILURES, /* a second */
	WATCH_WAIT,     /* 95th percentile, seconds */
	WATCH_WORKERS,
	WATCH_LOAD, /* messages that they hold */
	WATCH_LAG,  /* of live logs, seconds */
	N_WATCH_VALUES,
};

struct watch_tick {
	int64_t at_ms;
	double v[N_WATCH_VALUES];
};

struct watch_series {
	char *name; /* the project's slug */
	int firing; /* alerts */
	uint32_t n; /* ticks, oldest first */
	struct watch_tick ticks[WATCH_TICKS];
	double steps, failures; /* the counters, at totals_ms */
	int64_t totals_ms;
};

struct watch {
	struct watch_series **series;
	size_t n;
	int64_t newest_ms; /* of the last tick; 0: nothing was ever measured */
	int64_t interval_ms; /* between ticks; 0: not known yet */
	int firing;
};

void watch_init(struct watch *w);
void watch_deinit(struct watch *w);
/* A row of queue_metrics; project "" for the installation. In order of time. */
void watch_add(struct watch *w, int64_t at_ms, const char *project,
    const struct json *data);
/* When it was measured last, though that be longer ago. */
void watch_measured(struct watch *w, int64_t at_ms);
/* {"": 1, "acme": 2}: how many alerts fire. */
void watch_fires(struct watch *w, const struct json *by_project);
/* All rows of an answer were added: what is older than a minute is dropped,
 * projects come in order: those with alerts, with a backlog, the busiest. */
void watch_settle(struct watch *w);

/* The newest value; share: of failures among the steps of the last minute. */
double watch_now(const struct watch_series *s, enum watch_value v);
double watch_share(const struct watch_series *s);
/* Has nothing been measured for too long? now_ms: the database's clock. */
int watch_is_late(const struct watch *w, int64_t now_ms);
struct json *watch_json(struct arena *a, const struct watch *w, int64_t now_ms);

struct watch_look {
	const struct out *out; /* its colours */
	int width, height;     /* height 0: as high as it takes */
	int64_t now_ms;        /* the database's clock */
	const char *where;     /* host:port */
	const char *problem;   /* the database is away: why; NULL: it is not */
	const char *keys;      /* the last line; NULL: none */
};

/* Lines of at most width columns, each with a newline but the last. */
void watch_draw(
    const struct watch *w, const struct watch_look *look, struct buf *b);
