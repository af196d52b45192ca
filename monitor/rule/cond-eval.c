#include "monitor/rule/cond-impl.h"

#include <math.h>
#include <string.h>

struct eval {
	struct arena *arena;
	const struct samples *samples;
	struct str project;
	struct error *err;
};

/* What a part comes to: a number, or a vector. */
struct value {
	int is_number;
	double number;
	struct vector v;
};

static int value_of(struct eval *ev, const struct cond *c, struct value *out);

static int
push(struct eval *ev, struct vector *v, const struct element *e)
{
	if (v->n == COND_ELEMENTS)
		return fail(ev->err, FAULT_INPUT, "condition",
		    "the condition comes to more than %d elements",
		    COND_ELEMENTS);
	if ((v->n & (v->n - 1)) == 0) /* full: room is a power of two */
		v->items = arena_grow(ev->arena, v->items, v->n,
		    2 * (size_t)v->n + 1, sizeof(*v->items));
	v->items[v->n++] = *e;
	return 0;
}

static int
matches(const struct series *s, const struct cond *c)
{
	for (uint32_t i = 0; i < c->n_matches; i++) {
		const struct match *m = &c->matches[i];
		struct str value = { 0 };

		if (str_is(m->label.name, "project"))
			value = s->project;
		for (uint32_t j = 0; j < s->n_labels; j++)
			if (str_eq(s->labels[j].name, m->label.name))
				value = s->labels[j].value;
		if (str_eq(value, m->label.value) == m->not_equal)
			return 0;
	}
	return 1;
}

/* ---- a metric's range: the ticks later than now - range ------------------ */

struct window {
	double sum, min, max, first, last, rise;
	uint32_t n;
	int64_t from_ms, to_ms;
};

/* For a counter, the value before the range counts, too: what it rose by since
 * then happened within. */
static void
look(const struct samples *m, const struct series *s, uint32_t from,
    struct window *w)
{
	double before = (double)NAN;

	*w = (struct window){ .min = (double)INFINITY,
		.max = -(double)INFINITY };
	for (uint32_t t = from > 1 ? from - 1 : from; t <= m->tick; t++) {
		double x = series_at(m, s, t);

		if (isnan(x))
			continue;
		if (t >= from) {
			w->sum += x;
			w->n++;
			w->min = x < w->min ? x : w->min;
			w->max = x > w->max ? x : w->max;
		}
		if (isnan(before)) {
			w->first = x;
			w->from_ms = m->at_ms[t % m->ticks];
		} else {
			w->rise += x >= before ? x - before : x;
		}
		w->last = before = x;
		w->to_ms = m->at_ms[t % m->ticks];
	}
}

/* NaN: there is no telling. */
static double
over_range(enum cond_op op, const struct window *w)
{
	if (w->n == 0)
		return (double)NAN;
	if (op == COND_AVG_OVER)
		return w->sum / w->n;
	if (op == COND_MIN_OVER)
		return w->min;
	if (op == COND_MAX_OVER)
		return w->max;
	if (w->to_ms <= w->from_ms)
		return (double)NAN; /* one value only */
	if (op == COND_DELTA)
		return w->last - w->first;
	if (op == COND_INCREASE)
		return w->rise;
	return w->rise * 1000.0 / (double)(w->to_ms - w->from_ms);
}

static int
add_series(
    struct eval *ev, const struct series *s, double value, struct vector *out)
{
	struct element e = {
		.n_labels = s->n_labels, .project = s->project, .value = value
	};

	if (isnan(value))
		return 0;
	memcpy(e.labels, s->labels, sizeof(e.labels));
	return push(ev, out, &e);
}

/* absent(x[1m]): one element, of value 1, when no such series had a value. A
 * gap in what was measured, or its beginning, is no absence. */
static int
absent(
    struct eval *ev, const struct cond *metric, int found, struct vector *out)
{
	struct element e = { .value = 1, .project = ev->project };

	if (found || samples_now(ev->samples) == 0 ||
	    !samples_cover(ev->samples, metric->range_ms))
		return 0;
	for (uint32_t i = 0; i < metric->n_matches; i++)
		if (!metric->matches[i].not_equal)
			e.labels[e.n_labels++] = metric->matches[i].label;
	return push(ev, out, &e);
}

static int
of_metric(
    struct eval *ev, const struct cond *c, enum cond_op op, struct vector *out)
{
	const struct samples *m = ev->samples;
	struct series *s = series_first(m, c->metric, ev->project);
	uint32_t from = c->range_ms > 0 ? samples_since(m, c->range_ms) : 0;
	int found = 0;

