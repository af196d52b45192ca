/*
 * The tree against a value. Recursion follows the tree, whose depth the parser
 * capped. Every visit is a step, and what handles n values at once pays n, or
 * the bytes that it looks at.
 */
#include "worker/flow/expr-impl.h"

#include <string.h>

enum { STEPS = 1000000, BYTES = 8 << 20 };

int
expr_pay_steps(struct expr_eval *e, const struct expr_node *at, size_t n)
{
	if (n <= e->steps) {
		e->steps -= n;
		return 0;
	}
	return expr_fail(e->err, e->expr->text, at->at, "limit",
	    "takes more than %llu steps", (unsigned long long)e->limits.steps);
}

static int
fail_bytes(struct expr_eval *e, const struct expr_node *at)
{
	return expr_fail(e->err, e->expr->text, at->at, "limit",
	    "makes more than %zu bytes", e->limits.bytes);
}

int
expr_pay_bytes(struct expr_eval *e, const struct expr_node *at, size_t n)
{
	if (n > e->bytes)
		return fail_bytes(e, at);
	e->bytes -= n;
	return 0;
}

struct json *
expr_no_memory(struct expr_eval *e)
{
	fail(e->err, FAULT_INPUT, "limit",
	    "takes more than %zu bytes of memory", e->arena->cap);
	return NULL;
}

size_t
expr_text_size(const struct json *v, size_t max)
{
	size_t size = 2;

	if (v->type == JSON_STRING || v->type == JSON_NUMBER)
		return v->n + (v->type == JSON_STRING ? size : 0);
	if (v->type != JSON_ARRAY && v->type != JSON_OBJECT)
		return 4;
	for (uint32_t i = 0; i < v->n && size <= max; i++) {
		if (v->type == JSON_ARRAY) {
			size += 1 + expr_text_size(v->items[i], max - size);
			continue;
		}
		size += v->of[i].key.n + 4;
		if (size <= max)
			size += expr_text_size(v->of[i].value, max - size);
	}
	return size;
}

struct json *
expr_array(struct expr_eval *e, size_t room)
{
	struct json *v = json_array(e->arena);

	if (v == NULL)
		return expr_no_memory(e);
	v->items = arena_array(e->arena, room, sizeof(struct json *));
	if (v->items == NULL)
		return expr_no_memory(e);
	v->room = (uint32_t)room;
	return v;
}

static int
equal_children(struct expr_eval *e, const struct expr_node *at,
    const struct json *x, const struct json *y)
{
	for (uint32_t i = 0; i < x->n; i++) {
		const struct json *a, *b;
		int r;

		a = x->type == JSON_ARRAY ? x->items[i] : x->of[i].value;
		b = x->type == JSON_ARRAY ? y->items[i]
					  : json_get_str(y, x->of[i].key);
		r = b != NULL ? expr_equal(e, at, a, b) : 0;
		if (r <= 0)
			return r;
	}
	return 1;
}

int
expr_equal(struct expr_eval *e, const struct expr_node *at,
    const struct json *x, const struct json *y)
{
	size_t bytes = x->type == JSON_NUMBER || x->n == y->n
	    ? expr_steps_of(x) + expr_steps_of(y)
	    : 0;

	if (x == y)
		return 1;
	if (expr_pay_steps(e, at, 1 + bytes) < 0)
		return -1;
	if (x->type != JSON_ARRAY && x->type != JSON_OBJECT)
		return json_equal(x, y);
	if (x->type != y->type || x->n != y->n)
		return 0;
	return equal_children(e, at, x, y);
}

static int
is_false(const struct json *v)
{
	return v->type == JSON_NULL || v->type == JSON_FALSE ||
	    (v->type >= JSON_STRING && v->n == 0);
}

static struct json *
visit_slice(struct expr_eval *e, const struct expr_node *node, struct json *v)
{
	int64_t n, step = node->set & 4 ? node->slice[2] : 1;
	int64_t low = step < 0 ? -1 : 0, high, bound[2];
	struct json *out;

	if (v->type != JSON_ARRAY)
		return json_null();
	n = v->n;
	high = step < 0 ? n - 1 : n;
	for (int i = 0; i < 2; i++) {
		int64_t at = node->slice[i];

		if ((node->set & 1U << i) == 0)
			at = (i == 0) == (step > 0) ? low : high;
		else if (at < 0)
			at = at + n < low ? low : at + n;
		bound[i] = at > high ? high : at;
	}
	out = expr_array(e, v->n);
	if (out == NULL || expr_pay_steps(e, node, v->n) < 0)
		return NULL;
	for (int64_t i = bound[0]; step > 0 ? i < bound[1] : i > bound[1];) {
		out->items[out->n++] = v->items[i];
		if (__builtin_add_overflow(i, step, &i))
			break;
	}
	return out;
}

