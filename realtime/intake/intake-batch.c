/*
 * Group commit: what arrives while a transaction is on its way goes together
 * in the next one. A batch is in one of three places: on its way (the
 * database's call holds it), in intake->resend, or ended.
 */
#include "core/log.h"
#include "core/mem.h"
#include "core/testpoint.h"
#include "core/time.h"
#include "realtime/realtime-sql.h"
#include "realtime/intake/intake-impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAUSE_MS = 200 };

static void
batch_free(struct batch *b)
{
	list_remove(&b->link);
	free(b);
}

static struct batch *
batch_new(struct intake *in)
{
	struct batch *b = xmalloc(sizeof(*b));

	list_init(&b->link);
	b->intake = in;
	b->n = 0;
	return b;
}

/* {"webhook_id", "received_at"}: an id is visible ASCII, so only quotes and
 * backslashes want an escape. */
static struct str
meta_text(const struct item *item, char text[SIGNATURE_ID_MAX * 2 + 96])
{
	char at[TIME_TEXT], *p = text;

	p = stpcpy(p, "{\"webhook_id\":\"");
	for (const char *k = item->key; *k != '\0'; k++) {
		if (*k == '"' || *k == '\\')
			*p++ = '\\';
		*p++ = *k;
	}
	p += snprintf(p, 80, "\",\"received_at\":\"%s\"}",
	    time_format(item->received_ms, at));
	return (struct str){ text, (size_t)(p - text) };
}

static void batch_done(void *arg, struct rows *rows, const struct error *err);

static void
notified(void *arg, struct rows *rows, const struct error *err)
{
	(void)arg;
	(void)rows;
	if (err != NULL)
		log_debug("intake.notify", E_(err));
}

/* Those whose clients left before it was sent are left out. */
static void
batch_compact(struct batch *b)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++) {
		if (b->items[i]->req != NULL)
			b->items[n++] = b->items[i];
		else
			item_free(b->items[i]);
	}
	b->n = n;
}

static void
batch_fill(struct intake *in, const struct batch *b)
{
	const struct str none = { NULL, 0 };

	db_array_reset(&in->endpoint);
	db_array_reset(&in->version);
	db_array_reset(&in->key);
	db_array_reset(&in->input);
	db_array_reset(&in->meta);
	db_array_reset(&in->digest);
	db_array_reset(&in->body);
	db_array_reset(&in->kept);
	for (size_t i = 0; i < b->n; i++) {
		const struct item *item = b->items[i];
		char meta[SIGNATURE_ID_MAX * 2 + 96];
		int kept = item->kept != NULL;

		db_array_uuid(&in->endpoint, &item->endpoint);
		db_array_int4(&in->version, item->secret_version);
		db_array_str(&in->key, str_of(item->key));
		db_array_jsonb(&in->input,
		    item->made != NULL
			? (struct str){ item->made, item->n_made }
			: item->req->body);
		db_array_jsonb(&in->meta, meta_text(item, meta));
		db_array_str(&in->digest,
		    (struct str){ (const char *)item->digest, INTAKE_DIGEST });
		db_array_str(&in->body, kept ? item->req->body : none);
		db_array_jsonb(&in->kept, kept ? str_of(item->kept) : none);
	}
}

/* -1 while there is no connection: it waits in intake->resend. */
static int
batch_send(struct batch *b)
{
	struct intake *in = b->intake;
	struct error err;

	batch_compact(b);
	if (b->n == 0) {
		batch_free(b);
		return 0;
	}
	batch_fill(in, b);
	testpoint("intake_before_commit");
	if (db_call(in->o.db, &sql_intake, batch_done, b, &err,
		db_array(&in->endpoint), db_array(&in->version),
		db_array(&in->key), db_array(&in->input), db_array(&in->meta),
		db_int4(in->slot), db_array(&in->digest), db_array(&in->body),
		db_array(&in->kept)) < 0) {
		list_prepend(&in->resend, &b->link);
		return -1;
	}
	list_append(&in->sent, &b->link);
	in->n_sent++;
	db_call(in->o.db, &sql_intake_notify, notified, NULL, &err);
	flush_wrote(in->o.flush); /* behind the batch, in the same pipeline */
	return 0;
}

static struct batch *
batch_next(struct intake *in)
{
	struct list *it = list_pop(&in->resend);
	struct batch *b;

	if (it != NULL)
		return list_entry(it, struct batch, link);
	if (in->n_queue == 0)
		return NULL;
	b = batch_new(in);
	while (b->n < INTAKE_BATCH && (it = list_pop(&in->queue)) != NULL) {
		b->items[b->n++] = list_entry(it, struct item, link);
		in->n_queue--;
	}
	return b;
}

