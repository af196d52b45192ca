#include "realtime/lines/publish.h"
#include "core/mem.h"
#include "core/time.h"
#include "realtime/lines/publish-impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SWEEP_MS = 250 };

const struct problem publish_unavailable = { .status = 503,
	.kind = "unavailable",
	.detail = "the database can't be reached; send it again",
	.headers = "Retry-After: 2\r\n" };

/* Long enough that waiting for it is not worth the client's while. */
static int
outage(const struct publish *p)
{
	return p->away_ms != 0 &&
	    loop_now_ms(p->loop) - p->away_ms > PUBLISH_OUTAGE_MS;
}

/* -1: none that we read. */
static int
type_is_ndjson(struct str type)
{
	const char *semi = type.s != NULL ? memchr(type.s, ';', type.n) : NULL;

	if (type.s == NULL)
		return 0;
	if (semi != NULL)
		type.n = (size_t)(semi - type.s);
	while (type.n > 0 && type.s[type.n - 1] == ' ')
		type.n--;
	if (http1_name_is(type, "application/json"))
		return 0;
	return http1_name_is(type, "application/x-ndjson") ||
		http1_name_is(type, "application/ndjson") ||
		http1_name_is(type, "application/jsonl")
	    ? 1
	    : -1;
}

/* In the queue it goes with its client; in a batch it is already on its way. */
static void
item_gone(struct request *req)
{
	struct pub_item *item = req->owner;

	item->req = NULL;
	if (list_empty(&item->link))
		return;
	item->publish->queue_cost -= item->cost;
	pub_item_free(item);
}

static int
status_of(const struct error *err)
{
	if (err->fault == FAULT_AUTH)
		return 403;
	return strcmp(err->code, "LARGE") == 0 ? 413
	    : strcmp(err->code, "LINE") == 0   ? 422
					       : 400;
}

/* The lines, checked; else it was answered. */
static int
item_read(struct pub_item *item, const struct identity *who)
{
	struct publish *p = item->publish;
	struct request *req = item->req;
	int ndjson = type_is_ndjson(http1_get(&req->head, "content-type"));
	struct lines_scope scope = { .project = who->project,
		.slug = str_of(who->slug),
		.service = arena_str(&item->arena, str_of(who->service)),
		.now_ms = time_wall_ms(),
		.seed = p->seed };
	struct error err = { 0 };
	struct problem why = { .status = 415,
		.kind = "lines",
		.detail = "lines are application/json or "
			  "application/x-ndjson" };

	if (ndjson >= 0 &&
	    lines_parse(&item->arena, req->body, ndjson, &scope, &item->lines,
		&err) == 0)
		return 0;
	if (ndjson >= 0) {
		why.status = status_of(&err);
		why.detail = err.text;
	}
	pub_item_problem(item, &why);
	return -1;
}

static int
item_admitted(struct pub_item *item)
{
	struct publish *p = item->publish;
	char retry[40];
	int wait = rate_take(
	    &p->rates, &item->token, item->lines.n, loop_now_ms(p->loop));

	snprintf(retry, sizeof(retry), "Retry-After: %d\r\n", wait);
	if (wait > 0)
		pub_item_problem(item,
		    &(struct problem){ .status = 429,
			.kind = "rate",
			.detail = "more lines than this token may write",
			.headers = retry });
	else if (p->queue_cost > PUBLISH_QUEUE_BYTES)
		pub_item_problem(item,
		    &(struct problem){ .status = 503,
			.kind = "overload",
			.detail = "too many lines wait",
			.headers = "Retry-After: 1\r\n" });
	else
		return 1;
	return 0;
}

static void
lines_known(void *arg, struct request *req, const struct identity *who)
{
	struct publish *p = arg;
	struct pub_item *item = xcalloc(1, sizeof(*item));

	list_init(&item->link);
	arena_init(&item->arena);
	item->publish = p;
	item->req = req;
	item->token = who->id;
	item->began_us = time_mono_us();
	item->deadline_ms = loop_now_ms(p->loop) + PUBLISH_DEADLINE_MS;
	if (item_read(item, who) < 0 || !item_admitted(item))
		return;
	item->cost = item->arena.used;
	req->owner = item;
	req->gone = item_gone;
	pub_item_push(p, item);
}

static void
handle(void *arg, struct request *req)
{
	struct publish *p = arg;

	identity_check(p->o.identities, req, IDENTITY_SERVICE, lines_known, p);
}

static void
body_welcome(void *arg, struct request *req, const struct identity *who)
{
	(void)arg;
	(void)who;
	request_read(req, LINES_BODY_MAX);
}

