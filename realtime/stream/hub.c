#include "realtime/stream/hub.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/time.h"
#include "realtime/stream/hub-impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SWEEP_MS = 1000,
	QUIET_MS = 60000,    /* then what a pattern found is let go */
	SHARED_LINES = 1000, /* of a new channel: for all at once */
	KEEP_BYTES = 65536,  /* of an empty ring */
};

/* Topics ------------------------------------------------------------------ */

static struct topic *
topic_of(struct tail_channel *c)
{
	return list_entry(c, struct topic, tail);
}

static void
topic_head(struct topic *t)
{
	buf_clear(&t->head);
	sse_log_head(
	    &t->head, (struct str){ t->channel, t->channel_n }, t->tail.epoch);
	t->end_seq = -1;
}

struct topic *
topic_get(struct hub *h, const struct hub_channel *c, int64_t seq)
{
	struct tail_channel *known = tail_find(h->tail, &c->id);
	struct topic *t;

	if (known != NULL) {
		t = topic_of(known);
		if (known->seq < c->last_seq || known->epoch != c->epoch)
			tail_dirty(h->tail, known);
		return t;
	}
	t = xcalloc(1, sizeof(*t));
	t->hub = h;
	t->project = c->project;
	t->channel = xcalloc(1, c->channel.n + 1);
	memcpy(t->channel, c->channel.s, c->channel.n);
	t->channel_n = c->channel.n;
	t->key = cursor_key(c->channel);
	t->tail.id = c->id;
	t->tail.epoch = c->epoch;
	t->tail.seq = t->base = seq;
	t->tail.final_seq = c->final_seq;
	t->line_ms = loop_now_ms(h->loop);
	list_init(&t->follows);
	list_init(&t->hot);
	topic_head(t);
	list_append(&h->topics, &t->link);
	h->stats.topics++;
	tail_add(h->tail, &t->tail);
	return t;
}

void
topic_put(struct topic *t)
{
	struct hub *h = t->hub;

	if (!list_empty(&t->follows))
		return;
	tail_remove(h->tail, &t->tail);
	list_remove(&t->link);
	list_remove(&t->hot);
	h->stats.topics--;
	h->stats.ring_bytes -= t->bytes.len;
	free(t->filters);
	buf_deinit(&t->head);
	buf_deinit(&t->end);
	buf_deinit(&t->bytes);
	free(t->entries);
	free(t->channel);
	free(t);
}

int
topic_filter_take(struct topic *t, struct filter *f)
{
	int slot = -1;

	if (t->filters == NULL)
		t->filters = xcalloc(HUB_FILTERS, sizeof(*t->filters));
	for (int i = 0; i < HUB_FILTERS; i++) {
		if (t->filters[i].filter == NULL) {
			slot = slot < 0 ? i : slot;
		} else if (filter_equal(t->filters[i].filter, f)) {
			t->filters[i].refs++;
			return i;
		}
	}
	if (slot >= 0)
		t->filters[slot] =
		    (struct topic_filter){ .filter = filter_ref(f),
			    .refs = 1,
			    .from = t->base + t->n };
	return slot;
}

/* Nothing is left in the ring, whose next line is behind seq. */
static void
topic_clear(struct topic *t, int64_t seq)
{
	t->hub->stats.ring_bytes -= t->bytes.len;
	t->n = 0;
	t->base = seq;
	if (t->bytes.cap > KEEP_BYTES)
		buf_deinit(&t->bytes);
	else
		buf_clear(&t->bytes);
}

/* Nobody's place is in the ring any more. */
static void
topic_restart(struct topic *t)
{
	topic_clear(t, t->tail.seq);
	for (int i = 0; t->filters != NULL && i < HUB_FILTERS; i++)
		t->filters[i].from = t->base;
	list_for (it, &t->follows)
		follow_leave(list_entry(it, struct follow, of_topic));
}

