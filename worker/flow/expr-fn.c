/* The functions of the specification, as one table. */
#include "core/suggest.h"
#include "core/utf8.h"
#include "worker/flow/expr-impl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define CALL                                                                   \
	struct expr_eval *e, const struct expr_node *call,                     \
	    struct json *const *args

static struct json *
checked(struct expr_eval *e, struct json *v)
{
	return v != NULL ? v : expr_no_memory(e);
}

static struct json *
new_string(struct expr_eval *e, const struct expr_node *call, struct str s)
{
	if (expr_pay_bytes(e, call, s.n) < 0)
		return NULL;
	return checked(e, json_string(e->arena, s));
}

static struct json *
new_double(struct expr_eval *e, const struct expr_node *call, double d)
{
	if (isfinite(d))
		return checked(e, json_double(e->arena, d));
	expr_fail(e->err, e->expr->text, call->at, "invalid-value",
	    "%s() gives a number too large", call->fn->name);
	return NULL;
}

static struct json *
fn_abs(CALL)
{
	(void)call;
	if (*args[0]->s != '-')
		return args[0];
	return checked(e,
	    json_number(
		e->arena, (struct str){ args[0]->s + 1, args[0]->n - 1 }));
}

static struct json *
round_to_integer(CALL, double (*round_fn)(double))
{
	if (memchr(args[0]->s, '.', args[0]->n) == NULL &&
	    memchr(args[0]->s, 'e', args[0]->n) == NULL &&
	    memchr(args[0]->s, 'E', args[0]->n) == NULL)
		return args[0];
	return new_double(e, call, round_fn(json_num(args[0])));
}

static struct json *
fn_ceil(CALL)
{
	return round_to_integer(e, call, args, ceil);
}

static struct json *
fn_floor(CALL)
{
	return round_to_integer(e, call, args, floor);
}

/* Integers add up exactly while they fit in 64 bits. */
static struct json *
fn_sum(CALL)
{
	int64_t whole = 0, i;
	double sum = 0;
	uint32_t at = 0;

	for (uint32_t k = 0; k < args[0]->n; k++)
		if (expr_pay_steps(e, call, expr_steps_of(args[0]->items[k])) <
		    0)
			return NULL;
	for (; at < args[0]->n; at++)
		if (json_integer(args[0]->items[at], &i) < 0 ||
		    __builtin_add_overflow(whole, i, &i))
			break;
		else
			whole = i;
	if (at == args[0]->n)
		return checked(e, json_int(e->arena, whole));
	sum = (double)whole;
	for (; at < args[0]->n; at++)
		sum += json_num(args[0]->items[at]);
	return new_double(e, call, sum);
}

static struct json *
fn_avg(CALL)
{
	struct json *sum;

	if (args[0]->n == 0)
		return json_null();
	sum = fn_sum(e, call, args);
	return sum != NULL ? new_double(e, call, json_num(sum) / args[0]->n)
			   : NULL;
}

static struct json *
fn_contains(CALL)
{
	struct json *where = args[0], *what = args[1];

	if (where->type == JSON_STRING)
		return json_bool(what->type == JSON_STRING &&
		    memmem(where->s, where->n, what->s, what->n) != NULL);
	for (uint32_t i = 0; i < where->n; i++) {
		int r = expr_equal(e, call, where->items[i], what);

		if (r != 0)
			return r < 0 ? NULL : json_bool(1);
	}
	return json_bool(0);
}

static struct json *
fn_starts_with(CALL)
{
	struct str s = json_str(args[0]), with = json_str(args[1]);

	(void)e;
	(void)call;
	return json_bool(s.n >= with.n && memcmp(s.s, with.s, with.n) == 0);
}

static struct json *
fn_ends_with(CALL)
{
	struct str s = json_str(args[0]), with = json_str(args[1]);

	(void)e;
	(void)call;
	return json_bool(
	    s.n >= with.n && memcmp(s.s + s.n - with.n, with.s, with.n) == 0);
}

