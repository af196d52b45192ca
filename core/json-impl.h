#pragma once
/*
 * What json.c shares with the parser and the writer, and with nobody else.
 *
 * An object of more than JSON_LINEAR members carries a hash index behind its
 * members: json_slots(room) numbers of members plus one, 0 for a free slot,
 * probed linearly. The hash is seeded by an address, so that a sender can't
 * aim for collisions; the order of members never depends on it.
 */
#include "core/json.h"

#include <string.h>

enum { JSON_LINEAR = 16 };
enum { JSON_INDEXED = 1 }; /* struct json.flags */

/* The slots of an index for room members: a power of two, at most half full. */
static inline uint32_t
json_slots(uint32_t room)
{
	return room > JSON_LINEAR ? 2U << (32 - __builtin_clz(room - 1)) : 0;
}

/* Bytes of the members and the index of an object with that room. */
static inline size_t
json_object_bytes(uint32_t room)
{
	return room * sizeof(struct json_member) +
	    json_slots(room) * sizeof(uint32_t);
}

/* Make the (empty) index of an object whose block has place for it. */
void json_index(struct json *o);

/*
 * Append a member to an object with room for it, or give the one with that key
 * its new value.
 */
void json_put(struct json *o, struct str key, struct json *value);

/*
 * The first of eight bytes that ends a plain run in a string: a quote, a
 * backslash, a control byte, or (where high is set) one beyond ASCII. 8: none.
 */
static inline unsigned
json_special(const char *s, int high)
{
	const uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
	uint64_t w, quote, back, hit;

	memcpy(&w, s, sizeof(w));
	quote = w ^ (ones * '"');
	back = w ^ (ones * '\\');
	hit = ((w - ones * 0x20) & ~w) | ((quote - ones) & ~quote) |
	    ((back - ones) & ~back);
	if (high)
		hit |= w;
	hit &= tops;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	hit = __builtin_bswap64(hit);
#endif
	return hit != 0 ? (unsigned)__builtin_ctzll(hit) / 8 : 8;
}
