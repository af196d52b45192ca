/*
 * Over Supabase, as any of its users: lines as Realtime broadcasts them, and by
 * REST what it doesn't. What to do when is realtime/merge's; here it is done.
 */
#include "cli/follow.h"
#include "cli/remote.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/time.h"
#include "realtime/follow/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { PAGE = 500, AGAIN_MS = 1000 };

struct reader {
	struct follow *f;
	struct remote *remote;
	struct realtime *realtime; /* NULL: not following on */
	struct merge merge;
	struct loop_timer *timer; /* of the merge; before it, to look again */
	struct remote_call *look, *watch, *fetch;
	const char *id;       /* the channel's */
	char who[UUID_TEXT];  /* this reader, to the database */
	int64_t epoch, start; /* as found */
	int merging, looking;
};

static void look(void *arg);
static void perform(struct reader *r, const struct merge_output *o);

static void
step(struct reader *r, struct merge_input in)
{
	struct merge_outputs out;
	int64_t wake;

	in.now_ms = loop_now_ms(r->f->session->loop);
	if (getrandom(&in.random, sizeof(in.random), 0) < 0)
		in.random = (uint64_t)in.now_ms;
	merge_step(&r->merge, &in, &out);
	for (uint32_t i = 0; i < out.n && !follow_over(r->f); i++)
		perform(r, &out.at[i]);
	wake = merge_wake(&r->merge);
	if (wake != INT64_MAX)
		loop_timer_set(
		    r->timer, wake > in.now_ms ? wake - in.now_ms : 0);
	else
		loop_timer_clear(r->timer);
}

/* Whether it may pass; what may not has ended the following. */
static int
may_pass(struct reader *r, const struct error *err)
{
	struct error why = *err;

	if (strcmp(err->code, "HTTP401") == 0 && remote_renews(r->remote)) {
		remote_renew(r->remote);
		why.fault = FAULT_RETRY;
	}
	if (strcmp(err->code, "HTTP404") == 0)
		follow_none(r->f);
	else
		follow_lost(r->f, &why);
	return !follow_over(r->f);
}

/*
 * Lines, of a page or a broadcast.
 */
static void
take_lines(struct arena *a, const struct json *v, struct merge_input *in)
{
	struct line *lines;

	if (!json_is(v, JSON_ARRAY))
		return;
	lines = arena_array(a, v->n, sizeof(*lines));
	for (uint32_t i = 0; i < v->n; i++) {
		const struct json *o = v->items[i], *attrs;
		struct line *l = &lines[in->n];
		int64_t level = 9;

		*l = (struct line){ .message =
					json_str(json_get(o, "message")) };
		if (json_integer(json_get(o, "seq"), &l->seq) < 0 ||
		    time_parse(json_str(json_get(o, "ts")), &l->ts_ms) < 0)
			continue;
		json_integer(json_get(o, "level"), &level);
		l->level = (int)level;
		attrs = json_get(o, "attrs");
		if (attrs != NULL && attrs->type != JSON_NULL)
			l->attrs = json_text(a, attrs);
		in->n++;
	}
	in->lines = lines;
}

static void
fetched(void *arg, const struct json *body, const struct error *err)
{
	struct reader *r = arg;
	struct merge_input in = { .event = MERGE_FETCHED };
	struct arena a;

	r->fetch = NULL;
	if (err != NULL) {
		in.event = MERGE_FETCH_FAILED;
		if (may_pass(r, err))
			step(r, in);
		return;
	}
	arena_init(&a);
	take_lines(&a, body, &in);
	step(r, in);
	arena_deinit(&a);
}

static void
fetch(struct reader *r, int64_t after)
{
	char path[256];

	snprintf(path, sizeof(path),
	    "/rest/v1/logs?select=seq,ts,level,message,attrs"
	    "&channel_id=eq.%s&seq=gt.%lld&order=seq.asc&limit=%d",
	    r->id, (long long)after, PAGE);
	r->fetch = remote_ask(r->remote, path, (struct str){ 0 }, fetched, r);
}

