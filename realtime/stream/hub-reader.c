/*
 * Readers: their follows, their cursor, and what goes out to them.
 *
 * Nothing here frees a reader or takes a follow from its topic while something
 * is sent: a reader that is over is put on a list, and its owner frees it at
 * the end of the turn.
 */
#include "core/mem.h"
#include "realtime/stream/hub-impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Being over -------------------------------------------------------------- */

static void
reader_over(struct reader *r, enum reader_end why)
{
	if (r->dead)
		return;
	r->dead = 1;
	r->why = why;
	list_remove(&r->wait);
	list_append(&r->hub->dead, &r->wait);
	loop_defer_call(r->hub->reap);
}

/* From now on no line is kept for it, and none is sent. */
static void
reader_closing(struct reader *r, enum reader_end why)
{
	r->closing = 1;
	r->why = why;
	list_for (it, &r->follows) {
		struct follow *f = list_entry(it, struct follow, of_reader);

		if (f->behind) {
			f->behind = 0;
			f->topic->n_behind--;
		}
	}
	r->hub->stats.behind -= r->n_behind > 0;
	r->n_behind = 0;
	if (r->rest.len > 0 || r->stream == NULL)
		return;
	stream_end(r->stream);
	r->stream = NULL;
	reader_over(r, why);
}

void
reader_close(struct reader *r)
{
	if (!r->closing && !r->dead)
		reader_closing(r, READER_CLOSED);
}

static void
reader_cut(struct reader *r, const struct follow *f)
{
	struct topic *t = f->topic;
	struct sse_gap_event gap = {
		.channel = { t->channel, t->channel_n },
		.epoch = f->epoch,
		.from = f->seq + 1,
		.reason = SSE_GAP_SLOW,
	};

	/* without an id: it comes again where it was */
	sse_gap(&r->rest, &gap, (struct str){ 0 });
	r->hub->stats.slow++;
	reader_closing(r, READER_SLOW);
}

void
reader_check(struct reader *r, int64_t now_ms)
{
	if (r->rest.len == 0 || r->closing || r->dead ||
	    now_ms - r->took_ms < HUB_STALL_MS)
		return;
	list_for (it, &r->follows) {
		struct follow *f = list_entry(it, struct follow, of_reader);

		if (f->behind || f->seq < f->topic->base + f->topic->n) {
			reader_cut(r, f);
			return;
		}
	}
}

static void
stream_gone(void *arg)
{
	struct reader *r = arg;

	r->stream = NULL;
	reader_over(r, READER_LEFT);
}

/* Sending ----------------------------------------------------------------- */

/* Whole: what the kernel doesn't take is kept, which is of one event. */
static void
reader_send(struct reader *r, const struct iovec *parts, int n)
{
	size_t took = 0;

	if (r->stream == NULL)
		return;
	if (r->rest.len == 0) {
		took = stream_send(r->stream, parts, n);
		r->took_ms = loop_now_ms(r->hub->loop);
	}
	r->hub->stats.bytes += took;
	for (int i = 0; i < n; i++) {
		size_t skip = took < parts[i].iov_len ? took : parts[i].iov_len;

		took -= skip;
		if (skip < parts[i].iov_len)
			buf_add(&r->rest, (char *)parts[i].iov_base + skip,
			    parts[i].iov_len - skip);
	}
}

void
reader_event(struct reader *r, struct str event)
{
	struct iovec part = { (void *)(uintptr_t)event.s, event.n };

	if (!r->closing)
		reader_send(r, &part, 1);
}

