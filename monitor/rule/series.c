#include "monitor/rule/series.h"
#include "core/lookup.h"

#include <math.h>
#include <string.h>

void
samples_init(struct samples *m, struct arena *a, uint32_t ticks,
    uint32_t max_series, int64_t lookback_ms)
{
	memset(m, 0, sizeof(*m));
	m->arena = a;
	m->ticks = ticks;
	m->max_series = max_series;
	m->lookback_ms = lookback_ms;
	m->at_ms = arena_array(a, ticks, sizeof(*m->at_ms));
}

int64_t
samples_now(const struct samples *m)
{
	return m->tick == 0 ? 0 : m->at_ms[m->tick % m->ticks];
}

uint32_t
samples_since(const struct samples *m, int64_t range_ms)
{
	uint32_t t = m->tick;

	while (t > 1 && m->tick - (t - 1) < m->ticks &&
	    m->at_ms[(t - 1) % m->ticks] > samples_now(m) - range_ms)
		t--;
	return t;
}

int
samples_cover(const struct samples *m, int64_t range_ms)
{
	uint32_t from = samples_since(m, range_ms);

	return m->tick - from + 1 >= m->ticks ||
	    m->at_ms[from % m->ticks] - m->lookback_ms <=
	    samples_now(m) - range_ms;
}

int
samples_gap(const struct samples *m)
{
	return m->tick < 2 ||
	    samples_now(m) - m->at_ms[(m->tick - 1) % m->ticks] >
	    m->lookback_ms;
}

static int64_t
oldest(const struct samples *m)
{
	uint32_t first = m->tick > m->ticks ? m->tick - m->ticks + 1 : 1;

	return m->at_ms[first % m->ticks];
}

/* The clock is another one: no two values can be compared any more. */
static void
forget(struct samples *m)
{
	for (uint32_t i = 0; i < SERIES_BUCKETS; i++)
		for (struct series *s = m->series[i]; s != NULL;
		     s = s->next_in_bucket)
			s->last = 0;
	m->tick = 0;
}

int
samples_tick(struct samples *m, int64_t at_ms)
{
	if (m->tick > 0 && at_ms <= samples_now(m)) {
		if (at_ms > oldest(m) || m->tick == 1)
			return SAMPLES_STALE;
		forget(m);
	}
	m->tick++;
	m->at_ms[m->tick % m->ticks] = at_ms;
	return 0;
}

static struct series_name *
name_of(const struct samples *m, struct str name)
{
	uint32_t at = lookup_hash(LOOKUP_BASIS, name) % SERIES_BUCKETS;
	struct series_name *it = m->names[at];

	while (it != NULL && !str_eq(it->name, name))
		it = it->next_in_bucket;
	return it;
}

static struct series_name *
name_get(struct samples *m, struct str name)
{
	uint32_t at = lookup_hash(LOOKUP_BASIS, name) % SERIES_BUCKETS;
	struct series_name *it = name_of(m, name);

	if (it != NULL)
		return it;
	it = arena_zalloc(m->arena, sizeof(*it));
	it->name = arena_str(m->arena, name);
	it->tail = &it->first;
	it->next_in_bucket = m->names[at];
	m->names[at] = it;
	return it;
}

void
samples_want(struct samples *m, struct str name, uint32_t ticks)
{
	struct series_name *of = name_get(m, name);

	m->choosy = 1;
	if (ticks > m->ticks)
		ticks = m->ticks;
	if (of->ticks < ticks)
		of->ticks = ticks;
}

int
samples_keep(const struct samples *m, struct str name, uint32_t ticks)
{
	const struct series_name *of = name_of(m, name);

	if (ticks > m->ticks)
		ticks = m->ticks;
	return of != NULL && of->ticks >= ticks;
}

struct str
samples_label(const struct samples *m, struct str name, struct str value)
{
	const struct series_name *of = name_of(m, name);

	for (struct series *s = of != NULL ? of->first : NULL; s != NULL;
	     s = s->next_of_name)
		if (s->n_labels > 0 && str_eq(s->labels[0].value, value))
			return s->labels[0].name;
	return of != NULL ? of->label : (struct str){ 0 };
}

