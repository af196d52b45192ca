/*
 * Over a gateway, as any of its users: server-sent events of one channel.
 *
 * Every line comes, also those that are not to be printed: so a hole shows.
 * A stream that breaks is opened again behind the cursor; one that is silent
 * for longer than three heartbeats counts as broken. The first stream of all
 * is opened to learn where the channel stands, and left for one that begins
 * where reading is to begin.
 */
#include "cli/follow.h"
#include "cli/remote.h"
#include "core/mem.h"
#include "core/time.h"
#include "realtime/wire/cursor.h"
#include "realtime/follow/sse-client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
	EVENT_MAX = 16 << 20,
	SILENT_MS = 45000, /* three heartbeats */
	AGAIN_MS = 500,    /* backoff, doubled; unless the server says it */
	AGAIN_MOST_MS = 30000,
};

struct sse {
	struct follow *f;
	struct remote *remote;
	struct sse_client in;
	struct http_call *call, *renewal;
	struct loop_timer *again, *silence;
	char stream[UUID_TEXT]; /* its id; "" before ready */
	int64_t last;           /* that there was when it began */
	int is_ours;            /* the numbers there are those of our cursor */
	int64_t hole;           /* behind this line the last one had a hole */
	uint32_t failures;
	enum { GO_ON, REOPEN, RETRY } then; /* what the events ask for */
};

static void open_stream(void *arg);

/* Full jitter behind what the server said, or the half of our own. */
static void
open_again(struct sse *s)
{
	int64_t most = AGAIN_MS << (s->failures < 8 ? s->failures : 8);
	uint64_t random = 0;

	getrandom(&random, sizeof(random), 0);
	most = most < AGAIN_MOST_MS ? most : AGAIN_MOST_MS;
	if (s->failures == 0 && s->in.retry_ms >= 0)
		most = s->in.retry_ms + 1;
	s->failures++;
	loop_timer_set(
	    s->again, most / 2 + (int64_t)(random % (uint64_t)(most / 2 + 1)));
}

static void
leave_stream(struct sse *s)
{
	s->call = http_call_cancel(s->call);
	loop_timer_clear(s->silence);
	s->stream[0] = '\0';
}

static void
silent(void *arg)
{
	struct sse *s = arg;
	struct error err;

	leave_stream(s);
	fail(&err, FAULT_RETRY, "ETIMEDOUT", "the gateway fell silent");
	follow_lost(s->f, &err);
	open_again(s);
}

/*
 * Events.
 */
static void
check_rest(struct sse *s)
{
	if (s->is_ours && s->f->seq >= s->last)
		follow_caught_up(s->f, time_wall_ms());
}

/* Where the stream that just began stands, by its first cursor. */
static int64_t
stands_at(struct sse *s, struct str id)
{
	const struct cursor_entry *e = NULL;
	struct cursor c;

	if (cursor_read(id, &c, NULL) == 0)
		e = cursor_get(&c, cursor_key(str_of(s->f->channel.name)));
	return e != NULL ? e->seq : -1;
}

static void
take_ready(struct sse *s, const struct json *v, struct str id)
{
	struct follow *f = s->f;
	const struct json *c = json_at(json_get(v, "channels"), 0);
	struct str name = json_str(json_get(c, "channel"));
	int64_t epoch, start = 0, at;
	int fresh = f->epoch == -1;

	if (json_integer(json_get(c, "epoch"), &epoch) < 0 ||
	    json_integer(json_get(c, "last_seq"), &s->last) < 0 ||
	    channel_parse(&f->session->cli->arena, name.s, &f->channel, NULL) <
		0) {
		follow_none(f);
		return;
	}
	snprintf(s->stream, sizeof(s->stream), "%s",
	    json_str(json_get(v, "stream")).s);
	s->failures = 0;
	follow_found(f);
	at = stands_at(s, id);
	if (fresh) {
		if (f->since_ms != INT64_MIN)
			start = at;
		else if (f->last > 0 && f->last < s->last)
			start = s->last - f->last;
		follow_begin(f, epoch, start);
	}
	/* else a gap says so next */
	s->is_ours = epoch == f->epoch && f->seq <= s->last;
	if (at != f->seq)
		s->then = fresh ? REOPEN : RETRY;
	check_rest(s);
}

