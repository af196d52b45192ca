#include "realtime/stream/stream.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/time.h"
#include "realtime/stream/stream-impl.h"
#include "realtime/realtime-sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SECOND_MS = 1000,
	OF_USER = 32,
	OF_PROJECT = 2000,
	RETRY_LEAST_MS = 500,
	RETRY_MOST_MS = 5000,
	RETRY_TAKEN_MS = 60000, /* after somebody else used the ticket */
};

static const struct uuid nobody;

/* Viewers ---------------------------------------------------------------- */

static void
reader_is_over(void *arg, enum reader_end why)
{
	static const char *const names[] = { "left", "ended", "slow",
		"closed" };

	log_debug("stream.end", S_("why", names[why]));
	viewer_free(arg);
}

struct viewer *
viewer_new(struct streams *s, const struct identity *who, struct filter *filter)
{
	static const struct reader_ops ops = { .over = reader_is_over };
	struct viewer *x = xcalloc(1, sizeof(*x));

	x->streams = s;
	uuid_random(&x->id);
	x->user = who->user;
	x->has_ticket = who->kind == IDENTITY_TICKET;
	x->ticket = who->id;
	x->expires_ms = who->expires_ms;
	x->opened_ms = time_wall_ms();
	x->of_user = tally_take(&s->users, &x->user, &nobody);
	x->reader = reader_new(s->hub, filter, &ops, x);
	list_append(&s->viewers, &x->link);
	s->n_viewers++;
	return x;
}

void
viewer_free(struct viewer *x)
{
	struct streams *s = x->streams;

	attach_forget(x);
	reader_free(x->reader);
	for (size_t i = 0; i < x->n_projects; i++) {
		tally_give(&s->members, x->members[i]);
		tally_give(&s->projects, x->projects[i]);
	}
	tally_give(&s->users, x->of_user);
	list_remove(&x->link);
	s->n_viewers--;
	free(x->members);
	free(x->projects);
	free(x);
}

struct viewer *
viewer_find(struct streams *s, const struct uuid *id)
{
	list_for (it, &s->viewers) {
		struct viewer *x = list_entry(it, struct viewer, link);

		if (uuid_cmp(&x->id, id) == 0)
			return x;
	}
	return NULL;
}

void
viewer_project(struct viewer *x, const struct uuid *project)
{
	struct streams *s = x->streams;
	size_t n = x->n_projects;

	for (size_t i = 0; i < n; i++)
		if (uuid_cmp(&x->projects[i]->a, project) == 0)
			return;
	x->members =
	    xrealloc(x->members, (n + 1) * sizeof(struct tally_entry *));
	x->projects =
	    xrealloc(x->projects, (n + 1) * sizeof(struct tally_entry *));
	x->members[n] = tally_take(&s->members, &x->user, project);
	x->projects[n] = tally_take(&s->projects, project, &nobody);
	x->n_projects++;
}

void
viewer_renew(struct viewer *x, int64_t expires_ms)
{
	x->expires_ms = expires_ms;
	x->warned = 0;
}

void
viewer_end(struct viewer *x, int64_t retry_ms)
{
	struct buf *b = &x->streams->event;

	buf_clear(b);
	sse_retry(b, retry_ms);
	reader_event(x->reader, buf_str(b));
	reader_close(x->reader);
}

/* So that not all come back at once. */
static int64_t
retry_ms(void)
{
	struct uuid random;
	uint16_t n;

	uuid_random(&random);
	memcpy(&n, random.bytes, sizeof(n));
	return RETRY_LEAST_MS + n % (RETRY_MOST_MS - RETRY_LEAST_MS);
}

void
viewer_ticket_used(struct streams *s, const struct uuid *ticket,
    const struct viewer *by, int64_t since_ms)
{
	list_for (it, &s->viewers) {
		struct viewer *x = list_entry(it, struct viewer, link);

		if (x->has_ticket && x != by && x->opened_ms <= since_ms &&
		    uuid_cmp(&x->ticket, ticket) == 0)
			viewer_end(x, RETRY_TAKEN_MS);
	}
}

/* From time to time ------------------------------------------------------- */

static void
warn(struct viewer *x, int64_t left_ms)
{
	struct buf *b = &x->streams->event;
	char text[48];
	int n = snprintf(text, sizeof(text), "{\"expires_in\":%lld}",
	    (long long)(left_ms > 0 ? left_ms / 1000 : 0));

	buf_clear(b);
	sse_event(
	    b, "auth", (struct str){ text, (size_t)n }, (struct str){ 0 });
	reader_event(x->reader, buf_str(b));
	x->warned = 1;
}

static void
second(void *arg)
{
	struct streams *s = arg;
	int64_t now = time_wall_ms();

	list_for (it, &s->viewers) {
		struct viewer *x = list_entry(it, struct viewer, link);
		int64_t left = x->expires_ms - now;

		if (x->expires_ms == INT64_MAX || left > STREAM_WARN_MS)
			continue;
		if (!x->warned && left > 0)
			warn(x, left);
		if (left > 0)
			continue;
		warn(x, 0);
		reader_close(x->reader);
	}
}

static void
members_known(void *arg, struct rows *rows, const struct error *err)
{
	struct streams *s = arg;

	s->asking = 0;
	if (err != NULL)
		return; /* asked again, soon */
	for (int i = 0; i < rows->n; i++) {
		struct tally_entry *m;
		struct uuid user, project;

		rows_uuid(rows, i, "user_id", &user);
		rows_uuid(rows, i, "project_id", &project);
		m = tally_find(&s->members, &user, &project);
		if (m != NULL)
			m->seen = 0;
	}
	list_for (it, &s->viewers) {
		struct viewer *x = list_entry(it, struct viewer, link);

		for (size_t i = 0; i < x->n_projects; i++)
			if (x->members[i]->seen == s->round) {
				log_info("stream.member_gone");
				viewer_end(x, retry_ms());
				break;
			}
	}
}

