#include "cli/watch.h"
#include "core/time.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct watch_series *
series_new(const char *name)
{
	struct watch_series *s = xcalloc(1, sizeof(*s));

	s->name = xstrdup(name);
	return s;
}

static void
series_free(struct watch_series *s)
{
	free(s->name);
	free(s);
}

static struct watch_series *
series_find(const struct watch *w, const char *name)
{
	for (size_t i = 0; i < w->n; i++)
		if (strcmp(w->series[i]->name, name) == 0)
			return w->series[i];
	return NULL;
}

static struct watch_series *
series_get(struct watch *w, const char *name)
{
	struct watch_series *s = series_find(w, name);

	if (s != NULL)
		return s;
	s = series_new(name);
	w->series =
	    xrealloc(w->series, (w->n + 1) * sizeof(struct watch_series *));
	w->series[w->n++] = s;
	return s;
}

void
watch_init(struct watch *w)
{
	*w = (struct watch){ 0 };
	series_get(w, "");
}

void
watch_deinit(struct watch *w)
{
	for (size_t i = 0; i < w->n; i++)
		series_free(w->series[i]);
	free(w->series);
	*w = (struct watch){ 0 };
}

/* The tick of this moment. Those that come faster than a minute has room for
 * share one, of which the last counts. */
static struct watch_tick *
tick_get(struct watch_series *s, int64_t at_ms)
{
	struct watch_tick *t = s->n > 0 ? &s->ticks[s->n - 1] : NULL;

	if (t != NULL && t->at_ms == at_ms)
		return t;
	if (s->n >= 2 && t->at_ms - t[-1].at_ms < WATCH_SPAN_MS / WATCH_TICKS) {
		s->n--;
	} else if (s->n == WATCH_TICKS) {
		memmove(s->ticks, s->ticks + 1,
		    (WATCH_TICKS - 1) * sizeof(s->ticks[0]));
		s->n--;
	}
	t = &s->ticks[s->n++];
	t->at_ms = at_ms;
	for (int i = 0; i < N_WATCH_VALUES; i++)
		t->v[i] = NAN;
	return t;
}

static double
number(const struct json *data, const char *metric, const char *label)
{
	const struct json *v = json_get(data, metric);

	if (label != NULL)
		v = json_get(v, label);
	return json_is(v, JSON_NUMBER) ? json_num(v) : NAN;
}

static double
rate(double before, double after, double seconds)
{
	return after >= before && seconds > 0 ? (after - before) / seconds
					      : NAN;
}

static void
add_rates(struct watch_series *s, struct watch_tick *t, const struct json *data)
{
	double steps = number(data, "steps_total", NULL);
	double failures = number(data, "step_failures_total", NULL);
	double seconds = (double)(t->at_ms - s->totals_ms) / 1000.0;

	if (isnan(failures))
		failures = 0;
	if (isnan(steps))
		return;
	if (s->totals_ms != 0) {
		t->v[WATCH_STEPS] = rate(s->steps, steps, seconds);
		t->v[WATCH_FAILURES] = rate(s->failures, failures, seconds);
	}
	s->steps = steps;
	s->failures = failures;
	s->totals_ms = t->at_ms;
}

static void
sum(struct watch_tick *all, const struct watch_tick *one, enum watch_value v)
{
	if (isnan(all->v[v]))
		all->v[v] = one->v[v];
	else if (!isnan(one->v[v]))
		all->v[v] += one->v[v];
}

static void
add_project(struct watch *w, int64_t at_ms, const char *project,
    const struct json *data)
{
	struct watch_series *s = series_get(w, project);
	struct watch_tick *t = tick_get(s, at_ms);
	struct watch_tick *all = tick_get(w->series[0], at_ms);

	t->v[WATCH_QUEUED] = number(data, "queue_length", NULL);
	t->v[WATCH_BACKLOG] = number(data, "queue_backlog", NULL);
	t->v[WATCH_RUNS] = number(data, "runs_running", NULL);
	t->v[WATCH_OLDEST] = number(data, "oldest_age", "backlog");
	t->v[WATCH_WAIT] = number(data, "step_wait_seconds", "p95");
	add_rates(s, t, data);
	sum(all, t, WATCH_BACKLOG);
	sum(all, t, WATCH_RUNS);
	sum(all, t, WATCH_STEPS);
	sum(all, t, WATCH_FAILURES);
	all->v[WATCH_OLDEST] = fmax(all->v[WATCH_OLDEST], t->v[WATCH_OLDEST]);
}

