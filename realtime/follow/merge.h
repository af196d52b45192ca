#pragma once
/*
 * What a reader of a channel over Supabase does next, and which lines it hands
 * on. Pure: what happened is an input with the time in it, what is to be done
 * are outputs.
 *
 *     watch      says the topic, the epoch and the last number; renews the
 *                reader's claim on broadcasts
 *     join       the topic, whose broadcasts carry lines or hints
 *     fetch      reads a page behind a number
 *
 * The promise: lines leave in the order of their numbers, each once, and what
 * is missing between two of them was said to be missing. It rests on this:
 *
 * - Numbers are contiguous and committed in their order: a page that has line
 *   n was read when all before n were there, so what it lacks is gone.
 * - The numbers that a watch says (`sure`) were there before the fetch that
 *   follows it: an empty page behind it says that they are gone. Numbers that
 *   only a broadcast says (`heard`) may not be visible yet.
 * - A page says no epoch. So it is believed when a watch that was sent after
 *   it came still says ours; until then it waits.
 * - Broadcasts may be lost, doubled, late, or cease for good without a word:
 *   the next watch says a number beyond ours, and we fetch.
 *
 * Lines that come ahead of a hole are held while it is fetched, up to a bound;
 * beyond it they are fetched, too.
 */
#include <stdint.h>

#include "core/arena.h"

struct line {
	int64_t seq, ts_ms;
	int level;
	struct str message, attrs; /* attrs: JSON text; s NULL: none */
};

enum {
	MERGE_TOPIC = 512,
	MERGE_HELD = 4096, /* lines */
	MERGE_HELD_BYTES = 4 << 20,
	MERGE_RENEW_MS = 15000, /* a watch lives for 30 s */
	MERGE_APART_MS = 2000,  /* between watches while not joined */
	MERGE_QUIET_MS = 1000,  /* after a run's line: is it over? */
	MERGE_MOVED_MS = 500,   /* all look for the new topic, not at once */
	MERGE_AGAIN_MS = 500,   /* backoff of a failed request, doubled */
	MERGE_AGAIN_MOST_MS = 10000,
};

enum merge_event {
	MERGE_TICK, /* the first input, and when merge_wake() says so */
	MERGE_WATCHED,
	MERGE_FETCHED,
	MERGE_WATCH_FAILED,
	MERGE_FETCH_FAILED,
	MERGE_JOINED, /* the topic that was last to be joined */
	MERGE_PARTED, /* it sends nothing now */
	MERGE_LINES,  /* a broadcast with lines */
	MERGE_HINT,   /* a broadcast with a last number alone */
	MERGE_MOVED,  /* the topic is no more: there is another */
	N_MERGE_EVENTS
};

struct merge_input {
	enum merge_event event;
	int64_t now_ms;    /* monotonic */
	uint64_t random;   /* for jitter */
	const char *topic; /* WATCHED */
	int64_t epoch;     /* WATCHED, LINES, HINT */
	int64_t last;      /* WATCHED, LINES, HINT: a number that exists */
	int ended; /* WATCHED, LINES, HINT: and it is the last for ever */
	int mute;  /* WATCHED: nothing is broadcast */
	const struct line *lines; /* LINES, FETCHED: ascending */
	uint32_t n;
};

enum merge_act {
	MERGE_DO_WATCH,
	MERGE_DO_JOIN,  /* text: the topic; instead of the one before */
	MERGE_DO_FETCH, /* seq: read behind it */
	MERGE_DO_LINE,
	MERGE_DO_GAP,   /* seq: up to this, lines are gone */
	MERGE_DO_RESET, /* epoch: the numbers began anew */
	MERGE_DO_REST,  /* everything that was there came */
	MERGE_DO_END,   /* ... and nothing will come */
};

struct merge_output {
	enum merge_act act;
	int64_t epoch, seq;
	const char *text;
	const struct line *line;
};

/* Valid until the next step. */
struct merge_outputs {
	struct merge_output *at;
	uint32_t n, room;
};

/* Lines kept in an arena of their own. */
struct merge_store {
	struct arena arena;
	struct line *lines;
	uint32_t n, room;
};

struct merge {
	/* set before the first step */
	int64_t epoch, seq; /* the cursor */
	int ends;           /* a run's channel */

	/* private */
	struct arena arena; /* of the outputs */
	char topic[MERGE_TOPIC];
	int64_t sure, heard;
	int told, joined, watching, fetching, ended, rested, over;
	int fetch_now; /* whatever the clock says */
	int64_t watch_at, fetch_at;
	int64_t watch_by; /* asked for: another one, begun then or later */
	int64_t quiet_at, quiet_ms;
	uint32_t watch_failures, fetch_failures;
	/* how it stood when the watch, the fetch under way was sent */
	int64_t watch_seq, watch_heard, fetch_sure;
	int watch_confirms, fetch_void;
	struct merge_store page, held; /* page: n with `paged` */
	int paged;
};

void merge_init(struct merge *m);
void merge_deinit(struct merge *m); /* idempotent */
void merge_step(
    struct merge *m, const struct merge_input *in, struct merge_outputs *out);
/* When the next MERGE_TICK is due; INT64_MAX: never. */
int64_t merge_wake(const struct merge *m);
