#include "monitor/canary.h"
#include "core/json.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/time.h"
#include "http/client.h"
#include "monitor/monitor-impl.h"
#include "monitor/monitor-sql.h"
#include "realtime/follow/sse-client.h"
#include "supabase/client/ticket.h"

#include <stdlib.h>
#include <string.h>

enum {
	EVERY_MS =
	    4500, /* of lines: with each tick, where those are 5 s apart */
	LATE_MS = 5000,    /* then the log says so */
	LOST_MS = 30000,   /* begin anew */
	SILENT_MS = 45000, /* three heartbeats */
	TICKET_MS = 3600000,
	ANSWER_MS = 10000,
	EVENT_MOST = 65536,
};

struct canary {
	struct monitor *m;
	struct vault vault;
	struct guard guard;
	struct http *http;
	struct http_call *stream; /* NULL: away */
	struct sse_client in;
	struct uuid id; /* of the channel, its project and its reader */
	int known;      /* the id is */
	int asking;     /* a statement is under way */
	int ready;      /* the stream follows the channel */
	int64_t heard_ms;
	int64_t next_ms;  /* no line is due before */
	int64_t since_ms; /* one is since then; 0: none */
	int64_t seq;      /* that was written; 0: not yet */
	int64_t came;     /* the last one's that came */
	int64_t written_ms;
	int64_t lag_ms;
	int told_away, told_late;
};

static void open_stream(struct canary *c);

/* ---- the line ---------------------------------------------------------------- */

static void
arrived(struct canary *c)
{
	int64_t now = time_mono_ms();

	c->lag_ms = now > c->written_ms ? now - c->written_ms : 0;
	if (c->told_late)
		log_info("canary.came", I_("ms", c->lag_ms));
	c->since_ms = c->seq = 0;
	c->told_late = 0;
}

static void
answered(void *arg, struct rows *rows, const struct error *err)
{
	struct canary *c = arg;

	c->asking = 0;
	if (err != NULL) {
		c->since_ms = 0; /* not the way of a line: the database's */
		if (err->fault != FAULT_RETRY)
			log_warn("canary.not_written", E_(err));
		return;
	}
	rows_uuid(rows, 0, "id", &c->id);
	c->known = 1;
	if (c->stream == NULL && c->m->fence != 0)
		open_stream(c);
	if (rows_null(rows, 0, "seq") || !c->ready)
		return;
	c->seq = rows_int(rows, 0, "seq");
	c->written_ms = time_mono_ms();
	if (c->seq <= c->came)
		arrived(c); /* before this answer */
}

static void
notified(void *arg, struct rows *rows, const struct error *err)
{
	(void)arg; /* the gateway looks each second */
	(void)rows;
	if (err != NULL)
		log_debug("canary.notify", E_(err));
}

static void
ask(struct canary *c, int write)
{
	struct db *db = c->m->db;
	char id[UUID_TEXT];
	struct error err;

	c->asking = db_call(db, &sql_canary, answered, c, &err,
			db_int8(c->m->fence), db_bool(write)) == 0;
	if (c->asking && write)
		db_call(db, &sql_canary_notify, notified, NULL, &err,
		    db_text(uuid_format(&c->id, id)));
}

/* ---- the stream ---------------------------------------------------------------- */

static void
away(struct canary *c)
{
	c->stream = http_call_cancel(c->stream);
	c->ready = 0;
	c->seq = c->came = 0;
}

static void
take_lines(struct canary *c, const struct json *lines)
{
	int64_t seq;

	for (uint32_t i = 0; json_is(lines, JSON_ARRAY) && i < lines->n; i++)
		if (json_integer(json_get(json_at(lines, i), "seq"), &seq) ==
			0 &&
		    seq > c->came)
			c->came = seq;
	if (c->seq != 0 && c->came >= c->seq)
		arrived(c);
}

static void
take_event(void *arg, const struct sse_event *event)
{
	struct canary *c = arg;
	struct json *v;
	struct arena a;

	if (str_is(event->type, "ready")) {
		if (c->told_away)
			log_info("canary.follows");
		c->told_away = 0;
		c->ready = 1;
		if (c->since_ms != 0 && !c->asking)
			ask(c, 1);
		return;
	}
	if (!str_is(event->type, "log"))
		return;
	arena_init(&a);
	if (json_parse(&a, event->data, NULL, &v, NULL) == 0)
		take_lines(c, json_get(v, "lines"));
	arena_deinit(&a);
}

static void
piece(void *arg, const struct http_response *res)
{
	struct canary *c = arg;
	struct error err;

	c->heard_ms = time_mono_ms();
	if (sse_client_feed(&c->in, res->body, take_event, c, &err) < 0) {
		log_warn("canary.stream", E_(&err));
		away(c);
	}
}

/* The gateway is away, or doesn't want us: said once. */
static void
ended(void *arg, const struct http_response *res)
{
	struct canary *c = arg;
	int refused = res->outcome == HTTP_ANSWERED && res->status >= 400 &&
	    res->status < 500;

	c->stream = NULL;
	away(c);
	if (res->error.code[0] == '\0')
		return; /* it ended in order, or ends */
	if (res->status == 404)
		c->known = 0; /* the project was purged */
	if (!c->told_away)
		log_warn(refused ? "canary.refused" : "canary.unreachable",
		    I_("status", res->status),
		    S_("outcome", http_outcome_name(res->outcome)),
		    E_(&res->error));
	c->told_away = 1;
}

