#include "supabase/client/vault.h"

/* RFC 4648, sections 4 and 5. */
static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int
digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	return c == '/' || c == '_' ? 63 : -1;
}

int
base64_decode(struct arena *a, struct str text, struct str *out)
{
	unsigned char *bytes;
	size_t n = 0, pad = 0;
	uint32_t bits = 0;

	while (pad < 2 && text.n > 0 && text.s[text.n - 1] == '=') {
		text.n--;
		pad++;
	}
	if (text.n % 4 == 1 || (pad > 0 && (text.n + pad) % 4 != 0))
		return -1;
	bytes = arena_alloc(a, text.n / 4 * 3 + 3);
	for (size_t i = 0; i < text.n; i++) {
		int d = digit(text.s[i]);

		if (d < 0)
			return -1;
		bits = bits << 6 | (uint32_t)d;
		if (i % 4 > 0)
			bytes[n++] = (unsigned char)(bits >> (6 - 2 * (i % 4)));
	}
	/* bits that no byte has must be 0, or texts would have twins */
	if ((text.n % 4 == 2 && (bits & 15) != 0) ||
	    (text.n % 4 == 3 && (bits & 3) != 0))
		return -1;
	bytes[n] = '\0';
	*out = (struct str){ (const char *)bytes, n };
	return 0;
}

struct str
base64_encode(struct arena *a, struct str bytes)
{
	const unsigned char *in = (const unsigned char *)bytes.s;
	char *text = arena_alloc(a, (bytes.n + 2) / 3 * 4 + 1);
	size_t n = 0;

	for (size_t i = 0; i < bytes.n; i += 3) {
		size_t left = bytes.n - i;
		uint32_t bits = (uint32_t)in[i] << 16;

		if (left > 1)
			bits |= (uint32_t)in[i + 1] << 8;
		if (left > 2)
			bits |= in[i + 2];
		text[n++] = alphabet[bits >> 18];
		text[n++] = alphabet[bits >> 12 & 63];
		text[n++] = left > 1 ? alphabet[bits >> 6 & 63] : '=';
		text[n++] = left > 2 ? alphabet[bits & 63] : '=';
	}
	text[n] = '\0';
	return (struct str){ text, n };
}