static void
stream_writable(void *arg)
{
	struct reader *r = arg;
	struct iovec part = { r->rest.bytes, r->rest.len };

	if (part.iov_len > 0) {
		size_t took = stream_send(r->stream, &part, 1);

		r->hub->stats.bytes += took;
		buf_drop(&r->rest, took);
		if (took > 0)
			r->took_ms = loop_now_ms(r->hub->loop);
		if (r->rest.len > 0)
			return;
		buf_deinit(&r->rest);
	}
	if (r->closing) {
		reader_closing(r, r->why);
		return;
	}
	for (struct list *it = r->follows.next;
	     it != &r->follows && reader_open(r); it = it->next) {
		struct follow *f = list_entry(it, struct follow, of_reader);

		follow_flush(f);
		if (f->topic->held_ms != 0)
			topic_trim(f->topic);
	}
	if (r->n_behind > 0)
		reader_behind(r);
}

/* Its cursor: patterns, then follows, those that sent last first. */
struct str
reader_id(struct reader *r)
{
	struct cursor c;

	c.n = 0;
	list_for (it, &r->patterns) {
		struct pattern *p =
		    list_entry(it, struct reader_pattern, of_reader)->pattern;
		int any = strcmp(p->tail.resource, "*") == 0;

		cursor_set(&c,
		    &(struct cursor_entry){ p->key,
			any ? CURSOR_PATTERN : CURSOR_ABSENT,
			any ? tail_told_ms(r->hub->tail) : 0 });
	}
	list_for (it, &r->follows) {
		struct follow *f = list_entry(it, struct follow, of_reader);

		if (cursor_set(&c,
			&(struct cursor_entry){
			    f->topic->key, (uint32_t)f->epoch, f->seq }) < 0)
			break;
	}
	return (struct str){ r->hub->id, cursor_write(&c, r->hub->id) };
}

/* What is behind the lines of an event: "]}", id and all. */
static struct str
event_end(struct follow *f)
{
	struct reader *r = f->reader;
	struct topic *t = f->topic;
	int alone = r->n_follows == 1 && list_empty(&r->patterns);
	struct buf *out = alone ? &t->end : &r->hub->event;

	if (alone && t->end_seq == f->seq && f->epoch == t->tail.epoch)
		return buf_str(out);
	buf_clear(out);
	sse_log_tail(out, reader_id(r));
	t->end_seq = alone ? f->seq : t->end_seq;
	return buf_str(out);
}

/* A part of the ring from entry `at` on, up to where an event is full; how
 * many entries that is. */
static uint32_t
range(const struct topic *t, uint32_t at, size_t *from, size_t *to)
{
	uint32_t n = t->n;

	*from = at > 0 ? t->entries[at - 1].end : 0;
	if (t->entries[n - 1].end - *from > HUB_EVENT_BYTES) {
		n = at + 1;
		while (t->entries[n - 1].end - *from < HUB_EVENT_BYTES)
			n++;
	}
	*to = t->entries[n - 1].end;
	return n - at;
}

static void
send_lines(struct follow *f, struct str lines, uint64_t n)
{
	struct topic *t = f->topic;
	struct hub *h = t->hub;
	struct str end = event_end(f);
	struct iovec parts[3] = {
		{ t->head.bytes, t->head.len },
		{ (void *)(uintptr_t)lines.s, lines.n - 1 },
		{ (void *)(uintptr_t)end.s, end.n },
	};

	h->stats.lines += n;
	h->stats.events++;
	reader_send(f->reader, parts, 3);
}

/* The lines of a range that fit the follow's filter, together. */
static struct str
chosen(const struct follow *f, uint32_t at, uint32_t n, uint64_t *lines)
{
	const struct topic *t = f->topic;
	struct buf *out = &t->hub->chosen;

	buf_clear(out);
	*lines = 0;
	for (uint32_t i = at; i < at + n; i++) {
		size_t from = i > 0 ? t->entries[i - 1].end : 0;

		if (!(t->entries[i].fits >> f->slot & 1))
			continue;
		buf_add(out, t->bytes.bytes + from, t->entries[i].end - from);
		++*lines;
	}
	return buf_str(out);
}

