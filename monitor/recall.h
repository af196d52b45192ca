#pragma once
/*
 * What rules look back at. The store of samples keeps the metrics that rules
 * read, each as far back as the longest range over it. A new leader, and one
 * whose rules read more than is kept, takes what was measured from the
 * database, page by page, into a new store, which then takes the place of the
 * old one. So whoever leads, nothing that rose meanwhile is missed and nothing
 * ends early; ticks that come during it are among what is read.
 */
#include "core/arena.h"
#include "core/error.h"
#include "monitor/rule/cond.h"
#include "supabase/client/db.h"

struct monitor;

/* err NULL: it is all there. */
typedef void recall_fn(void *arg, const struct error *err);

struct recall {
	struct monitor *m;
	struct arena store;
	struct samples samples;
	struct db_array metrics, since;
	int64_t from_ms, to_ms; /* of the page */
	int64_t tick_ms;        /* whose rows come */
	int skip, busy, stale;
	recall_fn *fn;
	void *arg;
};

/* Calls fn, now or later. One at a time. */
void samples_recall(struct monitor *m, const struct cond_metric *reads,
    size_t n, recall_fn *fn, void *arg);
/* The store was made anew meanwhile: what was read is for nothing. */
void recall_reset(struct recall *r);
void recall_deinit(struct recall *r);
