/*
 * Group commit: what arrives while a transaction is on its way goes together
 * in the next one. A batch is on its way (the database's call holds it), in
 * publish->resend, or ended.
 */
#include "core/json.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/testpoint.h"
#include "core/time.h"
#include "realtime/lines/publish-impl.h"
#include "realtime/realtime-sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	PAUSE_MS = 200,
	NOTIFY_BYTES = 7900, /* of a notification's payload */
};

static struct pub_batch *
batch_new(struct publish *p)
{
	struct pub_batch *b = xcalloc(1, sizeof(*b));

	list_init(&b->link);
	arena_init(&b->arena);
	b->publish = p;
	return b;
}

struct pub_batch *
pub_batch_free(struct pub_batch *b)
{
	list_remove(&b->link);
	arena_deinit(&b->arena);
	free(b);
	return NULL;
}

struct pub_item *
pub_item_free(struct pub_item *item)
{
	list_remove(&item->link);
	arena_deinit(&item->arena);
	free(item);
	return NULL;
}

void
pub_item_problem(struct pub_item *item, const struct problem *problem)
{
	struct request *req = item->req;

	metric_add(item->publish->refused, 1);
	pub_item_free(item);
	if (req == NULL)
		return;
	req->gone = NULL;
	request_problem(req, problem);
}

/* Sending ------------------------------------------------------------------ */

/* Those whose clients left before it was sent are left out. */
static void
batch_compact(struct pub_batch *b)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++) {
		if (b->items[i]->req != NULL)
			b->items[n++] = b->items[i];
		else
			pub_item_free(b->items[i]);
	}
	b->n = n;
}

/* Number the channels of all its requests as one set. */
static void
batch_number(struct pub_batch *b)
{
	uint32_t at = 0;

	arena_reset(&b->arena);
	b->channels = (struct line_channels){ .seed = b->publish->seed };
	b->n_lines = 0;
	for (size_t i = 0; i < b->n; i++)
		b->n_lines += b->items[i]->lines.n;
	b->line_channel =
	    arena_array(&b->arena, b->n_lines, sizeof(*b->line_channel));
	for (size_t i = 0; i < b->n; i++) {
		const struct lines *l = &b->items[i]->lines;
		uint32_t *map =
		    arena_array(&b->arena, l->channels.n, sizeof(*map));

		for (uint32_t c = 0; c < l->channels.n; c++)
			map[c] = line_channels_add(
			    &b->arena, &b->channels, &l->channels.at[c]);
		for (uint32_t j = 0; j < l->n; j++)
			b->line_channel[at++] = map[l->at[j].channel];
	}
}

static void
line_fill(struct publish *p, const struct line *line)
{
	db_array_int2(&p->arrays[PUB_LEVEL], line->level);
	db_array_str(&p->arrays[PUB_MESSAGE], line->message);
	if (line->attrs.s != NULL)
		db_array_jsonb(&p->arrays[PUB_ATTRS], line->attrs);
	else
		db_array_null(&p->arrays[PUB_ATTRS]);
	if (line->client_ms != LINE_NO_TIME)
		db_array_time(&p->arrays[PUB_CLIENT_TS],
		    db_time_from_ms(line->client_ms));
	else
		db_array_null(&p->arrays[PUB_CLIENT_TS]);
	db_array_str(&p->arrays[PUB_ID], line->id);
}

static void
batch_fill(struct publish *p, struct pub_batch *b)
{
	uint32_t at = 0,
		 *ranks =
		     arena_zalloc(&b->arena, b->channels.n * sizeof(*ranks));

	for (size_t i = 0; i < PUB_N_ARRAYS; i++)
		db_array_reset(&p->arrays[i]);
	for (uint32_t c = 0; c < b->channels.n; c++) {
		db_array_uuid(
		    &p->arrays[PUB_PROJECT], &b->channels.at[c].project);
		db_array_str(
		    &p->arrays[PUB_SERVICE], b->channels.at[c].service);
		db_array_str(
		    &p->arrays[PUB_RESOURCE], b->channels.at[c].resource);
	}
	for (size_t i = 0; i < b->n; i++) {
		const struct lines *l = &b->items[i]->lines;

		db_array_uuid(&p->arrays[PUB_TOKEN], &b->items[i]->token);
		for (uint32_t j = 0; j < l->n; j++, at++) {
			uint32_t c = b->line_channel[at];

			db_array_int4(&p->arrays[PUB_REQUEST], (int32_t)i + 1);
			db_array_int4(&p->arrays[PUB_CHANNEL], (int32_t)c + 1);
			db_array_int4(&p->arrays[PUB_ORD], (int32_t)++ranks[c]);
			line_fill(p, &l->at[j]);
		}
	}
}