static struct json *
fn_join(CALL)
{
	struct str glue = json_str(args[0]);
	size_t n = args[1]->n > 0 ? glue.n * (args[1]->n - 1) : 0;
	char *bytes, *p;

	for (uint32_t i = 0; i < args[1]->n; i++)
		n += args[1]->items[i]->n;
	if (expr_pay_bytes(e, call, n) < 0)
		return NULL;
	p = bytes = arena_alloc(e->arena, n + 1);
	if (bytes == NULL)
		return expr_no_memory(e);
	for (uint32_t i = 0; i < args[1]->n; i++) {
		if (i > 0)
			p = mempcpy(p, glue.s, glue.n);
		p = mempcpy(p, args[1]->items[i]->s, args[1]->items[i]->n);
	}
	return checked(e, json_string(e->arena, (struct str){ bytes, n }));
}

static struct json *
fn_keys(CALL)
{
	struct json *out = expr_array(e, args[0]->n), *key;

	for (uint32_t i = 0; out != NULL && i < args[0]->n; i++) {
		key = new_string(e, call, args[0]->of[i].key);
		if (key == NULL)
			return NULL;
		out->items[out->n++] = key;
	}
	return out;
}

static struct json *
fn_values(CALL)
{
	struct json *out = expr_array(e, args[0]->n);

	(void)call;
	for (uint32_t i = 0; out != NULL && i < args[0]->n; i++)
		out->items[out->n++] = args[0]->of[i].value;
	return out;
}

static struct json *
fn_length(CALL)
{
	size_t n = args[0]->n;

	(void)call;
	if (args[0]->type == JSON_STRING)
		n = utf8_count(json_str(args[0]));
	return checked(e, json_int(e->arena, (int64_t)n));
}

static struct json *
fn_map(CALL)
{
	struct json *out = expr_array(e, args[1]->n), *item;

	for (uint32_t i = 0; out != NULL && i < args[1]->n; i++) {
		item = expr_visit(e, call->kids[0]->kids[0], args[1]->items[i]);
		if (item == NULL)
			return NULL;
		out->items[out->n++] = item;
	}
	return out;
}

static struct json *
fn_merge(CALL)
{
	struct json *out = json_object(e->arena);

	for (uint32_t i = 0; i < call->n; i++) {
		if (expr_pay_steps(e, call, args[i]->n) < 0)
			return NULL;
		for (uint32_t m = 0; m < args[i]->n; m++)
			if (expr_pay_steps(e, call, args[i]->of[m].key.n / 64) <
			    0)
				return NULL;
			else if (json_set_str(e->arena, out, args[i]->of[m].key,
				     args[i]->of[m].value) < 0)
				return expr_no_memory(e);
	}
	return out != NULL ? out : expr_no_memory(e);
}

static struct json *
fn_not_null(CALL)
{
	(void)e;
	for (uint32_t i = 0; i < call->n; i++)
		if (args[i]->type != JSON_NULL)
			return args[i];
	return json_null();
}

static struct json *
reverse_string(struct expr_eval *e, const struct expr_node *call, struct str s)
{
	char *bytes = arena_alloc(e->arena, s.n + 1), *p = bytes;
	size_t end = s.n;

	if (bytes == NULL)
		return expr_no_memory(e);
	for (size_t at = s.n; at-- > 0;) {
		if (((unsigned char)s.s[at] & 0xc0) == 0x80)
			continue;
		p = mempcpy(p, s.s + at, end - at);
		end = at;
	}
	return new_string(e, call, (struct str){ bytes, s.n });
}

static struct json *
fn_reverse(CALL)
{
	struct json *out;

	if (args[0]->type == JSON_STRING)
		return reverse_string(e, call, json_str(args[0]));
	out = expr_array(e, args[0]->n);
	for (uint32_t i = args[0]->n; out != NULL && i > 0; i--)
		out->items[out->n++] = args[0]->items[i - 1];
	return out;
}

static struct json *
fn_to_array(CALL)
{
	struct json *out;

	(void)call;
	if (args[0]->type == JSON_ARRAY)
		return args[0];
	out = expr_array(e, 1);
	if (out != NULL)
		out->items[out->n++] = args[0];
	return out;
}

