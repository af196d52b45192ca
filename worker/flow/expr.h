#pragma once
/*
 * Expressions: JMESPath (jmespath.org/specification.html), compiled once and
 * evaluated over a document, in an arena and within limits.
 *
 * - What can be known without data is an error of expr_compile: syntax, unknown
 *   functions, wrong numbers of arguments, a slice step of 0, an expression
 *   reference where a value is due. err->code is "syntax", "unknown-function",
 *   "invalid-arity", "invalid-type", "invalid-value" or "limit", and err->text
 *   begins with "column N: ".
 * - Values that pass through stay as they are, so numbers keep their lexemes;
 *   comparisons and sorting are exact, arithmetic is in doubles (sums of
 *   integers in 64 bits while they fit). Strings order by code points.
 * - Results share structure with the data and with the expression: all three
 *   must outlive them, and none may be changed.
 * - Cost is bounded whatever the expression: nesting at compile time, steps and
 *   bytes at run time. A result counts as it would be written, so shared
 *   subtrees can't multiply.
 *
 * Stricter than jmespath.py, by the specification: separators are never
 * optional, and to_number() reads JSON numbers only. Looser, like it: strings
 * may be compared by < and >, and `a literal` that is no JSON is a string.
 */
#include "core/json.h"

enum { EXPR_DEPTH = 128, EXPR_TEXT = 64 << 10 };

struct expr;

struct expr_limits {
	uint64_t steps; /* 0: 1,000,000 */
	size_t bytes;   /* of strings made, and of the result; 0: 8 MiB */
};

/* The text is copied. 0, or -1 with FAULT_INPUT. */
int expr_compile(
    struct arena *a, struct str text, struct expr **out, struct error *err);

/* NULL data reads as null, NULL limits as the defaults. 0, or -1. */
int expr_eval(struct arena *a, const struct expr *expr, const struct json *data,
    const struct expr_limits *limits, struct json **out, struct error *err);

/*
 * What the expression reads of its document: for steps.a.output.x the root
 * "steps" and the name "a". name.s is NULL where all members may be meant
 * (steps.*, keys(steps)), root.s where the whole document may be. The same pair
 * may come more than once.
 */
typedef void expr_ref_fn(void *arg, struct str root, struct str name);
void expr_refs(const struct expr *expr, expr_ref_fn *fn, void *arg);