static void batch_done(void *arg, struct rows *rows, const struct error *err);

/* -1 while there is no connection: it waits in publish->resend. */
static int
batch_send(struct pub_batch *b)
{
	struct db_param params[PUB_N_ARRAYS + 1] = { 0 };
	struct publish *p = b->publish;
	struct error err;

	batch_compact(b);
	if (b->n == 0) {
		pub_batch_free(b);
		return 0;
	}
	batch_number(b);
	batch_fill(p, b);
	testpoint("publish_before_commit");
	for (size_t i = 0; i < PUB_N_ARRAYS; i++)
		params[i] = db_array(&p->arrays[i]);
	if (db_send(p->o.db, &sql_publish, params, batch_done, b, &err) < 0) {
		list_prepend(&p->resend, &b->link);
		return -1;
	}
	list_append(&p->sent, &b->link);
	p->n_sent++;
	return 0;
}

static struct pub_batch *
batch_next(struct publish *p)
{
	struct list *it = list_pop(&p->resend);
	struct pub_batch *b;
	uint32_t lines = 0;

	if (it != NULL)
		return list_entry(it, struct pub_batch, link);
	if (list_empty(&p->queue))
		return NULL;
	b = batch_new(p);
	while (b->n < PUBLISH_BATCH && !list_empty(&p->queue)) {
		struct pub_item *item =
		    list_entry(p->queue.next, struct pub_item, link);

		if (b->n > 0 && lines + item->lines.n > PUBLISH_BATCH_LINES)
			break;
		lines += item->lines.n;
		list_remove(&item->link);
		p->queue_cost -= item->cost;
		b->items[b->n++] = item;
	}
	return b;
}

void
publish_pump(void *arg)
{
	struct publish *p = arg;

	while (p->n_sent < PUBLISH_BATCHES && !p->paused && db_ready(p->o.db)) {
		struct pub_batch *b = batch_next(p);

		if (b == NULL || batch_send(b) < 0)
			return;
	}
}

void
pub_item_push(struct publish *p, struct pub_item *item)
{
	list_append(&p->queue, &item->link);
	p->queue_cost += item->cost;
	loop_defer_call(p->pump);
}

/* Committed ---------------------------------------------------------------- */

/* What a commit said: where each channel went on, which lines were there. */
struct outcome {
	int64_t *next;    /* by channel of the batch: the next line's seq */
	int64_t *was;     /* by line; 0: it is new */
	const char **why; /* by item; NULL: not refused */
	int refused, due;
};

static void
outcome_read(struct pub_batch *b, struct rows *rows, struct outcome *o)
{
	struct arena *a = &b->arena;

	*o = (struct outcome){
		.next = arena_zalloc(a, b->channels.n * sizeof(*o->next)),
		.was = arena_zalloc(a, b->n_lines * sizeof(*o->was)),
		.why = arena_zalloc(a, b->n * sizeof(*o->why)),
	};
	for (int row = 0; row < rows->n; row++) {
		const char *kind = rows_text(rows, row, "kind");
		size_t ord = (size_t)rows_int(rows, row, "ord") - 1;

		if (strcmp(kind, "channel") == 0 && ord < b->channels.n) {
			o->next[ord] = rows_int(rows, row, "seq") + 1;
		} else if (strcmp(kind, "duplicate") == 0 && ord < b->n_lines) {
			o->was[ord] = rows_int(rows, row, "seq");
		} else if (strcmp(kind, "refused") == 0 && ord < b->n) {
			o->why[ord] = rows_text(rows, row, "why");
			o->refused = 1;
		} else if (strcmp(kind, "due") == 0) {
			o->due = 1;
		}
	}
}

struct range {
	int64_t from, to;
};