void
follow_flush(struct follow *f)
{
	struct topic *t = f->topic;

	while (
	    !f->behind && reader_open(f->reader) && f->seq < t->base + t->n) {
		uint32_t at = (uint32_t)(f->seq - t->base), n;
		size_t from, to;
		struct str lines;
		uint64_t count;

		n = range(t, at, &from, &to);
		count = n;
		lines = (struct str){ t->bytes.bytes + from, to - from };
		f->seq += n;
		if (f->slot >= 0)
			lines = chosen(f, at, n, &count);
		if (count == 0)
			continue;
		/* a pattern's channels: the liveliest are in the cursor */
		if (f->found && f->reader->n_follows > CURSOR_MAX) {
			list_remove(&f->of_reader);
			list_prepend(&f->reader->follows, &f->of_reader);
		}
		send_lines(f, lines, count);
	}
	follow_settle(f);
}

void
follow_settle(struct follow *f)
{
	struct topic *t = f->topic;
	struct reader *r = f->reader;
	struct buf *out = &r->hub->event;

	if (f->ended || f->behind || t->tail.final_seq < 0 ||
	    f->seq < t->tail.final_seq || !reader_open(r))
		return;
	f->ended = 1;
	r->n_ended++;
	buf_clear(out);
	buf_adds(out, "event: end\ndata: {\"channel\":");
	sse_json(out, (struct str){ t->channel, t->channel_n });
	buf_addf(out, ",\"epoch\":%d,\"seq\":%lld}\nid: ", f->epoch,
	    (long long)f->seq);
	buf_addstr(out, reader_id(r));
	buf_adds(out, "\n\n");
	reader_event(r, buf_str(out));
	if (r->n_ended == r->n_follows && list_empty(&r->patterns))
		reader_closing(r, READER_ENDED);
}

/* The reader -------------------------------------------------------------- */

struct reader *
reader_new(struct hub *h, struct filter *filter, const struct reader_ops *ops,
    void *arg)
{
	struct reader *r = xcalloc(1, sizeof(*r));

	r->hub = h;
	r->filter = filter;
	r->ops = ops;
	r->arg = arg;
	list_init(&r->follows);
	list_init(&r->patterns);
	list_init(&r->wait);
	r->beat_ms = loop_now_ms(h->loop) + HUB_BEAT_MS;
	r->lines = HUB_PAGE_LINES;
	list_append(&h->readers, &r->link);
	h->stats.readers++;
	return r;
}

struct reader *
reader_free(struct reader *r)
{
	if (r == NULL)
		return NULL;
	if (r->stream != NULL)
		stream_end(r->stream);
	if (r->page != NULL)
		page_forget(r->page);
	while (!list_empty(&r->follows)) {
		struct follow *f =
		    list_entry(r->follows.next, struct follow, of_reader);
		struct topic *t = f->topic;

		follow_free(f);
		topic_put(t);
	}
	while (!list_empty(&r->patterns))
		pattern_leave(list_entry(
		    r->patterns.next, struct reader_pattern, of_reader));
	list_remove(&r->link);
	list_remove(&r->wait);
	r->hub->stats.readers--;
	filter_unref(r->filter);
	buf_deinit(&r->rest);
	free(r);
	return NULL;
}

void
reader_start(struct reader *r, struct request *req, const struct reply *head,
    struct str event)
{
	static const struct stream_ops ops = { .writable = stream_writable,
		.gone = stream_gone };

	r->stream = request_stream(req, head, &ops, r);
	r->started = 1;
	if (r->closing) { /* it was closed before it began */
		reader_closing(r, r->why);
		return;
	}
	reader_event(r, event);
	for (struct list *it = r->follows.next;
	     it != &r->follows && reader_open(r); it = it->next)
		follow_flush(list_entry(it, struct follow, of_reader));
	if (r->n_behind > 0)
		reader_behind(r);
}

uint32_t
reader_count(const struct reader *r)
{
	uint32_t n = r->n_patterns;

	list_for (it, &r->follows)
		n += !list_entry(it, struct follow, of_reader)->found;
	return n;
}
