#pragma once
/*
 * Templates: any JSON value whose strings may hold {{ expression }}. Compiled
 * once, rendered against the document {input, steps, run, secrets}.
 *
 * - A string that is one {{ expression }} and nothing else becomes the value
 *   with its type. Otherwise results are put into the text: strings as they
 *   are, numbers and booleans as in JSON, null as nothing, arrays and objects
 *   as compact JSON.
 * - "{{" stands for itself as {{ '{{' }}. Keys of objects are never templates.
 * - What holds no {{ costs nothing: rendering returns the original.
 * - Errors begin with the place, unless it is the template itself, and the
 *   column in that string: `at "/user/0": column 7: ...`.
 *
 * The modes say what a string is for, and make every result a string:
 *
 * TEMPLATE_URL     values are percent-encoded, all but RFC 3986's unreserved
 *                  characters, so none can leave its path segment or parameter;
 *                  a path segment that comes out as "." or ".." fails. Scheme
 *                  and authority must be literal, up to the '/', '?' or '#'
 *                  behind them. Before a '?', null fails.
 * TEMPLATE_URL_ANY_HOST  the same, but until the authority has ended values
 *                  are put in as they are.
 * TEMPLATE_HEADER  control bytes but tab fail.
 */
#include "worker/flow/expr.h"

struct template;

enum template_mode {
	TEMPLATE_PLAIN,
	TEMPLATE_URL,
	TEMPLATE_URL_ANY_HOST,
	TEMPLATE_HEADER,
};

enum { TEMPLATE_URL_BYTES = 64 << 10 };

/* The value is kept by reference. 0, or -1 with FAULT_INPUT. */
int template_compile(struct arena *a, const struct json *value,
    struct template **out, struct error *err);

/*
 * What of a mode's rules can be known without data: -1 where rendering in that
 * mode could only fail.
 */
int template_check(
    const struct template *t, enum template_mode mode, struct error *err);

/* The limits are for all expressions together, and for the result. 0, or -1. */
int template_render(struct arena *a, const struct template *t,
    const struct json *data, const struct expr_limits *limits,
    enum template_mode mode, struct json **out, struct error *err);

/* What its expressions read, as expr_refs. */
void template_refs(const struct template *t, expr_ref_fn *fn, void *arg);

/* 1 when it holds no expression. */
int template_is_const(const struct template *t);