/* The older half goes, and whoever has not read it falls behind. */
static void
topic_drop_half(struct topic *t)
{
	uint32_t half = 0, bytes;

	while (t->entries[half].end < t->bytes.len / 2)
		half++;
	bytes = t->entries[half++].end;
	buf_drop(&t->bytes, bytes);
	t->hub->stats.ring_bytes -= bytes;
	t->n -= half;
	t->base += half;
	memmove(t->entries, t->entries + half, t->n * sizeof(*t->entries));
	for (uint32_t i = 0; i < t->n; i++)
		t->entries[i].end -= bytes;
	list_for (it, &t->follows) {
		struct follow *f = list_entry(it, struct follow, of_topic);

		if (f->seq < t->base)
			follow_leave(f);
	}
}

static void
topic_release(struct topic *t)
{
	if (t->held_ms == 0)
		return;
	t->held_ms = 0;
	tail_release(t->hub->tail, &t->tail);
}

/* Too much is kept. Where most lag it is the way, or we, who are slow, and to
 * send them all to the database would not be faster: the tail waits. */
static void
topic_full(struct topic *t, uint32_t lagging)
{
	int64_t now = loop_now_ms(t->hub->loop);

	int many = lagging * 2 > t->n_follows;

	if (t->held_ms == 0 && many) {
		t->held_ms = now;
		tail_hold(&t->tail);
	} else if (!many || now - t->held_ms >= HUB_WAIT_MS) {
		topic_drop_half(t);
		topic_release(t);
	}
}

void
topic_trim(struct topic *t)
{
	size_t cap = t->hub->stats.ring_bytes > HUB_RINGS_BYTES
	    ? HUB_RING_BYTES / 8
	    : HUB_RING_BYTES;
	int64_t end = t->base + t->n;
	uint32_t lagging = 0;

	list_for (it, &t->follows) {
		struct follow *f = list_entry(it, struct follow, of_topic);

		lagging += f->seq < end && !f->behind && !f->reader->closing &&
		    !f->reader->dead;
	}
	/* a page that is on its way will meet what came meanwhile */
	if (lagging == 0 && t->n_asked == 0)
		topic_clear(t, end);
	if (t->bytes.len > cap)
		topic_full(t, lagging);
	else if (lagging == 0 || t->bytes.len < cap / 2)
		topic_release(t);
}

void
topic_flush(struct topic *t)
{
	t->flushed_ms = loop_now_ms(t->hub->loop);
	list_remove(&t->hot);
	list_for (it, &t->follows)
		follow_flush(list_entry(it, struct follow, of_topic));
	topic_trim(t);
}

/* What the tail tells ----------------------------------------------------- */

static void
told_line(void *arg, struct tail_channel *c, const struct sse_line *line)
{
	struct hub *h = arg;
	struct topic *t = topic_of(c);
	size_t before = t->bytes.len;
	uint64_t fits = 0;

	if (t->n == t->room) {
		t->room = t->room > 0 ? t->room * 2 : 16;
		t->entries =
		    xrealloc(t->entries, t->room * sizeof(*t->entries));
	}
	for (int i = 0; t->filters != NULL && i < HUB_FILTERS; i++)
		if (t->filters[i].filter != NULL &&
		    filter_fits(t->filters[i].filter, &h->scratch, line))
			fits |= 1ULL << i;
	sse_log_line(&t->bytes, line);
	t->entries[t->n++] = (struct entry){ (uint32_t)t->bytes.len, fits };
	h->stats.ring_bytes += t->bytes.len - before;
	t->line_ms = loop_now_ms(h->loop);
	if (list_empty(&t->hot))
		list_append(&h->hot, &t->hot);
}

static void
told_gap(void *arg, struct tail_channel *c)
{
	(void)arg;
	topic_flush(topic_of(c));
	topic_restart(topic_of(c));
}

static void
told_reset(void *arg, struct tail_channel *c)
{
	struct topic *t = topic_of(c);

	(void)arg;
	topic_flush(t);
	topic_head(t);
	topic_restart(t);
}