static void
add_installation(struct watch *w, int64_t at_ms, const struct json *data)
{
	static const struct {
		enum watch_value v;
		const char *metric, *label;
	} own[] = {
		{ WATCH_READY, "queue_visible", NULL },
		{ WATCH_FLIGHT, "queue_in_flight", NULL },
		{ WATCH_DELAYED, "queue_delayed", NULL },
		{ WATCH_DEAD, "dead_letters", NULL },
		{ WATCH_WAIT, "step_wait_seconds", "p95" },
		{ WATCH_WORKERS, "workers_alive", "worker" },
		{ WATCH_LOAD, "worker_load", NULL },
		{ WATCH_LAG, "log_lag_seconds", NULL },
	};
	static const enum watch_value summed[] = { WATCH_BACKLOG, WATCH_RUNS,
		WATCH_STEPS, WATCH_FAILURES };
	struct watch_tick *t = tick_get(w->series[0], at_ms);

	for (size_t i = 0; i < NELEM(own); i++)
		t->v[own[i].v] = number(data, own[i].metric, own[i].label);
	t->v[WATCH_QUEUED] = t->v[WATCH_READY] + t->v[WATCH_FLIGHT];
	for (size_t i = 0; i < NELEM(summed); i++) /* no project has any */
		if (isnan(t->v[summed[i]]) && w->series[0]->n > 1)
			t->v[summed[i]] = 0;
	t->v[WATCH_OLDEST] =
	    fmax(t->v[WATCH_OLDEST], number(data, "oldest_age", "work"));
}

void
watch_add(struct watch *w, int64_t at_ms, const char *project,
    const struct json *data)
{
	if (at_ms > w->newest_ms) {
		if (w->newest_ms != 0)
			w->interval_ms = at_ms - w->newest_ms;
		w->newest_ms = at_ms;
	}
	if (*project != '\0')
		add_project(w, at_ms, project, data);
	else
		add_installation(w, at_ms, data);
}

void
watch_measured(struct watch *w, int64_t at_ms)
{
	if (at_ms > w->newest_ms)
		w->newest_ms = at_ms;
}

void
watch_fires(struct watch *w, const struct json *by_project)
{
	w->firing = 0;
	for (size_t i = 0; i < w->n; i++)
		w->series[i]->firing = 0;
	for (uint32_t i = 0;
	     json_is(by_project, JSON_OBJECT) && i < by_project->n; i++) {
		const struct json_member *m = &by_project->of[i];
		int n = (int)json_num(m->value);

		series_get(w, m->key.s)->firing = n;
		w->firing += n;
	}
}

static void
expire(struct watch_series *s, int64_t newest_ms)
{
	uint32_t old = 0;

	/* one more is kept: a graph begins at its left edge */
	while (old + 1 < s->n &&
	    s->ticks[old + 1].at_ms <= newest_ms - WATCH_SPAN_MS)
		old++;
	if (s->n > 0 && s->ticks[s->n - 1].at_ms < newest_ms - WATCH_SPAN_MS)
		old = s->n;
	s->n -= old;
	memmove(s->ticks, s->ticks + old, s->n * sizeof(s->ticks[0]));
}

static double
mean(const struct watch_series *s, enum watch_value v)
{
	double total = 0;
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->n; i++) {
		if (isnan(s->ticks[i].v[v]))
			continue;
		total += s->ticks[i].v[v];
		n++;
	}
	return n > 0 ? total / n : NAN;
}

