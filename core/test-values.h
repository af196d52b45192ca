#pragma once
/*
 * For tests of what makes values: they all live in one arena, from before the
 * first test to behind the last. And the files of others' conformance suites,
 * which are not part of the project: without them those tests are skipped.
 */
#include "core/json.h"
#include "core/test.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

static struct arena arena;

static int
arena_teardown(void **state)
{
	(void)state;
	arena_deinit(&arena);
	return 0;
}

/* An arena of zeros is an empty one. */
#define run_with_arena(tests)                                                  \
	cmocka_run_group_tests(tests, NULL, arena_teardown)

static inline struct json *
parse(const char *text)
{
	struct error err = { 0 };
	struct json *v = NULL;

	if (json_parse(&arena, str_of(text), NULL, &v, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return v;
}

/* Each file of the suite, NUL-terminated, through fn, which answers how many
 * cases it had; how many all had. */
static inline int
conformance_run(const char *suite, int (*fn)(const char *name, struct str text))
{
	enum { MOST = 1 << 20 };
	const char *root = getenv("MESHHOOK_CONFORMANCE");
	const char *folder =
	    arena_printf(&arena, "%s/%s", root != NULL ? root : "", suite);
	DIR *d = opendir(folder);
	struct dirent *e;
	int n = 0;

	if (d == NULL) {
		print_message("skipped: no conformance data\n");
		skip();
	}
	while ((e = readdir(d)) != NULL) {
		char *path = arena_printf(&arena, "%s/%s", folder, e->d_name);
		struct str text = { arena_alloc(&arena, MOST), 0 };
		FILE *f = e->d_name[0] != '.' ? fopen(path, "rb") : NULL;

		if (f == NULL)
			continue;
		text.n = fread((char *)text.s, 1, MOST - 1, f);
		((char *)text.s)[text.n] = '\0';
		fclose(f);
		n += fn(e->d_name, text);
	}
	closedir(d);
	return n;
}