	for (; s != NULL; s = series_next(s, ev->project)) {
		struct window w;
		double value;

		if (!matches(s, c))
			continue;
		if (op == COND_METRIC) {
			value = series_now(m, s);
		} else {
			look(m, s, from, &w);
			found += w.n > 0;
			value = op == COND_ABSENT ? (double)NAN
						  : over_range(op, &w);
		}
		if (add_series(ev, s, value, out) < 0)
			return -1;
	}
	return op == COND_ABSENT ? absent(ev, c, found, out) : 0;
}

/* ---- of one vector -------------------------------------------------------- */

static struct str
label_of(const struct element *e, struct str name)
{
	if (str_is(name, "project"))
		return e->project;
	for (uint32_t i = 0; i < e->n_labels; i++)
		if (str_eq(e->labels[i].name, name))
			return e->labels[i].value;
	return (struct str){ 0 };
}

/* What a rule of a project comes to is of that project, named or not. */
static struct element
grouped(struct eval *ev, const struct cond *c, const struct element *e)
{
	struct element out = { .project = ev->project };

	for (uint32_t i = 0; i < c->n_by; i++) {
		struct str value = label_of(e, c->by[i]);

		if (str_is(c->by[i], "project"))
			out.project = value;
		else if (value.n > 0)
			out.labels[out.n_labels++] =
			    (struct label){ c->by[i], value };
	}
	return out;
}

static int
same(const struct element *x, const struct element *y)
{
	return str_eq(x->project, y->project) &&
	    labels_equal(x->labels, x->n_labels, y->labels, y->n_labels);
}

static double
accumulate(enum cond_op op, double so_far, double x)
{
	if (op == COND_MIN)
		return x < so_far ? x : so_far;
	if (op == COND_MAX)
		return x > so_far ? x : so_far;
	return so_far + (op == COND_COUNT ? 1 : x);
}

static int
aggregate(struct eval *ev, const struct cond *c, const struct vector *in,
    struct vector *out)
{
	uint32_t *members = arena_array(ev->arena, in->n + 1, sizeof(*members));

	for (uint32_t i = 0; i < in->n; i++) {
		struct element e = grouped(ev, c, &in->items[i]);
		uint32_t g = 0;

		while (g < out->n && !same(&out->items[g], &e))
			g++;
		if (g < out->n) {
			out->items[g].value = accumulate(
			    c->op, out->items[g].value, in->items[i].value);
			members[g]++;
			continue;
		}
		members[g] = 1;
		e.value = c->op == COND_COUNT ? 1 : in->items[i].value;
		if (push(ev, out, &e) < 0)
			return -1;
	}
	for (uint32_t g = 0; c->op == COND_AVG && g < out->n; g++)
		out->items[g].value /= members[g];
	return 0;
}

static double
each(enum cond_op op, double x)
{
	if (op == COND_ABS)
		return fabs(x);
	if (op == COND_CEIL)
		return ceil(x);
	if (op == COND_FLOOR)
		return floor(x);
	return op == COND_ROUND ? round(x) : -x;
}

/* ---- of two --------------------------------------------------------------- */

static int
is_comparison(enum cond_op op)
{
	return op >= COND_GT && op <= COND_NE;
}

static int
holds(enum cond_op op, double x, double y)
{
	if (op == COND_GT)
		return x > y;
	if (op == COND_GE)
		return x >= y;
	if (op == COND_LT)
		return x < y;
	if (op == COND_LE)
		return x <= y;
	return (x < y || x > y) == (op == COND_NE);
}

static double
arithmetic(enum cond_op op, double x, double y)
{
	if (op == COND_ADD)
		return x + y;
	if (op == COND_SUBTRACT)
		return x - y;
	if (op == COND_MULTIPLY)
		return x * y;
	return y < 0 || y > 0 ? x / y : (double)NAN;
}

/* Labels that both have are equal. */
static int
belong(const struct element *x, const struct element *y)
{
	if (x->project.n > 0 && y->project.n > 0 &&
	    !str_eq(x->project, y->project))
		return 0;
	for (uint32_t i = 0; i < x->n_labels; i++) {
		struct str other = label_of(y, x->labels[i].name);

		if (other.n > 0 && !str_eq(other, x->labels[i].value))
			return 0;
	}
	return 1;
}

/* The partner of x, which is at the same place in the common case. */
static const struct element *
partner(const struct element *x, uint32_t at, const struct vector *v)
{
	if (at < v->n && belong(x, &v->items[at]))
		return &v->items[at];
	for (uint32_t i = 0; i < v->n; i++)
		if (belong(x, &v->items[i]))
			return &v->items[i];
	return NULL;
}

