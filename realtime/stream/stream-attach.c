/* Attaching: its beginning, and its ends: refused, left, or attached. */
#include "realtime/stream/stream-attach.h"
#include "core/log.h"
#include "core/mem.h"

#include <stdlib.h>
#include <string.h>

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

struct attach *
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

void
attach_refuse(
    struct attach *a, int status, const char *kind, const char *detail)
{
	give_up(a,
	    &(struct problem){ .status = status,
		.kind = kind,
		.detail = detail,
		.headers = status == 503 ? "Retry-After: 2\r\n"
		    : status == 429      ? "Retry-After: 5\r\n"
					 : NULL });
}

void
attach_fail(struct attach *a, const struct error *err)
{
	if (strncmp(err->code, "22", 2) == 0) {
		attach_refuse(a, 400, "channel", "a channel is no text");
	} else if (strcmp(err->code, "42501") == 0) {
		attach_refuse(
		    a, 403, "identity", "this token's role follows nothing");
	} else if (strcmp(err->code, "57014") == 0) {
		attach_refuse(
		    a, 503, "slow", "this takes too long; ask for less time");
	} else {
		if (err->fault != FAULT_RETRY)
			log_error("stream.attach", E_(err));
		attach_refuse(
		    a, 503, "unavailable", "the database can't be reached");
	}
}

struct hub_channel
attach_stand(struct rows *rows, int row)
{
	struct hub_channel c = {
		.epoch = (int)rows_int(rows, row, "epoch"),
		.last_seq = rows_int(rows, row, "last_seq"),
		.final_seq = rows_null(rows, row, "final_seq")
		    ? -1
		    : rows_int(rows, row, "final_seq"),
	};

	rows_uuid(rows, row, "channel_id", &c.id);
	rows_uuid(rows, row, "project_id", &c.project);
	return c;
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

void
attach_done(struct attach *a)
{
	if (a->viewer == NULL)
		attach_refuse(a, 404, "stream", "the stream has ended");
	else if (a->opening && a->req == NULL)
		give_up(a, NULL);
	else if (a->opening)
		start(a);
	else
		changed(a);
}
