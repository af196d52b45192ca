/*
 * Readers that are behind: a page of lines from the database for each that
 * takes some, at most PAGES on their way. A page goes out as far as the reader
 * takes it, the rest of it is read anew; so nothing is kept.
 */
#include "core/log.h"
#include "core/mem.h"
#include "realtime/stream/hub-impl.h"
#include "realtime/realtime-sql.h"

#include <stdlib.h>
#include <string.h>

enum {
	PAGES = 4,
	PAGE_CHANNELS = 100,
	PAGE_LINES = 1000, /* about */
	PAGE_LEAST = 20,   /* of a channel */
};

struct page {
	struct hub *hub;
	struct reader *reader; /* NULL: it is over */
	int lines;             /* of a channel */
};

void
page_forget(struct page *p)
{
	p->reader = NULL;
}

void
reader_behind(struct reader *r)
{
	if (r->page != NULL || r->dead || r->closing)
		return;
	list_remove(&r->wait);
	list_append(&r->hub->behind, &r->wait);
	behind_pump(r->hub);
}

static struct str
channel_of(const struct topic *t)
{
	return (struct str){ t->channel, t->channel_n };
}

/* Lines up to `to` are not there; to 0: another epoch begins. */
static void
say_gap(struct follow *f, int64_t to, enum sse_gap reason, int epoch)
{
	struct buf out;
	struct sse_gap_event gap = { .channel = channel_of(f->topic),
		.epoch = epoch,
		.from = f->seq + 1,
		.to = to,
		.reason = reason };

	f->seq = to;
	f->epoch = epoch;
	buf_init(&out);
	sse_gap(&out, &gap, reader_id(f->reader));
	reader_event(f->reader, buf_str(&out));
	buf_deinit(&out);
}

static void
say_lines(struct follow *f, struct buf *lines, uint64_t n)
{
	struct hub *h = f->reader->hub;
	struct buf out;

	if (lines->len == 0)
		return;
	buf_init(&out);
	sse_log_head(&out, channel_of(f->topic), f->epoch);
	buf_add(&out, lines->bytes, lines->len - 1);
	sse_log_tail(&out, reader_id(f->reader));
	buf_clear(lines);
	h->stats.lines += n;
	h->stats.events++;
	reader_event(f->reader, buf_str(&out));
	buf_deinit(&out);
}

/* One channel's lines, of which rows[row..row + n) are. 1: all was sent. */
static int
take_lines(struct follow *f, struct rows *rows, int row, int n)
{
	struct reader *r = f->reader;
	struct buf lines;
	uint64_t count = 0;
	int i = 0;

	buf_init(&lines);
	for (; i < n && !rows_null(rows, row + i, "seq"); i++) {
		struct sse_line line = tail_line(rows, row + i);

		if (line.seq != f->seq + 1 || lines.len > HUB_EVENT_BYTES) {
			say_lines(f, &lines, count);
			count = 0;
			if (!reader_open(r))
				break;
		}
		if (line.seq != f->seq + 1) {
			say_gap(f, line.seq - 1, SSE_GAP_EXPIRED, f->epoch);
			if (!reader_open(r))
				break;
		}
		f->seq = line.seq;
		if (r->filter != NULL &&
		    !filter_fits(r->filter, &r->hub->scratch, &line))
			continue;
		sse_log_line(&lines, &line);
		count++;
	}
	say_lines(f, &lines, count);
	buf_deinit(&lines);
	return reader_open(r);
}

static void
take_channel(
    struct follow *f, struct page *p, struct rows *rows, int row, int n)
{
	int epoch = (int)rows_int(rows, row, "epoch");
	int64_t last = rows_int(rows, row, "last_seq");
	int lines = rows_null(rows, row, "seq") ? 0 : n;

	if (epoch != f->epoch || last < f->seq) {
		say_gap(f, 0, SSE_GAP_RESET, epoch);
		tail_dirty(f->reader->hub->tail, &f->topic->tail);
		return;
	}
	if (!take_lines(f, rows, row, n))
		return;
	if (f->seq < last && lines < p->lines)
		say_gap(f, last, SSE_GAP_EXPIRED, epoch);
}

