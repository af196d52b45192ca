/* A line of expression, then a document: any outcome, but within the limits. */
#include <string.h>

#include "core/mem.h"
#include "tests/fuzz/fuzz.h"
#include "worker/flow/expr.h"

static void
count_ref(void *arg, struct str root, struct str name)
{
	FUZZ_CHECK(root.s != NULL || name.s == NULL);
	++*(int *)arg;
}

static void
check_error(const struct error *err)
{
	static const char *const codes[] = { "syntax", "unknown-function",
		"invalid-arity", "invalid-type", "invalid-value", "limit" };
	size_t i = 0;

	fuzz_check_error(err);
	while (i < NELEM(codes) && strcmp(err->code, codes[i]) != 0)
		i++;
	FUZZ_CHECK(i < NELEM(codes));
}

static void
evaluate(struct arena *a, const struct expr *expr, const struct json *data)
{
	const struct expr_limits limits = { .steps = 20000, .bytes = 50000 };
	struct json *v, *again;
	struct error err;
	struct str text;

	if (expr_eval(a, expr, data, &limits, &v, &err) < 0) {
		check_error(&err);
		return;
	}
	text = json_text(a, v);
	FUZZ_CHECK(text.s != NULL && text.n <= 6 * limits.bytes);
	FUZZ_CHECK(json_parse(a, text, &(struct json_limits){ .depth = 1024 },
		       &again, NULL) == 0);
	FUZZ_CHECK(expr_eval(a, expr, data, &limits, &again, &err) == 0);
	FUZZ_CHECK(str_eq(text, json_text(a, again)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str input = { (const char *)data, size };
	struct str line = fuzz_line(&input);
	struct arena a;
	struct expr *expr;
	struct error err;
	struct json *v;
	int refs = 0;

	arena_init_cap(&a, 64 << 20);
	if (json_parse(&a, input, NULL, &v, NULL) < 0)
		v = NULL;
	if (expr_compile(&a, line, &expr, &err) == 0) {
		expr_refs(expr, count_ref, &refs);
		evaluate(&a, expr, v);
	} else {
		check_error(&err);
	}
	arena_deinit(&a);
	return 0;
}
