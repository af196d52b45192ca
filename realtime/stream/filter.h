#pragma once
/*
 * Which lines a reader wants: at least a level, a text in the message (ASCII
 * letters of either case are equal), attributes with given values. A line
 * must fit all of them.
 */
#include "core/arena.h"
#include "realtime/wire/sse.h"

enum { FILTER_ATTRS = 8, FILTER_TEXT = 512 };

struct filter {
	int level;    /* 0: any */
	struct str q; /* n 0: any */
	struct filter_attr {
		struct str name, value;
	} attrs[FILTER_ATTRS];
	size_t n_attrs;
	uint32_t refs;
};

/* A copy with all that it points to, and one reference; NULL when everything
 * fits. */
struct filter *filter_new(const struct filter *what);
struct filter *filter_ref(struct filter *f);
struct filter *filter_unref(struct filter *f); /* NULL */
int filter_equal(const struct filter *x, const struct filter *y);
/* scratch: for reading attributes; reset here. */
int filter_fits(
    const struct filter *f, struct arena *scratch, const struct sse_line *line);