void
intake_pump(void *arg)
{
	struct intake *in = arg;

	while (
	    in->n_sent < INTAKE_BATCHES && !in->paused && db_ready(in->o.db)) {
		struct batch *b = batch_next(in);

		if (b == NULL || batch_send(b) < 0)
			return;
	}
}

static void
item_outcome(struct item *item, struct rows *rows, int row)
{
	const char *outcome = rows_text(rows, row, "outcome");
	struct uuid run;

	if (rows_uuid(rows, row, "run_id", &run) == 0)
		item_started(item, &run, outcome);
	else if (strcmp(outcome, "disabled") == 0)
		item_problem(item,
		    &(struct problem){ .status = 409,
			.kind = "disabled",
			.detail =
			    "the endpoint is disabled, its secret no longer "
			    "valid, or its workflow not published" });
	else
		item_problem(item,
		    &(struct problem){ .status = 404,
			.kind = "endpoint",
			.detail = "there is no such endpoint" });
}

static void
batch_committed(struct batch *b, struct rows *rows)
{
	testpoint("intake_after_commit");
	for (int row = 0; row < rows->n; row++) {
		size_t i = (size_t)rows_int(rows, row, "ord") - 1;
		struct item *item = i < b->n ? b->items[i] : NULL;

		if (item == NULL)
			continue;
		b->items[i] = NULL;
		item_outcome(item, rows, row);
	}
	for (size_t i = 0; i < b->n; i++)
		if (b->items[i] != NULL)
			item_problem(
			    b->items[i], &(struct problem){ .status = 500 });
	batch_free(b);
}

static void
batch_problem(struct batch *b, const struct problem *p)
{
	for (size_t i = 0; i < b->n; i++)
		item_problem(b->items[i], p);
	batch_free(b);
}

/* Somebody's data can't be stored: halves find out whose. */
static void
batch_halve(struct batch *b, const struct error *err)
{
	struct batch *rest;
	char text[200];

	if (b->n == 1) {
		snprintf(text, sizeof(text), "the body can't be stored: %.150s",
		    err->text);
		batch_problem(b,
		    &(struct problem){
			.status = 422, .kind = "body", .detail = text });
		return;
	}
	rest = batch_new(b->intake);
	rest->n = b->n / 2;
	b->n -= rest->n;
	memcpy(rest->items, b->items + b->n, rest->n * sizeof(b->items[0]));
	list_prepend(&b->intake->resend, &rest->link);
	list_prepend(&b->intake->resend, &b->link);
}

static void
batch_failed(struct batch *b, const struct error *err)
{
	struct intake *in = b->intake;

	if (err->fault == FAULT_INPUT) {
		log_warn("intake.halved", I_("webhooks", b->n), E_(err));
		batch_halve(b, err);
		return;
	}
	log_warn("intake.failed", I_("webhooks", b->n), E_(err));
	if (err->fault != FAULT_RETRY) {
		batch_problem(b,
		    &(struct problem){ .status = 503,
			.kind = "unavailable",
			.detail = "the database refuses webhooks",
			.headers = "Retry-After: 10\r\n" });
		return;
	}
	list_prepend(&in->resend, &b->link);
	in->paused = 1;
	loop_timer_set(in->pause, PAUSE_MS);
}

static void
batch_done(void *arg, struct rows *rows, const struct error *err)
{
	struct batch *b = arg;
	struct intake *in = b->intake;

	list_remove(&b->link);
	in->n_sent--;
	if (err == NULL)
		batch_committed(b, rows);
	else
		batch_failed(b, err);
	loop_defer_call(in->pump);
}

/* Clients that waited too long are told so; what was sent stays sent. */
static void
batches_expire(struct list *batches, int64_t now, const struct problem *p)
{
	list_for (it, batches) {
		struct batch *b = list_entry(it, struct batch, link);

		for (size_t i = 0; i < b->n; i++) {
			struct item *item = b->items[i];
			struct request *req = item->req;

			if (req == NULL || item->deadline_ms > now)
				continue;
			item->req = NULL;
			req->gone = NULL;
			request_problem(req, p);
		}
	}
}

void
intake_expire(struct intake *in, int64_t now, const struct problem *p)
{
	while (!list_empty(&in->queue)) { /* in order of deadlines */
		struct item *item =
		    list_entry(in->queue.next, struct item, link);

		if (item->deadline_ms > now)
			break;
		list_remove(&item->link);
		in->n_queue--;
		item_problem(item, p);
	}
	batches_expire(&in->sent, now, p);
	batches_expire(&in->resend, now, p);
}

static void
drop(struct list *batches)
{
	for (struct list *it; (it = list_pop(batches)) != NULL;) {
		struct batch *b = list_entry(it, struct batch, link);

		for (size_t i = 0; i < b->n; i++)
			item_free(b->items[i]);
		free(b);
	}
}

void
batches_free(struct intake *in)
{
	drop(&in->sent);
	drop(&in->resend);
}
