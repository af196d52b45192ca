#include "realtime/lines/history.h"
#include "core/json.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/time.h"
#include "realtime/lines/history-impl.h"
#include "realtime/limit/rate.h"
#include "realtime/realtime-sql.h"
#include "realtime/wire/sse.h"
#include "realtime/wire/query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct history {
	struct loop *loop;
	struct history_options o;
	struct rates rates;
	struct metric *lines, *seconds;
	struct list waiting;     /* in order of their coming */
	struct list asking;      /* at most one */
	struct loop_timer *rest; /* until the next may ask */
	size_t n_waiting;
	int resting;
};

/* A request whose lines are read, or waits for it. */
struct asking {
	struct list link; /* history->waiting or ->asking */
	struct history *history;
	struct request *req; /* NULL: the client left */
	struct arena arena;
	struct history_query q;
	struct identity *who; /* while it waits */
	int64_t began_us, asked_us;
};

/* The query ------------------------------------------------------------------ */

/* A moment, or how long before now. -1 when it is neither. */
static int
time_get(struct str s, int64_t now_ms, int64_t *out)
{
	int64_t ago;

	if (time_parse(s, out) == 0)
		return 0;
	if (duration_parse(s, &ago) < 0 || ago > now_ms)
		return -1;
	*out = now_ms - ago;
	return 0;
}

/* "<us>.<channel>.<seq>": the line that the page begins after. */
static int
cursor_get(struct str s, struct history_query *q)
{
	char text[128], *end;

	if (s.n >= sizeof(text))
		return -1;
	memcpy(text, s.s, s.n);
	text[s.n] = '\0';
	q->after_us = strtoll(text, &end, 10);
	if (end == text || *end != '.' ||
	    uuid_parse(
		(struct str){ end + 1, UUID_TEXT - 1 }, &q->after_channel) < 0)
		return -1;
	end += UUID_TEXT;
	if (*end != '.')
		return -1;
	q->after_seq = strtoll(end + 1, &end, 10);
	q->has_after = 1;
	return *end == '\0' && q->after_seq >= 0 ? 0 : -1;
}

static const char *
attrs_get(struct arena *a, struct str query, struct history_query *q)
{
	struct json *attrs = json_object(a);

	while (query.n > 0) {
		const char *amp = memchr(query.s, '&', query.n);
		size_t n = amp != NULL ? (size_t)(amp - query.s) : query.n;
		struct str pair = { query.s, n }, key, value;
		const char *eq = memchr(pair.s, '=', pair.n);

		n += amp != NULL;
		query = (struct str){ query.s + n, query.n - n };
		if (eq == NULL || strncmp(pair.s, "attr.", 5) != 0)
			continue;
		key = (struct str){ pair.s, (size_t)(eq - pair.s) };
		if (query_get(a, pair, arena_strndup(a, key.s, key.n), &value) <
		    0)
			return "a parameter is not percent-encoded";
		if (query_decode(
			a, (struct str){ key.s + 5, key.n - 5 }, &key) < 0 ||
		    key.n == 0 || attrs->n == HISTORY_ATTRS)
			return "up to 8 attributes: attr.NAME=VALUE";
		json_set_str(a, attrs, key, json_string(a, value));
	}
	if (json_storable(attrs, NULL) < 0)
		return "an attribute has a NUL character";
	if (attrs->n > 0)
		q->attrs = json_text(a, attrs);
	return NULL;
}

static const char *
paging_get(struct arena *a, struct str query, struct history_query *q)
{
	struct str v;

	if (query_get(a, query, "limit", &v) < 0)
		return "limit is a number";
	q->limit = 100;
	if (v.s != NULL) {
		char *end;

		q->limit = (int32_t)strtol(v.s, &end, 10);
		if (v.n == 0 || v.n > 4 || *end != '\0' || q->limit < 1 ||
		    q->limit > HISTORY_LINES)
			return "limit is 1 to 1000";
	}
	if (query_get(a, query, "order", &v) < 0 ||
	    (v.s != NULL && !str_is(v, "asc") && !str_is(v, "desc")))
		return "order is asc or desc";
	q->descending = v.s != NULL && str_is(v, "desc");
	if (query_get(a, query, "cursor", &v) < 0 ||
	    (v.s != NULL && cursor_get(v, q) < 0))
		return "the cursor is none that was given out";
	return NULL;
}