static void
broadcast(void *arg, struct str event, const struct json *payload)
{
	struct reader *r = arg;
	struct merge_input in = { .event = MERGE_LINES,
		.ended = json_is(json_get(payload, "ended"), JSON_TRUE) };
	struct arena a;

	if (follow_over(r->f))
		return;
	if (str_is(event, "moved"))
		step(r, (struct merge_input){ .event = MERGE_MOVED });
	if (json_integer(json_get(payload, "epoch"), &in.epoch) < 0)
		return;
	arena_init(&a);
	if (str_is(event, "log") &&
	    json_integer(json_get(payload, "to"), &in.last) == 0) {
		take_lines(&a, json_get(payload, "lines"), &in);
		step(r, in);
	} else if (str_is(event, "hint") &&
	    json_integer(json_get(payload, "last_seq"), &in.last) == 0) {
		in.event = MERGE_HINT;
		step(r, in);
	}
	arena_deinit(&a);
}

static void
joined(void *arg)
{
	log_debug("realtime.joined");
	step(arg, (struct merge_input){ .event = MERGE_JOINED });
}

/* Lines still come, by asking: so it isn't worth a word but with -v. */
static void
parted(void *arg, const char *why)
{
	log_debug("realtime.parted", S_("why", why));
	step(arg, (struct merge_input){ .event = MERGE_PARTED });
}

/*
 * The watch.
 */
static int
read_watch(
    const struct json *body, struct merge_input *in, char topic[], size_t room)
{
	const struct json *row =
	    json_is(body, JSON_ARRAY) ? json_at(body, 0) : body;
	struct str t = json_str(json_get(row, "topic"));

	*in = (struct merge_input){ .event = MERGE_WATCHED,
		.topic = topic,
		.ended = json_is(json_get(row, "ended"), JSON_TRUE),
		.mute = !json_is(json_get(row, "interval_ms"), JSON_NUMBER) };
	if (t.n == 0 || t.n >= room ||
	    json_integer(json_get(row, "epoch"), &in->epoch) < 0 ||
	    json_integer(json_get(row, "last_seq"), &in->last) < 0)
		return -1;
	memcpy(topic, t.s, t.n);
	topic[t.n] = '\0';
	return 0;
}

static struct remote_call *
ask_watch(struct reader *r, remote_fn *fn)
{
	struct arena a;
	struct json *args;
	struct remote_call *call;

	arena_init(&a);
	args = json_object(&a);
	json_set(&a, args, "channel", json_cstring(&a, r->f->channel.name));
	json_set(&a, args, "reader", json_cstring(&a, r->who));
	call = remote_ask(
	    r->remote, "/rest/v1/rpc/watch", json_text(&a, args), fn, r);
	arena_deinit(&a);
	return call;
}

static const struct error no_watch = { .fault = FAULT_CONFIG,
	.code = "CONFIG",
	.text = "Supabase does not answer as meshhook.watch() does\n"
		"is MeshHook installed there? supabase db push" };

static void
watched(void *arg, const struct json *body, const struct error *err)
{
	struct reader *r = arg;
	struct merge_input in;
	char topic[MERGE_TOPIC];

	r->watch = NULL;
	if (err == NULL && read_watch(body, &in, topic, sizeof(topic)) < 0)
		err = &no_watch;
	if (err == NULL) {
		follow_found(r->f);
		step(r, in);
	} else if (may_pass(r, err)) {
		step(r, (struct merge_input){ .event = MERGE_WATCH_FAILED });
	}
}

static void
perform(struct reader *r, const struct merge_output *o)
{
	struct follow *f = r->f;

	switch (o->act) {
	case MERGE_DO_WATCH:
		r->watch = ask_watch(r, watched);
		break;
	case MERGE_DO_JOIN:
		if (r->realtime != NULL)
			realtime_topic(r->realtime, o->text);
		break;
	case MERGE_DO_FETCH:
		fetch(r, o->seq);
		break;
	case MERGE_DO_LINE:
		follow_line(f, o->line);
		break;
	case MERGE_DO_GAP:
		follow_gap(f, o->seq, GAP_EXPIRED);
		break;
	case MERGE_DO_RESET:
		follow_reset(f, o->epoch);
		break;
	case MERGE_DO_REST:
		follow_caught_up(f, time_wall_ms());
		break;
	case MERGE_DO_END:
		follow_end(f);
		break;
	}
}

/*
 * Before the merge: the channel's name in full, its id, where to begin.
 */
