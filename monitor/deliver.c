#include "monitor/deliver.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/testpoint.h"
#include "core/time.h"
#include "monitor/deliver-impl.h"
#include "monitor/monitor-sql.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	PING_EVERY_MS = 60000,
	RECORD_AGAIN_MS = 500,
	BREAK_MS = 15000,
	BREAK_MOST_MS = 60000,
	START_WITHIN_MS = DELIVER_LEASE_MS - DELIVER_TIMEOUT_MS - 1000,
};

static void take(struct deliver *d);

/* Look again in so long, or sooner. */
static void
wake_in(struct deliver *d, int64_t ms)
{
	int64_t at = loop_now_ms(d->m->loop) + (ms > 0 ? ms : 0);

	if (d->wake_ms != 0 && d->wake_ms <= at)
		return;
	d->wake_ms = at;
	loop_timer_set(d->timer, ms > 0 ? ms : 0);
}

/* ---- channels --------------------------------------------------------------- */

static struct channel *
channel_of(struct deliver *d, const struct uuid *id)
{
	struct channel *c;

	list_for (l, &d->channels) {
		c = list_entry(l, struct channel, link);
		if (uuid_cmp(&c->id, id) == 0)
			return c;
	}
	c = xcalloc(1, sizeof(*c));
	c->id = *id;
	list_append(&d->channels, &c->link);
	return c;
}

static int64_t
pace_ms(const struct channel *c)
{
	return 60000 / (c->per_minute > 0 ? c->per_minute : 1);
}

/* How many messages may start now; 0: *wait_ms says when that changes. */
static int
channel_room(const struct channel *c, int64_t now, int64_t *wait_ms)
{
	int64_t pace = pace_ms(c), ahead = c->spent_until_ms - now;
	int64_t room = ahead <= 0 ? DELIVER_BURST
				  : DELIVER_BURST - (ahead + pace - 1) / pace;

	*wait_ms = 0;
	if (c->paused_until_ms > now) {
		*wait_ms = c->paused_until_ms - now;
		return 0;
	}
	if (room <= 0) {
		*wait_ms = ahead - (DELIVER_BURST - 1) * pace;
		return 0;
	}
	if (c->failures < DELIVER_BREAKER)
		return (int)room;
	*wait_ms = DELIVER_TIMEOUT_MS; /* a probe's end wakes us before */
	return c->in_flight == 0;
}

static void
channel_spend(struct channel *c, int64_t now)
{
	if (c->spent_until_ms < now)
		c->spent_until_ms = now;
	c->spent_until_ms += pace_ms(c);
}

/* A failure is one that says something of the receiver, not of the message. */
static void
channel_ended(struct channel *c, const struct item *it, int64_t now)
{
	int64_t pause = BREAK_MS;
	char id[UUID_TEXT];

	c->in_flight--;
	if (strcmp(it->outcome, "sent") == 0 || it->status == 429 ||
	    (it->status >= 400 && it->status < 500)) {
		c->failures = 0;
		return;
	}
	if (strcmp(it->outcome, "unsent") == 0 ||
	    ++c->failures < DELIVER_BREAKER)
		return;
	for (uint32_t i = DELIVER_BREAKER;
	     i < c->failures && pause < BREAK_MOST_MS; i++)
		pause *= 2;
	if (c->paused_until_ms < now + pause)
		c->paused_until_ms = now + pause;
	log_warn("deliver.paused", S_("channel", uuid_format(&c->id, id)),
	    I_("failures", c->failures), I_("ms", pause));
}

/* ---- messages ---------------------------------------------------------------- */

static struct item *
item_free(struct item *it)
{
	struct deliver *d = it->d;

	list_remove(&it->link);
	http_call_cancel(it->call);
	arena_wipe(&it->arena);
	arena_deinit(&it->arena);
	free(it);
	d->n_items--;
	return NULL;
}

static void
drained(struct deliver *d)
{
	loop_fn *fn = d->drained;

	if (fn == NULL || d->n_items > 0)
		return;
	d->drained = NULL;
	fn(d->drained_arg);
}

static void
recorded(void *arg, struct rows *rows, const struct error *err)
{
	struct item *it = arg;
	struct deliver *d = it->d;

	(void)rows;
	it->recording = 0;
	if (err != NULL && err->fault == FAULT_RETRY) {
		wake_in(d, RECORD_AGAIN_MS);
		return;
	}
	testpoint("deliver.recorded");
	if (err != NULL) /* most of all: another leads */
		log_warn(
		    "deliver.not_recorded", I_("message", it->id), E_(err));
	item_free(it);
	take(d); /* the group's next one may be due */
	drained(d);
}