static void
told_end(void *arg, struct tail_channel *c)
{
	struct hub *h = arg;
	struct topic *t = topic_of(c);

	if (list_empty(&t->hot))
		list_append(&h->hot, &t->hot);
}

static int
covers(const struct pattern *p, const struct tail_found *f)
{
	return uuid_cmp(&p->tail.project, &f->project) == 0 &&
	    strcmp(p->tail.service, f->service) == 0 &&
	    (strcmp(p->tail.resource, f->resource) == 0 ||
		(strcmp(p->tail.resource, "*") == 0 && f->resource[0] != '\0'));
}

/* A channel that none of ours was: of a service, it was made since, and all of
 * it is news; of a run, what is young is. */
static void
told_found(void *arg, const struct tail_found *found)
{
	struct hub *h = arg;
	int64_t from =
	    strcmp(found->service, "run") == 0 ? found->start_seq : 0;
	char text[256], project[UUID_TEXT];
	struct hub_channel c = { .id = found->id,
		.project = found->project,
		.channel = { text, 0 },
		.epoch = found->epoch,
		.last_seq = found->last_seq,
		.final_seq = found->final_seq };
	struct topic *t = NULL;

	c.channel.n = (size_t)snprintf(text, sizeof(text), "logs:%s:%s%s%s",
	    found->service, uuid_format(&found->project, project),
	    found->resource[0] != '\0' ? ":" : "", found->resource);
	list_for (it, &h->patterns) {
		struct pattern *p = list_entry(it, struct pattern, link);

		if (!covers(p, found))
			continue;
		list_for (at, &p->readers) {
			struct reader_pattern *rp =
			    list_entry(at, struct reader_pattern, of_pattern);

			if (!rp->settled)
				continue;
			if (t == NULL)
				t = topic_get(h, &c,
				    found->last_seq - from > SHARED_LINES
					? found->last_seq
					: from);
			follow_add(rp->reader, t, found->epoch, from, 1);
		}
	}
	if (t != NULL)
		topic_put(t); /* if no reader could take it */
}

static void
coalesce_until(struct hub *h, int64_t due_ms, int64_t now_ms)
{
	loop_timer_set(h->coalesce, due_ms > now_ms ? due_ms - now_ms : 0);
}

static void
told(void *arg)
{
	struct hub *h = arg;
	int64_t now = loop_now_ms(h->loop);

	while (!list_empty(&h->hot)) {
		struct topic *t = list_entry(h->hot.next, struct topic, hot);
		int64_t due = t->flushed_ms + HUB_COALESCE_MS;

		if (due <= now) {
			topic_flush(t);
			continue;
		}
		if (list_empty(&h->due))
			coalesce_until(h, due, now);
		list_remove(&t->hot);
		list_append(&h->due, &t->hot);
	}
	for (struct list *it; (it = list_pop(&h->idle_behind)) != NULL;)
		list_append(&h->behind, it);
	behind_pump(h);
}

/* Those whose time has come; the rest is a few. */
static void
coalesced(void *arg)
{
	struct hub *h = arg;
	int64_t now = loop_now_ms(h->loop), next = INT64_MAX;

	list_for_safe (it, &h->due) {
		struct topic *t = list_entry(it, struct topic, hot);
		int64_t due = t->flushed_ms + HUB_COALESCE_MS;

		if (due <= now)
			topic_flush(t);
		else if (due < next)
			next = due;
	}
	if (next != INT64_MAX)
		coalesce_until(h, next, now);
}

/* The whole --------------------------------------------------------------- */

/* A quiet channel that only patterns found: they will find it again. */
static int
topic_quiet(const struct topic *t, int64_t now)
{
	if (now - t->line_ms < QUIET_MS || t->n > 0 || t->n_behind > 0)
		return 0;
	list_for (it, &t->follows)
		if (!list_entry(it, struct follow, of_topic)->found)
			return 0;
	return strncmp(t->channel, "logs:run:", 9) == 0;
}

