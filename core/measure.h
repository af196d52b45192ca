#pragma once
/*
 * What a monitor measures: every metric of meshhook.queue_metrics, and the
 * histograms of histogram_totals(), with unit and meaning, in one table. /metrics prints from it, and a test holds
 * docs/monitoring.md and what is measured against it: a metric that is added
 * gets its line here and its row there.
 *
 * A name that ends in "_total" is a counter's; one whose label is "le", a
 * histogram's; any other, a gauge's. Its unit,
 * if it has one, ends the name that OpenMetrics wants: oldest_age of seconds
 * is meshhook_oldest_age_seconds.
 */
#include "core/buf.h"
#include "core/histogram.h"

struct measure {
	const char *name;
	const char *label; /* of its values by name; NULL: it has one value */
	const char *unit;  /* "seconds"; NULL: just a number */
	const char *help;
};

extern const struct measure measures[]; /* sorted; ends with a NULL name */

/* NULL: no such. */
const struct measure *measure_find(struct str name);
/* "meshhook_wal_bytes" of wal_bytes_total: the family, without "_total". */
void measure_family(struct str name, struct buf *out);
int measure_is_counter(struct str name);
int measure_is_histogram(struct str name);

/* "# TYPE", "# UNIT" and "# HELP" of a family. Of a metric that isn't in the
 * table only its type is known. */
void measure_head(struct str name, struct buf *out);
/* A sample of it: value_label is the value of its label, or s NULL; so is
 * project. */
void measure_sample(struct str name, struct str project, struct str value_label,
    double v, struct buf *out);
/* A histogram's samples: how many fell into each bucket. Their sum is that of
 * the buckets' middles, hence within a sixteenth. */
void measure_histogram(struct str name,
    const uint64_t counts[static HISTOGRAM_BUCKETS], struct buf *out);