static struct json *
visit_index(const struct expr_node *node, const struct json *v)
{
	int64_t i = node->slice[0];

	if (i < 0 && v->type == JSON_ARRAY)
		i += v->n;
	v = i >= 0 ? json_at(v, (size_t)i) : NULL;
	return v != NULL ? (struct json *)v : json_null();
}

static struct json *
visit_chain(struct expr_eval *e, const struct expr_node *node, struct json *v)
{
	for (uint32_t i = 0; i < node->n && v != NULL; i++)
		v = expr_visit(e, node->kids[i], v);
	return v;
}

static struct json *
visit_list(struct expr_eval *e, const struct expr_node *node, struct json *v)
{
	struct json *out, *item;

	if (v->type == JSON_NULL)
		return v;
	out = expr_array(e, node->n);
	for (uint32_t i = 0; out != NULL && i < node->n; i++) {
		item = expr_visit(e, node->kids[i], v);
		if (item == NULL)
			return NULL;
		out->items[out->n++] = item;
	}
	return out;
}

static struct json *
visit_hash(struct expr_eval *e, const struct expr_node *node, struct json *v)
{
	struct json *out, *value;

	if (v->type == JSON_NULL)
		return v;
	out = json_object(e->arena);
	for (uint32_t i = 0; i < node->n; i++) {
		value = expr_visit(e, node->kids[i], v);
		if (value == NULL)
			return NULL;
		if (json_set_str(e->arena, out, node->keys[i], value) < 0)
			return expr_no_memory(e);
	}
	return out;
}

/* Of PROJECT, VALUES and FILTER: what the item becomes, if it's not null. */
static int
project_item(struct expr_eval *e, const struct expr_node *node,
    struct json *item, struct json *out)
{
	struct json *test;

	if (node->type == EX_FILTER) {
		test = expr_visit(e, node->kids[2], item);
		if (test == NULL)
			return -1;
		if (is_false(test))
			return 0;
	}
	item = expr_visit(e, node->kids[1], item);
	if (item == NULL)
		return -1;
	if (item->type != JSON_NULL)
		out->items[out->n++] = item;
	return 0;
}

static struct json *
visit_projection(
    struct expr_eval *e, const struct expr_node *node, struct json *v)
{
	enum json_type type =
	    node->type == EX_VALUES ? JSON_OBJECT : JSON_ARRAY;
	struct json *base = expr_visit(e, node->kids[0], v), *out;

	if (base == NULL)
		return NULL;
	if (base->type != type)
		return json_null();
	out = expr_array(e, base->n);
	for (uint32_t i = 0; out != NULL && i < base->n; i++) {
		struct json *item =
		    type == JSON_ARRAY ? base->items[i] : base->of[i].value;

		if (project_item(e, node, item, out) < 0)
			return NULL;
	}
	return out;
}

static struct json *
visit_flatten(struct expr_eval *e, const struct expr_node *node, struct json *v)
{
	struct json *base = expr_visit(e, node->kids[0], v), *out;
	size_t n = 0;

	if (base == NULL)
		return NULL;
	if (base->type != JSON_ARRAY)
		return json_null();
	for (uint32_t i = 0; i < base->n; i++)
		n += base->items[i]->type == JSON_ARRAY ? base->items[i]->n : 1;
	if (expr_pay_steps(e, node, n) < 0)
		return NULL;
	out = expr_array(e, n);
	for (uint32_t i = 0; out != NULL && i < base->n; i++) {
		struct json *item = base->items[i];

		if (item->type != JSON_ARRAY) {
			out->items[out->n++] = item;
		} else if (item->n > 0) {
			memcpy(out->items + out->n, item->items,
			    item->n * sizeof(struct json *));
			out->n += item->n;
		}
	}
	return out;
}

