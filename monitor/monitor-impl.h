#pragma once
/* What the parts of the monitor share. */
#include "core/loop.h"
#include "core/uuid.h"
#include "monitor/archive.h"
#include "monitor/canary.h"
#include "monitor/deliver.h"
#include "monitor/judge.h"
#include "monitor/monitor.h"
#include "monitor/recall.h"
#include "monitor/rule/series.h"
#include "monitor/upkeep.h"
#include "supabase/client/db.h"
#include "supabase/client/flush.h"

struct monitor {
	const struct monitor_options *o;
	struct loop *loop;
	struct db *db;
	struct flush *flush;
	struct loop_signal *term, *interrupt;
	struct loop_timer *tick, *lead, *beat, *late;
	struct uuid id;
	int connected; /* once, at least: the URL is right */
	int serving;   /* connected to a schema that fits */
	int ticking;   /* a tick is under way */
	int leading;   /* asked to lead */
	int64_t fence; /* of the reign; 0: another leads */
	int ending;
	struct arena store; /* of samples; anew when it is full */
	struct samples samples;
	struct recall recall;
	struct judge *judge;
	struct deliver *deliver;
	struct canary *canary; /* NULL: there is none */
	int telling;           /* of failed runs: under way */
	struct upkeep upkeep;
	struct archive *archive; /* NULL: none is configured */
};

/* A tick's answer came. 1: its samples are no news. samples.c */
int monitor_sampled(struct monitor *m, struct rows *rows);
/* A new store of nothing: for what rules look at, see recall.h. */
void samples_reset(struct monitor *m);
/* A store for so many ticks. */
void samples_open(
    struct monitor *m, struct arena *a, struct samples *store, int64_t ticks);
