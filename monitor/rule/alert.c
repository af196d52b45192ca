#include "monitor/rule/alert.h"

#include <string.h>

static int
is_of(const struct alert *x, const struct element *e)
{
	return str_eq(x->project, e->project) &&
	    labels_equal(x->labels, x->n_labels, e->labels, e->n_labels);
}

static void
change(struct alert_changes *out, const struct alert *alert, int gone)
{
	out->items[out->n++] =
	    (struct alert_change){ .alert = *alert, .gone = gone };
}

/* The clock was set back: begin to wait anew, from now. */
static void
no_later(int64_t *at, int64_t now)
{
	if (*at > now)
		*at = now;
}

static void
advance(const struct alert_rule *rule, struct alert *x, int64_t now,
    struct alert_changes *out)
{
	if (x->state != ALERT_PENDING || now - x->since_ms < rule->hold_ms)
		return;
	x->state = ALERT_FIRING;
	x->fired_ms = now;
	change(out, x, 0);
}

/* 1: it stays. */
static int
lapse(const struct alert_rule *rule, const struct samples *m, struct alert *x,
    struct alert_changes *out)
{
	int64_t now = samples_now(m);

	if (x->state == ALERT_PENDING) {
		change(out, x, 1);
		return 0;
	}
	if (!samples_cover(m, rule->range_ms)) {
		x->held_ms = now; /* as far as we know */
		return 1;
	}
	if (now - x->held_ms < rule->keep_ms)
		return 1;
	x->state = ALERT_RESOLVED;
	change(out, x, 0);
	return 0;
}

static struct alert
alert_begin(const struct element *e, int64_t now)
{
	struct alert x = { .state = ALERT_PENDING,
		.project = e->project,
		.n_labels = e->n_labels,
		.since_ms = now,
		.held_ms = now,
		.value = e->value };

	memcpy(x.labels, e->labels, sizeof(x.labels));
	return x;
}

/* The element of an alert, which is taken out. NULL: it holds no more. */
static const struct element *
element_take(const struct vector *v, char *taken, const struct alert *x)
{
	for (uint32_t i = 0; i < v->n; i++)
		if (!taken[i] && is_of(x, &v->items[i])) {
			taken[i] = 1;
			return &v->items[i];
		}
	return NULL;
}

int
alert_step(struct arena *a, const struct alert_rule *rule,
    const struct samples *m, struct alerts *now, struct alert_changes *out,
    struct error *err)
{
	int64_t at = samples_now(m);
	struct vector v;
	struct alerts next = { 0 };
	char *taken;

	*out = (struct alert_changes){ 0 };
	if (cond_eval(a, rule->cond, m, rule->project, &v, err) < 0)
		return -1;
	if (v.n + now->n == 0)
		return 0;
	taken = arena_zalloc(a, v.n + 1);
	next.items = arena_array(a, v.n + now->n, sizeof(*next.items));
	/* one that begins and fires at once is one change */
	out->items = arena_array(a, v.n + now->n, sizeof(*out->items));
	for (uint32_t i = 0; i < now->n; i++) {
		struct alert x = now->items[i];
		const struct element *e = element_take(&v, taken, &x);

		no_later(&x.since_ms, at);
		no_later(&x.held_ms, at);
		if (e != NULL) {
			if (x.state == ALERT_PENDING && samples_gap(m))
				x.since_ms = at;
			x.held_ms = at;
			x.value = e->value;
			advance(rule, &x, at, out);
		} else if (!lapse(rule, m, &x, out)) {
			continue;
		}
		next.items[next.n++] = x;
	}
	for (uint32_t i = 0; i < v.n; i++) {
		struct alert x;

		if (taken[i])
			continue;
		x = alert_begin(&v.items[i], at);
		advance(rule, &x, at, out);
		if (x.state == ALERT_PENDING)
			change(out, &x, 0);
		next.items[next.n++] = x;
	}
	*now = next;
	return 0;
}
