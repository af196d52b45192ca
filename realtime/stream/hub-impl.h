#pragma once
/* What hub.c (topics), hub-reader.c (readers), hub-follow.c (what they follow)
 * and hub-behind.c (pages from the database) share. */
#include "core/buf.h"
#include "realtime/stream/hub.h"

enum { HUB_PAGE_LINES = 500 }; /* of one channel in a page, at most */

/* A line in a ring: where its bytes end, and which filters it fits. */
struct entry {
	uint32_t end;
	uint64_t fits;
};

struct topic_filter {
	struct filter *filter; /* NULL: a free slot */
	uint32_t refs;
	int64_t from; /* lines up to here were not held against it */
};

/* entries are contiguous: entries[i] is the line base + 1 + i. */
struct topic {
	struct tail_channel tail;
	struct hub *hub;
	struct list link;    /* hub->topics */
	struct list hot;     /* hub->hot or hub->due, with lines to send */
	struct list follows; /* by follow.of_topic */
	uint32_t n_follows, n_behind;
	uint32_t n_asked; /* of those behind: a page is on its way */
	struct uuid project;
	char *channel; /* canonical; the resource is in it */
	size_t channel_n;
	uint64_t key;
	struct buf head; /* of its log events, in this epoch */
	struct buf end;  /* of a log event that ends at end_seq, for readers */
	int64_t end_seq; /*   that follow nothing else */
	struct buf bytes;
	struct entry *entries;
	uint32_t n, room;
	int64_t base;
	struct topic_filter *filters; /* HUB_FILTERS; NULL: none yet */
	int64_t flushed_ms, line_ms;
	int64_t held_ms; /* since when the tail waits for it; 0: it doesn't */
};

struct pattern {
	struct tail_pattern tail;
	struct list link;    /* hub->patterns */
	struct list readers; /* by reader_pattern.of_pattern */
	char *channel;
	uint64_t key;
};

struct reader_pattern {
	struct list of_pattern, of_reader;
	struct pattern *pattern;
	struct reader *reader;
	int settled;
};

struct follow {
	struct list of_topic, of_reader;
	struct topic *topic;
	struct reader *reader;
	int64_t seq; /* sent up to here */
	int epoch;   /* in which; -1: not known */
	int8_t slot; /* of topic->filters; -1: none */
	uint8_t behind, asked, ended;
	uint8_t found; /* by a pattern, not by name */
};

struct reader {
	struct list link; /* hub->readers, by when they are due for a beat */
	struct list
	    wait; /* hub->behind, hub->idle_behind, hub->dead, or none */
	struct hub *hub;
	struct stream *stream; /* NULL: not yet, or no longer */
	const struct reader_ops *ops;
	void *arg;
	struct filter *filter;
	struct list follows, patterns;
	uint32_t n_follows, n_ended, n_behind, n_patterns;
	struct page *page; /* on its way for it, or NULL */
	struct buf rest;   /* of an event that was not taken whole */
	int64_t beat_ms;
	int64_t took_ms; /* when it last took something, while rest is kept */
	uint16_t lines;  /* of its next page */
	uint64_t said;   /* hash of the id that was sent last */
	uint8_t started, closing, dead;
	enum reader_end why;
};

struct hub {
	struct loop *loop;
	struct db *db;
	struct tail *tail;
	struct list topics, patterns, readers;
	struct list hot, due;
	struct list behind;      /* readers that want a page */
	struct list idle_behind; /* and those that wait for the tail first */
	struct list dead;
	uint32_t pages; /* on their way */
	struct loop_timer *coalesce, *sweep;
	struct loop_defer *reap;
	struct arena scratch;
	struct buf event;  /* being put together */
	struct buf chosen; /* by a filter, for one event */
	struct db_array ids, epochs, after;
	char id[CURSOR_TEXT];
	struct hub_stats stats;
};

/* What its tail tells it; arg is the hub. */
extern const struct tail_ops hub_told;

/* Can something be sent on it now? */
static inline int
reader_open(const struct reader *r)
{
	return r->stream != NULL && r->rest.len == 0 && !r->closing;
}

struct topic *topic_get(
    struct hub *h, const struct hub_channel *c, int64_t seq);
void topic_put(struct topic *t); /* frees it when nobody follows */
/* Send what there is to everybody, and empty the ring where that is done. */
void topic_flush(struct topic *t);
void topic_trim(struct topic *t);
/* A free filter slot, or that of an equal one; -1: none. */
int topic_filter_take(struct topic *t, struct filter *f);

struct follow *follow_find(struct reader *r, struct topic *t);
int follow_add(
    struct reader *r, struct topic *t, int epoch, int64_t seq, int found);
struct follow *follow_free(struct follow *f); /* NULL */
/* From the ring, as far as the reader takes it. */
void follow_flush(struct follow *f);
/* Into the ring, if its place is there: 1. */
int follow_join(struct follow *f);
void follow_leave(struct follow *f); /* the ring: it is behind */
/* Say it if it has ended. */
void follow_settle(struct follow *f);
/* Cut it if it has been stalled for too long. */
void reader_check(struct reader *r, int64_t now_ms);

void pattern_leave(struct reader_pattern *rp);

/* In hub-behind.c: give it a page, soon. */
void reader_behind(struct reader *r);
void behind_pump(struct hub *h);
void page_forget(struct page *p);
