#pragma once
/*
 * "Did you mean": of the names shown to it, the one nearest to a mistyped
 * word. Distance is the number of letters inserted, dropped, replaced or
 * swapped with their neighbour; a name further than a third of the word (at
 * least 1) is no suggestion. Pure, and allocates nothing.
 */
#include "core/arena.h"

struct suggest {
	struct str word, best;
	size_t distance; /* of best, or one more than is tolerated */
};

void suggest_init(struct suggest *s, struct str word);
void suggest_add(struct suggest *s, struct str name);
