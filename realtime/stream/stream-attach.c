/*
 * Attaching: from the names of channels to a reader that follows them.
 *
 *     as the user   attach(): the channels, where they stand, what is refused
 *     as ourselves  channels_under(): what there is under patterns
 *     start         the reply, `ready`, then what is behind the cursor
 *
 * The client may leave, and a viewer may be over, between any two of them.
 */
#include "core/log.h"
#include "core/mem.h"
#include "core/time.h"
#include "realtime/stream/stream-impl.h"
#include "realtime/realtime-sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	RESUME_OVERLAP_MS = 30000, /* of a pattern's time, see cursor.h */
	UNDER_MAX = 10000,         /* channels that patterns cover at first */
};

/* A pattern, or a channel that is not there yet. */
struct under {
	struct uuid project;
	struct str service, resource;
	int64_t since_ms;
	int past; /* lines from since_ms on are wanted */
};

struct attach {
	struct list link; /* streams->attaching */
	struct streams *streams;
	struct request *req;   /* NULL: the client left, or there is none */
	struct viewer *viewer; /* NULL: not made yet, or over */
	int opening;
	struct arena arena;
	struct stream_query q;
	struct identity *who;
	struct under under[STREAM_CHANNELS];
	size_t n_under;
	struct json *channels; /* for `ready` */
};

static void
attach_free(struct attach *a)
{
	if (a->req != NULL)
		a->req->gone = NULL;
	list_remove(&a->link);
	identity_free(a->who);
	arena_deinit(&a->arena);
	free(a);
}

static void
attach_left(struct request *req)
{
	struct attach *a = req->owner;

	a->req = NULL;
}

static struct attach *
attach_new(struct streams *s, struct request *req, const struct identity *who)
{
	struct attach *a = xcalloc(1, sizeof(*a));

	a->streams = s;
	a->req = req;
	a->who = identity_keep(who);
	a->q.since_ms = INT64_MIN;
	a->q.tail = -1;
	arena_init(&a->arena);
	list_append(&s->attaching, &a->link);
	if (req != NULL) {
		req->owner = a;
		req->gone = attach_left;
	}
	return a;
}

void
attach_forget(struct viewer *x)
{
	list_for (it, &x->streams->attaching) {
		struct attach *a = list_entry(it, struct attach, link);

		if (a->viewer == x)
			a->viewer = NULL;
	}
}

void
attach_free_all(struct streams *s)
{
	while (!list_empty(&s->attaching))
		attach_free(list_entry(s->attaching.next, struct attach, link));
}

/* The end of it, when it came to nothing. */
static void
give_up(struct attach *a, const struct problem *p)
{
	struct request *req = a->req;
	struct viewer *x = a->opening ? a->viewer : NULL;

	if (req != NULL) {
		req->gone = NULL;
		a->req = NULL;
		request_problem(req, p); /* whose text may be in the arena */
	}
	attach_free(a);
	if (x != NULL)
		viewer_free(x); /* never started */
}

static void
refuse(struct attach *a, int status, const char *kind, const char *detail)
{
	give_up(a,
	    &(struct problem){ .status = status,
		.kind = kind,
		.detail = detail,
		.headers = status == 503 ? "Retry-After: 2\r\n"
		    : status == 429      ? "Retry-After: 5\r\n"
					 : NULL });
}

/* The database refused, or can't be reached. */
static void
refuse_error(struct attach *a, const struct error *err)
{
	if (strncmp(err->code, "22", 2) == 0) {
		refuse(a, 400, "channel", "a channel is no text");
	} else if (strcmp(err->code, "42501") == 0) {
		refuse(a, 403, "identity", "this token's role follows nothing");
	} else if (strcmp(err->code, "57014") == 0) {
		refuse(
		    a, 503, "slow", "this takes too long; ask for less time");
	} else {
		if (err->fault != FAULT_RETRY)
			log_error("stream.attach", E_(err));
		refuse(a, 503, "unavailable", "the database can't be reached");
	}
}

static void
became(void *arg, struct rows *rows, const struct error *err)
{
	(void)arg; /* its failing fails what follows */
	(void)rows;
	(void)err;
}

/* The answer -------------------------------------------------------------- */

static struct str
ready_text(struct attach *a)
{
	struct arena *m = &a->arena;
	struct json *v = json_object(m);
	char id[UUID_TEXT];

	json_set(
	    m, v, "stream", json_cstring(m, uuid_format(&a->viewer->id, id)));
	json_set(m, v, "channels", a->channels);
	return json_text(m, v);
}

static void
start(struct attach *a)
{
	static const struct reply head = { .status = 200,
		.type = "text/event-stream",
		.headers =
		    "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n" };
	struct viewer *x = a->viewer;
	struct request *req = a->req;
	struct buf *b = &a->streams->event;

	reader_settle(x->reader);
	buf_clear(b);
	sse_event(b, "ready", ready_text(a), reader_id(x->reader));
	attach_free(a);
	reader_start(x->reader, req, &head, buf_str(b));
	peers_ticket(x);
}

