#include "core/uuid.h"

#include "core/hex.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static int
is_dash(size_t i)
{
	return i == 8 || i == 13 || i == 18 || i == 23;
}

int
uuid_parse(struct str s, struct uuid *out)
{
	uint8_t *at = out->bytes;

	if (s.n != UUID_TEXT - 1)
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		int hi, lo;

		if (is_dash(i)) {
			if (s.s[i] != '-')
				return -1;
			continue;
		}
		hi = hex_digit(s.s[i]);
		lo = hex_digit(s.s[++i]);
		if (hi < 0 || lo < 0)
			return -1;
		*at++ = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

const char *
uuid_format(const struct uuid *id, char out[UUID_TEXT])
{
	const uint8_t *at = id->bytes;
	size_t i = 0;

	while (i < UUID_TEXT - 1) {
		if (is_dash(i)) {
			out[i++] = '-';
			continue;
		}
		hex_put(out + i, at++, 1);
		i += 2;
	}
	out[i] = '\0';
	return out;
}

int
uuid_cmp(const struct uuid *x, const struct uuid *y)
{
	return memcmp(x->bytes, y->bytes, sizeof(x->bytes));
}

void
uuid_random(struct uuid *out)
{
	if (getrandom(out->bytes, sizeof(out->bytes), 0) !=
	    (ssize_t)sizeof(out->bytes))
		abort();
	out->bytes[6] = (uint8_t)((out->bytes[6] & 0x0f) | 0x40);
	out->bytes[8] = (uint8_t)((out->bytes[8] & 0x3f) | 0x80);
}