static void
ask_members(void *arg)
{
	struct streams *s = arg;
	struct error err;

	if (s->asking || s->members.n == 0 || !db_ready(s->o.db))
		return;
	if (++s->round == 0)
		s->round = 1;
	db_array_reset(&s->asked_users);
	db_array_reset(&s->asked_projects);
	for (struct tally_entry *m = NULL;
	     (m = tally_next(&s->members, m)) != NULL;) {
		m->seen = s->round; /* unless the answer names it */
		db_array_uuid(&s->asked_users, &m->a);
		db_array_uuid(&s->asked_projects, &m->b);
	}
	s->asking =
	    db_call(s->o.db, &sql_members_still, members_known, s, &err,
		db_array(&s->asked_users), db_array(&s->asked_projects)) == 0;
}

/* Requests ---------------------------------------------------------------- */

static int
refused(struct streams *s, struct request *req, const struct identity *who)
{
	const char *detail = NULL;

	if (s->draining) {
		request_problem(req,
		    &(struct problem){ .status = 503,
			.kind = "unavailable",
			.detail = "this gateway is ending",
			.headers = "Retry-After: 1\r\n" });
		return 1;
	}
	if (!who->has_user) {
		request_problem(req,
		    &(struct problem){ .status = 403,
			.kind = "identity",
			.detail = "this token is no user's" });
		return 1;
	}
	if (s->o.in_all > 0 && s->n_viewers >= s->o.in_all)
		detail = "this gateway carries as many streams as it may";
	else if (tally_count(&s->users, &who->user, &nobody) >= s->o.of_user)
		detail =
		    "this user has as many streams open as one may; follow "
		    "more channels on one stream";
	if (detail != NULL)
		request_problem(req,
		    &(struct problem){ .status = 429,
			.kind = "streams",
			.detail = detail,
			.headers = "Retry-After: 5\r\n" });
	return detail != NULL;
}

static void
opened_by(void *arg, struct request *req, const struct identity *who)
{
	if (!refused(arg, req, who))
		attach_open(arg, req, who);
}

static void
open_stream(void *arg, struct request *req)
{
	struct streams *s = arg;

	if (str_is(req->head.method, "HEAD"))
		request_reply(req,
		    &(struct reply){
			.status = 200, .type = "text/event-stream" });
	else
		identity_check(s->o.ids, req, IDENTITY_USER | IDENTITY_TICKET,
		    opened_by, s);
}

size_t
streams_routes(struct streams *s, struct route *out)
{
	out[0] = (struct route){ .method = "GET",
		.pattern = "/api/logs/stream",
		.handle = open_stream,
		.arg = s };
	out[1] = (struct route){ .method = "POST",
		.pattern = "/api/logs/stream/{id}/token",
		.body_max = 1024,
		.handle = peers_token,
		.arg = s };
	out[2] = (struct route){ .method = "POST",
		.pattern = "/api/logs/stream/{id}/channels",
		.body_max = 32768,
		.handle = peers_channels,
		.arg = s };
	return 3;
}

/* The whole --------------------------------------------------------------- */

struct streams *
streams_new(struct loop *loop, const struct streams_options *options)
{
	struct streams *s = xcalloc(1, sizeof(*s));

	s->loop = loop;
	uuid_random(&s->id);
	s->o = *options;
	if (s->o.of_user == 0)
		s->o.of_user = OF_USER;
	if (s->o.of_project == 0)
		s->o.of_project = OF_PROJECT;
	s->hub = hub_new(loop, options->db);
	list_init(&s->viewers);
	list_init(&s->attaching);
	tally_init(&s->users);
	tally_init(&s->projects);
	tally_init(&s->members);
	db_array_init(&s->asked_users, DB_UUID);
	db_array_init(&s->asked_projects, DB_UUID);
	s->second = loop_timer_new(loop, second, s);
	s->members_timer = loop_timer_new(loop, ask_members, s);
	loop_timer_every(s->second, SECOND_MS);
	loop_timer_every(s->members_timer, STREAM_MEMBERS_MS);
	return s;
}

struct streams *
streams_free(struct streams *s)
{
	if (s == NULL)
		return NULL;
	attach_free_all(s);
	while (!list_empty(&s->viewers))
		viewer_free(list_entry(s->viewers.next, struct viewer, link));
	loop_timer_free(s->second);
	loop_timer_free(s->members_timer);
	hub_free(s->hub);
	tally_deinit(&s->users);
	tally_deinit(&s->projects);
	tally_deinit(&s->members);
	db_array_deinit(&s->asked_users);
	db_array_deinit(&s->asked_projects);
	buf_deinit(&s->event);
	free(s);
	return NULL;
}

struct hub *
streams_hub(struct streams *s)
{
	return s->hub;
}

void
streams_database(struct streams *s, int there)
{
	hub_database(s->hub, there);
}

void
streams_listen(struct streams *s, const struct listen *l)
{
	s->listen = l;
	tail_listen(hub_tail(s->hub), l);
}

void
streams_notified(struct streams *s, const char *channel, const char *payload)
{
	if (channel == NULL || strcmp(channel, "meshhook_logs") == 0)
		tail_notified(hub_tail(s->hub), payload);
	else if (strcmp(channel, "meshhook_streams") == 0)
		peers_notified(s, payload);
}

void
streams_drain(struct streams *s)
{
	s->draining = 1;
	list_for (it, &s->viewers)
		viewer_end(list_entry(it, struct viewer, link), retry_ms());
}
