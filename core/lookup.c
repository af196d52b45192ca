#include "core/lookup.h"

enum { ROOM_FIRST = 16 }; /* a power of two */

uint32_t
lookup_hash(uint32_t h, struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.s[i]) * 16777619u;
	return (h ^ 0xff) * 16777619u;
}

void
lookup_init(struct lookup *l, struct arena *a)
{
	*l = (struct lookup){ .arena = a };
}

static void
hang(struct lookup *l, uint32_t place)
{
	uint32_t *head = &l->heads[l->places[place].hash & (l->room - 1)];

	l->places[place].next = *head;
	*head = place;
}

static void
grow(struct lookup *l)
{
	uint32_t room = l->room > 0 ? 2 * l->room : ROOM_FIRST;

	l->places =
	    arena_grow(l->arena, l->places, l->n, room, sizeof(*l->places));
	l->heads = arena_array(l->arena, room, sizeof(*l->heads));
	l->room = room;
	for (uint32_t i = 0; i < room; i++)
		l->heads[i] = LOOKUP_NONE;
	for (uint32_t i = 0; i < l->n; i++)
		hang(l, i);
}

void
lookup_add(struct lookup *l, uint32_t hash)
{
	if (l->n == l->room)
		grow(l);
	l->places[l->n].hash = hash;
	hang(l, l->n++);
}

static uint32_t
of_hash(const struct lookup *l, uint32_t place, uint32_t hash)
{
	while (place != LOOKUP_NONE && l->places[place].hash != hash)
		place = l->places[place].next;
	return place;
}

uint32_t
lookup_first(const struct lookup *l, uint32_t hash)
{
	if (l->room == 0)
		return LOOKUP_NONE;
	return of_hash(l, l->heads[hash & (l->room - 1)], hash);
}

uint32_t
lookup_next(const struct lookup *l, uint32_t place)
{
	return of_hash(l, l->places[place].next, l->places[place].hash);
}
