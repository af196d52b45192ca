#pragma once
/*
 * The samples that rules look at: by tick, a column of values, one for each
 * series. A series is a metric's name, the project it belongs to (empty: the
 * installation), and up to SERIES_LABELS labels, sorted by name.
 *
 * Only the last `ticks` columns are kept; once the owner has said what it wants
 * (samples_want), only series of those names, each as far back as it is wanted.
 * A series without a value in a tick has a gap there; a gap is never read as 0. Ticks are on the database's clock:
 * one that isn't later than the last is refused, unless the clock was set back
 * by more than all that is kept; then what is kept means nothing, and goes.
 *
 * All memory is the arena's; a series that ends keeps its place until the
 * owner makes the store anew.
 */
#include "core/arena.h"

enum { SERIES_LABELS = 4 };

struct label {
	struct str name, value;
};

/* The same names with the same values, in the same order. */
int labels_equal(
    const struct label *x, uint32_t n, const struct label *y, uint32_t m);

struct series {
	struct str name, project;
	struct label labels[SERIES_LABELS];
	uint32_t n_labels;
	uint32_t ticks; /* kept */
	uint32_t last;  /* the newest one that has a value; 0: none */
	double *values;
	struct series *next_in_bucket, *next_of_name;
};

struct series_name {
	struct str name, label; /* label: a series' first one has this name */
	uint32_t ticks;         /* wanted; 0: none */
	struct series *first;
	struct series **tail;
	struct series_name *next_in_bucket;
};

enum { SERIES_BUCKETS = 4096 }; /* a power of two */

struct samples {
	struct arena *arena;
	uint32_t ticks, tick; /* kept; the newest one's number, from 1 */
	int choosy;           /* only what is wanted */
	uint32_t n_series, max_series;
	uint64_t refused; /* values for which there was no room */
	int64_t lookback_ms;
	int64_t *at_ms; /* by tick */
	struct series *series[SERIES_BUCKETS];
	struct series_name *names[SERIES_BUCKETS];
};

/* lookback_ms: how old a series' newest value may be to count as its value
 * now: a few intervals, so that one lost sample is no absence. */
void samples_init(struct samples *m, struct arena *a, uint32_t ticks,
    uint32_t max_series, int64_t lookback_ms);
/* Keep series of that name, for so many ticks; before they have samples. */
void samples_want(struct samples *m, struct str name, uint32_t ticks);
/* They are wanted, for as long at least, or as long as can be. */
int samples_keep(const struct samples *m, struct str name, uint32_t ticks);

/* A new column at at_ms. 0; 1: SAMPLES_STALE, not later than the last one. */
enum { SAMPLES_STALE = 1 };
int samples_tick(struct samples *m, int64_t at_ms);
/* A value in the newest column. NaN is a gap. Strings are copied when the
 * series is new; labels beyond SERIES_LABELS are left out. */
void samples_set(struct samples *m, struct str name, struct str project,
    const struct label *labels, uint32_t n, double value);

int64_t samples_now(const struct samples *m); /* of the newest tick; 0: none */
/* The first tick later than so long ago. */
uint32_t samples_since(const struct samples *m, int64_t range_ms);
/* Ticks reach back so far, or as far as can be. */
int samples_cover(const struct samples *m, int64_t range_ms);
/* Before the newest tick there was none for longer than lookback_ms. */
int samples_gap(const struct samples *m);
/* The series of a name; of one project, when project.n > 0. Linked by
 * next_of_name, or, with a project, to be stepped by series_next. */
struct series *series_first(
    const struct samples *m, struct str name, struct str project);
struct series *series_next(struct series *s, struct str project);

/* NaN where it has none. */
double series_at(
    const struct samples *m, const struct series *s, uint32_t tick);
double series_now(const struct samples *m, const struct series *s);
struct str series_label(const struct series *s, const char *name);
/* The name of the label that has this value in a series of that name, or would
 * have; s NULL: they have none. */
struct str samples_label(
    const struct samples *m, struct str name, struct str value);