/* What is wrong with it; NULL: nothing. */
static const char *
query_read(struct arena *a, struct str query, struct history_query *q)
{
	int64_t now = time_wall_ms();
	const char *wrong;
	struct str v;

	q->query = query;
	if (query_get(a, query, "channels", &q->channels) < 0 ||
	    q->channels.n == 0)
		return "channels=logs:{service}:{project}:{resource},... is "
		       "missing";
	if (memchr(q->channels.s, '\0', q->channels.n) != NULL)
		return "a channel has a NUL character";
	q->level = 1;
	if (query_get(a, query, "level", &v) < 0 ||
	    (v.s != NULL && (q->level = sse_level(v)) < 0))
		return "level is none of trace, debug, info, warn, error, "
		       "fatal, nor 1 to 24";
	if (query_get(a, query, "q", &q->text) < 0 ||
	    q->text.n > HISTORY_TEXT ||
	    (q->text.n > 0 && memchr(q->text.s, '\0', q->text.n) != NULL))
		return "q is a text of up to 512 bytes";
	q->since_ms = q->until_ms = HISTORY_NO_TIME;
	if (query_get(a, query, "since", &v) < 0 ||
	    (v.s != NULL && time_get(v, now, &q->since_ms) < 0))
		return "since is neither RFC 3339 nor a duration";
	if (query_get(a, query, "until", &v) < 0 ||
	    (v.s != NULL && time_get(v, now, &q->until_ms) < 0))
		return "until is neither RFC 3339 nor a duration";
	wrong = attrs_get(a, query, q);
	return wrong != NULL ? wrong : paging_get(a, query, q);
}

static const char *
format_read(
    struct arena *a, const struct http1_head *head, struct history_query *q)
{
	struct str accept = http1_get(head, "accept"), v;

	if (query_get(a, head->query, "format", &v) < 0)
		return "format is json, ndjson or csv";
	if (v.s == NULL && accept.s != NULL)
		q->format = memmem(accept.s, accept.n, "ndjson", 6) != NULL
		    ? HISTORY_NDJSON
		    : memmem(accept.s, accept.n, "text/csv", 8) != NULL
		    ? HISTORY_CSV
		    : HISTORY_JSON;
	else if (v.s == NULL || str_is(v, "json"))
		q->format = HISTORY_JSON;
	else if (str_is(v, "ndjson"))
		q->format = HISTORY_NDJSON;
	else if (str_is(v, "csv"))
		q->format = HISTORY_CSV;
	else
		return "format is json, ndjson or csv";
	return NULL;
}

/* Reading -------------------------------------------------------------------- */

static struct request *
asking_end(struct asking *a)
{
	struct request *req = a->req;

	list_remove(&a->link);
	identity_free(a->who);
	arena_deinit(&a->arena);
	free(a);
	if (req != NULL)
		req->gone = NULL;
	return req;
}

static void
asking_gone(struct request *req)
{
	struct asking *a = req->owner;

	a->req = NULL;
	if (a->who == NULL) /* the database's answer ends it */
		return;
	a->history->n_waiting--;
	asking_end(a);
}

static void
answer_error(struct request *req, const struct error *err)
{
	struct problem p = { .status = 503,
		.kind = "unavailable",
		.detail = "the database can't be asked now",
		.headers = "Retry-After: 2\r\n" };

	if (strcmp(err->code, "PT404") == 0)
		p = (struct problem){ .status = 404,
			.kind = "channel",
			.detail = "there is no such project, or it is none of "
				  "yours" };
	else if (strcmp(err->code, "42501") == 0)
		p = (struct problem){ .status = 403,
			.kind = "role",
			.detail = "this is for signed-in users" };
	else if (strncmp(err->code, "22", 2) == 0)
		p = (struct problem){ .status = 400,
			.kind = "query",
			.detail = "channels are up to 50 names "
				  "logs:{service}:{project}:{resource}, and a "
				  "page goes on in one of them" };
	else if (strcmp(err->code, "57014") == 0)
		p.detail = "this took too long; ask for less time, or for "
			   "channels by name";
	else
		log_warn("history.failed", E_(err));
	request_problem(req, &p);
}

/* The connection is others' now, for as long as it was ours. */
static void
rest(struct history *h, const struct asking *a)
{
	h->resting = 1;
	loop_timer_set(h->rest, (time_mono_us() - a->asked_us) / 1000);
}

static void
answered(void *arg, struct rows *rows, const struct error *err)
{
	struct asking *a = arg;
	struct history *h = a->history;
	struct reply reply = { .status = 200 };
	struct buf body, headers;
	struct request *req;

	rest(h, a);
	if (err != NULL || a->req == NULL) {
		req = asking_end(a);
		if (req != NULL)
			answer_error(req, err);
		return;
	}
	buf_init(&body);
	buf_init(&headers);
	reply.type = history_write(&body, &headers, &a->q, rows);
	reply.body = buf_str(&body);
	reply.headers = headers.bytes;
	metric_add(h->lines, (uint64_t)rows->n);
	metric_observe(h->seconds, time_mono_us() - a->began_us);
	req = asking_end(a);
	request_reply(req, &reply);
	buf_deinit(&body);
	buf_deinit(&headers);
}