static void
beat(struct reader *r)
{
	struct iovec part = { (void *)(uintptr_t)SSE_HEARTBEAT,
		sizeof(SSE_HEARTBEAT) - 1 };
	struct str id;
	uint64_t hash;

	if (!reader_open(r))
		return;
	id = reader_id(r);
	hash = cursor_key(id);
	if (hash == r->said) {
		part.iov_len -= stream_send(r->stream, &part, 1);
		if (part.iov_len == 0)
			return;
		r->took_ms = loop_now_ms(r->hub->loop);
		/* a part of it, or nothing: nothing is what is lost */
		if (part.iov_len < sizeof(SSE_HEARTBEAT) - 1)
			buf_adds(&r->rest,
			    SSE_HEARTBEAT + sizeof(SSE_HEARTBEAT) - 1 -
				part.iov_len);
		return;
	}
	r->said = hash;
	buf_clear(&r->hub->event);
	sse_id(&r->hub->event, id);
	reader_event(r, buf_str(&r->hub->event));
}

static void
sweep(void *arg)
{
	struct hub *h = arg;
	int64_t now = loop_now_ms(h->loop);

	list_for_safe (it, &h->topics) {
		struct topic *t = list_entry(it, struct topic, link);

		if (t->n > 0)
			topic_trim(t);
		if (!topic_quiet(t, now))
			continue;
		list_for_safe (at, &t->follows)
			follow_free(list_entry(at, struct follow, of_topic));
		topic_put(t);
	}
	list_for (it, &h->readers)
		reader_check(list_entry(it, struct reader, link), now);
	while (!list_empty(&h->readers)) {
		struct reader *r =
		    list_entry(h->readers.next, struct reader, link);

		if (r->beat_ms > now)
			break;
		r->beat_ms = now + HUB_BEAT_MS;
		list_remove(&r->link);
		list_append(&h->readers, &r->link);
		beat(r);
	}
}

static void
reap(void *arg)
{
	struct hub *h = arg;

	for (struct list *it; (it = list_pop(&h->dead)) != NULL;) {
		struct reader *r = list_entry(it, struct reader, wait);

		r->ops->over(r->arg, r->why);
	}
}

const struct tail_ops hub_told = { .line = told_line,
	.gap = told_gap,
	.reset = told_reset,
	.end = told_end,
	.found = told_found,
	.told = told };

struct hub *
hub_new(struct loop *loop, struct db *db)
{
	struct hub *h = xcalloc(1, sizeof(*h));

	h->loop = loop;
	h->db = db;
	h->tail = tail_new(loop, db, &hub_told, h);
	list_init(&h->topics);
	list_init(&h->patterns);
	list_init(&h->readers);
	list_init(&h->hot);
	list_init(&h->due);
	list_init(&h->behind);
	list_init(&h->idle_behind);
	list_init(&h->dead);
	h->coalesce = loop_timer_new(loop, coalesced, h);
	h->sweep = loop_timer_new(loop, sweep, h);
	h->reap = loop_defer_new(loop, reap, h);
	arena_init(&h->scratch);
	db_array_init(&h->ids, DB_UUID);
	db_array_init(&h->epochs, DB_INT4);
	db_array_init(&h->after, DB_INT8);
	loop_timer_every(h->sweep, SWEEP_MS);
	return h;
}

struct hub *
hub_free(struct hub *h)
{
	if (h == NULL)
		return NULL;
	tail_free(h->tail);
	loop_timer_free(h->coalesce);
	loop_timer_free(h->sweep);
	loop_defer_free(h->reap);
	arena_deinit(&h->scratch);
	buf_deinit(&h->event);
	buf_deinit(&h->chosen);
	db_array_deinit(&h->ids);
	db_array_deinit(&h->epochs);
	db_array_deinit(&h->after);
	free(h);
	return NULL;
}

struct tail *
hub_tail(struct hub *h)
{
	return h->tail;
}

void
hub_stats(const struct hub *h, struct hub_stats *out)
{
	*out = h->stats;
}

void
hub_database(struct hub *h, int there)
{
	tail_database(h->tail, there);
	if (there)
		behind_pump(h);
}