static void
take_line(struct sse *s, struct arena *a, const struct json *o)
{
	struct follow *f = s->f;
	struct line line = { .message = json_str(json_get(o, "message")) };
	const struct json *attrs = json_get(o, "attrs");
	int64_t level = 9;

	if (json_integer(json_get(o, "seq"), &line.seq) < 0 ||
	    time_parse(json_str(json_get(o, "ts")), &line.ts_ms) < 0)
		return;
	json_integer(json_get(o, "level"), &level);
	line.level = (int)level;
	if (attrs != NULL && attrs->type != JSON_NULL)
		line.attrs = json_text(a, attrs);
	if (line.seq > f->seq + 1 && s->hole != f->seq) {
		s->hole = f->seq;
		s->then = REOPEN; /* once; if it stays, follow_line says it */
		return;
	}
	follow_line(f, &line);
}

static void
take_log(struct sse *s, struct arena *a, const struct json *v)
{
	const struct json *lines = json_get(v, "lines");
	int64_t epoch = -1;

	json_integer(json_get(v, "epoch"), &epoch);
	if (epoch != s->f->epoch) {
		s->then = RETRY;
		return;
	}
	for (uint32_t i = 0;
	     json_is(lines, JSON_ARRAY) && i < lines->n && s->then == GO_ON;
	     i++)
		take_line(s, a, json_at(lines, i));
	check_rest(s);
}

/* A stream that is cut for being slow has left nothing out that can't be had:
 * the next one begins at our cursor. */
static void
take_gap(struct sse *s, const struct json *v)
{
	struct str reason = json_str(json_get(v, "reason"));
	int64_t n;

	if (str_is(reason, "reset") &&
	    json_integer(json_get(v, "epoch"), &n) == 0) {
		follow_reset(s->f, n);
		s->is_ours = 1;
	} else if (str_is(reason, "expired") &&
	    json_integer(json_get(v, "to"), &n) == 0) {
		follow_gap(s->f, n, GAP_EXPIRED);
	} else if (str_is(reason, "slow")) {
		session_note(s->f->session,
		    "The gateway cut this reader off as too slow; "
		    "going on where it was.");
	}
	check_rest(s);
}

static void
take_event(void *arg, const struct sse_event *event)
{
	struct sse *s = arg;
	struct arena a;
	struct json *v;

	if (s->then != GO_ON || follow_over(s->f))
		return;
	arena_init(&a);
	if (json_parse(&a, event->data, NULL, &v, NULL) < 0)
		s->then = RETRY;
	else if (str_is(event->type, "ready"))
		take_ready(s, v, event->id);
	else if (str_is(event->type, "log"))
		take_log(s, &a, v);
	else if (str_is(event->type, "gap"))
		take_gap(s, v);
	else if (str_is(event->type, "auth"))
		remote_renew(s->remote);
	else if (str_is(event->type, "end"))
		follow_end(s->f);
	arena_deinit(&a);
}

static void
piece(void *arg, const struct http_response *res)
{
	struct sse *s = arg;
	struct error err;

	loop_timer_set(s->silence, SILENT_MS);
	s->then = GO_ON;
	if (sse_client_feed(&s->in, res->body, take_event, s, &err) < 0)
		s->then = RETRY;
	if (s->then == GO_ON || follow_over(s->f))
		return;
	leave_stream(s);
	if (s->then == REOPEN)
		open_stream(s);
	else
		open_again(s);
}

/*
 * The stream.
 */
static void
refused(struct sse *s, const struct http_response *res)
{
	struct error err;

	remote_explain(res, "the gateway", &err);
	if (res->status == 401 && remote_renews(s->remote)) {
		remote_renew(s->remote);
		err.fault = FAULT_RETRY;
	}
	if (res->status == 404)
		follow_none(s->f);
	else
		follow_lost(s->f, &err);
	open_again(s);
}

static void
ended(void *arg, const struct http_response *res)
{
	struct sse *s = arg;

	s->call = NULL;
	leave_stream(s);
	if (res->error.code[0] != '\0') {
		refused(s, res);
	} else if (res->status == 204) { /* the run is over, and all was read */
		follow_caught_up(s->f, time_wall_ms());
		follow_end(s->f);
	} else {
		open_again(s);
	}
}

static void
add_query(struct buf *b, const char *text)
{
	for (; *text != '\0'; text++)
		buf_addf(b, *text == ':' ? "%%3A" : "%c", *text);
}

