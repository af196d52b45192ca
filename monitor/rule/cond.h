#pragma once
/*
 * The condition of a rule: an expression over metrics.
 *
 *     oldest_age{queue="work"} > 60
 *     rate(failures[5m]) / rate(steps[5m]) > 5% and rate(steps[5m]) > 0.1
 *     absent(workers_alive[1m])
 *     max by (project) (backlog) > 10000
 *
 * A metric's name stands for its series' values now, a vector; {label="x"}
 * (or !=) narrows it, and a rule of a project sees that project's series
 * alone. rate, increase, delta, avg_over, min_over, max_over and absent take
 * a metric with a range [5m]; sum, avg, min, max, count, with or without
 * by (label, ...), take an expression, as abs, ceil, floor and round do.
 * * / + - work on numbers and on vectors, > >= < <= == != keep of a vector what
 * they hold for, and, or, unless combine vectors. Numbers may have a unit:
 * 5% is 0.05, 10m is 600, 1GB is 10^9, 1GiB is 2^30.
 *
 * Elements of two vectors belong together when labels that both have are
 * equal. A counter that falls was reset: rate and increase count from 0. What
 * is divided by 0 is dropped. Whatever a condition does is bounded: COND_TEXT
 * bytes, COND_DEPTH levels, COND_ELEMENTS in a vector.
 */
#include "core/error.h"
#include "monitor/rule/series.h"

enum { COND_TEXT = 2000, COND_DEPTH = 32, COND_ELEMENTS = 10000 };

struct cond; /* parsed; lives in the arena it was parsed into */

/* FAULT_INPUT, "column 12: ..."; max_range_ms: what the store keeps. */
int cond_parse(struct arena *a, struct str text, int64_t max_range_ms,
    struct cond **out, struct error *err);
/* The metrics that it reads, added to *list of n where they aren't there, and
 * the longest range over each (0: its value now). The new n. */
struct cond_metric {
	struct str name;
	int64_t range_ms;
};
size_t cond_metrics(
    struct arena *a, const struct cond *c, struct cond_metric **list, size_t n);

struct element {
	struct label labels[SERIES_LABELS];
	uint32_t n_labels;
	struct str project;
	double value;
};

struct vector {
	struct element *items;
	uint32_t n;
};

/* The elements for which it holds, with the value that was compared (what is
 * left of the outermost comparison); a number holds when it isn't 0. project:
 * empty for a rule of the installation. -1: a bound was exceeded. */
int cond_eval(struct arena *a, const struct cond *c, const struct samples *m,
    struct str project, struct vector *out, struct error *err);
