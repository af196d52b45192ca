#include "realtime/stats.h"
#include "core/json.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/time.h"
#include "realtime/realtime-sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TICK_MS = 5000, STATUSES = 32, LABEL = 16 };

struct stats {
	struct loop *loop;
	struct stats_options o;
	const struct server *server;
	struct loop_timer *tick;
	int64_t began_ms;
	int serving, draining;
	struct list asking;
	struct metric *seconds;
	/* webhooks: up to now, by the last heartbeat, by the last one heard */
	struct tolls {
		uint64_t taken, failed;
	} now, said, heard;
	struct status {
		int status;
		char label[LABEL];
		struct metric *count;
	} statuses[STATUSES];
};

/* An admin whose right to ask is being looked up. */
struct admin {
	struct list link; /* stats->asking */
	struct stats *stats;
	struct request *req; /* NULL: the client left */
};

static void
health(void *arg, struct request *req)
{
	struct stats *s = arg;
	int ready = s->serving && db_ready(s->o.db) && !s->draining;
	char id[UUID_TEXT];
	struct buf body;

	buf_init(&body);
	buf_addf(&body,
	    "{\"status\":\"%s\",\"version\":\"%s\",\"gateway\":\"%s\","
	    "\"database\":\"%s\",\"uptime_s\":%lld}",
	    ready             ? "ok"
		: s->draining ? "ending"
			      : "unavailable",
	    s->o.version, uuid_format(&s->o.gateway, id),
	    s->serving && db_ready(s->o.db) ? "ready" : "away",
	    (long long)(loop_now_ms(s->loop) - s->began_ms) / 1000);
	request_reply(req,
	    &(struct reply){ .status = ready ? 200 : 503,
		.headers = ready ? "Cache-Control: no-store\r\n"
				 : "Cache-Control: no-store\r\n"
				   "Retry-After: 2\r\n",
		.body = buf_str(&body) });
	buf_deinit(&body);
}

/* Admins ---------------------------------------------------------------------- */

static void
reply_stats(struct stats *s, struct request *req)
{
	char id[UUID_TEXT];
	struct buf body;

	buf_init(&body);
	buf_addf(&body,
	    "{\"gateway\":\"%s\",\"version\":\"%s\",\"uptime_s\":%lld,"
	    "\"metrics\":",
	    uuid_format(&s->o.gateway, id), s->o.version,
	    (long long)(loop_now_ms(s->loop) - s->began_ms) / 1000);
	metrics_json(s->o.metrics, &body);
	buf_addc(&body, '}');
	request_reply(req,
	    &(struct reply){ .status = 200,
		.headers = "Cache-Control: no-store\r\n",
		.body = buf_str(&body) });
	buf_deinit(&body);
}

static struct request *
admin_end(struct admin *a)
{
	struct request *req = a->req;

	list_remove(&a->link);
	free(a);
	if (req != NULL)
		req->gone = NULL;
	return req;
}

static void
admin_gone(struct request *req)
{
	struct admin *a = req->owner;

	a->req = NULL; /* the database's answer ends it */
}

static void
admin_known(void *arg, struct rows *rows, const struct error *err)
{
	struct admin *a = arg;
	struct stats *s = a->stats;
	struct request *req = admin_end(a);

	if (err != NULL && err->fault != FAULT_RETRY)
		log_warn("stats.admin", E_(err));
	if (req == NULL)
		return;
	if (err != NULL)
		request_problem(req,
		    &(struct problem){ .status = 503,
			.kind = "unavailable",
			.detail = "the database can't be asked now",
			.headers = "Retry-After: 2\r\n" });
	else if (rows->n == 0 || !rows_bool(rows, 0, "admin"))
		request_problem(req,
		    &(struct problem){ .status = 403,
			.kind = "role",
			.detail = "this is for service_role and the admins of "
				  "a project" });
	else
		reply_stats(s, req);
}

static void
admin_ask(void *arg, struct request *req, const struct identity *who)
{
	struct stats *s = arg;
	struct admin *a;
	int r;

	if (who->service_role) {
		reply_stats(s, req);
		return;
	}
	if (who->role != IDENTITY_AUTHENTICATED) {
		request_problem(req,
		    &(struct problem){ .status = 403,
			.kind = "role",
			.detail = "this is for service_role and the admins of "
				  "a project" });
		return;
	}
	a = xcalloc(1, sizeof(*a));
	a->stats = s;
	a->req = req;
	list_append(&s->asking, &a->link);
	req->owner = a;
	req->gone = admin_gone;
	db_begin(s->o.db);
	r = identity_become(s->o.db, who, NULL);
	if (r == 0)
		r = db_call(s->o.db, &sql_is_admin, admin_known, a, NULL);
	db_end(s->o.db);
	if (r < 0)
		admin_known(a, NULL,
		    &(struct error){ .fault = FAULT_RETRY, .code = "08003" });
}

static void
admin(void *arg, struct request *req)
{
	struct stats *s = arg;

	identity_check(s->o.identities, req, IDENTITY_USER, admin_ask, s);
}

size_t
stats_routes(struct stats *s, struct route *out)
{
	out[0] = (struct route){ .method = "GET",
		.pattern = "/health",
		.handle = health,
		.arg = s };
	out[1] = (struct route){ .method = "GET",
		.pattern = "/admin/logs/stats",
		.handle = admin,
		.arg = s };
	return 2;
}

/* Counting -------------------------------------------------------------------- */

