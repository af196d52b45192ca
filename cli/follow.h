#pragma once
/*
 * Reading a run's log by cursor (channel, epoch, seq). Lines have contiguous
 * numbers in the order in which they were committed, so a reader that asks for
 * what is behind its cursor can neither lose nor double a line, whatever
 * happens to its connections; it ends when the run's last line was read.
 *
 * NOTIFY is a hint to look now; where it doesn't work, and in any case from
 * time to time, it looks unasked. A new epoch (the database was restored) is
 * reported and read from its beginning.
 */
#include "cli/session.h"

struct line {
	int64_t seq, ts_ms;
	int level;
	struct str message, attrs; /* attrs: JSON text; s NULL: none */
};

typedef void line_fn(void *arg, const struct line *line);
/* The end of what is there now was reached. 1: it is enough. */
typedef int caught_up_fn(void *arg, int64_t now_ms);

struct follow {
	struct session *session;
	const char *run;  /* its id */
	int follow;       /* else: what is there now */
	int64_t since_ms; /* INT64_MIN: from the first line */
	int64_t last; /* begin so many lines before the end; 0: at the first */
	line_fn *line;
	caught_up_fn *caught_up;
	void *arg;
	/* private */
	int64_t cursor, epoch; /* epoch -1: not seen yet */
	int64_t pause_ms;
	struct listen *listen;
	struct loop_timer *timer;
	struct error err;
	int asking, again, lost, over;
};

/* Runs until the end; 0, or -1. EXIT_INTERRUPTED after SIGINT. */
int follow_run(struct follow *f, struct error *err);