static void
look_failed(struct reader *r, const struct error *err)
{
	r->looking = 0;
	if (may_pass(r, err))
		loop_timer_set(r->timer, AGAIN_MS);
}

static int
start_realtime(struct reader *r, struct error *err)
{
	struct realtime_options options = {
		.url = remote_supabase(r->remote),
		.key = remote_key(r->remote),
		.ca_file = remote_ca_file(r->remote),
		.joined = joined,
		.parted = parted,
		.broadcast = broadcast,
		.arg = r,
	};

	if (!r->f->on)
		return 0;
	r->realtime = realtime_new(r->f->session->loop, &options, err);
	if (r->realtime == NULL)
		return -1;
	realtime_token(r->realtime, remote_token(r->remote));
	return 0;
}

static void
begin(struct reader *r)
{
	struct follow *f = r->f;
	struct error err;

	r->looking = 0;
	follow_begin(f, r->epoch, r->start);
	if (start_realtime(r, &err) < 0) {
		follow_fail(f, &err);
		return;
	}
	r->merging = 1;
	r->merge.epoch = f->epoch;
	r->merge.seq = f->seq;
	r->merge.ends = f->channel.is_run && !f->stay;
	step(r, (struct merge_input){ .event = MERGE_TICK });
}

static void
found_start(void *arg, const struct json *body, const struct error *err)
{
	struct reader *r = arg;
	int64_t seq;

	r->look = NULL;
	if (err != NULL) {
		look_failed(r, err);
		return;
	}
	if (json_integer(json_get(json_at(body, 0), "seq"), &seq) == 0)
		r->start = seq - 1;
	begin(r);
}

static void
find_start(struct reader *r)
{
	struct follow *f = r->f;
	char path[256], ts[TIME_TEXT];

	if (f->epoch != -1 || f->since_ms == INT64_MIN) {
		begin(r);
		return;
	}
	snprintf(path, sizeof(path),
	    "/rest/v1/logs?select=seq&channel_id=eq.%s&ts=gte.%s"
	    "&order=seq.asc&limit=1",
	    r->id, time_format(f->since_ms, ts));
	r->look =
	    remote_ask(r->remote, path, (struct str){ 0 }, found_start, r);
}

static void
found_id(void *arg, const struct json *body, const struct error *err)
{
	struct reader *r = arg;
	struct str id = json_str(json_get(json_at(body, 0), "id"));

	r->look = NULL;
	if (err != NULL) {
		look_failed(r, err);
	} else if (id.n == 0) {
		follow_none(r->f);
	} else {
		r->id = arena_strndup(&r->f->session->cli->arena, id.s, id.n);
		find_start(r);
	}
}

/* The topic is "mh:{generation}:{the channel's name in full}". */
static int
take_name(struct reader *r, const char *topic)
{
	struct follow *f = r->f;
	const char *name = strchr(topic, ':');

	name = name != NULL ? strchr(name + 1, ':') : NULL;
	return name == NULL ? -1
			    : channel_parse(&f->session->cli->arena, name + 1,
				  &f->channel, NULL);
}

static void
found_channel(void *arg, const struct json *body, const struct error *err)
{
	struct reader *r = arg;
	struct channel *c = &r->f->channel;
	struct merge_input in;
	char topic[MERGE_TOPIC], path[512];

	r->look = NULL;
	if (err == NULL &&
	    (read_watch(body, &in, topic, sizeof(topic)) < 0 ||
		take_name(r, topic) < 0))
		err = &no_watch;
	if (err != NULL) {
		look_failed(r, err);
		return;
	}
	r->epoch = in.epoch;
	r->start =
	    r->f->last > 0 && r->f->last < in.last ? in.last - r->f->last : 0;
	if (r->f->since_ms != INT64_MIN)
		r->start = in.last;
	if (c->is_run) {
		r->id = c->resource;
		find_start(r);
		return;
	}
	snprintf(path, sizeof(path),
	    "/rest/v1/channels?select=id&project_id=eq.%s&service=eq.%s"
	    "&resource=eq.%s",
	    c->project, c->service, c->resource);
	r->look = remote_ask(r->remote, path, (struct str){ 0 }, found_id, r);
}