static struct json *
fn_to_string(CALL)
{
	struct str text;
	size_t n;

	if (args[0]->type == JSON_STRING)
		return args[0];
	n = expr_text_size(args[0], e->bytes);
	if (n > e->bytes)
		return expr_pay_bytes(e, call, n), NULL;
	text = json_text(e->arena, args[0]);
	return text.s != NULL ? new_string(e, call, text) : expr_no_memory(e);
}

static struct json *
fn_to_number(CALL)
{
	struct str s = json_str(args[0]);
	struct json *v;

	(void)call;
	if (args[0]->type == JSON_NUMBER)
		return args[0];
	/* JSON's grammar, but no white space around it */
	if (s.n == 0 || s.s[s.n - 1] < '0' || s.s[s.n - 1] > '9' ||
	    (*s.s != '-' && (*s.s < '0' || *s.s > '9')) ||
	    json_parse(e->arena, s, NULL, &v, NULL) < 0)
		return json_null();
	return v;
}

static struct json *
fn_type(CALL)
{
	return new_string(e, call, str_of(json_type_name(args[0]->type)));
}

static struct json *
fn_sort(CALL)
{
	return expr_sort(e, call, args[0], NULL);
}

static struct json *
fn_sort_by(CALL)
{
	return expr_sort(e, call, args[0], call->kids[1]);
}

static struct json *
fn_max(CALL)
{
	return expr_pick(e, call, args[0], NULL, 1);
}

static struct json *
fn_max_by(CALL)
{
	return expr_pick(e, call, args[0], call->kids[1], 1);
}

static struct json *
fn_min(CALL)
{
	return expr_pick(e, call, args[0], NULL, -1);
}

static struct json *
fn_min_by(CALL)
{
	return expr_pick(e, call, args[0], call->kids[1], -1);
}

enum { ORDERED = T_NUMBERS | T_STRINGS, MANY = UINT32_MAX >> 1 };

static const struct expr_fn functions[] = {
	{ "abs", fn_abs, 1, 1, { T_NUMBER, 0 } },
	{ "avg", fn_avg, 1, 1, { T_NUMBERS, 0 } },
	{ "ceil", fn_ceil, 1, 1, { T_NUMBER, 0 } },
	{ "contains", fn_contains, 2, 2, { T_ARRAY | T_STRING, T_ANY } },
	{ "ends_with", fn_ends_with, 2, 2, { T_STRING, T_STRING } },
	{ "floor", fn_floor, 1, 1, { T_NUMBER, 0 } },
	{ "join", fn_join, 2, 2, { T_STRING, T_STRINGS } },
	{ "keys", fn_keys, 1, 1, { T_OBJECT, 0 } },
	{ "length", fn_length, 1, 1, { T_STRING | T_ARRAY | T_OBJECT, 0 } },
	{ "map", fn_map, 2, 2, { T_REF, T_ARRAY } },
	{ "max", fn_max, 1, 1, { ORDERED, 0 } },
	{ "max_by", fn_max_by, 2, 2, { T_ARRAY, T_REF } },
	{ "merge", fn_merge, 1, MANY, { T_OBJECT, T_OBJECT } },
	{ "min", fn_min, 1, 1, { ORDERED, 0 } },
	{ "min_by", fn_min_by, 2, 2, { T_ARRAY, T_REF } },
	{ "not_null", fn_not_null, 1, MANY, { T_ANY, T_ANY } },
	{ "reverse", fn_reverse, 1, 1, { T_ARRAY | T_STRING, 0 } },
	{ "sort", fn_sort, 1, 1, { ORDERED, 0 } },
	{ "sort_by", fn_sort_by, 2, 2, { T_ARRAY, T_REF } },
	{ "starts_with", fn_starts_with, 2, 2, { T_STRING, T_STRING } },
	{ "sum", fn_sum, 1, 1, { T_NUMBERS, 0 } },
	{ "to_array", fn_to_array, 1, 1, { T_ANY, 0 } },
	{ "to_number", fn_to_number, 1, 1, { T_ANY, 0 } },
	{ "to_string", fn_to_string, 1, 1, { T_ANY, 0 } },
	{ "type", fn_type, 1, 1, { T_ANY, 0 } },
	{ "values", fn_values, 1, 1, { T_OBJECT, 0 } },
};

