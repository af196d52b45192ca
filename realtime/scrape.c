#include "realtime/scrape.h"
#include "core/log.h"
#include "core/measure.h"
#include "core/mem.h"
#include "realtime/realtime-sql.h"

#include <stdlib.h>
#include <string.h>

enum {
	FRESH_MS = 1000, /* so long an answer is good */
	LATE_MS = 2000,  /* so long one is waited for */
};

struct scrape {
	struct loop *loop;
	struct scrape_options o;
	struct list waiting; /* struct waiter */
	struct loop_timer *late;
	struct buf queue; /* what the monitor measured, as text */
	int64_t read_ms;  /* when it was read; 0: never */
	int asking, overdue;
};

struct waiter {
	struct list link;
	struct request *req;
};

static void
reply(struct scrape *s, struct request *req)
{
	struct buf body;

	buf_init(&body);
	metrics_print(s->o.metrics, &body);
	buf_addstr(&body, buf_str(&s->queue));
	buf_adds(&body, METRICS_END);
	request_reply(req,
	    &(struct reply){
		.status = 200, .type = METRICS_TYPE, .body = buf_str(&body) });
	buf_deinit(&body);
}

static struct request *
waiter_end(struct waiter *w)
{
	struct request *req = w->req;

	req->gone = NULL;
	list_remove(&w->link);
	free(w);
	return req;
}

static void
waiter_gone(struct request *req)
{
	waiter_end(req->owner);
}

static void
reply_all(struct scrape *s)
{
	loop_timer_clear(s->late);
	while (!list_empty(&s->waiting))
		reply(s,
		    waiter_end(
			list_entry(s->waiting.next, struct waiter, link)));
}

/* A row a bucket. The row behind them. */
static int
print_histogram(struct scrape *s, struct rows *rows, int i)
{
	uint64_t counts[HISTOGRAM_BUCKETS] = { 0 };
	struct str metric = rows_str(rows, i, "metric");

	for (; i < rows->n && str_eq(rows_str(rows, i, "metric"), metric);
	     i++) {
		int64_t bucket = rows_int(rows, i, "bucket");

		if (bucket >= 0 && bucket < HISTOGRAM_BUCKETS)
			counts[bucket] =
			    (uint64_t)rows_double(rows, i, "value");
	}
	measure_histogram(metric, counts, &s->queue);
	return i;
}

static void
print_rows(struct scrape *s, struct rows *rows)
{
	struct str family = { 0 };

	buf_clear(&s->queue);
	for (int i = 0; i < rows->n;) {
		struct str metric = rows_str(rows, i, "metric");

		if (!str_eq(metric, family))
			measure_head(metric, &s->queue);
		family = metric;
		if (measure_is_histogram(metric)) {
			i = print_histogram(s, rows, i);
			continue;
		}
		measure_sample(metric, rows_str(rows, i, "project"),
		    rows_str(rows, i, "label_value"),
		    rows_double(rows, i, "value"), &s->queue);
		i++;
	}
}

static void
came(void *arg, struct rows *rows, const struct error *err)
{
	struct scrape *s = arg;

	s->asking = 0;
	s->overdue = 0;
	if (err != NULL) {
		log_debug("scrape.failed", E_(err));
		buf_clear(&s->queue);
	} else {
		print_rows(s, rows);
		s->read_ms = loop_now_ms(s->loop);
	}
	reply_all(s);
}

/* Until the database answers, nobody else waits for it. */
static void
late(void *arg)
{
	struct scrape *s = arg;

	s->overdue = 1;
	buf_clear(&s->queue);
	reply_all(s);
}

static void
ask(struct scrape *s)
{
	if (db_call(s->o.db, &sql_scrape, came, s, NULL,
		db_bool(s->o.by_project)) < 0) {
		buf_clear(&s->queue);
		reply_all(s);
		return;
	}
	s->asking = 1;
	loop_timer_set(s->late, LATE_MS);
}

static void
handle(void *arg, struct request *req)
{
	struct scrape *s = arg;
	struct waiter *w;

	if (s->overdue ||
	    (s->read_ms != 0 && loop_now_ms(s->loop) - s->read_ms < FRESH_MS)) {
		reply(s, req);
		return;
	}
	w = xcalloc(1, sizeof(*w));
	w->req = req;
	req->owner = w;
	req->gone = waiter_gone;
	list_append(&s->waiting, &w->link);
	if (!s->asking)
		ask(s);
}

size_t
scrape_routes(struct scrape *s, struct route *out)
{
	out[0] = (struct route){ .method = "GET",
		.pattern = "/metrics",
		.handle = handle,
		.arg = s };
	return 1;
}

struct scrape *
scrape_new(struct loop *loop, const struct scrape_options *options)
{
	struct scrape *s = xcalloc(1, sizeof(*s));

	s->loop = loop;
	s->o = *options;
	list_init(&s->waiting);
	buf_init(&s->queue);
	s->late = loop_timer_new(loop, late, s);
	return s;
}

struct scrape *
scrape_free(struct scrape *s)
{
	if (s == NULL)
		return NULL;
	while (!list_empty(&s->waiting))
		waiter_end(list_entry(s->waiting.next, struct waiter, link));
	loop_timer_free(s->late);
	buf_deinit(&s->queue);
	free(s);
	return NULL;
}