static void
take(struct page *p, struct rows *rows)
{
	struct reader *r = p->reader;

	for (int i = 0, n; i < rows->n && reader_open(r); i += n) {
		struct tail_channel *c;
		struct follow *f;
		struct uuid id;

		n = rows_group(rows, i, "channel_id", &id);
		c = tail_find(r->hub->tail, &id);
		f = c == NULL
		    ? NULL
		    : follow_find(r, list_entry(c, struct topic, tail));
		if (f != NULL && f->asked)
			take_channel(f, p, rows, i, n);
	}
}

/* Those that can go on from the ring do; the rest asks again, or, if that would
 * tell nothing new, when the tail is where they are. */
static void
page_over(struct reader *r, int news)
{
	list_for (it, &r->follows) {
		struct follow *f = list_entry(it, struct follow, of_reader);

		if (!f->asked)
			continue;
		f->asked = 0;
		f->topic->n_asked--;
		if (f->behind && follow_join(f) && reader_open(r))
			follow_flush(f);
	}
	if (r->n_behind == 0 || r->dead || r->closing)
		return;
	list_remove(&r->wait);
	if (reader_open(r))
		list_append(
		    news ? &r->hub->behind : &r->hub->idle_behind, &r->wait);
}

static void
answered(void *arg, struct rows *rows, const struct error *err)
{
	struct page *p = arg;
	struct hub *h = p->hub;
	struct reader *r = p->reader;

	h->pages--;
	if (r != NULL) {
		r->page = NULL;
		if (err != NULL && err->fault != FAULT_RETRY)
			log_error("page.failed", E_(err));
		if (err == NULL && reader_open(r))
			take(p, rows);
		/* as much as it takes, or what is read is for nothing */
		if (reader_open(r))
			r->lines = HUB_PAGE_LINES;
		else if (r->lines / 2 >= PAGE_LEAST)
			r->lines /= 2;
		page_over(r, err == NULL && rows->n > 0);
	}
	free(p);
	behind_pump(h);
}

static void
asked_not(struct reader *r)
{
	list_for (it, &r->follows) {
		struct follow *f = list_entry(it, struct follow, of_reader);

		f->topic->n_asked -= f->asked;
		f->asked = 0;
	}
}

static void
ask(struct hub *h, struct reader *r)
{
	struct page *p = xcalloc(1, sizeof(*p));
	struct error err;
	int n = 0;

	db_array_reset(&h->ids);
	db_array_reset(&h->epochs);
	db_array_reset(&h->after);
	list_for (it, &r->follows) {
		struct follow *f = list_entry(it, struct follow, of_reader);

		if (!f->behind || n == PAGE_CHANNELS)
			continue;
		f->asked = 1;
		f->topic->n_asked++;
		db_array_uuid(&h->ids, &f->topic->tail.id);
		db_array_int4(&h->epochs, f->epoch);
		db_array_int8(&h->after, f->seq);
		n++;
	}
	p->hub = h;
	p->reader = r;
	p->lines = n > 0 ? PAGE_LINES / n : 0;
	if (p->lines < PAGE_LEAST)
		p->lines = PAGE_LEAST;
	if (p->lines > r->lines)
		p->lines = r->lines;
	if (n == 0 ||
	    db_call(h->db, &sql_tail, answered, p, &err, db_array(&h->ids),
		db_array(&h->epochs), db_array(&h->after),
		db_int4(p->lines)) < 0) {
		free(p);
		asked_not(r);
		/* no database: told() brings it back */
		if (n > 0)
			list_append(&h->idle_behind, &r->wait);
		return;
	}
	r->page = p;
	h->pages++;
}

void
behind_pump(struct hub *h)
{
	struct list *it;

	while (h->pages < PAGES && db_ready(h->db) &&
	    (it = list_pop(&h->behind)) != NULL) {
		struct reader *r = list_entry(it, struct reader, wait);

		if (reader_open(r) && r->page == NULL)
			ask(h, r);
	}
}