/* An element with x's labels, or y's when those are more; NaN drops it. */
static int
combine(struct eval *ev, enum cond_op op, const struct element *x,
    const struct element *y, struct vector *out)
{
	struct element e =
	    y->n_labels + (y->project.n > 0) > x->n_labels + (x->project.n > 0)
	    ? *y
	    : *x;

	if (is_comparison(op)) {
		if (!holds(op, x->value, y->value))
			return 0;
		e.value = x->value;
	} else {
		e.value = arithmetic(op, x->value, y->value);
		if (isnan(e.value))
			return 0;
	}
	return push(ev, out, &e);
}

static int
numbers(enum cond_op op, double x, double y, struct value *out)
{
	out->is_number = 1;
	out->number =
	    is_comparison(op) ? holds(op, x, y) : arithmetic(op, x, y);
	if (isnan(out->number))
		out->number = 0;
	return 0;
}

static int
pairs(struct eval *ev, enum cond_op op, const struct value *x,
    const struct value *y, struct vector *out)
{
	const struct value *more =
	    x->is_number || (!y->is_number && y->v.n > x->v.n) ? y : x;
	struct element number = { .value =
				      x->is_number ? x->number : y->number };

	for (uint32_t i = 0; i < more->v.n; i++) {
		const struct element *e = &more->v.items[i], *other = &number;

		if (!x->is_number && !y->is_number)
			other = partner(e, i, more == x ? &y->v : &x->v);
		if (other != NULL &&
		    combine(ev, op, more == x ? e : other,
			more == x ? other : e, out) < 0)
			return -1;
	}
	return 0;
}

/* As a vector: a number that isn't 0 is one element without labels. */
static int
to_vector(struct eval *ev, struct value *x)
{
	struct element e = { .value = x->number, .project = ev->project };

	if (!x->is_number)
		return 0;
	x->is_number = 0;
	x->v = (struct vector){ 0 };
	return x->number < 0 || x->number > 0 ? push(ev, &x->v, &e) : 0;
}

static int
logic(struct eval *ev, enum cond_op op, struct value *x, struct value *y,
    struct vector *out)
{
	if (to_vector(ev, x) < 0 || to_vector(ev, y) < 0)
		return -1;
	for (uint32_t i = 0; x->v.items != NULL && i < x->v.n; i++) {
		int has = partner(&x->v.items[i], i, &y->v) != NULL;

		if ((op == COND_OR || (op == COND_AND) == has) &&
		    push(ev, out, &x->v.items[i]) < 0)
			return -1;
	}
	if (op != COND_OR || y->v.items == NULL)
		return 0;
	for (uint32_t i = 0; i < y->v.n; i++)
		if (partner(&y->v.items[i], i, &x->v) == NULL &&
		    push(ev, out, &y->v.items[i]) < 0)
			return -1;
	return 0;
}

static int
of_two(struct eval *ev, const struct cond *c, struct value *out)
{
	struct value x = { 0 }, y = { 0 };

	if (value_of(ev, c->left, &x) < 0 || value_of(ev, c->right, &y) < 0)
		return -1;
	if (c->op >= COND_AND)
		return logic(ev, c->op, &x, &y, &out->v);
	if (x.is_number && y.is_number)
		return numbers(c->op, x.number, y.number, out);
	return pairs(ev, c->op, &x, &y, &out->v);
}

static int
of_one(struct eval *ev, const struct cond *c, struct value *out)
{
	struct value in = { 0 };

	if (value_of(ev, c->left, &in) < 0)
		return -1;
	if (c->op <= COND_COUNT)
		return to_vector(ev, &in) < 0
		    ? -1
		    : aggregate(ev, c, &in.v, &out->v);
	*out = in;
	out->number = each(c->op, in.number);
	for (uint32_t i = 0; i < in.v.n; i++)
		in.v.items[i].value = each(c->op, in.v.items[i].value);
	return 0;
}

static int
value_of(struct eval *ev, const struct cond *c, struct value *out)
{
	*out = (struct value){ 0 };
	if (c->op == COND_NUMBER) {
		out->is_number = 1;
		out->number = c->number;
		return 0;
	}
	if (c->op == COND_METRIC)
		return of_metric(ev, c, COND_METRIC, &out->v);
	if (c->op <= COND_ABSENT)
		return of_metric(ev, c->left, c->op, &out->v);
	return c->op <= COND_NEGATE ? of_one(ev, c, out) : of_two(ev, c, out);
}

int
cond_eval(struct arena *a, const struct cond *c, const struct samples *m,
    struct str project, struct vector *out, struct error *err)
{
	struct eval ev = {
		.arena = a, .samples = m, .project = project, .err = err
	};
	struct value value;

	if (value_of(&ev, c, &value) < 0 || to_vector(&ev, &value) < 0)
		return -1;
	*out = (struct vector){ .items = value.v.items };
	for (uint32_t i = 0; i < value.v.n; i++) /* beyond a double is none */
		if (isfinite(value.v.items[i].value))
			out->items[out->n++] = value.v.items[i];
	return 0;
}
