#pragma once
/*
 * Following one channel, whatever the way to it. A source reads the channel
 * and says what it finds; the follower keeps the promise: every line is handed
 * on exactly once and in the order of its number, or a gap says which lines
 * are missing and why.
 *
 * Numbers are contiguous by channel and epoch, in the order of the commits. So
 * a line at or behind the cursor came before and is dropped, and the only one
 * handed on is the next. Where the next doesn't exist any more the source says
 * so (follow_gap); where the numbers began anew (the database was restored) it
 * says that (follow_reset), and the log is read from its beginning.
 *
 * The cursor (channel, epoch, seq) means the same for every source. With a
 * cursor file it outlives the process; see cli/cursor.h.
 */
#include "cli/channel.h"
#include "cli/session.h"
#include "realtime/follow/merge.h" /* struct line */

enum gap_reason {
	GAP_EXPIRED, /* retention, or a purge, took them */
	GAP_RESET,   /* the numbers began anew */
};

struct follow;

/* A way to a channel. */
struct source {
	const char *name;
	/* Begins to read f->channel behind f->seq, or, where f->epoch is -1,
	 * behind what follow_begin says. */
	int (*open)(struct follow *f, struct error *err);
	void (*close)(struct follow *f); /* also after open failed */
};
extern const struct source source_db, source_gateway, source_realtime;

typedef void line_fn(void *arg, const struct line *line);
/* The end of what is there now was reached. 1: it is enough. */
typedef int caught_up_fn(void *arg, int64_t now_ms);

struct follow {
	struct session *session;
	const struct source *source;
	struct channel channel; /* as it was named; then canonical */
	int on;                 /* follow on; else: what is there now */
	int stay;               /* after the end of the run, too */
	int strict;             /* a gap is the end */
	int64_t since_ms;       /* INT64_MIN: from the first line */
	int64_t last; /* begin so many lines before the end; 0: at the first */
	const char *cursor_file; /* or NULL */
	int holds;               /* lines are kept back until caught_up */
	line_fn *line;
	caught_up_fn *caught_up;
	void *arg;

	/* the cursor, which sources read */
	int64_t epoch, seq; /* epoch -1: not begun yet */

	/* private */
	void *way; /* the source's own */
	struct loop_timer *saver;
	struct error err;
	int unsaved, lost, over;
};

/* Runs until the end: 0; EXIT_INTERRUPTED after SIGINT; EXIT_GAP after a gap
 * with strict; -1. */
int follow_run(struct follow *f, struct error *err);

/*
 * What sources say, from the loop. After follow_over() they say no more.
 */
int follow_over(const struct follow *f);
/* The first line is to be seq + 1, unless a cursor was there before. */
void follow_begin(struct follow *f, int64_t epoch, int64_t seq);
/* The next line; or one that came before. */
void follow_line(struct follow *f, const struct line *line);
/* All up to and including `to` that did not come yet will not come. */
void follow_gap(struct follow *f, int64_t to, enum gap_reason reason);
/* The channel's numbers began anew: read from its beginning. */
void follow_reset(struct follow *f, int64_t epoch);
/* All that was there at now_ms, on the database's clock, came. */
void follow_caught_up(struct follow *f, int64_t now_ms);
/* ... and none will come any more: the run is over. */
void follow_end(struct follow *f);
/* The way is broken, and is being mended; and it works again. */
void follow_lost(struct follow *f, const struct error *err);
void follow_found(struct follow *f);
void follow_fail(struct follow *f, const struct error *err);
/* There is no such channel. */
void follow_none(struct follow *f);
