/* The shapes that a value takes in URLs, JSON and base64. */
#include "worker/flow/mask-impl.h"

#include <string.h>

static int
is_alnum(unsigned char c)
{
	unsigned char lower = (unsigned char)(c | 0x20);

	return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9');
}

/* Percent-encoded, but for what `bare` has beside letters and digits. */
static struct str
encoded(
    struct arena *a, struct str v, const char *bare, const char *hex, int plus)
{
	char *out = arena_alloc(a, 3 * v.n + 1);
	size_t n = 0;

	if (out == NULL)
		return (struct str){ "", 0 };
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.s[i];

		if (is_alnum(c) || (c != '\0' && strchr(bare, c) != NULL)) {
			out[n++] = (char)c;
		} else if (c == ' ' && plus) {
			out[n++] = '+';
		} else {
			out[n++] = '%';
			out[n++] = hex[c >> 4];
			out[n++] = hex[c & 15];
		}
	}
	return (struct str){ out, n };
}

/* One code point of UTF-8 (of a byte that is none: itself). */
static uint32_t
code_point(struct str v, size_t *at)
{
	unsigned char c = (unsigned char)v.s[(*at)++];
	int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
	uint32_t cp = more > 0 ? c & (0x3fu >> more) : c;

	while (more-- > 0 && *at < v.n)
		cp = cp << 6 | ((unsigned char)v.s[(*at)++] & 0x3f);
	return cp;
}

static size_t
put_u(char *out, uint32_t unit)
{
	static const char hex[] = "0123456789abcdef";

	memcpy(out, "\\u", 2);
	for (int i = 0; i < 4; i++)
		out[2 + i] = hex[unit >> (12 - 4 * i) & 15];
	return 6;
}

/* Within a JSON string. ascii: what is not becomes \uXXXX; slash: / as \/ */
static struct str
escaped(struct arena *a, struct str v, int ascii, int slash)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	char *out = arena_alloc(a, 12 * v.n + 1);
	size_t n = 0, i = 0;

	while (out != NULL && i < v.n) {
		unsigned char c = (unsigned char)v.s[i];
		const char *at = c != '\0' ? strchr(from, c) : NULL;

		if (at != NULL || (c == '/' && slash)) {
			out[n++] = '\\';
			out[n++] = at != NULL ? to[at - from] : '/';
			i++;
		} else if (c < 0x20) {
			n += put_u(out + n, c);
			i++;
		} else if (c >= 0x80 && ascii) {
			uint32_t cp = code_point(v, &i);

			if (cp >= 0x10000) {
				cp -= 0x10000;
				n += put_u(out + n, 0xd800 | cp >> 10);
				cp = 0xdc00 | (cp & 0x3ff);
			}
			n += put_u(out + n, cp);
		} else {
			out[n++] = (char)c;
			i++;
		}
	}
	return (struct str){ out, n };
}

/*
 * What base64 shows of a value that `skip` other bytes precede, whatever they
 * and those behind it are: only whole characters of it.
 */
static struct str
base64(struct arena *a, struct str v, unsigned skip, const char *last)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	size_t from = (8 * skip + 5) / 6, to = 8 * (skip + v.n) / 6;
	char *out = arena_alloc(a, to - from + 1);
	size_t n = 0;

	for (size_t i = from; out != NULL && i < to; i++) {
		unsigned six = 0;

		for (size_t bit = 6 * i; bit < 6 * i + 6; bit++) {
			unsigned char c = (unsigned char)v.s[bit / 8 - skip];

			six = six << 1 | ((unsigned)c >> (7 - bit % 8) & 1u);
		}
		out[n++] = six < 62 ? digits[six] : last[six - 62];
	}
	return (struct str){ out, n };
}

void
mask_shapes(struct arena *a, struct str v, shape_fn *fn, void *arg)
{
	static const char upper[] = "0123456789ABCDEF";
	static const char lower[] = "0123456789abcdef";

	fn(arg, arena_str(a, v));
	/* RFC 3986; encodeURIComponent; HTML forms */
	fn(arg, encoded(a, v, "-._~", upper, 0));
	fn(arg, encoded(a, v, "-._~", lower, 0));
	fn(arg, encoded(a, v, "-._~!*'()", upper, 0));
	fn(arg, encoded(a, v, "-._*", upper, 1));
	fn(arg, encoded(a, v, "-._~", upper, 1));
	for (int i = 0; i < 4; i++)
		fn(arg, escaped(a, v, i & 1, i & 2));
	for (unsigned skip = 0; skip < 3; skip++) {
		fn(arg, base64(a, v, skip, "+/"));
		fn(arg, base64(a, v, skip, "-_"));
	}
}
