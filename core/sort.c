#include "core/sort.h"

#include <string.h>

enum { RUN = 12 }; /* below it, insertion is faster than merging */

static void
insert_each(void **items, size_t n, sort_cmp_fn *cmp, void *arg)
{
	for (size_t i = 1; i < n; i++) {
		void *item = items[i];
		size_t at = i;

		for (; at > 0 && cmp(items[at - 1], item, arg) > 0; at--)
			items[at] = items[at - 1];
		items[at] = item;
	}
}

void
sort_stable(void **items, void **scratch, size_t n, sort_cmp_fn *cmp, void *arg)
{
	size_t half = n / 2, i = 0, j = half, out = 0;

	if (n <= RUN) {
		insert_each(items, n, cmp, arg);
		return;
	}
	sort_stable(items, scratch, half, cmp, arg);
	sort_stable(items + half, scratch, n - half, cmp, arg);
	if (cmp(items[half - 1], items[half], arg) <= 0)
		return;
	/* Only the left half moves away; the right one is never overtaken. */
	memcpy(scratch, items, half * sizeof(*items));
	while (i < half && j < n)
		items[out++] = cmp(items[j], scratch[i], arg) < 0
		    ? items[j++]
		    : scratch[i++];
	memcpy(items + out, scratch + i, (half - i) * sizeof(*items));
}
