#pragma once
/* Lines as they would be fetched or heard. */
#include "realtime/follow/merge.h"

/* A line's text is its epoch and number, so that a wrong one shows. */
static void
make_line(struct arena *a, struct line *line, int64_t epoch, int64_t seq)
{
	*line = (struct line){ .seq = seq, .level = 9 };
	line->message = str_of(
	    arena_printf(a, "e%lld#%lld", (long long)epoch, (long long)seq));
}

static void
make_lines(struct arena *a, struct merge_input *in, int64_t epoch, int64_t from,
    int64_t to)
{
	struct line *lines;

	if (to < from)
		return;
	lines = arena_array(a, (size_t)(to - from + 1), sizeof(*lines));
	for (int64_t seq = from; seq <= to; seq++)
		make_line(a, &lines[in->n++], epoch, seq);
	in->lines = lines;
}
