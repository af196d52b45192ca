#include "core/base64.h"

#include <string.h>

#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static size_t
put(char *out, const unsigned char *in, size_t n, const char *digits)
{
	char *to = out;

	for (; n > 2; n -= 3, in += 3) {
		*to++ = digits[in[0] >> 2];
		*to++ = digits[(in[0] << 4 | in[1] >> 4) & 63];
		*to++ = digits[(in[1] << 2 | in[2] >> 6) & 63];
		*to++ = digits[in[2] & 63];
	}
	if (n > 0) {
		int next = n > 1 ? in[1] : 0;

		*to++ = digits[in[0] >> 2];
		*to++ = digits[(in[0] << 4 | next >> 4) & 63];
		if (n > 1)
			*to++ = digits[next << 2 & 63];
	}
	*to = '\0';
	return (size_t)(to - out);
}

size_t
base64_put(char *out, const void *bytes, size_t n)
{
	size_t len = put(out, bytes, n, ALNUM "+/");

	while (len % 4 != 0)
		out[len++] = '=';
	out[len] = '\0';
	return len;
}

size_t
base64url_put(char *out, const void *bytes, size_t n)
{
	return put(out, bytes, n, ALNUM "-_");
}

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

ptrdiff_t
base64_get(void *out, struct str text)
{
	unsigned char *to = out;
	uint32_t bits = 0;
	size_t pad = 0;

	while (pad < 2 && text.n > 0 && text.s[text.n - 1] == '=') {
		text.n--;
		pad++;
	}
	if (text.n % 4 == 1 || (pad > 0 && (text.n + pad) % 4 != 0))
		return -1;
	for (size_t i = 0; i < text.n; i++) {
		int d = digit(text.s[i]);

		if (d < 0)
			return -1;
		bits = bits << 6 | (uint32_t)d;
		if (i % 4 > 0)
			*to++ = (unsigned char)(bits >> (6 - 2 * (i % 4)));
	}
	/* bits that no byte has must be 0, or texts would have twins */
	if ((text.n % 4 == 2 && (bits & 15) != 0) ||
	    (text.n % 4 == 3 && (bits & 3) != 0))
		return -1;
	return to - (unsigned char *)out;
}

ptrdiff_t
base64url_get(void *out, struct str text)
{
	for (size_t i = 0; i < text.n; i++)
		if (memchr("+/=", text.s[i], 3) != NULL)
			return -1;
	return base64_get(out, text);
}

static int
decode(struct arena *a, struct str text, struct str *out,
    ptrdiff_t get(void *, struct str))
{
	char *bytes = arena_alloc(a, BASE64_BYTES(text.n) + 1);
	ptrdiff_t n = bytes == NULL ? -1 : get(bytes, text);

	if (n < 0)
		return -1;
	bytes[n] = '\0';
	*out = (struct str){ bytes, (size_t)n };
	return 0;
}

int
base64_decode(struct arena *a, struct str text, struct str *out)
{
	return decode(a, text, out, base64_get);
}

int
base64url_decode(struct arena *a, struct str text, struct str *out)
{
	return decode(a, text, out, base64url_get);
}

static struct str
encode(struct arena *a, struct str bytes,
    size_t put_in(char *, const void *, size_t))
{
	char *text = arena_alloc(a, BASE64_SIZE(bytes.n));

	if (text == NULL)
		return (struct str){ NULL, 0 };
	return (struct str){ text, put_in(text, bytes.s, bytes.n) };
}

struct str
base64_encode(struct arena *a, struct str bytes)
{
	return encode(a, bytes, base64_put);
}

struct str
base64url_encode(struct arena *a, struct str bytes)
{
	return encode(a, bytes, base64url_put);
}
