#pragma once
/*
 * Finds what an owner keeps in an array, or numbers 0, 1, 2, ..., by the hash of
 * what it is known by. Only hashes and places are in here; the owner compares:
 *
 *     for (i = lookup_first(&l, h); i != LOOKUP_NONE; i = lookup_next(&l, i))
 *             if (str_eq(things[i].name, name)) ...
 *
 * The newest comes first. Memory is the arena's; nothing is taken out.
 */
#include <stdint.h>

#include "core/arena.h"

struct lookup_place {
	uint32_t hash, next;
};

struct lookup {
	struct arena *arena;
	struct lookup_place *places;
	uint32_t *heads; /* by hash; as many as there is room for places */
	uint32_t n, room;
};

#define LOOKUP_NONE UINT32_MAX
#define LOOKUP_BASIS 2166136261u

/* FNV-1a, from LOOKUP_BASIS or the hash of what comes before. */
uint32_t lookup_hash(uint32_t h, struct str s);

void lookup_init(struct lookup *l, struct arena *a);
/* The next place has this hash. */
void lookup_add(struct lookup *l, uint32_t hash);
uint32_t lookup_first(const struct lookup *l, uint32_t hash);
uint32_t lookup_next(const struct lookup *l, uint32_t place); /* same hash */
