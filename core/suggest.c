#include "core/suggest.h"

#include <string.h>

enum { LONGEST = 63 }; /* of a word worth comparing */

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Optimal string alignment, three rows of the matrix at a time. */
static size_t
distance(struct str a, struct str b)
{
	size_t row[3][LONGEST + 1];

	for (size_t j = 0; j <= b.n; j++)
		row[0][j] = j;
	for (size_t i = 1; i <= a.n; i++) {
		size_t *now = row[i % 3], *up = row[(i + 2) % 3];

		now[0] = i;
		for (size_t j = 1; j <= b.n; j++) {
			size_t d = up[j - 1] + (a.s[i - 1] != b.s[j - 1]);

			d = least(d, least(up[j], now[j - 1]) + 1);
			if (i > 1 && j > 1 && a.s[i - 1] == b.s[j - 2] &&
			    a.s[i - 2] == b.s[j - 1])
				d = least(d, row[(i + 1) % 3][j - 2] + 1);
			now[j] = d;
		}
	}
	return row[a.n % 3][b.n];
}

void
suggest_init(struct suggest *s, struct str word)
{
	size_t tolerated = word.n / 3 > 1 ? word.n / 3 : 1;

	*s = (struct suggest){ .word = word, .distance = tolerated + 1 };
}

void
suggest_add(struct suggest *s, struct str name)
{
	size_t d;

	if (s->word.n == 0 || s->word.n > LONGEST || name.n > LONGEST)
		return;
	d = distance(s->word, name);
	if (d >= s->distance || d >= name.n)
		return;
	s->distance = d;
	s->best = name;
}
