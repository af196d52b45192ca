#pragma once
/*
 * Lines of a log, as `meshhook logs` prints them: which of them, and how. With
 * `tail` the last lines that pass are kept until printer_flush.
 */
#include "cli/cli.h"
#include "cli/follow.h"

struct printer {
	const struct cli *cli;
	int64_t since_ms, until_ms;    /* INT64_MIN, INT64_MAX: no such end */
	int least;                     /* level */
	const char *include, *exclude; /* patterns, a line each; or NULL */
	int stamps;                    /* date and time, not the time of day */
	size_t tail;
	/* private */
	struct arena line; /* of the line at hand */
	struct buf text, *kept;
	size_t n_kept;
};

void printer_init(struct printer *p, const struct cli *cli); /* all lines */
void printer_deinit(struct printer *p);
/* "warn" and worse; NULL: every level. */
void printer_level(struct printer *p, const char *name);
/* Does every line pass? Then the earlier ones needn't be read for a tail. */
int printer_passes_all(const struct printer *p);
/* The header of a table or CSV. */
void printer_begin(struct printer *p);
/* A line_fn. */
void printer_line(void *printer, const struct line *line);
/* The tail is printed, and from now on all that comes. */
void printer_flush(struct printer *p);
