/*
 * For tests: lines of {"expression", "data"} in, for each one line out: either
 * {"result"} or {"error", "text", "stage"}, stage being compile or eval.
 */
#include <stdio.h>
#include <stdlib.h>

#include "worker/flow/expr.h"

static struct json *
error_of(struct arena *a, const struct error *err, const char *stage)
{
	struct json *out = json_object(a);

	json_set(a, out, "error", json_cstring(a, err->code));
	json_set(a, out, "text", json_cstring(a, err->text));
	json_set(a, out, "stage", json_cstring(a, stage));
	return out;
}

static struct json *
answer(struct arena *a, const struct json *line)
{
	struct json *out = json_object(a), *v;
	struct expr *expr;
	struct error err;

	if (expr_compile(
		a, json_str(json_get(line, "expression")), &expr, &err) < 0)
		return error_of(a, &err, "compile");
	if (expr_eval(a, expr, json_get(line, "data"), NULL, &v, &err) < 0)
		return error_of(a, &err, "eval");
	json_set(a, out, "result", v);
	return out;
}

int
main(void)
{
	struct arena a;
	struct json *line;
	struct error err;
	char *text = NULL;
	size_t room = 0;
	ssize_t n;

	arena_init(&a);
	while ((n = getline(&text, &room, stdin)) > 0) {
		if (json_parse(&a, (struct str){ text, (size_t)n }, NULL, &line,
			&err) < 0) {
			fprintf(stderr, "%s\n", err.text);
			return 2;
		}
		puts(json_text(&a, answer(&a, line)).s);
		arena_reset(&a);
	}
	free(text);
	arena_deinit(&a);
	return 0;
}