static int
ask(struct asking *a, struct error *err)
{
	const struct history_query *q = &a->q;
	struct db *db = a->history->o.db;
	struct db_param no_time = db_null(DB_TIMESTAMPTZ);
	int r;

	a->asked_us = time_mono_us();
	db_begin(db);
	r = identity_become(db, a->who, err);
	if (r == 0)
		r = db_call(db, &sql_history, answered, a, err,
		    db_str(q->channels), db_int4(q->level),
		    q->since_ms == HISTORY_NO_TIME
			? no_time
			: db_time(db_time_from_ms(q->since_ms)),
		    q->until_ms == HISTORY_NO_TIME
			? no_time
			: db_time(db_time_from_ms(q->until_ms)),
		    q->text.n > 0 ? db_str(q->text) : db_null(DB_TEXT),
		    db_jsonb(q->attrs), db_bool(q->descending),
		    q->has_after ? db_time(q->after_us) : no_time,
		    db_uuid(q->has_after ? &q->after_channel : NULL),
		    q->has_after ? db_int8(q->after_seq) : db_null(DB_INT8),
		    db_int4(q->limit));
	db_end(db);
	a->who = identity_free(a->who);
	return r;
}

static void
ask_next(void *arg)
{
	struct history *h = arg;

	h->resting = 0;
	while (list_empty(&h->asking) && !list_empty(&h->waiting)) {
		struct asking *a =
		    list_entry(h->waiting.next, struct asking, link);
		struct error err;

		list_remove(&a->link);
		h->n_waiting--;
		list_append(&h->asking, &a->link);
		if (ask(a, &err) < 0)
			answer_error(asking_end(a), &err);
	}
}

static int
admitted(struct history *h, struct request *req, const struct identity *who)
{
	int wait = rate_take(&h->rates, &who->user, 1, loop_now_ms(h->loop));
	char retry[40];

	if (wait == 0)
		return 1;
	snprintf(retry, sizeof(retry), "Retry-After: %d\r\n", wait);
	request_problem(req,
	    &(struct problem){ .status = 429,
		.kind = "rate",
		.detail = "too many requests of this user",
		.headers = retry });
	return 0;
}

static void
user_known(void *arg, struct request *req, const struct identity *who)
{
	struct history *h = arg;
	struct asking *a;
	const char *wrong;

	if (!admitted(h, req, who))
		return;
	a = xcalloc(1, sizeof(*a));
	arena_init(&a->arena);
	a->history = h;
	a->req = req;
	a->began_us = time_mono_us();
	list_init(&a->link);
	wrong =
	    query_read(&a->arena, arena_str(&a->arena, req->head.query), &a->q);
	if (wrong == NULL)
		wrong = format_read(&a->arena, &req->head, &a->q);
	if (wrong != NULL) {
		request_problem(asking_end(a),
		    &(struct problem){
			.status = 400, .kind = "query", .detail = wrong });
		return;
	}
	if (h->n_waiting == HISTORY_WAITING) {
		request_problem(asking_end(a),
		    &(struct problem){ .status = 503,
			.kind = "overload",
			.detail = "too many pages are being read",
			.headers = "Retry-After: 1\r\n" });
		return;
	}
	a->who = identity_keep(who);
	req->owner = a;
	req->gone = asking_gone;
	list_append(&h->waiting, &a->link);
	h->n_waiting++;
	if (!h->resting)
		ask_next(h);
}

static void
handle(void *arg, struct request *req)
{
	struct history *h = arg;

	identity_check(h->o.identities, req, IDENTITY_USER, user_known, h);
}

size_t
history_routes(struct history *h, struct route *out)
{
	out[0] = (struct route){ .method = "GET",
		.pattern = "/api/logs",
		.handle = handle,
		.arg = h };
	return 1;
}

struct history *
history_new(struct loop *loop, const struct history_options *options)
{
	struct history *h = xcalloc(1, sizeof(*h));

	h->loop = loop;
	h->o = *options;
	h->rates.rate = options->rate;
	list_init(&h->asking);
	list_init(&h->waiting);
	h->rest = loop_timer_new(loop, ask_next, h);
	h->lines = metrics_counter(options->metrics, "meshhook_history_lines",
	    NULL, "Lines that GET /api/logs gave.");
	h->seconds = metrics_histogram(options->metrics,
	    "meshhook_history_seconds", NULL, "Its time, database included.");
	return h;
}

static void
drop(struct list *list)
{
	while (!list_empty(list)) {
		struct asking *a = list_entry(list->next, struct asking, link);

		a->req = NULL;
		asking_end(a);
	}
}

struct history *
history_free(struct history *h)
{
	if (h == NULL)
		return NULL;
	drop(&h->asking);
	drop(&h->waiting);
	loop_timer_free(h->rest);
	free(h);
	return NULL;
}
