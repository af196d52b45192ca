#pragma once
/*
 * Numbers that a process tells of itself, printed as OpenMetrics text.
 *
 * A metric is a family's name and one set of labels; those of one name have the
 * same type and help. Counters only
 * grow; a gauge is read when it is printed; a histogram counts microseconds in
 * the buckets of core/histogram.h, and is printed in seconds, by half octaves
 * from 128 us to 72 minutes, always the same: so its bounds are exact, and
 * a bound that is new to a reader never comes with a count.
 */
#include <stdint.h>

#include "core/buf.h"
#include "core/histogram.h"
#include "core/list.h"

struct metrics {
	struct list all; /* in the order of their registration */
	int64_t ticked_ms;
};

struct metric;
typedef double metric_fn(void *arg);

void metrics_init(struct metrics *m);
void metrics_deinit(struct metrics *m); /* idempotent; frees its metrics */

/* Names without "_total"; labels as printed, `kind="x"`, or NULL. All of them
 * outlive the registry. */
struct metric *metrics_counter(
    struct metrics *m, const char *name, const char *labels, const char *help);
/* One that is counted elsewhere, and read when it is printed. */
void metrics_counter_of(struct metrics *m, const char *name, const char *labels,
    const char *help, metric_fn *fn, void *arg);
void metrics_gauge(struct metrics *m, const char *name, const char *labels,
    const char *help, metric_fn *fn, void *arg);
/* A name that ends in "_seconds". */
struct metric *metrics_histogram(
    struct metrics *m, const char *name, const char *labels, const char *help);

void metric_add(struct metric *c, uint64_t n); /* a counter; NULL: nothing */
void metric_observe(struct metric *h, int64_t us); /* a histogram; or NULL */
uint64_t metric_count(const struct metric *m);     /* of either */
/* An upper bound, in microseconds, of this share of a histogram; 0: empty. */
int64_t metric_quantile(const struct metric *h, double q);

/* Once in a while: what counters moved by since the last time, a second. */
void metrics_tick(struct metrics *m, int64_t now_ms);
/* The same numbers as a JSON object: of a counter {"total", "per_s"}, of a
 * histogram {"count", "per_s", "p50_ms", "p99_ms"}, a gauge's value. */
void metrics_json(const struct metrics *m, struct buf *out);
/* All of it but the METRICS_END, before which others may add theirs. */
void metrics_print(const struct metrics *m, struct buf *out);
/* The samples of a histogram that is counted elsewhere. */
void metrics_print_histogram(struct buf *out, const char *name,
    const char *labels, const uint64_t counts[static HISTOGRAM_BUCKETS],
    double sum_us);
#define METRICS_END "# EOF\n"
#define METRICS_TYPE                                                           \
	"application/openmetrics-text; version=1.0.0; charset=utf-8"
