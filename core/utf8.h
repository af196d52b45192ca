#pragma once
/* UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing past U+10FFFF. */
#include <stddef.h>

#include "core/arena.h"

/* Bytes of the character that begins n bytes; 0 when none does. */
static inline unsigned
utf8_len(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;
	unsigned lo = 0x80, hi = 0xbf, len;

	if (n == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (p[0] == 0xe0)
		lo = 0xa0;
	else if (p[0] == 0xed)
		hi = 0x9f;
	else if (p[0] == 0xf0)
		lo = 0x90;
	else if (p[0] == 0xf4)
		hi = 0x8f;
	if (n < len || p[1] < lo || p[1] > hi)
		return 0;
	for (unsigned i = 2; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

static inline int
utf8_valid(struct str s)
{
	unsigned len;

	for (size_t i = 0; i < s.n; i += len)
		if ((len = utf8_len(s.s + i, s.n - i)) == 0)
			return 0;
	return 1;
}

/* As much of the text as fits in max bytes without splitting a character. */
static inline struct str
utf8_cut(struct str s, size_t max)
{
	if (s.n <= max)
		return s;
	while (max > 0 && ((unsigned char)s.s[max] & 0xc0) == 0x80)
		max--;
	return (struct str){ s.s, max };
}

/* Characters in valid UTF-8. */
static inline size_t
utf8_count(struct str s)
{
	size_t count = 0;

	for (size_t i = 0; i < s.n; i++)
		count += ((unsigned char)s.s[i] & 0xc0) != 0x80;
	return count;
}