static void
open_stream(void *arg)
{
	struct sse *s = arg;
	struct follow *f = s->f;
	struct http_header headers[3] = {
		{ STR("Accept"), STR("text/event-stream"), 0 },
	};
	struct http_request req = { .method = STR("GET"),
		.headers = headers,
		.n_headers = 1,
		.piece = piece };
	struct cursor cursor = { .n = 1 };
	char id[CURSOR_TEXT], ts[TIME_TEXT];
	struct error err;
	struct buf url;

	if (s->call != NULL || follow_over(f))
		return;
	buf_init(&url);
	buf_addf(
	    &url, "%s/api/logs/stream?channels=", remote_gateway(s->remote));
	add_query(&url, f->channel.name);
	if (f->epoch != -1) {
		cursor.entries[0] = (struct cursor_entry){
			.key = cursor_key(str_of(f->channel.name)),
			.epoch = (uint32_t)f->epoch,
			.seq = f->seq,
		};
		headers[1] = (struct http_header){ STR("Last-Event-ID"),
			{ id, cursor_write(&cursor, id) }, 0 };
		req.n_headers = 2;
	} else if (f->since_ms != INT64_MIN) {
		buf_adds(&url, "&since=");
		add_query(&url, time_format(f->since_ms, ts));
	}
	req.url = buf_str(&url);
	sse_client_reset(&s->in);
	s->call = remote_start(s->remote, &req, ended, s, &err);
	buf_deinit(&url);
	loop_timer_set(s->silence, SILENT_MS);
	if (s->call == NULL)
		follow_fail(f, &err);
}

/*
 * The token.
 */
static void
renewed(void *arg, const struct http_response *res)
{
	struct sse *s = arg;

	(void)
	    res; /* or else the stream ends with its token, and a new one has it */
	s->renewal = NULL;
}

static void
have_token(void *arg, const char *token, const struct error *err)
{
	struct sse *s = arg;
	struct http_request req = { .method = STR("POST") };
	struct error ignored;
	struct buf url;

	(void)token;
	if (err != NULL) {
		follow_fail(s->f, err);
	} else if (s->call == NULL) {
		loop_timer_clear(s->again);
		open_stream(s);
	} else if (s->stream[0] != '\0' && s->renewal == NULL) {
		buf_init(&url);
		buf_addf(&url, "%s/api/logs/stream/%s/token",
		    remote_gateway(s->remote), s->stream);
		req.url = buf_str(&url);
		s->renewal =
		    remote_start(s->remote, &req, renewed, s, &ignored);
		buf_deinit(&url);
	}
}

/*
 * The source.
 */
static int
sse_open(struct follow *f, struct error *err)
{
	struct cli *cli = f->session->cli;
	struct sse *s = xcalloc(1, sizeof(*s));
	struct remote_options options = {
		.refresh_file = cli_opt(cli, "refresh-token-file"),
		.token = have_token,
		.arg = s,
	};
	const char *project = config_text(&cli->config, SETTING_PROJECT);

	f->way = s;
	s->f = f;
	s->hole = -1;
	sse_client_init(&s->in, EVENT_MAX);
	s->again = loop_timer_new(f->session->loop, open_stream, s);
	s->silence = loop_timer_new(f->session->loop, silent, s);
	if (strcmp(f->channel.resource, "latest") == 0 && f->channel.is_run)
		return usage(err,
		    "a gateway doesn't know which run is the latest\n"
		    "name it by its id");
	if (f->channel.name == NULL && project == NULL)
		return usage(err,
		    "a gateway asks for a run's project\n"
		    "give it by --project, or name the channel: "
		    "logs:run:PROJECT:%s",
		    f->channel.resource);
	if (f->channel.name == NULL)
		channel_name(&cli->arena, &f->channel, project);
	s->remote = remote_new(f->session, &options, err);
	return s->remote != NULL ? 0 : -1;
}

static void
sse_close(struct follow *f)
{
	struct sse *s = f->way;

	leave_stream(s);
	s->renewal = http_call_cancel(s->renewal);
	s->remote = remote_free(s->remote);
	s->again = loop_timer_free(s->again);
	s->silence = loop_timer_free(s->silence);
	sse_client_deinit(&s->in);
	free(s);
	f->way = NULL;
}

const struct source source_gateway = {
	.name = "gateway",
	.open = sse_open,
	.close = sse_close,
};
