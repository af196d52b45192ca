#include "realtime/wire/query.h"

#include "core/hex.h"

#include <string.h>

int
query_decode(struct arena *a, struct str s, struct str *out)
{
	char *p = arena_alloc(a, s.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.s[i] == '+' ? ' ' : s.s[i];

		if (c == '%') {
			int high = i + 2 < s.n ? hex_digit(s.s[i + 1]) : -1;
			int low = i + 2 < s.n ? hex_digit(s.s[i + 2]) : -1;

			if (high < 0 || low < 0)
				return -1;
			c = (char)(high << 4 | low);
			i += 2;
		}
		p[n++] = c;
	}
	p[n] = '\0';
	*out = (struct str){ p, n };
	return 0;
}

int
query_get(struct arena *a, struct str query, const char *name, struct str *out)
{
	size_t n = strlen(name);

	*out = (struct str){ 0 };
	while (query.n > 0) {
		const char *amp = memchr(query.s, '&', query.n);
		struct str pair = { query.s,
			amp != NULL ? (size_t)(amp - query.s) : query.n };
		size_t skip = pair.n + (amp != NULL);

		query = (struct str){ query.s + skip, query.n - skip };
		if (pair.n > n && pair.s[n] == '=' &&
		    memcmp(pair.s, name, n) == 0)
			return query_decode(a,
			    (struct str){ pair.s + n + 1, pair.n - n - 1 },
			    out);
	}
	return 0;
}

struct str
form_decode(struct arena *a, struct str s)
{
	char *out = arena_alloc(a, s.n + 1);
	size_t n = 0;

	if (out == NULL)
		return (struct str){ NULL, 0 };
	for (size_t i = 0; i < s.n; i++) {
		int hi =
		    s.s[i] == '%' && s.n - i > 2 ? hex_digit(s.s[i + 1]) : -1;

		if (hi >= 0 && hex_digit(s.s[i + 2]) >= 0) {
			out[n++] = (char)(hi << 4 | hex_digit(s.s[i + 2]));
			i += 2;
		} else {
			out[n++] = s.s[i] == '+' ? ' ' : s.s[i];
		}
	}
	return (struct str){ out, n };
}