enum { N_FUNCTIONS = sizeof(functions) / sizeof(functions[0]) };

const struct expr_fn *
expr_fn_find(struct str name)
{
	for (size_t i = 0; i < N_FUNCTIONS; i++)
		if (str_is(name, functions[i].name))
			return &functions[i];
	return NULL;
}

const char *
expr_fn_nearest(struct str name)
{
	struct suggest near;

	suggest_init(&near, name);
	for (size_t i = 0; i < N_FUNCTIONS; i++)
		suggest_add(&near, str_of(functions[i].name));
	return near.best.s;
}

uint16_t
expr_fn_type(const struct expr_fn *fn, uint32_t arg)
{
	return fn->types[arg > 0];
}

const char *
expr_types_text(unsigned types, char *out, size_t n)
{
	static const char *const names[] = { "null", "a boolean", "a number",
		"a string", "an array", "an object", "an &expression",
		"an array of numbers", "an array of strings" };
	size_t at = 0;

	if (types == T_ANY)
		return "a value";
	*out = '\0';
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if ((types & 1U << i) && at < n)
			at += (size_t)snprintf(out + at, n - at, "%s%s",
			    at > 0 ? " or " : "", names[i]);
	return out;
}

/* The bits of a value's type; of NUMBERS and STRINGS only those wanted. */
static unsigned
types_of(const struct json *v, unsigned wanted)
{
	static const unsigned bits[] = {
		[JSON_NULL] = T_NULL,
		[JSON_FALSE] = T_BOOLEAN,
		[JSON_TRUE] = T_BOOLEAN,
		[JSON_NUMBER] = T_NUMBER,
		[JSON_STRING] = T_STRING,
		[JSON_ARRAY] = T_ARRAY,
		[JSON_OBJECT] = T_OBJECT,
	};
	unsigned types = bits[v->type];

	if (v->type != JSON_ARRAY || (wanted & (T_NUMBERS | T_STRINGS)) == 0)
		return types;
	types |= T_NUMBERS | T_STRINGS;
	for (uint32_t i = 0; i < v->n; i++) {
		if (v->items[i]->type != JSON_NUMBER)
			types &= ~(unsigned)T_NUMBERS;
		if (v->items[i]->type != JSON_STRING)
			types &= ~(unsigned)T_STRINGS;
	}
	return types;
}

static int
check_argument(struct expr_eval *e, const struct expr_node *call, uint32_t i,
    const struct json *v)
{
	unsigned want = expr_fn_type(call->fn, i);
	char types[80];

	if (types_of(v, want) & want)
		return 0;
	return expr_fail(e->err, e->expr->text, call->kids[i]->at,
	    "invalid-type", "%s() takes %s here, got %s", call->fn->name,
	    expr_types_text(want, types, sizeof(types)),
	    json_type_name(v->type));
}

struct json *
expr_call(struct expr_eval *e, const struct expr_node *call, struct json *v)
{
	struct json *few[4], **args = few;
	size_t work = 0;

	if (call->n > sizeof(few) / sizeof(few[0]))
		args = arena_array(e->arena, call->n, sizeof(*args));
	if (args == NULL)
		return expr_no_memory(e);
	for (uint32_t i = 0; i < call->n; i++) {
		args[i] = NULL;
		if (call->kids[i]->type == EX_REF)
			continue;
		args[i] = expr_visit(e, call->kids[i], v);
		if (args[i] == NULL || check_argument(e, call, i, args[i]) < 0)
			return NULL;
		if (args[i]->type == JSON_ARRAY || args[i]->type == JSON_OBJECT)
			work += args[i]->n;
		else
			work += expr_steps_of(args[i]);
	}
	if (expr_pay_steps(e, call, work) < 0)
		return NULL;
	return call->fn->fn(e, call, args);
}