static struct json *
visit_either(struct expr_eval *e, const struct expr_node *node, struct json *v)
{
	struct json *left = expr_visit(e, node->kids[0], v);

	if (left == NULL || is_false(left) != (node->type == EX_OR))
		return left;
	return expr_visit(e, node->kids[1], v);
}

/* Numbers with numbers, strings with strings; anything else has no order. */
static struct json *
compare_order(enum expr_op op, const struct json *x, const struct json *y)
{
	int r;

	if (x->type == JSON_NUMBER && y->type == JSON_NUMBER)
		r = json_number_cmp(x, y);
	else if (x->type == JSON_STRING && y->type == JSON_STRING)
		r = str_cmp(json_str(x), json_str(y));
	else
		return json_null();
	if (op == OP_LT || op == OP_GE)
		return json_bool((r < 0) == (op == OP_LT));
	return json_bool((r > 0) == (op == OP_GT));
}

static struct json *
visit_compare(struct expr_eval *e, const struct expr_node *node, struct json *v)
{
	struct json *x = expr_visit(e, node->kids[0], v), *y;
	int r;

	y = x != NULL ? expr_visit(e, node->kids[1], v) : NULL;
	if (y == NULL)
		return NULL;
	if (node->op != OP_EQ && node->op != OP_NE)
		return expr_pay_steps(
			   e, node, expr_steps_of(x) + expr_steps_of(y)) < 0
		    ? NULL
		    : compare_order(node->op, x, y);
	r = expr_equal(e, node, x, y);
	return r < 0 ? NULL : json_bool(r == (node->op == OP_EQ));
}

struct json *
expr_visit(struct expr_eval *e, const struct expr_node *node, struct json *v)
{
	if (expr_pay_steps(e, node, 1) < 0)
		return NULL;
	switch (node->type) {
	case EX_LITERAL:
		return node->literal;
	case EX_FIELD:
		v = json_get_str(v, node->name);
		return v != NULL ? v : json_null();
	case EX_INDEX:
		return visit_index(node, v);
	case EX_SLICE:
		return visit_slice(e, node, v);
	case EX_CHAIN:
		return visit_chain(e, node, v);
	case EX_LIST:
		return visit_list(e, node, v);
	case EX_HASH:
		return visit_hash(e, node, v);
	case EX_PROJECT:
	case EX_VALUES:
	case EX_FILTER:
		return visit_projection(e, node, v);
	case EX_FLATTEN:
		return visit_flatten(e, node, v);
	case EX_OR:
	case EX_AND:
		return visit_either(e, node, v);
	case EX_NOT:
		v = expr_visit(e, node->kids[0], v);
		return v != NULL ? json_bool(is_false(v)) : NULL;
	case EX_COMPARE:
		return visit_compare(e, node, v);
	case EX_CALL:
		return expr_call(e, node, v);
	case EX_CURRENT:
	case EX_REF: /* only as an argument, which expr_call visits itself */
		break;
	}
	return v;
}

void
expr_eval_init(struct expr_eval *e, struct arena *a,
    const struct expr_limits *limits, struct error *err)
{
	*e = (struct expr_eval){ .arena = a, .err = err };
	if (limits != NULL)
		e->limits = *limits;
	if (e->limits.steps == 0)
		e->limits.steps = STEPS;
	if (e->limits.bytes == 0)
		e->limits.bytes = BYTES;
	e->steps = e->limits.steps;
	e->bytes = e->limits.bytes;
}

struct json *
expr_run(struct expr_eval *e, const struct expr *expr, const struct json *data)
{
	/* Nothing here changes what it was given. */
	struct json *v =
	    data != NULL ? (struct json *)(uintptr_t)data : json_null();

	e->expr = expr;
	v = expr_visit(e, expr->root, v);
	if (v == NULL)
		return NULL;
	if (expr_text_size(v, e->limits.bytes) <= e->limits.bytes)
		return v;
	fail_bytes(e, expr->root);
	return NULL;
}

int
expr_eval(struct arena *a, const struct expr *expr, const struct json *data,
    const struct expr_limits *limits, struct json **out, struct error *err)
{
	struct expr_eval e;

	expr_eval_init(&e, a, limits, err);
	*out = expr_run(&e, expr, data);
	return *out != NULL ? 0 : -1;
}