static int
descending(double x, double y)
{
	x = isnan(x) ? 0 : x;
	y = isnan(y) ? 0 : y;
	return (x < y) - (x > y);
}

static int
by_need(const void *a, const void *b)
{
	const struct watch_series *x = *(struct watch_series *const *)a;
	const struct watch_series *y = *(struct watch_series *const *)b;
	int r = descending(x->firing, y->firing);

	if (r == 0)
		r = descending(watch_now(x, WATCH_BACKLOG) > 0,
		    watch_now(y, WATCH_BACKLOG) > 0);
	if (r == 0)
		r = descending(mean(x, WATCH_STEPS), mean(y, WATCH_STEPS));
	return r != 0 ? r : strcmp(x->name, y->name);
}

void
watch_settle(struct watch *w)
{
	size_t n = 1;

	expire(w->series[0], w->newest_ms);
	for (size_t i = 1; i < w->n; i++) {
		struct watch_series *s = w->series[i];

		expire(s, w->newest_ms);
		if (s->n == 0 && s->firing == 0)
			series_free(s);
		else
			w->series[n++] = s;
	}
	w->n = n;
	qsort(w->series + 1, n - 1, sizeof(struct watch_series *), by_need);
}

double
watch_now(const struct watch_series *s, enum watch_value v)
{
	return s->n > 0 ? s->ticks[s->n - 1].v[v] : NAN;
}

double
watch_share(const struct watch_series *s)
{
	double steps = mean(s, WATCH_STEPS);

	return steps > 0 ? mean(s, WATCH_FAILURES) / steps : NAN;
}

int
watch_is_late(const struct watch *w, int64_t now_ms)
{
	int64_t interval = w->interval_ms > 0 ? w->interval_ms : 5000;

	if (w->newest_ms == 0)
		return 1;
	return now_ms - w->newest_ms > WATCH_LATE * interval &&
	    now_ms - w->newest_ms > 3000;
}

static struct json *
series_json(struct arena *a, struct json *o, const struct watch_series *s)
{
	static const char *const names[N_WATCH_VALUES] = {
		[WATCH_READY] = "ready",
		[WATCH_FLIGHT] = "in_flight",
		[WATCH_QUEUED] = "queue",
		[WATCH_BACKLOG] = "backlog",
		[WATCH_DELAYED] = "delayed",
		[WATCH_DEAD] = "dead",
		[WATCH_RUNS] = "running",
		[WATCH_OLDEST] = "oldest_s",
		[WATCH_STEPS] = "steps_per_s",
		[WATCH_FAILURES] = "failures_per_s",
		[WATCH_WAIT] = "wait_p95_s",
		[WATCH_WORKERS] = "workers",
		[WATCH_LOAD] = "load",
		[WATCH_LAG] = "log_lag_s",
	};

	for (int v = 0; v < N_WATCH_VALUES; v++)
		json_set(a, o, names[v],
		    json_double(a, watch_now(s, (enum watch_value)v)));
	json_set(a, o, "failures", json_double(a, watch_share(s)));
	json_set(a, o, "alerts_firing", json_int(a, s->firing));
	return o;
}

struct json *
watch_json(struct arena *a, const struct watch *w, int64_t now_ms)
{
	struct json *o = json_object(a), *list = json_array(a);
	char at[TIME_TEXT];

	json_set(a, o, "at",
	    w->newest_ms != 0 ? json_cstring(a, time_format(w->newest_ms, at))
			      : json_null());
	json_set(a, o, "age_s",
	    w->newest_ms != 0
		? json_double(a, (double)(now_ms - w->newest_ms) / 1000.0)
		: json_null());
	series_json(a, o, w->series[0]);
	json_set(a, o, "alerts_firing", json_int(a, w->firing));
	for (size_t i = 1; i < w->n; i++) {
		struct json *p = json_object(a);

		json_set(a, p, "project", json_cstring(a, w->series[i]->name));
		json_push(a, list, series_json(a, p, w->series[i]));
	}
	json_set(a, o, "projects", list);
	return o;
}
