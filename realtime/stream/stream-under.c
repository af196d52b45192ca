/* Patterns, and channels that aren't there yet: what there is under them. */
#include "core/time.h"
#include "realtime/stream/stream-attach.h"
#include "realtime/realtime-sql.h"

enum {
	RESUME_OVERLAP_MS = 30000, /* of a pattern's time, see cursor.h */
	UNDER_MAX = 10000,         /* channels that patterns cover at first */
};

void
under_add(struct attach *a, struct rows *rows, int row, int64_t at_ms)
{
	struct under *u = &a->under[a->n_under++];
	const struct cursor_entry *e = cursor_get(
	    &a->q.cursor, cursor_key(rows_str(rows, row, "channel")));

	rows_uuid(rows, row, "project_id", &u->project);
	u->service = arena_str(&a->arena, rows_str(rows, row, "service"));
	u->resource = arena_str(&a->arena, rows_str(rows, row, "resource"));
	u->since_ms = at_ms - TAIL_OVERLAP_MS;
	if (e != NULL && e->epoch == CURSOR_PATTERN) {
		u->since_ms = e->seq - RESUME_OVERLAP_MS;
		u->past = 1;
	} else if (!a->q.resumed && a->q.since_ms != INT64_MIN) {
		u->since_ms = a->q.since_ms;
		u->past = 1;
	}
}

static const struct under *
under_of(const struct attach *a, const struct uuid *project, struct str service,
    struct str resource)
{
	for (size_t i = 0; i < a->n_under; i++) {
		const struct under *u = &a->under[i];

		if (uuid_cmp(&u->project, project) == 0 &&
		    str_eq(u->service, service) &&
		    (str_eq(u->resource, resource) ||
			(str_is(u->resource, "*") && resource.n > 0)))
			return u;
	}
	return NULL;
}

static int
follow_under(struct attach *a, struct rows *rows, int row)
{
	struct str service = rows_str(rows, row, "service");
	struct str resource = rows_str(rows, row, "resource");
	struct hub_channel c = attach_stand(rows, row);
	const struct cursor_entry *e;
	const struct under *u;
	char project[UUID_TEXT];

	c.channel = str_of(arena_printf(&a->arena, "logs:%.*s:%s%s%.*s",
	    STR_FMT(service), uuid_format(&c.project, project),
	    resource.n > 0 ? ":" : "", STR_FMT(resource)));
	u = under_of(a, &c.project, service, resource);
	if (u == NULL)
		return 0;
	e = cursor_get(&a->q.cursor, cursor_key(c.channel));
	if (e != NULL && e->epoch != CURSOR_ABSENT)
		return reader_found(
		    a->viewer->reader, &c, epoch_of(e, &c), e->seq);
	return reader_found(a->viewer->reader, &c, c.epoch,
	    e != NULL || !str_is(u->resource, "*") ? 0
		: u->past ? rows_int(rows, row, "start_seq")
			  : c.last_seq);
}

static void
under_known(void *arg, struct rows *rows, const struct error *err)
{
	struct attach *a = arg;

	if (a->viewer == NULL || (a->opening && a->req == NULL)) {
		attach_done(a);
		return;
	}
	if (err != NULL) {
		attach_fail(a, err);
		return;
	}
	if (rows->n > UNDER_MAX) {
		attach_refuse(a, 422, "channels",
		    "these patterns cover more than 10,000 channels");
		return;
	}
	for (int i = 0; i < rows->n; i++)
		if (follow_under(a, rows, i) < 0) {
			attach_refuse(a, 429, "filters",
			    "too many different filters are in use on one of "
			    "these channels");
			return;
		}
	attach_done(a);
}

static void
patient(void *arg, struct rows *rows, const struct error *err)
{
	(void)arg; /* its failing fails what follows */
	(void)rows;
	(void)err;
}

void
under_ask(struct attach *a)
{
	struct db *db = a->streams->o.db;
	struct db_array projects, services, resources, since, none;
	struct error err;
	int past = 0, r;

	db_array_init(&projects, DB_UUID);
	db_array_init(&services, DB_TEXT);
	db_array_init(&resources, DB_TEXT);
	db_array_init(&since, DB_TIMESTAMPTZ);
	db_array_init(&none, DB_UUID);
	for (size_t i = 0; i < a->n_under; i++) {
		struct under *u = &a->under[i];

		reader_pattern(a->viewer->reader, &u->project, u->service,
		    u->resource, u->since_ms);
		past |= u->past;
		db_array_uuid(&projects, &u->project);
		db_array_str(&services, u->service);
		db_array_str(&resources, u->resource);
		db_array_time(&since, db_time_from_ms(u->since_ms));
	}
	db_begin(db);
	r = db_call(db, &sql_patience, patient, a, &err);
	if (r == 0)
		r = db_call(db, &sql_channels_under, under_known, a, &err,
		    db_array(&projects), db_array(&services),
		    db_array(&resources), db_array(&since), db_bool(past),
		    db_array(&none), db_int8(UNDER_MAX + 1));
	db_end(db);
	db_array_deinit(&projects);
	db_array_deinit(&services);
	db_array_deinit(&resources);
	db_array_deinit(&since);
	db_array_deinit(&none);
	if (r < 0)
		attach_fail(a, &err);
}