int
labels_equal(
    const struct label *x, uint32_t n, const struct label *y, uint32_t m)
{
	if (n != m)
		return 0;
	for (uint32_t i = 0; i < n; i++)
		if (!str_eq(x[i].name, y[i].name) ||
		    !str_eq(x[i].value, y[i].value))
			return 0;
	return 1;
}

static uint32_t
bucket(struct str name, struct str project)
{
	return lookup_hash(lookup_hash(LOOKUP_BASIS, name), project) %
	    SERIES_BUCKETS;
}

static struct series *
series_new(struct samples *m, struct series_name *of, struct str project,
    const struct label *labels, uint32_t n)
{
	struct series *s = arena_zalloc(m->arena, sizeof(*s));
	struct series **at;

	s->name = of->name;
	s->project = arena_str(m->arena, project);
	s->n_labels = n;
	for (uint32_t i = 0; i < n; i++)
		s->labels[i] =
		    (struct label){ arena_str(m->arena, labels[i].name),
			    arena_str(m->arena, labels[i].value) };
	s->ticks = m->choosy ? of->ticks : m->ticks;
	s->values = arena_array(m->arena, s->ticks, sizeof(*s->values));
	/* in the order of their first samples, in both lists */
	at = &m->series[bucket(s->name, project)];
	while (*at != NULL)
		at = &(*at)->next_in_bucket;
	*at = s;
	*of->tail = s;
	of->tail = &s->next_of_name;
	m->n_series++;
	return s;
}

/* Of one project, or of none: the bucket holds all of them, and few others. */
static struct series *
in_bucket(struct series *s, struct str name, struct str project)
{
	while (s != NULL &&
	    (!str_eq(s->name, name) || !str_eq(s->project, project)))
		s = s->next_in_bucket;
	return s;
}

void
samples_set(struct samples *m, struct str name, struct str project,
    const struct label *labels, uint32_t n, double value)
{
	struct series_name *of;
	struct series *s;
	uint32_t from;

	if (n > SERIES_LABELS)
		n = SERIES_LABELS;
	s = in_bucket(m->series[bucket(name, project)], name, project);
	while (s != NULL && !labels_equal(s->labels, s->n_labels, labels, n))
		s = in_bucket(s->next_in_bucket, name, project);
	if (s == NULL) {
		of = name_get(m, name);
		if (of->label.s == NULL && n > 0)
			of->label = arena_str(m->arena, labels[0].name);
		if (m->choosy && of->ticks == 0)
			return;
		if (m->n_series >= m->max_series) {
			m->refused++;
			return;
		}
		s = series_new(m, of, project, labels, n);
	}
	if (isnan(value))
		return;
	/* what lies between is a gap */
	from = s->last + 1;
	if (s->last == 0 || m->tick - s->last >= s->ticks)
		from = m->tick > s->ticks ? m->tick - s->ticks + 1 : 1;
	for (uint32_t t = from; t < m->tick; t++)
		s->values[t % s->ticks] = (double)NAN;
	s->values[m->tick % s->ticks] = value;
	s->last = m->tick;
}

struct series *
series_first(const struct samples *m, struct str name, struct str project)
{
	struct series_name *of;

	if (project.n > 0)
		return in_bucket(
		    m->series[bucket(name, project)], name, project);
	of = name_of(m, name);
	return of != NULL ? of->first : NULL;
}

struct series *
series_next(struct series *s, struct str project)
{
	if (project.n > 0)
		return in_bucket(s->next_in_bucket, s->name, project);
	return s->next_of_name;
}

double
series_at(const struct samples *m, const struct series *s, uint32_t tick)
{
	if (tick == 0 || tick > s->last || m->tick - tick >= s->ticks)
		return (double)NAN;
	return s->values[tick % s->ticks];
}

double
series_now(const struct samples *m, const struct series *s)
{
	if (s->last == 0 || m->tick - s->last >= s->ticks ||
	    samples_now(m) - m->at_ms[s->last % m->ticks] > m->lookback_ms)
		return (double)NAN;
	return s->values[s->last % s->ticks];
}

struct str
series_label(const struct series *s, const char *name)
{
	if (strcmp(name, "project") == 0)
		return s->project;
	for (uint32_t i = 0; i < s->n_labels; i++)
		if (str_is(s->labels[i].name, name))
			return s->labels[i].value;
	return (struct str){ 0 };
}
