#pragma once
/*
 * Traces for tests of rules. A line is a tick: "[  15] x=7 y{q=a,project=p}=2",
 * seconds and the values of that tick.
 */
#include "monitor/rule/alert.h"
#include "core/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEST_TICKS = 100 };

/* The next part of *at up to one of `ends`; NULL at the end. */
static inline char *
test_part(char **at, const char *ends)
{
	char *part = *at + strspn(*at, ends);

	if (*part == '\0')
		return NULL;
	*at = part + strcspn(part, ends);
	if (**at != '\0')
		*(*at)++ = '\0';
	return part;
}

static inline void
test_value(struct samples *m, char *text)
{
	char *value = strrchr(text, '='), *open = strchr(text, '{');
	struct label labels[SERIES_LABELS];
	struct str project = { 0 };
	uint32_t n = 0;

	*value++ = '\0';
	if (open != NULL) {
		*open++ = '\0';
		open[strcspn(open, "}")] = '\0';
		for (char *it; (it = test_part(&open, ",")) != NULL;) {
			char *eq = strchr(it, '=');

			*eq++ = '\0';
			if (strcmp(it, "project") == 0)
				project = str_of(eq);
			else
				labels[n++] =
				    (struct label){ str_of(it), str_of(eq) };
		}
	}
	samples_set(m, str_of(text), project, labels, n, strtod(value, NULL));
}

/* One line; its tick. 1: it was stale. */
static inline int
test_tick(struct samples *m, const char *line)
{
	char *copy = strndup(line, strcspn(line, "\n"));
	char *at = strchr(copy, ']') + 1;
	int r = samples_tick(m, strtoll(copy + 1, NULL, 10) * 1000);

	for (char *it; r == 0 && (it = test_part(&at, " ")) != NULL;)
		test_value(m, it);
	free(copy);
	return r;
}

static inline const char *
test_next(const char *line)
{
	line += strcspn(line, "\n");
	return *line == '\n' ? line + 1 : line;
}
