#pragma once
/* A UUID as its 16 bytes; text is only for people and for JSON. */
#include <stdint.h>

#include "core/arena.h"

struct uuid {
	uint8_t bytes[16];
};

enum { UUID_TEXT = 37 };

/* 8-4-4-4-12 hexadecimal digits of either case. -1 when it is anything else. */
int uuid_parse(struct str s, struct uuid *out);
const char *uuid_format(const struct uuid *id, char out[UUID_TEXT]);
int uuid_cmp(const struct uuid *x, const struct uuid *y); /* by bytes */
/* Version 4: random. Ids of records are made in the database, not here. */
void uuid_random(struct uuid *out);
