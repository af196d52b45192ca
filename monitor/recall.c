#include "monitor/recall.h"
#include "core/log.h"
#include "monitor/monitor-impl.h"
#include "monitor/monitor-sql.h"

enum {
	PAGE_MS = 60000,
	TICKS_MOST = 4096, /* with a short interval ranges are shorter */
	TICKS_MORE =
	    8, /* than a range has: ticks that came early, and lookback */
};

static int64_t
ticks_of(const struct monitor *m, const struct cond_metric *read)
{
	int64_t ticks = read->range_ms / m->o->interval_ms + TICKS_MORE;

	return ticks < TICKS_MOST ? ticks : TICKS_MOST;
}

static int
is_kept(const struct monitor *m, const struct cond_metric *reads, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!samples_keep(&m->samples, reads[i].name,
			(uint32_t)ticks_of(m, &reads[i])))
			return 0;
	return m->samples.choosy;
}

void
recall_deinit(struct recall *r)
{
	if (!r->busy)
		return;
	r->busy = 0;
	arena_deinit(&r->store);
	db_array_deinit(&r->metrics);
	db_array_deinit(&r->since);
}

void
recall_reset(struct recall *r)
{
	r->stale = 1;
}

static void
over(struct recall *r, const struct error *err)
{
	struct monitor *m = r->m;
	struct arena old = m->store;
	struct error stale;

	if (r->stale)
		fail(&stale, FAULT_RETRY, "STALE", "another reign");
	if (err != NULL || r->stale) {
		recall_deinit(r);
		r->fn(r->arg, err != NULL ? err : &stale);
		return;
	}
	log_debug("monitor.recalled", I_("series", r->samples.n_series),
	    I_("ticks", r->samples.tick));
	m->store = r->store;
	m->samples = r->samples;
	m->samples.arena = &m->store;
	r->store = old;
	recall_deinit(r);
	r->fn(r->arg, NULL);
}

/* Another leader may have measured more often than we do. */
static void
tick(struct recall *r, int64_t at_ms)
{
	const struct monitor *m = r->m;

	r->tick_ms = at_ms;
	r->skip =
	    (at_ms != samples_now(&m->samples) &&
		at_ms - samples_now(&r->samples) < m->o->interval_ms * 3 / 4) ||
	    samples_tick(&r->samples, at_ms) != 0;
}

/* A stored value has its label's value, not its name: that is the newest
 * tick's, which the other store has. */
static void
take(struct recall *r, struct rows *rows, int i)
{
	struct str metric = rows_str(rows, i, "metric"), of = { 0 };
	char project[UUID_TEXT];
	struct label label;
	struct uuid id;

	if (rows_uuid(rows, i, "project", &id) == 0)
		of = str_of(uuid_format(&id, project));
	label.value = rows_str(rows, i, "label_value");
	label.name = (struct str){ 0 };
	if (label.value.s != NULL)
		label.name = samples_label(&r->m->samples, metric, label.value);
	if (label.value.s == NULL || label.name.s != NULL)
		samples_set(&r->samples, metric, of, &label,
		    label.value.s != NULL, rows_double(rows, i, "value"));
}

static void page(struct recall *r);

static void
paged(void *arg, struct rows *rows, const struct error *err)
{
	struct recall *r = arg;

	if (err != NULL || r->stale) {
		over(r, err);
		return;
	}
	for (int i = 0; i < rows->n; i++) {
		int64_t at = rows_time_ms(rows, i, "at");

		if (at != r->tick_ms)
			tick(r, at);
		if (!r->skip)
			take(r, rows, i);
	}
	r->from_ms = r->to_ms;
	page(r);
}

static void
page(struct recall *r)
{
	int64_t end = samples_now(&r->m->samples) + 1;
	struct error err;

	if (r->from_ms >= end) {
		over(r, NULL);
		return;
	}
	r->to_ms = r->from_ms + PAGE_MS < end ? r->from_ms + PAGE_MS : end;
	if (db_call(r->m->db, &sql_metric_history, paged, r, &err,
		db_array(&r->metrics), db_array(&r->since),
		db_time(db_time_from_ms(r->from_ms)),
		db_time(db_time_from_ms(r->to_ms))) < 0)
		over(r, &err);
}

void
samples_recall(struct monitor *m, const struct cond_metric *reads, size_t n,
    recall_fn *fn, void *arg)
{
	struct recall *r = &m->recall;
	int64_t now = samples_now(&m->samples), most = TICKS_MORE;

	if (is_kept(m, reads, n)) {
		fn(arg, NULL);
		return;
	}
	*r = (struct recall){
		.m = m, .from_ms = now, .busy = 1, .fn = fn, .arg = arg
	};
	for (size_t i = 0; i < n; i++)
		if (most < ticks_of(m, &reads[i]))
			most = ticks_of(m, &reads[i]);
	samples_open(m, &r->store, &r->samples, most);
	db_array_init(&r->metrics, DB_TEXT);
	db_array_init(&r->since, DB_TIMESTAMPTZ);
	for (size_t i = 0; i < n; i++) {
		int64_t ticks = ticks_of(m, &reads[i]);
		int64_t since = now - ticks * m->o->interval_ms;

		samples_want(&r->samples, reads[i].name, (uint32_t)ticks);
		db_array_str(&r->metrics, reads[i].name);
		db_array_time(&r->since, db_time_from_ms(since));
		if (since < r->from_ms)
			r->from_ms = since;
	}
	page(r);
}