static void
record(struct item *it)
{
	struct deliver *d = it->d;
	struct error err;

	if (it->recording)
		return;
	it->recording =
	    db_call(d->m->db, &sql_outbox_done, recorded, it, &err,
		db_int8(d->m->fence), db_int8(it->id), db_text(it->outcome),
		it->status > 0 ? db_int4(it->status) : db_null(DB_INT4),
		it->problem[0] != '\0' ? db_text(it->problem)
				       : db_null(DB_TEXT),
		db_int8(it->after_ms > 0 ? it->after_ms : 0)) == 0;
	if (!it->recording)
		wake_in(d, RECORD_AGAIN_MS);
}

static void
ended(struct item *it)
{
	struct deliver *d = it->d;
	char id[UUID_TEXT];

	channel_ended(it->channel, it, loop_now_ms(d->m->loop));
	uuid_format(&it->channel->id, id);
	if (strcmp(it->outcome, "sent") == 0)
		log_info("deliver.sent", I_("message", it->id),
		    S_("channel", id), I_("attempt", it->attempts));
	else
		log_warn("deliver.failed", I_("message", it->id),
		    S_("channel", id), I_("attempt", it->attempts),
		    S_("outcome", it->outcome), S_("problem", it->problem),
		    I_("again_ms", it->after_ms));
	if (it->after_ms > 0)
		wake_in(d, it->after_ms);
	record(it);
}

void
item_end(struct item *it, const char *outcome, int64_t after_ms,
    const char *fmt, ...)
{
	va_list ap;

	it->outcome = outcome;
	it->after_ms = after_ms;
	va_start(ap, fmt);
	vsnprintf(it->problem, sizeof(it->problem), fmt, ap);
	va_end(ap);
	ended(it);
}

static int
held(const struct deliver *d, int64_t id)
{
	list_for (l, &d->items)
		if (list_entry(l, struct item, link)->id == id)
			return 1;
	return 0;
}

static struct str
kept(struct item *it, struct rows *rows, int row, const char *column)
{
	struct str s = rows_str(rows, row, column);

	return s.s != NULL ? arena_str(&it->arena, s) : (struct str){ 0 };
}

static void
take_row(struct deliver *d, struct rows *rows, int row)
{
	int64_t id = rows_int(rows, row, "id");
	int64_t now = loop_now_ms(d->m->loop);
	struct uuid channel;
	struct item *it;

	if (held(d, id))
		return; /* how it went is still to be recorded */
	it = xcalloc(1, sizeof(*it));
	arena_init(&it->arena);
	list_append(&d->items, &it->link);
	d->n_items++;
	it->d = d;
	it->id = id;
	rows_uuid(rows, row, "channel_id", &channel);
	it->project = kept(it, rows, row, "channel_project");
	it->dedup_key = kept(it, rows, row, "dedup_key");
	it->body = kept(it, rows, row, "body");
	it->attempts = (int)rows_int(rows, row, "attempts");
	it->again = rows_bool(rows, row, "again");
	it->created_ms = rows_time_ms(rows, row, "created_at");
	it->age_ms = rows_int(rows, row, "age_ms");
	it->kind = kept(it, rows, row, "channel_kind");
	it->sealed = kept(it, rows, row, "sealed");
	it->channel = channel_of(d, &channel);
	it->channel->per_minute = (int)rows_int(rows, row, "per_minute");
	it->channel->in_flight++;
	channel_spend(it->channel, now);
	/* after a stop of this process it may be another's by now */
	if (time_mono_ms() - d->took_ms > START_WITHIN_MS)
		item_end(it, "unsent", 0, "%s", "");
	else
		item_send(it);
}

static void
taken(void *arg, struct rows *rows, const struct error *err)
{
	struct deliver *d = arg;

	d->taking = 0;
	if (err != NULL && err->fault != FAULT_RETRY)
		log_warn("deliver.not_taken", E_(err));
	for (int i = 0; rows != NULL && i < rows->n; i++)
		take_row(d, rows, i);
	drained(d);
	if (d->more)
		take(d);
}