/* What the sender did wrong counts for nothing. */
static void
count_webhook(struct stats *s, int status)
{
	s->now.taken += status < 300;
	s->now.failed += status >= 500;
}

void
stats_answered(void *arg, const struct request *req, int status)
{
	struct stats *s = arg;
	struct status *x = s->statuses;

	if (req->route != NULL &&
	    strncmp(req->route->pattern, "/hooks/", 7) == 0)
		count_webhook(s, status);

	while (x < s->statuses + STATUSES - 1 && x->status != 0 &&
	    x->status != status)
		x++;
	if (x->status == 0) {
		x->status = status;
		snprintf(x->label, sizeof(x->label), "status=\"%d\"", status);
		x->count = metrics_counter(s->o.metrics,
		    "meshhook_http_answers", x->label, "Answers by status.");
	}
	metric_add(x->count, 1);
	metric_observe(s->seconds, time_mono_us() - req->began_us);
}

static void
add_tolls(struct buf *out, const char *name, const struct tolls *t)
{
	buf_addf(out,
	    ",\"%s\":{\"intake.accepted\":%llu,\"intake.failed\":%llu}", name,
	    (unsigned long long)t->taken, (unsigned long long)t->failed);
}

void
stats_heartbeat(struct stats *s, struct buf *out)
{
	struct hub_stats streams;

	hub_stats(s->o.hub, &streams);
	buf_addf(out, "{\"streams\":%llu", (unsigned long long)streams.readers);
	add_tolls(out, "counted", &s->now);
	add_tolls(out, "told", &s->heard);
	buf_addc(out, '}');
	s->said = s->now;
}

void
stats_heard(struct stats *s)
{
	s->heard = s->said;
}

static double
connections(void *arg)
{
	const struct stats *s = arg;

	return s->server != NULL ? server_connections(s->server) : 0;
}

static double
database(void *arg)
{
	const struct stats *s = arg;

	return s->serving && db_ready(s->o.db);
}

static double
outstanding(void *arg)
{
	const struct stats *s = arg;

	return db_outstanding(s->o.db);
}

/* One function a number, each read when it is printed. */
#define HUB_NUMBER(member)                                                     \
	static double hub_##member(void *arg)                                  \
	{                                                                      \
		const struct stats *s = arg;                                   \
		struct hub_stats now;                                          \
                                                                               \
		hub_stats(s->o.hub, &now);                                     \
		return (double)now.member;                                     \
	}
HUB_NUMBER(readers)
HUB_NUMBER(topics)
HUB_NUMBER(behind)
HUB_NUMBER(ring_bytes)
HUB_NUMBER(lines)
HUB_NUMBER(events)
HUB_NUMBER(bytes)
HUB_NUMBER(slow)

static const struct number {
	const char *name, *help;
	metric_fn *read;
	int counts; /* up only */
} numbers[] = {
	{ "meshhook_connections", "Clients that are connected.", connections,
	    0 },
	{ "meshhook_database_up", "Whether the database is there.", database,
	    0 },
	{ "meshhook_database_calls",
	    "Statements that were sent and not answered.", outstanding, 0 },
	{ "meshhook_streams", "Streams open.", hub_readers, 0 },
	{ "meshhook_stream_channels", "Channels that somebody here follows.",
	    hub_topics, 0 },
	{ "meshhook_stream_lag",
	    "Followed channels whose reader is behind and reads pages.",
	    hub_behind, 0 },
	{ "meshhook_stream_ring_bytes", "Lines kept for readers.",
	    hub_ring_bytes, 0 },
	{ "meshhook_stream_lines", "Lines sent to readers.", hub_lines, 1 },
	{ "meshhook_stream_events", "Events sent to readers.", hub_events, 1 },
	{ "meshhook_stream_bytes", "Bytes sent to readers.", hub_bytes, 1 },
	{ "meshhook_stream_drops",
	    "Readers that were cut since they read too slowly.", hub_slow, 1 },
};

static void
tick(void *arg)
{
	struct stats *s = arg;

	metrics_tick(s->o.metrics, loop_now_ms(s->loop));
}

struct stats *
stats_new(struct loop *loop, const struct stats_options *options)
{
	struct stats *s = xcalloc(1, sizeof(*s));
	struct metrics *m = options->metrics;

	s->loop = loop;
	s->o = *options;
	s->began_ms = loop_now_ms(loop);
	list_init(&s->asking);
	s->tick = loop_timer_new(loop, tick, s);
	loop_timer_every(s->tick, TICK_MS);
	for (const struct number *n = numbers; n < numbers + NELEM(numbers);
	     n++)
		(n->counts ? metrics_counter_of : metrics_gauge)(
		    m, n->name, NULL, n->help, n->read, s);
	s->seconds = metrics_histogram(m, "meshhook_http_seconds", NULL,
	    "From a request's head to its answer.");
	return s;
}

struct stats *
stats_free(struct stats *s)
{
	if (s == NULL)
		return NULL;
	while (!list_empty(&s->asking)) {
		struct admin *a =
		    list_entry(s->asking.next, struct admin, link);

		a->req = NULL;
		admin_end(a);
	}
	loop_timer_free(s->tick);
	free(s);
	return NULL;
}

void
stats_server(struct stats *s, const struct server *server)
{
	s->server = server;
}

void
stats_database(struct stats *s, int there)
{
	s->serving = there;
}

void
stats_draining(struct stats *s)
{
	s->draining = 1;
}