static void
found_run(void *arg, const struct json *body, const struct error *err)
{
	struct reader *r = arg;
	struct follow *f = r->f;
	struct arena *a = &f->session->cli->arena;
	const struct json *row = json_at(body, 0);
	struct str id = json_str(json_get(row, "id"));

	r->look = NULL;
	if (err != NULL) {
		look_failed(r, err);
	} else if (id.n == 0) {
		follow_none(f);
	} else {
		f->channel.resource = arena_strndup(a, id.s, id.n);
		channel_name(
		    a, &f->channel, json_str(json_get(row, "project_id")).s);
		r->look = ask_watch(r, found_channel);
	}
}

static void
find_run(struct reader *r, const char *project)
{
	const char *run = r->f->channel.resource;
	char path[256];

	if (strcmp(run, "latest") != 0)
		snprintf(path, sizeof(path), "id=eq.%s", run);
	else if (project != NULL)
		snprintf(path, sizeof(path), "project_id=eq.%.40s", project);
	else
		path[0] = '\0';
	r->look = remote_ask(r->remote,
	    arena_printf(&r->f->session->cli->arena,
		"/rest/v1/runs?select=id,project_id&order=id.desc&limit=1%s%s",
		path[0] != '\0' ? "&" : "", path),
	    (struct str){ 0 }, found_run, r);
}

static void
found_project(void *arg, const struct json *body, const struct error *err)
{
	struct reader *r = arg;
	struct str id = json_str(json_get(json_at(body, 0), "id"));

	r->look = NULL;
	if (err != NULL)
		look_failed(r, err);
	else if (id.n == 0)
		follow_none(r->f);
	else
		find_run(r, id.s);
}

/* A run without its project: by its id, or the newest of the one that is meant. */
static void
find_project(struct reader *r)
{
	const char *project =
	    config_text(&r->f->session->cli->config, SETTING_PROJECT);
	struct uuid id;
	char path[128];

	if (strcmp(r->f->channel.resource, "latest") != 0 || project == NULL ||
	    uuid_parse(str_of(project), &id) == 0) {
		find_run(r, project);
		return;
	}
	snprintf(path, sizeof(path),
	    "/rest/v1/projects?select=id&slug=eq.%.64s", project);
	r->look =
	    remote_ask(r->remote, path, (struct str){ 0 }, found_project, r);
}

static void
look(void *arg)
{
	struct reader *r = arg;

	if (r->merging) {
		step(r, (struct merge_input){ .event = MERGE_TICK });
		return;
	}
	r->looking = 1;
	if (r->f->channel.name != NULL)
		r->look = ask_watch(r, found_channel);
	else
		find_project(r);
}

static void
have_token(void *arg, const char *token, const struct error *err)
{
	struct reader *r = arg;

	if (err != NULL)
		follow_fail(r->f, err);
	else if (r->realtime != NULL)
		realtime_token(r->realtime, token);
	else if (!r->looking && !r->merging)
		look(r);
}

/*
 * The source.
 */
static int
reader_open(struct follow *f, struct error *err)
{
	struct reader *r = xcalloc(1, sizeof(*r));
	struct remote_options options = {
		.supabase = 1,
		.refresh_file = cli_opt(f->session->cli, "refresh-token-file"),
		.token = have_token,
		.arg = r,
	};
	struct uuid who;

	f->way = r;
	r->f = f;
	merge_init(&r->merge);
	r->timer = loop_timer_new(f->session->loop, look, r);
	if (getrandom(&who, sizeof(who), 0) != (ssize_t)sizeof(who))
		return fail(err, FAULT_RETRY, "RANDOM", "no randomness");
	uuid_format(&who, r->who);
	r->remote = remote_new(f->session, &options, err);
	return r->remote != NULL ? 0 : -1;
}

static void
reader_close(struct follow *f)
{
	struct reader *r = f->way;

	r->look = remote_cancel(r->look);
	r->watch = remote_cancel(r->watch);
	r->fetch = remote_cancel(r->fetch);
	r->timer = loop_timer_free(r->timer);
	r->remote = remote_free(r->remote);
	r->realtime = realtime_free(r->realtime); /* it runs the loop */
	merge_deinit(&r->merge);
	free(r);
	f->way = NULL;
}

const struct source source_realtime = {
	.name = "realtime",
	.open = reader_open,
	.close = reader_close,
};
