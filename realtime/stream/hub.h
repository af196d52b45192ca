#pragma once
/*
 * Fan-out: what the tail reads, once for every channel, to all who follow it.
 *
 *     tail --> topic: a ring of encoded lines --+--> reader: follows at seq 41
 *                                               +--> reader: follows at seq 44
 *
 * A topic is a channel that somebody here follows. Its lines are encoded once,
 * into bytes that all readers share; a reader is a place in them for each
 * channel (a follow), the cursor that its events carry as their id, and what
 * the kernel did not take of one event. Nothing else is kept for anybody.
 *
 * The first line after quiet goes at once; further ones are gathered for at
 * most COALESCE_MS. A ring is emptied when all have read it, and holds about
 * RING_BYTES. When it is full because many lag, the tail waits for them, for
 * a moment; those that lag still, or are few, fall out of it.
 *
 * A follow whose place is not in the ring (a slow reader, one that comes back,
 * another epoch) is behind: it reads pages from the database, as fast as its
 * reader takes them, until its place is. There gaps are found, and told. A
 * reader that has lines to read and takes nothing for STALL_MS is cut, with a
 * gap; its lines are in the database when it comes again.
 */
#include "realtime/wire/cursor.h"
#include "realtime/stream/filter.h"
#include "realtime/server/server.h"
#include "realtime/stream/tail.h"

enum {
	HUB_COALESCE_MS = 16,
	HUB_RING_BYTES = 262144,
	HUB_RINGS_BYTES = 64 << 20, /* of all; beyond, rings are an eighth */
	HUB_EVENT_BYTES = 32768,    /* lines of one event, about */
	HUB_FILTERS = 60,           /* different ones on a channel */
	HUB_BEAT_MS = 15000,
	HUB_WAIT_MS = 1000,
	HUB_STALL_MS = 5000,
};

struct hub;
struct reader;

enum reader_end {
	READER_LEFT,   /* the client */
	READER_ENDED,  /* all that it follows has ended, and was told */
	READER_SLOW,   /* it was cut */
	READER_CLOSED, /* by reader_close */
};

struct reader_ops {
	/* The last call: it is for the owner to free. Never within a call. */
	void (*over)(void *arg, enum reader_end why);
};

/* A channel where attach() found it. */
struct hub_channel {
	struct uuid id, project;
	struct str channel; /* canonical */
	int epoch;
	int64_t last_seq, final_seq; /* final -1: it goes on */
};

struct hub_stats {
	uint64_t readers, topics, behind;    /* now */
	uint64_t lines, events, bytes, slow; /* since the start */
	uint64_t ring_bytes;                 /* now */
};

struct hub *hub_new(struct loop *loop, struct db *db);
struct hub *hub_free(struct hub *h); /* after its readers; NULL */
struct tail *hub_tail(struct hub *h);
void hub_stats(const struct hub *h, struct hub_stats *out);
/* Of a database connection: see tail_database. */
void hub_database(struct hub *h, int there);

/*
 * A reader follows, and patterns find, from its creation on; nothing is sent
 * before reader_start. filter: taken over; NULL: everything.
 */
struct reader *reader_new(struct hub *h, struct filter *filter,
    const struct reader_ops *ops, void *arg);
struct reader *reader_free(struct reader *r); /* NULL; ends its stream */
/* The reply begins, with an event (text of its own) before all others. */
void reader_start(struct reader *r, struct request *req,
    const struct reply *head, struct str event);

/*
 * Follow from behind (epoch, seq) on; epoch -1: whatever it is. Once more moves
 * a reader that has not started. -1: too many different filters on it.
 */
int reader_follow(
    struct reader *r, const struct hub_channel *c, int epoch, int64_t seq);
/*
 * Whatever a pattern finds, from the moment of reader_settle on. Between the
 * two its owner asks the database, on the tail's connection, which channels
 * there are, and follows them by reader_found. since: as in tail_pattern.
 */
void reader_pattern(struct reader *r, const struct uuid *project,
    struct str service, struct str resource, int64_t since_ms);
int reader_found(
    struct reader *r, const struct hub_channel *c, int epoch, int64_t seq);
void reader_settle(struct reader *r);
/* Of reader_follow or reader_pattern, by the canonical channel; 0: it didn't. */
int reader_drop(struct reader *r, struct str channel);
/* Channels and patterns. */
uint32_t reader_count(const struct reader *r);

/* The text of its cursor, in the hub's memory until the next call. */
struct str reader_id(struct reader *r);
/* An event that is whole, behind all that was sent. */
void reader_event(struct reader *r, struct str event);
/* The end, behind all that was sent; over() follows. */
void reader_close(struct reader *r);
