#include "core/metrics.h"
#include "core/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

static const char *const types[] = { "counter", "gauge", "histogram" };

struct metric {
	struct list link;
	enum metric_type type;
	const char *name, *labels, *help;
	uint64_t count, before; /* before: at the last tick */
	double per_s;
	metric_fn *fn; /* a gauge's, or a counter's that is counted elsewhere */
	void *arg;
	uint64_t sum_us; /* a histogram's */
	uint64_t buckets[];
};

/* Bounds are the ends of every so manieth bucket, from 128 us to 2^32 us. */
enum {
	BOUND_STEP = HISTOGRAM_STEPS / 2,
	BOUND_FIRST = 5 * HISTOGRAM_STEPS - 1,
	BOUND_LAST = 30 * HISTOGRAM_STEPS - 1,
};

void
metrics_init(struct metrics *m)
{
	list_init(&m->all);
	m->ticked_ms = 0;
}

void
metrics_deinit(struct metrics *m)
{
	for (struct list *it; (it = list_pop(&m->all)) != NULL;)
		free(list_entry(it, struct metric, link));
}

/* Behind those of its family, or all. */
static struct list *
place_of(struct metrics *m, const char *name)
{
	struct list *it = m->all.prev;

	while (it != &m->all &&
	    strcmp(list_entry(it, struct metric, link)->name, name) != 0)
		it = it->prev;
	return it != &m->all ? it->next : it;
}

static struct metric *
metric_new(struct metrics *m, enum metric_type type, const char *name,
    const char *labels, const char *help)
{
	size_t n = type == METRIC_HISTOGRAM ? HISTOGRAM_BUCKETS : 0;
	struct metric *x = xcalloc(1, sizeof(*x) + n * sizeof(x->buckets[0]));

	x->type = type;
	x->name = name;
	x->labels = labels;
	x->help = help;
	list_append(place_of(m, name), &x->link);
	return x;
}

struct metric *
metrics_counter(
    struct metrics *m, const char *name, const char *labels, const char *help)
{
	return metric_new(m, METRIC_COUNTER, name, labels, help);
}

void
metrics_counter_of(struct metrics *m, const char *name, const char *labels,
    const char *help, metric_fn *fn, void *arg)
{
	struct metric *x = metric_new(m, METRIC_COUNTER, name, labels, help);

	x->fn = fn;
	x->arg = arg;
}

void
metrics_gauge(struct metrics *m, const char *name, const char *labels,
    const char *help, metric_fn *fn, void *arg)
{
	struct metric *x = metric_new(m, METRIC_GAUGE, name, labels, help);

	x->fn = fn;
	x->arg = arg;
}

struct metric *
metrics_histogram(
    struct metrics *m, const char *name, const char *labels, const char *help)
{
	return metric_new(m, METRIC_HISTOGRAM, name, labels, help);
}

void
metric_add(struct metric *c, uint64_t n)
{
	if (c != NULL)
		c->count += n;
}

uint64_t
metric_count(const struct metric *m)
{
	return m->fn != NULL ? (uint64_t)m->fn(m->arg) : m->count;
}

void
metric_observe(struct metric *h, int64_t us)
{
	if (h == NULL)
		return;
	h->count++;
	h->sum_us += us > 0 ? (uint64_t)us : 0;
	h->buckets[histogram_bucket(us)]++;
}

int64_t
metric_quantile(const struct metric *h, double q)
{
	uint64_t seen = 0;

	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->buckets[i];
		if (h->count > 0 && (double)seen >= q * (double)h->count)
			return histogram_end(i) - 1;
	}
	return 0;
}

static void
print_sample(struct buf *out, const char *name, const char *suffix,
    const char *labels, double v)
{
	buf_addf(out, "%s%s", name, suffix);
	if (labels != NULL)
		buf_addf(out, "{%s}", labels);
	buf_addf(out, " %.15g\n", v);
}

static void
print_bucket(struct buf *out, const char *name, const char *labels,
    const char *le, uint64_t n)
{
	buf_addf(out, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", name,
	    labels != NULL ? labels : "", labels != NULL ? "," : "", le, n);
}