/* Of a stream that runs: say what it follows beside the rest now. */
static void
changed(struct attach *a)
{
	struct viewer *x = a->viewer;
	struct request *req = a->req;
	struct buf *b = &a->streams->event;
	struct str body;

	reader_settle(x->reader);
	buf_clear(b);
	sse_event(b, "ready", ready_text(a), reader_id(x->reader));
	reader_event(x->reader, buf_str(b));
	if (req == NULL) {
		attach_free(a);
		return;
	}
	body = ready_text(a);
	req->gone = NULL;
	a->req = NULL;
	request_reply(req, &(struct reply){ .status = 200, .body = body });
	attach_free(a);
}

static void
attached(struct attach *a)
{
	if (a->viewer == NULL)
		refuse(a, 404, "stream", "the stream has ended");
	else if (a->opening && a->req == NULL)
		give_up(a, NULL);
	else if (a->opening)
		start(a);
	else
		changed(a);
}

/* What there is under patterns -------------------------------------------- */

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
	struct hub_channel c = {
		.epoch = (int)rows_int(rows, row, "epoch"),
		.last_seq = rows_int(rows, row, "last_seq"),
		.final_seq = rows_null(rows, row, "final_seq")
		    ? -1
		    : rows_int(rows, row, "final_seq"),
	};
	const struct cursor_entry *e;
	const struct under *u;
	char project[UUID_TEXT];

	rows_uuid(rows, row, "channel_id", &c.id);
	rows_uuid(rows, row, "project_id", &c.project);
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
		attached(a);
		return;
	}
	if (err != NULL) {
		refuse_error(a, err);
		return;
	}
	if (rows->n > UNDER_MAX) {
		refuse(a, 422, "channels",
		    "these patterns cover more than 10,000 channels");
		return;
	}
	for (int i = 0; i < rows->n; i++)
		if (follow_under(a, rows, i) < 0) {
			refuse(a, 429, "filters",
			    "too many different filters are in use on one of "
			    "these channels");
			return;
		}
	attached(a);
}

static void
ask_under(struct attach *a)
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
	r = db_call(db, &sql_patience, became, a, &err);
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
		refuse(a, 503, "unavailable", "the database can't be reached");
}

/* Where channels stand ---------------------------------------------------- */

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

static void
take_pattern(struct attach *a, struct rows *rows, int row, int64_t at_ms)
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

static int
take_channel(struct attach *a, struct rows *rows, int row)
{
	struct hub_channel c = {
		.channel = rows_str(rows, row, "channel"),
		.epoch = (int)rows_int(rows, row, "epoch"),
		.last_seq = rows_int(rows, row, "last_seq"),
		.final_seq = rows_null(rows, row, "final_seq")
		    ? -1
		    : rows_int(rows, row, "final_seq"),
	};
	const struct cursor_entry *e =
	    cursor_get(&a->q.cursor, cursor_key(c.channel));
	int64_t seq = c.last_seq;

	rows_uuid(rows, row, "channel_id", &c.id);
	rows_uuid(rows, row, "project_id", &c.project);
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
			refuse(a, malformed ? 400 : 404, "channel",
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
			refuse(a, 429, "streams",
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
			take_pattern(a, rows, i, at_ms);
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
		refuse_error(a, err);
		return;
	}
	if ((a->opening && a->req == NULL) ||
	    (!a->opening && a->viewer == NULL)) {
		attached(a);
		return;
	}
	if (refused(a, rows))
		return;
	if (a->opening && a->q.resumed && all_over(a, rows)) {
		refuse(a, 204, NULL, NULL);
		return;
	}
	if (a->opening)
		a->viewer =
		    viewer_new(a->streams, a->who, filter_new(&a->q.filter));
	if (take_rows(a, rows) < 0)
		refuse(a, 429, "filters",
		    "too many different filters are in use on one of these "
		    "channels");
	else if (reader_count(a->viewer->reader) + a->n_under > STREAM_CHANNELS)
		refuse(
		    a, 422, "channels", "a stream follows 50 channels at most");
	else if (a->n_under > 0)
		ask_under(a);
	else
		attached(a);
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
		refuse(a, 503, "unavailable", "the database can't be reached");
}

void
attach_open(struct streams *s, struct request *req, const struct identity *who)
{
	struct attach *a = attach_new(s, req, who);
	struct error err;

	a->opening = 1;
	if (stream_query_read(&a->arena, &req->head, &a->q, &err) < 0)
		refuse(a, 400, err.code, err.text);
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
		refuse(a, 400, "body",
		    "{\"add\": [...], \"remove\": [...]}, at most 50 each");
	else if (reader_count(x->reader) + a->q.n_add >
	    STREAM_CHANNELS + (a->q.n_names - a->q.n_add))
		refuse(
		    a, 422, "channels", "a stream follows 50 channels at most");
	else
		ask_channels(a);
}