/* What each channel that we know may start; any other: a burst. */
static void
take(struct deliver *d)
{
	int64_t now = loop_now_ms(d->m->loop), wait;
	struct db_array ids, rooms;
	struct error err;

	d->more = d->taking; /* what is due since it asked */
	if (d->taking || d->drained != NULL || d->m->fence == 0 ||
	    d->n_items >= DELIVER_MOST)
		return;
	db_array_init(&ids, DB_UUID);
	db_array_init(&rooms, DB_INT4);
	list_for (l, &d->channels) {
		struct channel *c = list_entry(l, struct channel, link);

		db_array_uuid(&ids, &c->id);
		db_array_int4(&rooms, channel_room(c, now, &wait));
		if (wait > 0)
			wake_in(d, wait);
	}
	d->took_ms = time_mono_ms();
	d->taking =
	    db_call(d->m->db, &sql_outbox_take, taken, d, &err,
		db_int8(d->m->fence), db_int4(DELIVER_MOST - (int)d->n_items),
		db_int8(DELIVER_LEASE_MS), db_array(&ids), db_array(&rooms),
		db_int4(DELIVER_BURST)) == 0;
	db_array_deinit(&ids);
	db_array_deinit(&rooms);
}

static void
woken(void *arg)
{
	struct deliver *d = arg;

	d->wake_ms = 0;
	list_for (l, &d->items) {
		struct item *it = list_entry(l, struct item, link);

		if (it->outcome != NULL)
			record(it);
	}
	take(d);
}

/* ---- the dead man's switch ----------------------------------------------------- */

static void
pinged(void *arg, const struct http_response *res)
{
	struct deliver *d = arg;

	d->ping = NULL;
	if (res->outcome != HTTP_ANSWERED || res->status >= 400)
		log_warn("ping.failed", I_("status", res->status),
		    S_("outcome", http_outcome_name(res->outcome)));
}

static void
ping(struct deliver *d)
{
	const char *url = d->m->o->ping_url;
	int64_t now = loop_now_ms(d->m->loop);
	struct http_request req = { .method = STR("GET"),
		.timeout_ms = DELIVER_TIMEOUT_MS };
	struct error err;

	if (url == NULL || d->ping != NULL ||
	    (d->ping_ms != 0 && now - d->ping_ms < PING_EVERY_MS))
		return;
	d->ping_ms = now;
	req.url = str_of(url);
	d->ping = http_call_start(d->http, &req, pinged, d, &err);
	if (d->ping == NULL)
		log_warn("ping.failed", S_("code", err.code));
}

/* ---- from outside ---------------------------------------------------------------- */

void
deliver_tick(struct deliver *d)
{
	ping(d);
	take(d);
}

void
deliver_broken(const struct deliver *d, struct db_array *ids)
{
	list_for (l, &d->channels) {
		struct channel *c = list_entry(l, struct channel, link);

		if (c->failures >= DELIVER_BREAKER)
			db_array_uuid(ids, &c->id);
	}
}

void
deliver_due(struct deliver *d)
{
	take(d);
}

void
deliver_drain(struct deliver *d, loop_fn *fn, void *arg)
{
	d->drained = fn;
	d->drained_arg = arg;
	if (!d->taking)
		drained(d);
}

void
deliver_reset(struct deliver *d)
{
	struct list *l;

	list_for_safe (i, &d->items) {
		struct item *it = list_entry(i, struct item, link);

		/* one that is being recorded ends by that call's answer */
		if (!it->recording)
			item_free(it);
	}
	if (d->n_items > 0)
		return;
	while ((l = list_pop(&d->channels)) != NULL)
		free(list_entry(l, struct channel, link));
}

struct deliver *
deliver_new(struct monitor *m, struct error *err)
{
	const struct monitor_options *o = m->o;
	struct http_options http = { .timeout_ms = DELIVER_TIMEOUT_MS,
		.ca_file = o->ca_file,
		.body_cap = 4096 };
	struct deliver *d = xcalloc(1, sizeof(*d));

	d->m = m;
	list_init(&d->items);
	list_init(&d->channels);
	d->timer = loop_timer_new(m->loop, woken, d);
	if (guard_init(&d->guard, o->http_allow, err) < 0) {
		fail_in(err, "MESHHOOK_HTTP_ALLOW");
		return deliver_free(d);
	}
	http.guard = &d->guard;
	if (o->intake_keys != NULL &&
	    vault_init(&d->vault, str_of(o->intake_keys), err) < 0) {
		fail_in(err, "MESHHOOK_INTAKE_KEY");
		return deliver_free(d);
	}
	d->http = http_new(m->loop, &http, err);
	return d->http != NULL ? d : deliver_free(d);
}

/* After the database's: no answer comes any more. */
struct deliver *
deliver_free(struct deliver *d)
{
	if (d == NULL)
		return NULL;
	list_for (l, &d->items)
		list_entry(l, struct item, link)->recording = 0;
	deliver_reset(d);
	http_call_cancel(d->ping);
	d->http = http_free(d->http);
	loop_timer_free(d->timer);
	guard_deinit(&d->guard);
	vault_deinit(&d->vault);
	free(d);
	return NULL;
}
