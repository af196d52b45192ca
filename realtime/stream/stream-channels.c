/* Channels by their names, asked for as the user: to open a stream, or to change
 * what one follows. */
#include "core/time.h"
#include "realtime/stream/stream-attach.h"
#include "realtime/realtime-sql.h"

#include <string.h>

static void
describe(struct attach *a, struct rows *rows, int row)
{
	struct arena *m = &a->arena;
	struct json *v = json_object(m);

	json_set(
	    m, v, "channel", json_string(m, rows_str(rows, row, "channel")));
	if (!rows_null(rows, row, "channel_id")) {
		json_set(
		    m, v, "epoch", json_int(m, rows_int(rows, row, "epoch")));
		json_set(m, v, "last_seq",
		    json_int(m, rows_int(rows, row, "last_seq")));
		json_set(m, v, "ended",
		    json_bool(!rows_null(rows, row, "final_seq")));
	}
	json_push(m, a->channels, v);
}

static int
take_channel(struct attach *a, struct rows *rows, int row)
{
	struct str name = rows_str(rows, row, "channel");
	struct hub_channel c = attach_stand(rows, row);
	const struct cursor_entry *e =
	    cursor_get(&a->q.cursor, cursor_key(name));
	int64_t seq = c.last_seq;

	c.channel = name;
	if (e != NULL && e->epoch == CURSOR_ABSENT)
		seq = 0;
	else if (e != NULL && e->epoch != CURSOR_PATTERN)
		return reader_follow(
		    a->viewer->reader, &c, epoch_of(e, &c), e->seq);
	else if (!a->q.resumed && a->q.since_ms != INT64_MIN)
		seq = rows_int(rows, row, "start_seq");
	else if (!a->q.resumed && a->q.tail >= 0)
		seq = c.last_seq > a->q.tail ? c.last_seq - a->q.tail : 0;
	return reader_follow(a->viewer->reader, &c, c.epoch, seq);
}

/* Has the reader, by its cursor, seen all that there will ever be? */
static int
all_over(const struct attach *a, struct rows *rows)
{
	for (int i = 0; i < rows->n; i++) {
		const struct cursor_entry *e = cursor_get(
		    &a->q.cursor, cursor_key(rows_str(rows, i, "channel")));

		if (e == NULL || rows_null(rows, i, "final_seq") ||
		    (int64_t)e->epoch != rows_int(rows, i, "epoch") ||
		    e->seq < rows_int(rows, i, "final_seq"))
			return 0;
	}
	return 1;
}

/* 1: a channel was refused, and that was said. */
static int
refused(struct attach *a, struct rows *rows)
{
	struct streams *s = a->streams;

	for (int i = 0; i < rows->n; i++) {
		struct str error = rows_str(rows, i, "error");
		struct uuid project;
		int malformed = error.s != NULL && str_is(error, "malformed");
		struct str name = a->q.names[i];

		if (error.s != NULL) {
			attach_refuse(a, malformed ? 400 : 404, "channel",
			    arena_printf(&a->arena,
				malformed
				    ? "\"%.*s\" is no channel: it is "
				      "logs:{service}:{project}:{resource}"
				    : "there is no channel \"%.*s\"",
				(int)(name.n < 200 ? name.n : 200), name.s));
			return 1;
		}
		rows_uuid(rows, i, "project_id", &project);
		if (a->opening &&
		    tally_count(&s->projects, &project, &(struct uuid){ 0 }) >=
			s->o.of_project) {
			attach_refuse(a, 429, "streams",
			    "this project has as many streams open as one "
			    "may");
			return 1;
		}
	}
	return 0;
}

static int
take_rows(struct attach *a, struct rows *rows)
{
	int64_t at_ms = rows_time_ms(rows, 0, "at");

	tail_clock(hub_tail(a->streams->hub), at_ms);
	for (int i = 0; i < rows->n; i++) {
		struct uuid project;

		if ((size_t)i >= a->q.n_add) {
			reader_drop(
			    a->viewer->reader, rows_str(rows, i, "channel"));
			continue;
		}
		rows_uuid(rows, i, "project_id", &project);
		viewer_project(a->viewer, &project);
		describe(a, rows, i);
		if (rows_null(rows, i, "channel_id"))
			under_add(a, rows, i, at_ms);
		else if (take_channel(a, rows, i) < 0)
			return -1;
	}
	return 0;
}

/* What was asked as the user is known. */
static void
channels_known(void *arg, struct rows *rows, const struct error *err)
{
	struct attach *a = arg;

	if (err != NULL) {
		attach_fail(a, err);
		return;
	}
	if ((a->opening && a->req == NULL) ||
	    (!a->opening && a->viewer == NULL)) {
		attach_done(a);
		return;
	}
	if (refused(a, rows))
		return;
	if (a->opening && a->q.resumed && all_over(a, rows)) {
		attach_refuse(a, 204, NULL, NULL);
		return;
	}
	if (a->opening)
		a->viewer =
		    viewer_new(a->streams, a->who, filter_new(&a->q.filter));
	if (take_rows(a, rows) < 0)
		attach_refuse(a, 429, "filters",
		    "too many different filters are in use on one of these "
		    "channels");
	else if (reader_count(a->viewer->reader) + a->n_under > STREAM_CHANNELS)
		attach_refuse(
		    a, 422, "channels", "a stream follows 50 channels at most");
	else if (a->n_under > 0)
		under_ask(a);
	else
		attach_done(a);
}

static void
ask_channels(struct attach *a)
{
	struct db *db = a->streams->o.db;
	struct db_array names;
	struct error err;
	int r;

	a->channels = json_array(&a->arena);
	db_array_init(&names, DB_TEXT);
	for (size_t i = 0; i < a->q.n_names; i++)
		db_array_str(&names, a->q.names[i]);
	db_begin(db);
	r = identity_become(db, a->who, &err);
	if (r == 0)
		r = db_call(db, &sql_attach, channels_known, a, &err,
		    db_array(&names),
		    a->q.since_ms == INT64_MIN
			? db_null(DB_TIMESTAMPTZ)
			: db_time(db_time_from_ms(a->q.since_ms)));
	db_end(db);
	db_array_deinit(&names);
	if (r < 0)
		attach_fail(a, &err);
}

void
attach_open(struct streams *s, struct request *req, const struct identity *who)
{
	struct attach *a = attach_new(s, req, who);
	struct error err;

	a->opening = 1;
	if (stream_query_read(&a->arena, &req->head, &a->q, &err) < 0)
		attach_refuse(a, 400, err.code, err.text);
	else
		ask_channels(a);
}

void
attach_change(struct viewer *x, struct request *req, const struct json *v,
    const struct identity *who)
{
	struct attach *a = attach_new(x->streams, req, who);
	int bad;

	a->viewer = x;
	bad = stream_query_names(&a->arena, &a->q, json_get(v, "add")) < 0;
	a->q.n_add = a->q.n_names;
	if (bad ||
	    stream_query_names(&a->arena, &a->q, json_get(v, "remove")) < 0 ||
	    a->q.n_names == 0)
		attach_refuse(a, 400, "body",
		    "{\"add\": [...], \"remove\": [...]}, at most 50 each");
	else if (reader_count(x->reader) + a->q.n_add >
	    STREAM_CHANNELS + (a->q.n_names - a->q.n_add))
		attach_refuse(
		    a, 422, "channels", "a stream follows 50 channels at most");
	else
		ask_channels(a);
}
