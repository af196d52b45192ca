#pragma once
/*
 * How many there are of what two ids name: of a user (and none), a project, a
 * user in a project. An entry lives while it is counted.
 */
#include "core/uuid.h"

struct tally_entry {
	struct tally_entry *next;
	struct uuid a, b;
	uint32_t n;
	uint32_t seen; /* the owner's */
};

struct tally {
	struct tally_entry **slots;
	size_t n_slots, n;
};

void tally_init(struct tally *t);
void tally_deinit(struct tally *t);
uint32_t tally_count(
    const struct tally *t, const struct uuid *a, const struct uuid *b);
struct tally_entry *tally_find(
    const struct tally *t, const struct uuid *a, const struct uuid *b);
/* One more, one less. */
struct tally_entry *tally_take(
    struct tally *t, const struct uuid *a, const struct uuid *b);
void tally_give(struct tally *t, struct tally_entry *e);
/* All of them: NULL begins and ends. */
struct tally_entry *tally_next(
    const struct tally *t, const struct tally_entry *e);
