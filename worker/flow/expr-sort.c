/* sort, max and min, with and without _by. */
#include "core/sort.h"
#include "worker/flow/expr-impl.h"

/* One item of what is sorted, and the key it is sorted by. */
struct sorted {
	struct json *item, *key;
};

static int
by_sort_key(const void *x, const void *y, void *arg)
{
	const struct json *a = ((const struct sorted *)x)->key;
	const struct json *b = ((const struct sorted *)y)->key;

	(void)arg;
	return a->type == JSON_NUMBER ? json_number_cmp(a, b)
				      : str_cmp(json_str(a), json_str(b));
}

/* The array's items with their keys: by the reference, or else themselves.
 * steps: of looking at each once. */
static struct sorted *
sort_keys(struct expr_eval *e, const struct expr_node *call,
    const struct json *array, const struct expr_node *by, size_t *steps)
{
	struct sorted *all = arena_array(e->arena, array->n, sizeof(*all));

	if (all == NULL) {
		expr_no_memory(e);
		return NULL;
	}
	for (uint32_t i = 0; i < array->n; i++) {
		struct json *item = array->items[i], *key = item;

		if (by != NULL)
			key = expr_visit(e, by->kids[0], item);
		if (key == NULL)
			return NULL;
		all[i] = (struct sorted){ item, key };
		*steps += 1 + expr_steps_of(key);
		if ((key->type == JSON_NUMBER || key->type == JSON_STRING) &&
		    key->type == all[0].key->type)
			continue;
		expr_fail(e->err, e->expr->text, call->at, "invalid-type",
		    "%s() needs keys that are all numbers or all strings, "
		    "got a %s",
		    call->fn->name, json_type_name(key->type));
		return NULL;
	}
	return all;
}

/* ceil(log2 n) comparisons each, at most. */
static int
pay_sort(
    struct expr_eval *e, const struct expr_node *call, uint32_t n, size_t steps)
{
	uint32_t each = n > 1 ? 32 - (uint32_t)__builtin_clz(n - 1) : 1;

	return expr_pay_steps(e, call, steps * each);
}

struct json *
expr_sort(struct expr_eval *e, const struct expr_node *call, struct json *array,
    const struct expr_node *by)
{
	struct sorted *all;
	struct json *out;
	size_t steps = 0;
	void **order;

	if (array->n == 0)
		return array;
	all = sort_keys(e, call, array, by, &steps);
	if (all == NULL || pay_sort(e, call, array->n, steps) < 0)
		return NULL;
	out = expr_array(e, array->n);
	order = arena_array(e->arena, array->n, 2 * sizeof(*order));
	if (out == NULL || order == NULL)
		return expr_no_memory(e);
	for (uint32_t i = 0; i < array->n; i++)
		order[i] = &all[i];
	sort_stable(order, order + array->n, array->n, by_sort_key, NULL);
	for (uint32_t i = 0; i < array->n; i++)
		out->items[out->n++] = ((struct sorted *)order[i])->item;
	return out;
}

struct json *
expr_pick(struct expr_eval *e, const struct expr_node *call, struct json *array,
    const struct expr_node *by, int sign)
{
	struct sorted *all, *best;
	size_t steps = 0;

	if (array->n == 0)
		return json_null();
	best = all = sort_keys(e, call, array, by, &steps);
	if (all == NULL || expr_pay_steps(e, call, steps) < 0)
		return NULL;
	for (uint32_t i = 1; i < array->n; i++)
		if (by_sort_key(&all[i], best, NULL) * sign > 0)
			best = &all[i];
	return best->item;
}