static void
begin(void *arg, struct request *req)
{
	struct publish *p = arg;

	if (outage(p))
		request_problem(req, &publish_unavailable);
	else
		identity_check(
		    p->o.identities, req, IDENTITY_SERVICE, body_welcome, p);
}

size_t
publish_routes(struct publish *p, struct route *out)
{
	out[0] = (struct route){ .method = "POST",
		.pattern = "/api/logs/publish",
		.begin = begin,
		.handle = handle,
		.arg = p };
	return 1;
}

static void
sweep(void *arg)
{
	struct publish *p = arg;
	int64_t now = outage(p) ? INT64_MAX : loop_now_ms(p->loop);

	publish_expire(p, now, &publish_unavailable);
}

static void
pause_over(void *arg)
{
	struct publish *p = arg;

	p->paused = 0;
	publish_pump(p);
}

static double
queued_bytes(void *arg)
{
	const struct publish *p = arg;

	return (double)p->queue_cost;
}

static void
metrics_start(struct publish *p, struct metrics *m)
{
	p->lines = metrics_counter(
	    m, "meshhook_publish_lines", NULL, "Lines stored for services.");
	p->bytes = metrics_counter(m, "meshhook_publish_bytes", NULL,
	    "Their bytes: messages and attributes.");
	p->duplicates = metrics_counter(m, "meshhook_publish_duplicates", NULL,
	    "Lines that were there already, by their ids.");
	p->refused = metrics_counter(m, "meshhook_publish_refused", NULL,
	    "Requests of which no line was stored.");
	p->batches = metrics_counter(m, "meshhook_publish_batches", NULL,
	    "Transactions that stored them.");
	p->seconds = metrics_histogram(m, "meshhook_publish_seconds", NULL,
	    "From a whole request to its answer.");
	metrics_gauge(m, "meshhook_publish_queued_bytes", NULL,
	    "What waits for a transaction.", queued_bytes, p);
}

static const enum db_type array_types[PUB_N_ARRAYS] = {
	[PUB_TOKEN] = DB_UUID,
	[PUB_PROJECT] = DB_UUID,
	[PUB_SERVICE] = DB_TEXT,
	[PUB_RESOURCE] = DB_TEXT,
	[PUB_REQUEST] = DB_INT4,
	[PUB_CHANNEL] = DB_INT4,
	[PUB_ORD] = DB_INT4,
	[PUB_LEVEL] = DB_INT2,
	[PUB_MESSAGE] = DB_TEXT,
	[PUB_ATTRS] = DB_JSONB,
	[PUB_CLIENT_TS] = DB_TIMESTAMPTZ,
	[PUB_ID] = DB_TEXT,
};

struct publish *
publish_new(struct loop *loop, const struct publish_options *options)
{
	struct publish *p = xcalloc(1, sizeof(*p));
	struct uuid random;

	uuid_random(&random);
	memcpy(&p->seed, random.bytes, sizeof(p->seed));
	p->loop = loop;
	p->o = *options;
	p->rates.rate = options->rate;
	p->away_ms = loop_now_ms(loop); /* until told */
	list_init(&p->queue);
	list_init(&p->sent);
	list_init(&p->resend);
	p->pump = loop_defer_new(loop, publish_pump, p);
	p->sweep = loop_timer_new(loop, sweep, p);
	p->pause = loop_timer_new(loop, pause_over, p);
	loop_timer_every(p->sweep, SWEEP_MS);
	for (size_t i = 0; i < PUB_N_ARRAYS; i++)
		db_array_init(&p->arrays[i], array_types[i]);
	metrics_start(p, options->metrics);
	return p;
}

static void
batches_drop(struct list *batches)
{
	while (!list_empty(batches)) {
		struct pub_batch *b =
		    list_entry(batches->next, struct pub_batch, link);

		for (size_t i = 0; i < b->n; i++)
			pub_item_free(b->items[i]);
		pub_batch_free(b);
	}
}

struct publish *
publish_free(struct publish *p)
{
	if (p == NULL)
		return NULL;
	batches_drop(&p->sent);
	batches_drop(&p->resend);
	loop_defer_free(p->pump);
	loop_timer_free(p->sweep);
	loop_timer_free(p->pause);
	for (size_t i = 0; i < PUB_N_ARRAYS; i++)
		db_array_deinit(&p->arrays[i]);
	free(p);
	return NULL;
}

void
publish_database(struct publish *p, int there)
{
	if (there)
		loop_defer_call(p->pump);
	if (there || p->away_ms == 0)
		p->away_ms = there ? 0 : loop_now_ms(p->loop);
}
