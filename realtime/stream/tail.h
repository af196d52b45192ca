#pragma once
/*
 * Reading what is new in every channel that somebody at this gateway follows:
 * one question at a time for all that changed, so that a line costs the
 * database one read however many watch it.
 *
 *     NOTIFY meshhook_logs --ids, or '*'--> dirty --tail()--> lines, in order
 *     each second, all channels       ----> dirty
 *     unknown id, each second --channels_under()--> found: of a pattern
 *
 * Lines of a channel are contiguous by seq. When they aren't, retention took
 * some: gap. When the epoch is another, or the end is before what was read:
 * reset, and reading begins anew at 1. A run's channel ends with its final seq.
 *
 * Nothing here depends on NOTIFY but the speed.
 */
#include "core/list.h"
#include "core/uuid.h"
#include "realtime/wire/sse.h"
#include "supabase/client/db.h"

enum {
	TAIL_POLL_MS = 1000,
	TAIL_POLL_FAST_MS = 250, /* where NOTIFY doesn't work */
	TAIL_CHANNELS = 500,     /* of one question */
	TAIL_LINES = 4000,       /* of one answer, about */
	/* a line's time and the moment it can be seen lie less apart */
	TAIL_OVERLAP_MS = 10000,
};

/* A channel that is read. Its owner embeds it; it belongs to the tail from
 * tail_add to tail_remove. */
struct tail_channel {
	struct list dirty;         /* tail->dirty, if it is */
	struct tail_channel *next; /* in its slot */
	struct uuid id;
	int epoch;
	int64_t seq;       /* read up to here */
	int64_t final_seq; /* -1: it goes on */
	uint32_t question; /* the last one that asked for it */
	int held;          /* its owner can't take more for now */
};

/* What a pattern covers: logs:{service}:{project}:*, or a channel that has no
 * line yet. Embedded by its owner, as above. */
struct tail_pattern {
	struct list link;
	struct uuid project;
	char service[65], resource[129];
	int64_t
	    since_ms; /* on the database's clock: to be looked at from here */
};

/* A channel as channels_under() describes it. */
struct tail_found {
	struct uuid id, project;
	const char *service, *resource;
	int epoch;
	int64_t last_seq, final_seq; /* final -1 */
	int64_t start_seq;           /* before its first line since since_ms */
};

struct tail_ops {
	void (*line)(
	    void *arg, struct tail_channel *c, const struct sse_line *line);
	/* lines up to c->seq are gone; the next one follows */
	void (*gap)(void *arg, struct tail_channel *c);
	void (*reset)(void *arg, struct tail_channel *c);
	/* c->seq reached c->final_seq */
	void (*end)(void *arg, struct tail_channel *c);
	/* perhaps of a pattern, and not among the channels */
	void (*found)(void *arg, const struct tail_found *found);
	/* all of an answer was told */
	void (*told)(void *arg);
};

struct tail;

struct tail *tail_new(
    struct loop *loop, struct db *db, const struct tail_ops *ops, void *arg);
struct tail *tail_free(struct tail *t); /* NULL */
/* NULL until known: polls as if NOTIFY didn't work. */
void tail_listen(struct tail *t, const struct listen *l);
/* A notification's payload; NULL: some may have been missed. */
void tail_notified(struct tail *t, const char *payload);
/* The database is there, or no longer. */
void tail_database(struct tail *t, int there);

/* From its epoch and seq on; it is asked for at once. */
void tail_add(struct tail *t, struct tail_channel *c);
void tail_remove(struct tail *t, struct tail_channel *c);
struct tail_channel *tail_find(const struct tail *t, const struct uuid *id);
void tail_dirty(struct tail *t, struct tail_channel *c);
/* Don't ask for it; ask again. Its lines wait in the database. */
void tail_hold(struct tail_channel *c);
void tail_release(struct tail *t, struct tail_channel *c);

void tail_pattern_add(struct tail *t, struct tail_pattern *p);
void tail_pattern_remove(struct tail *t, struct tail_pattern *p);
/* Up to when, on the database's clock, everything visible was told; 0: not yet
 * known. */
int64_t tail_told_ms(const struct tail *t);
/* What the database's clock shows, as an answer said. */
void tail_clock(struct tail *t, int64_t db_ms);

/* A line of tail()'s answer. */
struct sse_line tail_line(struct rows *rows, int row);