void
metrics_print_histogram(struct buf *out, const char *name, const char *labels,
    const uint64_t counts[static HISTOGRAM_BUCKETS], double sum_us)
{
	uint64_t seen = 0;
	char le[32];

	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += counts[i];
		if (i < BOUND_FIRST || i > BOUND_LAST ||
		    (i + 1) % BOUND_STEP != 0)
			continue;
		snprintf(
		    le, sizeof(le), "%.10g", (double)histogram_end(i) / 1e6);
		print_bucket(out, name, labels, le, seen);
	}
	print_bucket(out, name, labels, "+Inf", seen);
	print_sample(out, name, "_sum", labels, sum_us / 1e6);
	print_sample(out, name, "_count", labels, (double)seen);
}

/* A name says its unit: "meshhook_http_seconds", "meshhook_stream_bytes". */
static void
print_head(struct buf *out, const struct metric *x)
{
	static const char *const units[] = { "seconds", "bytes" };
	const char *end = strrchr(x->name, '_');

	buf_addf(out, "# TYPE %s %s\n", x->name, types[x->type]);
	for (size_t i = 0; i < NELEM(units) && end != NULL; i++)
		if (strcmp(end + 1, units[i]) == 0)
			buf_addf(out, "# UNIT %s %s\n", x->name, units[i]);
	buf_addf(out, "# HELP %s %s\n", x->name, x->help);
}

void
metrics_print(const struct metrics *m, struct buf *out)
{
	const char *family = "";

	for (const struct list *it = m->all.next; it != &m->all;
	     it = it->next) {
		const struct metric *x = list_entry(it, struct metric, link);

		if (strcmp(family, x->name) != 0) {
			print_head(out, x);
			family = x->name;
		}
		if (x->type == METRIC_HISTOGRAM)
			metrics_print_histogram(out, x->name, x->labels,
			    x->buckets, (double)x->sum_us);
		else if (x->type == METRIC_COUNTER)
			print_sample(out, x->name, "_total", x->labels,
			    (double)metric_count(x));
		else
			print_sample(
			    out, x->name, "", x->labels, x->fn(x->arg));
	}
}

void
metrics_tick(struct metrics *m, int64_t now_ms)
{
	double seconds = (double)(now_ms - m->ticked_ms) / 1000.0;

	for (const struct list *it = m->all.next; it != &m->all;
	     it = it->next) {
		struct metric *x = list_entry(it, struct metric, link);

		x->per_s = m->ticked_ms == 0 || seconds <= 0
		    ? 0
		    : (double)(metric_count(x) - x->before) / seconds;
		x->before = metric_count(x);
	}
	m->ticked_ms = now_ms;
}

static void
json_one(struct buf *out, const struct metric *x)
{
	buf_addf(out, "\"%s", x->name);
	for (const char *p = x->labels; p != NULL && *p != '\0'; p++)
		if (p == x->labels)
			buf_addf(out, "{%c", *p);
		else
			buf_addf(out, *p == '"' ? "\\%c" : "%c", *p);
	buf_adds(out, x->labels != NULL ? "}\":" : "\":");
	if (x->type == METRIC_GAUGE)
		buf_addf(out, "%.15g", x->fn(x->arg));
	else if (x->type == METRIC_COUNTER)
		buf_addf(out, "{\"total\":%llu,\"per_s\":%.1f}",
		    (unsigned long long)metric_count(x), x->per_s);
	else
		buf_addf(out,
		    "{\"count\":%llu,\"per_s\":%.1f,\"p50_ms\":%.3f,"
		    "\"p99_ms\":%.3f}",
		    (unsigned long long)x->count, x->per_s,
		    (double)metric_quantile(x, 0.5) / 1000.0,
		    (double)metric_quantile(x, 0.99) / 1000.0);
}

void
metrics_json(const struct metrics *m, struct buf *out)
{
	buf_addc(out, '{');
	for (const struct list *it = m->all.next; it != &m->all;
	     it = it->next) {
		if (it != m->all.next)
			buf_addc(out, ',');
		json_one(out, list_entry(it, struct metric, link));
	}
	buf_addc(out, '}');
}