/* Who holds the intake key can be anybody: we are the canary's one member. */
static int
ticket(struct canary *c, struct arena *a, struct str *out, struct error *err)
{
	struct json *claims = json_object(a);
	char id[UUID_TEXT];
	struct ticket t = { .has_user = 1,
		.user = c->id,
		.authenticated = 1,
		.expires_ms = time_wall_ms() + TICKET_MS };

	uuid_random(&t.id);
	json_set(a, claims, "sub", json_cstring(a, uuid_format(&c->id, id)));
	json_set(a, claims, "role", json_cstring(a, "authenticated"));
	t.claims = json_text(a, claims);
	return ticket_seal(&c->vault, a, &t, out, err);
}

static void
open_stream(struct canary *c)
{
	const char *url = c->m->o->gateway_url;
	size_t n = strlen(url);
	struct http_header headers[2] = {
		{ STR("Accept"), STR("text/event-stream"), 0 },
		{ STR("Authorization"), { 0 }, 1 },
	};
	struct http_request req = { .method = STR("GET"),
		.headers = headers,
		.n_headers = 2,
		.piece = piece,
		.timeout_ms = ANSWER_MS };
	char id[UUID_TEXT];
	struct str sealed;
	struct error err;
	struct arena a;

	while (n > 0 && url[n - 1] == '/')
		n--;
	arena_init(&a);
	sse_client_reset(&c->in);
	c->heard_ms = time_mono_ms();
	if (ticket(c, &a, &sealed, &err) == 0) {
		headers[1].value =
		    str_of(arena_printf(&a, "Bearer %.*s", STR_FMT(sealed)));
		req.url = str_of(arena_printf(&a,
		    "%.*s/api/logs/stream?channels=logs%%3Acanary%%3A%s",
		    (int)n, url, uuid_format(&c->id, id)));
		c->stream = http_call_start(c->http, &req, ended, c, &err);
	}
	if (c->stream == NULL && !c->told_away) {
		log_warn("canary.unreachable", E_(&err));
		c->told_away = 1;
	}
	arena_wipe(&a);
	arena_deinit(&a);
}

/* ---- from outside ---------------------------------------------------------------- */

static void
say_late(struct canary *c, int64_t now)
{
	if (!c->ready || c->told_late || c->seq == 0 ||
	    now - c->written_ms < LATE_MS)
		return;
	c->told_late = 1;
	log_warn("canary.late", I_("ms", now - c->written_ms));
}

void
canary_tick(struct canary *c)
{
	int64_t now = time_mono_ms();

	if (c == NULL || c->asking)
		return;
	if (c->since_ms == 0 && now >= c->next_ms) {
		c->since_ms = now;
		c->next_ms = now + EVERY_MS;
	}
	say_late(c, now);
	if (c->stream != NULL &&
	    (now - c->heard_ms > SILENT_MS ||
		(c->seq != 0 && now - c->written_ms > LOST_MS)))
		away(c);
	if (!c->known)
		ask(c, 0);
	else if (c->stream == NULL)
		open_stream(c);
	else if (c->ready && c->since_ms != 0 && c->seq == 0)
		ask(c, 1);
}

int64_t
canary_lag_ms(const struct canary *c)
{
	int64_t waited;

	if (c == NULL)
		return -1;
	waited = c->since_ms != 0 ? time_mono_ms() - c->since_ms : -1;
	return waited > c->lag_ms ? waited : c->lag_ms;
}

void
canary_reset(struct canary *c)
{
	if (c == NULL)
		return;
	away(c);
	c->lag_ms = -1;
	c->since_ms = c->next_ms = 0;
	c->told_away = c->told_late = 0;
}

struct canary *
canary_new(struct monitor *m, struct error *err)
{
	const struct monitor_options *o = m->o;
	struct http_options http = { .ca_file = o->ca_file };
	struct canary *c;

	*err = (struct error){ 0 };
	if (o->gateway_url == NULL)
		return NULL;
	c = xcalloc(1, sizeof(*c));
	c->m = m;
	c->lag_ms = -1;
	sse_client_init(&c->in, EVENT_MOST);
	if (guard_init_url(&c->guard, o->gateway_url, err) < 0) {
		fail_in(err, "MESHHOOK_MONITOR_GATEWAY_URL");
		return canary_free(c);
	}
	if (o->intake_keys == NULL) {
		fail(err, FAULT_CONFIG, "CONFIG",
		    "MESHHOOK_MONITOR_GATEWAY_URL is of no use without "
		    "MESHHOOK_INTAKE_KEY");
		return canary_free(c);
	}
	if (vault_init(&c->vault, str_of(o->intake_keys), err) < 0) {
		fail_in(err, "MESHHOOK_INTAKE_KEY");
		return canary_free(c);
	}
	http.guard = &c->guard;
	c->http = http_new(m->loop, &http, err);
	return c->http != NULL ? c : canary_free(c);
}

/* After the database's: no answer comes any more. */
struct canary *
canary_free(struct canary *c)
{
	if (c == NULL)
		return NULL;
	c->stream = http_call_cancel(c->stream);
	c->http = http_free(c->http);
	sse_client_deinit(&c->in);
	guard_deinit(&c->guard);
	vault_deinit(&c->vault);
	free(c);
	return NULL;
}