static void
answer_write(struct buf *out, const struct pub_item *item,
    const struct range *ranges, uint32_t duplicates)
{
	const struct line_channels *set = &item->lines.channels;

	buf_addf(out, "{\"lines\":%u,\"duplicates\":%u,\"channels\":[",
	    item->lines.n, duplicates);
	for (uint32_t c = 0; c < set->n; c++) {
		const struct line_channel *x = &set->at[c];
		char project[UUID_TEXT];

		buf_addf(out,
		    "%s{\"channel\":\"logs:%.*s:%s%s%.*s\",\"from\":%lld,"
		    "\"to\":%lld}",
		    c > 0 ? "," : "", STR_FMT(x->service),
		    uuid_format(&x->project, project),
		    x->resource.n > 0 ? ":" : "", STR_FMT(x->resource),
		    (long long)ranges[c].from, (long long)ranges[c].to);
	}
	buf_adds(out, "]}");
}

static void
item_stored(
    struct pub_item *item, const struct range *ranges, uint32_t duplicates)
{
	struct publish *p = item->publish;
	struct request *req = item->req;
	struct buf out;

	metric_add(p->lines, item->lines.n - duplicates);
	metric_add(p->bytes, item->lines.bytes);
	metric_add(p->duplicates, duplicates);
	metric_observe(p->seconds, time_mono_us() - item->began_us);
	if (req != NULL) {
		testpoint("publish_before_reply");
		buf_init(&out);
		answer_write(&out, item, ranges, duplicates);
		req->gone = NULL;
		request_reply(req,
		    &(struct reply){ .status = 200, .body = buf_str(&out) });
		buf_deinit(&out);
	}
	pub_item_free(item);
}

/* Number an item's lines as the database did; at: its first line's index. */
static void
item_committed(
    struct pub_batch *b, struct pub_item *item, uint32_t at, struct outcome *o)
{
	const struct lines *l = &item->lines;
	struct range *ranges =
	    arena_zalloc(&b->arena, l->channels.n * sizeof(*ranges));
	uint32_t duplicates = 0;

	for (uint32_t j = 0; j < l->n; j++, at++) {
		struct range *r = &ranges[l->at[j].channel];
		int64_t seq = o->was[at];

		if (seq == 0)
			seq = o->next[b->line_channel[at]]++;
		else
			duplicates++;
		if (r->from == 0 || seq < r->from)
			r->from = seq;
		if (seq > r->to)
			r->to = seq;
	}
	item_stored(item, ranges, duplicates);
}

static void
ignored(void *arg, struct rows *rows, const struct error *err)
{
	(void)arg;
	(void)rows;
	if (err != NULL)
		log_debug("publish.notify", E_(err));
}

/* Tell those who tail these channels. */
static void
batch_notify(struct publish *p, struct rows *rows)
{
	struct uuid id;
	struct buf ids;

	buf_init(&ids);
	for (int row = 0; row < rows->n && ids.len < NOTIFY_BYTES; row++) {
		char text[UUID_TEXT];

		if (rows_uuid(rows, row, "channel_id", &id) == 0)
			buf_addf(&ids, "%s%s", ids.len > 0 ? "," : "",
			    uuid_format(&id, text));
	}
	if (ids.len > 0)
		db_call(p->o.db, &sql_publish_notify, ignored, NULL, NULL,
		    db_text(ids.len < NOTIFY_BYTES ? ids.bytes : "*"));
	buf_deinit(&ids);
}

static void
batch_committed(struct pub_batch *b, struct rows *rows, struct outcome *o)
{
	uint32_t at = 0;

	testpoint("publish_after_commit");
	metric_add(b->publish->batches, 1);
	batch_notify(b->publish, rows);
	if (o->due)
		flush_due(b->publish->o.flush);
	for (size_t i = 0; i < b->n; i++) {
		uint32_t n = b->items[i]->lines.n;

		item_committed(b, b->items[i], at, o);
		at += n;
	}
	pub_batch_free(b);
}

/* Refused -------------------------------------------------------------------- */

static void
item_refused(struct pub_item *item, const char *why)
{
	struct problem p = { .status = 404,
		.kind = "run",
		.detail = "there is no such run in this project" };

	if (strcmp(why, "token") == 0)
		p = (struct problem){ .status = 401,
			.kind = "token",
			.detail = "the service token was revoked or has "
				  "expired",
			.headers = "WWW-Authenticate: Bearer\r\n" };
	else if (strcmp(why, "ended") == 0)
		p = (struct problem){ .status = 409,
			.kind = "ended",
			.detail = "the run is over, and so is its log" };
	pub_item_problem(item, &p);
}

