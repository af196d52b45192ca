#pragma once
/*
 * Where a reader of many channels stands, as the text that SSE carries in
 * `id:` and gets back in Last-Event-ID. To clients it is opaque.
 *
 * An entry is one of
 *     a channel      the epoch and seq of the last line that was sent
 *     absent         a channel that has no line yet, and so no epoch
 *     a pattern      logs:{service}:{project}:*; the database's time up to which
 *                    lines of channels that have no entry of their own were sent
 * named by 48 bits of a hash of the canonical channel: among 50, two of them
 * meet once in 10^11. A reader who forges a cursor moves nothing but itself.
 *
 * Bytes, then base64url without padding:
 *     1 version | 1 number of entries | entries, ascending by key:
 *     6 key | 4 epoch, or ABSENT, or PATTERN, little-endian | seq or time, LEB128
 * Every text has one cursor, every cursor one text: what is not written by
 * cursor_write is refused.
 *
 * Pure.
 */
#include <stdint.h>

#include "core/arena.h"
#include "core/error.h"

enum {
	CURSOR_MAX = 50,
	CURSOR_TEXT = 1271, /* of the longest, with its NUL */
};

/* In place of an epoch, which is an int4 of 0 or more. */
static const uint32_t CURSOR_ABSENT = 0xffffffff;
static const uint32_t CURSOR_PATTERN = 0xfffffffe;

struct cursor_entry {
	uint64_t key; /* cursor_key of the channel */
	uint32_t epoch;
	int64_t seq; /* of a pattern: ms since 1970 */
};

struct cursor {
	uint32_t n;
	struct cursor_entry entries[CURSOR_MAX]; /* ascending by key */
};

uint64_t cursor_key(struct str channel);

/* Adds an entry, or gives the one with its key the new value. -1: full. */
int cursor_set(struct cursor *c, const struct cursor_entry *e);
/* NULL: none. */
const struct cursor_entry *cursor_get(const struct cursor *c, uint64_t key);

/* Its text, NUL-terminated; how long it is. */
size_t cursor_write(const struct cursor *c, char out[CURSOR_TEXT]);
/* -1 with FAULT_INPUT, code "CURSOR". */
int cursor_read(struct str text, struct cursor *out, struct error *err);
