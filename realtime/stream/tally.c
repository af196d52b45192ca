#include "realtime/stream/tally.h"
#include "core/mem.h"

#include <stdlib.h>
#include <string.h>

static size_t
slot(const struct tally *t, const struct uuid *a, const struct uuid *b)
{
	uint32_t x, y;

	memcpy(&x, a->bytes + 12, sizeof(x));
	memcpy(&y, b->bytes + 12, sizeof(y));
	return ((x * 2654435761U) ^ (y * 2246822519U)) & (t->n_slots - 1);
}

void
tally_init(struct tally *t)
{
	t->n = 0;
	t->n_slots = 64;
	t->slots = xcalloc(t->n_slots, sizeof(struct tally_entry *));
}

void
tally_deinit(struct tally *t)
{
	for (size_t i = 0; i < t->n_slots; i++)
		for (struct tally_entry *e = t->slots[i], *next; e != NULL;
		     e = next) {
			next = e->next;
			free(e);
		}
	free(t->slots);
	*t = (struct tally){ 0 };
}

struct tally_entry *
tally_find(const struct tally *t, const struct uuid *a, const struct uuid *b)
{
	struct tally_entry *e = t->slots[slot(t, a, b)];

	while (
	    e != NULL && (uuid_cmp(&e->a, a) != 0 || uuid_cmp(&e->b, b) != 0))
		e = e->next;
	return e;
}

uint32_t
tally_count(const struct tally *t, const struct uuid *a, const struct uuid *b)
{
	const struct tally_entry *e = tally_find(t, a, b);

	return e != NULL ? e->n : 0;
}

static void
grow(struct tally *t)
{
	struct tally old = *t;

	t->n_slots *= 2;
	t->slots = xcalloc(t->n_slots, sizeof(struct tally_entry *));
	for (size_t i = 0; i < old.n_slots; i++)
		for (struct tally_entry *e = old.slots[i], *next; e != NULL;
		     e = next) {
			size_t to = slot(t, &e->a, &e->b);

			next = e->next;
			e->next = t->slots[to];
			t->slots[to] = e;
		}
	free(old.slots);
}

struct tally_entry *
tally_take(struct tally *t, const struct uuid *a, const struct uuid *b)
{
	struct tally_entry *e = tally_find(t, a, b);
	size_t to;

	if (e == NULL) {
		if (t->n++ >= t->n_slots)
			grow(t);
		to = slot(t, a, b);
		e = xcalloc(1, sizeof(*e));
		e->a = *a;
		e->b = *b;
		e->next = t->slots[to];
		t->slots[to] = e;
	}
	e->n++;
	return e;
}

void
tally_give(struct tally *t, struct tally_entry *e)
{
	struct tally_entry **at = &t->slots[slot(t, &e->a, &e->b)];

	if (--e->n > 0)
		return;
	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	t->n--;
	free(e);
}

struct tally_entry *
tally_next(const struct tally *t, const struct tally_entry *e)
{
	size_t i = 0;

	if (e != NULL && e->next != NULL)
		return e->next;
	if (e != NULL)
		i = slot(t, &e->a, &e->b) + 1;
	while (i < t->n_slots && t->slots[i] == NULL)
		i++;
	return i < t->n_slots ? t->slots[i] : NULL;
}