/* Nothing was written: those who are refused are told, the others go again. */
static void
batch_refused(struct pub_batch *b, const struct outcome *o)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++)
		if (o->why[i] != NULL)
			item_refused(b->items[i], o->why[i]);
		else
			b->items[n++] = b->items[i];
	b->n = n;
	list_prepend(&b->publish->resend, &b->link);
}

static void
batch_problem(struct pub_batch *b, const struct problem *problem)
{
	for (size_t i = 0; i < b->n; i++)
		pub_item_problem(b->items[i], problem);
	pub_batch_free(b);
}

/* Somebody's data can't be stored: halves find out whose. */
static void
batch_halve(struct pub_batch *b, const struct error *err)
{
	struct pub_batch *rest;
	char text[200];

	if (b->n == 1) {
		snprintf(text, sizeof(text),
		    "the lines can't be stored: %.150s", err->text);
		batch_problem(b,
		    &(struct problem){
			.status = 422, .kind = "lines", .detail = text });
		return;
	}
	rest = batch_new(b->publish);
	rest->n = b->n / 2;
	b->n -= rest->n;
	memcpy(rest->items, b->items + b->n, rest->n * sizeof(b->items[0]));
	list_prepend(&b->publish->resend, &rest->link);
	list_prepend(&b->publish->resend, &b->link);
}

/* The connection went with the answer: only lines with ids bear it again. */
static void
batch_unknown(struct pub_batch *b)
{
	static const struct problem unknown = { .status = 503,
		.kind = "unknown",
		.detail = "the connection to the database was lost: whether "
			  "the lines were stored isn't known. Give lines an "
			  "id, and sending them again is safe",
		.headers = "Retry-After: 2\r\n" };
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++)
		if (b->items[i]->lines.n_ids < b->items[i]->lines.n)
			pub_item_problem(b->items[i], &unknown);
		else
			b->items[n++] = b->items[i];
	b->n = n;
}

static void
batch_failed(struct pub_batch *b, const struct error *err)
{
	struct publish *p = b->publish;

	log_warn("publish.failed", I_("requests", b->n),
	    I_("lines", b->n_lines), E_(err));
	if (err->fault == FAULT_INPUT) {
		batch_halve(b, err);
		return;
	}
	if (err->fault != FAULT_RETRY) {
		batch_problem(b,
		    &(struct problem){ .status = 503,
			.kind = "unavailable",
			.detail = "the database refuses lines",
			.headers = "Retry-After: 10\r\n" });
		return;
	}
	if (strncmp(err->code, "08", 2) == 0)
		batch_unknown(b);
	list_prepend(&p->resend, &b->link);
	p->paused = 1;
	loop_timer_set(p->pause, PAUSE_MS);
}

static void
batch_done(void *arg, struct rows *rows, const struct error *err)
{
	struct pub_batch *b = arg;
	struct publish *p = b->publish;
	struct outcome o;

	list_remove(&b->link);
	p->n_sent--;
	loop_defer_call(p->pump);
	if (err != NULL) {
		batch_failed(b, err);
		return;
	}
	outcome_read(b, rows, &o);
	if (o.refused)
		batch_refused(b, &o);
	else
		batch_committed(b, rows, &o);
}

/* Time ----------------------------------------------------------------------- */

static void
batches_expire(struct list *batches, int64_t now, const struct problem *problem)
{
	list_for (it, batches) {
		struct pub_batch *b = list_entry(it, struct pub_batch, link);

		for (size_t i = 0; i < b->n; i++) {
			struct pub_item *item = b->items[i];
			struct request *req = item->req;

			if (req == NULL || item->deadline_ms > now)
				continue;
			item->req = NULL;
			req->gone = NULL;
			metric_add(b->publish->refused, 1);
			request_problem(req, problem);
		}
	}
}

/* Clients that waited too long are told so; what was sent stays sent. */
void
publish_expire(struct publish *p, int64_t now, const struct problem *problem)
{
	while (!list_empty(&p->queue)) { /* in order of deadlines */
		struct pub_item *item =
		    list_entry(p->queue.next, struct pub_item, link);

		if (item->deadline_ms > now)
			break;
		p->queue_cost -= item->cost;
		pub_item_problem(item, problem);
	}
	batches_expire(&p->sent, now, problem);
	batches_expire(&p->resend, now, problem);
}
