#include "monitor/judge.h"
#include "core/json.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/testpoint.h"
#include "core/utf8.h"
#include "core/uuid.h"
#include "monitor/judge-impl.h"
#include "monitor/monitor-impl.h"
#include "monitor/monitor-sql.h"

#include <stdlib.h>
#include <string.h>

enum { DEDUP_MOST = 200 }; /* of a group's key */

/* What a step came to, for alert_record(). */
struct step {
	struct judge *j;
	struct world *was, *is;
	struct json *changes, *groups, *messages, *problems;
	int64_t now_ms;
};

struct judge *
judge_new(struct monitor *m)
{
	struct judge *j = xcalloc(1, sizeof(*j));

	j->m = m;
	j->version = -1;
	arena_init(&j->config);
	arena_init(&j->worlds[0].arena);
	arena_init(&j->worlds[1].arena);
	return j;
}

struct judge *
judge_free(struct judge *j)
{
	if (j == NULL)
		return NULL;
	arena_deinit(&j->config);
	arena_deinit(&j->worlds[0].arena);
	arena_deinit(&j->worlds[1].arena);
	free(j);
	return NULL;
}

void
world_reset(struct world *w)
{
	arena_reset(&w->arena);
	w->over = NULL;
	w->groups = NULL;
	w->seats = NULL;
	w->n_over = w->n_groups = 0;
	lookup_init(&w->by_key, &w->arena);
	lookup_init(&w->by_alert, &w->arena);
}

void
judge_reset(struct judge *j)
{
	j->version = -1;
}

/* ---- alerts ---------------------------------------------------------------- */

/* All that a copy points to, into the world's arena. */
static void
alert_keep(struct arena *a, struct alert *x)
{
	char id[UUID_TEXT];
	struct uuid fresh;

	if (x->id.s == NULL) {
		uuid_random(&fresh);
		x->id = str_of(uuid_format(&fresh, id));
	}
	x->id = arena_str(a, x->id);
	x->project = arena_str(a, x->project);
	for (uint32_t i = 0; i < x->n_labels; i++)
		x->labels[i] = (struct label){ arena_str(a, x->labels[i].name),
			arena_str(a, x->labels[i].value) };
}

static int
same(const struct alert *x, const struct alert *y)
{
	return str_eq(x->project, y->project) &&
	    labels_equal(x->labels, x->n_labels, y->labels, y->n_labels);
}

static void
change_add(
    struct step *s, const struct rule *rule, const struct alert *x, int gone)
{
	static const char *const states[] = { "pending", "firing", "resolved" };
	struct arena *a = &s->is->arena;
	struct json *v = json_object(a);

	json_set(a, v, "id", json_string(a, x->id));
	json_set(a, v, "rule_id", json_string(a, rule->id));
	json_set(a, v, "project_id",
	    x->project.n > 0 ? json_string(a, x->project) : NULL);
	json_set(a, v, "labels", json_labels(a, x));
	json_set(a, v, "state",
	    json_cstring(a, gone ? "forgotten" : states[x->state]));
	json_set(a, v, "value", json_double(a, x->value));
	json_set(a, v, "since", json_time(a, x->since_ms));
	json_set(a, v, "fired_at", json_time(a, x->fired_ms));
	json_push(a, s->changes, v);
	log_info("alert.changed",
	    S_("rule", arena_strndup(a, rule->name.s, rule->name.n)),
	    S_("state", gone ? "forgotten" : states[x->state]),
	    S_("alert", x->id.s));
}

static void
over_add(struct step *s, uint32_t rule, const struct alert *x)
{
	struct world *w = s->is;

	w->over = arena_more(&w->arena, w->over, w->n_over, sizeof(*w->over));
	w->over[w->n_over++] = (struct over){ rule, *x };
}

static void
problem_add(struct step *s, struct rule *r, const char *problem)
{
	struct arena *a = &s->is->arena;
	struct json *v;

	if (!r->problem_told == (problem == NULL))
		return;
	v = json_object(a);
	json_set(a, v, "rule_id", json_string(a, r->id));
	json_set(
	    a, v, "problem", problem != NULL ? json_cstring(a, problem) : NULL);
	json_push(a, s->problems, v);
	r->problem_told = problem != NULL;
}

static void
rule_step(struct step *s, uint32_t at)
{
	struct rule *r = &s->j->rules[at];
	struct arena *a = &s->is->arena;
	struct alert_changes changes = { 0 };
	struct error err;

	r->next = r->now;
	if (r->problem != NULL || !r->enabled) {
		problem_add(s, r, r->problem);
	} else if (alert_step(a, &r->pure, &s->j->m->samples, &r->next,
		       &changes, &err) < 0) {
		problem_add(s, r, err.text);
		r->next = r->now;
	} else {
		problem_add(s, r, NULL);
	}
	if (r->next.items == r->now.items && r->next.n > 0) {
		r->next.items =
		    arena_array(a, r->now.n, sizeof(*r->next.items));
		for (uint32_t i = 0; i < r->now.n; i++)
			r->next.items[i] = r->now.items[i];
	}
	for (uint32_t i = 0; i < r->next.n; i++)
		alert_keep(a, &r->next.items[i]);
	for (uint32_t i = 0; i < changes.n; i++) {
		struct alert_change *c = &changes.items[i];

		/* one that is new got its id just now */
		for (uint32_t k = 0; c->alert.id.s == NULL && k < r->next.n;
		     k++)
			if (same(&c->alert, &r->next.items[k]))
				c->alert.id = r->next.items[k].id;
		alert_keep(a, &c->alert);
		change_add(s, r, &c->alert, c->gone);
		if (c->alert.state == ALERT_RESOLVED)
			over_add(s, at, &c->alert);
	}
}

/* ---- groups ---------------------------------------------------------------- */

static struct group *
group_get(struct step *s, uint32_t channel, struct str key)
{
	struct world *w = s->is;
	uint32_t hash = lookup_hash(LOOKUP_BASIS + channel, key);
	uint32_t i = lookup_first(&w->by_key, hash);

	for (; i != LOOKUP_NONE; i = lookup_next(&w->by_key, i))
		if (w->groups[i].channel == channel &&
		    str_eq(w->groups[i].key, key))
			return &w->groups[i];
	w->groups =
	    arena_more(&w->arena, w->groups, w->n_groups, sizeof(*w->groups));
	w->groups[w->n_groups] =
	    (struct group){ .channel = channel, .key = key };
	lookup_add(&w->by_key, hash);
	return &w->groups[w->n_groups++];
}

/* The place among the group's notices of an alert's. */
static uint32_t
notice_get(struct step *s, struct group *g, struct str id)
{
	struct world *w = s->is;
	struct arena *a = &w->arena;
	uint32_t group = (uint32_t)(g - w->groups), n = g->pure.n;
	uint32_t hash = lookup_hash(LOOKUP_BASIS, id);
	uint32_t i = lookup_first(&w->by_alert, hash);

	for (; i != LOOKUP_NONE; i = lookup_next(&w->by_alert, i)) {
		const struct seat *at = &w->seats[i];

		if (at->group == group &&
		    str_eq(g->pure.notices[at->notice].alert, id))
			return at->notice;
	}
	w->seats = arena_more(a, w->seats, w->by_alert.n, sizeof(*w->seats));
	w->seats[w->by_alert.n] = (struct seat){ group, n };
	lookup_add(&w->by_alert, hash);
	g->pure.notices =
	    arena_more(a, g->pure.notices, n, sizeof(*g->pure.notices));
	g->alerts = arena_more(a, g->alerts, n, sizeof(*g->alerts));
	g->rules = arena_more(a, g->rules, n, sizeof(*g->rules));
	g->pure.notices[n] = (struct notice){ .alert = arena_str(a, id) };
	g->alerts[n] = NULL;
	g->pure.n++;
	return n;
}

static void
notice_told(struct step *s, struct group *g, struct str id)
{
	uint32_t at = notice_get(s, g, id);

	g->pure.notices[at].told_firing = 1;
}

/* What was told, from the world before. */
static void
groups_copy(struct step *s)
{
	for (uint32_t i = 0; i < s->was->n_groups; i++) {
		const struct group *from = &s->was->groups[i];
		struct group *to;

		if (from->gone)
			continue;
		to = group_get(
		    s, from->channel, arena_str(&s->is->arena, from->key));
		to->pure.begun_ms = from->pure.begun_ms;
		to->pure.sent_ms = from->pure.sent_ms;
		for (uint32_t k = 0; k < from->pure.n; k++)
			if (from->pure.notices[k].told_firing)
				notice_told(s, to, from->pure.notices[k].alert);
	}
}

static void
notice_fill(struct step *s, struct group *g, uint32_t rule,
    const struct alert *x, int muted)
{
	uint32_t at = notice_get(s, g, x->id);

	g->pure.notices[at].firing = x->state == ALERT_FIRING;
	g->pure.notices[at].muted = muted;
	g->alerts[at] = x;
	g->rules[at] = rule;
}

/* Whether one of its alerts speaks for that of another. */
static int
speaks_for(const struct rule *r, const struct alert *x)
{
	for (uint32_t i = 0; i < r->next.n; i++) {
		const struct alert *own = &r->next.items[i];

		if (own->state == ALERT_FIRING &&
		    (own->project.n == 0 || str_eq(own->project, x->project)))
			return 1;
	}
	return 0;
}

/* Another rule's firing alert of the same project speaks for it. */
static int
inhibited(const struct judge *j, const struct rule *rule, const struct alert *x)
{
	const struct json *by = rule->inhibited_by;

	for (uint32_t i = 0; by != NULL && i < by->n; i++) {
		struct str name = json_str(by->items[i]);
		uint32_t k =
		    lookup_first(&j->by_name, lookup_hash(LOOKUP_BASIS, name));

		for (; k != LOOKUP_NONE; k = lookup_next(&j->by_name, k))
			if (str_eq(j->rules[k].name, name) &&
			    speaks_for(&j->rules[k], x))
				return 1;
	}
	return 0;
}

/* About that channel itself, as delivery_failing is: others are to tell it. */
static int
is_about(const struct alert *x, const struct alert_channel *c)
{
	for (uint32_t i = 0; i < x->n_labels; i++)
		if (str_is(x->labels[i].name, "channel"))
			return str_eq(x->labels[i].value, c->name) &&
			    str_eq(x->project, c->project);
	return 0;
}

static void
alert_spread(struct step *s, uint32_t at, const struct alert *x)
{
	struct judge *j = s->j;
	const struct rule *rule = &j->rules[at];
	int muted = x->acked || alert_silenced(j, rule, x, s->now_ms) ||
	    inhibited(j, rule, x);

	for (uint32_t i = 0; i < j->n_channels; i++) {
		const struct alert_channel *c = &j->channels[i];
		struct str key;

		if (rule->severity < c->least || is_about(x, c) ||
		    (c->project.n > 0 && !str_eq(c->project, x->project)))
			continue;
		key = alert_group_key(&s->is->arena, c, rule, x);
		notice_fill(s, group_get(s, i, key), at, x, muted);
	}
}

/* The first seat of an alert; LOOKUP_NONE: no group was told of it. */
static uint32_t
seat_first(const struct world *w, struct str id)
{
	uint32_t i = lookup_first(&w->by_alert, lookup_hash(LOOKUP_BASIS, id));

	while (i != LOOKUP_NONE &&
	    !str_eq(w->groups[w->seats[i].group]
			.pure.notices[w->seats[i].notice]
			.alert,
		id))
		i = lookup_next(&w->by_alert, i);
	return i;
}

/* The end of what groups were told. */
static void
over_spread(struct step *s)
{
	struct world *w = s->is;

	for (uint32_t o = 0; o < w->n_over; o++) {
		const struct over *over = &w->over[o];
		uint32_t i = seat_first(w, over->alert.id);

		for (; i != LOOKUP_NONE && over->rule < s->j->n_rules;
		     i = lookup_next(&w->by_alert, i)) {
			struct group *g = &w->groups[w->seats[i].group];
			uint32_t at = w->seats[i].notice;

			if (g->alerts[at] == NULL &&
			    str_eq(g->pure.notices[at].alert, over->alert.id)) {
				g->alerts[at] = &over->alert;
				g->rules[at] = over->rule;
			}
		}
	}
}

/* It is kept until all groups were told. */
static void
over_keep(struct step *s)
{
	struct world *w = s->is;

	for (uint32_t i = 0; i < s->was->n_over; i++) {
		const struct over *o = &s->was->over[i];

		if (seat_first(w, o->alert.id) == LOOKUP_NONE)
			continue;
		over_add(s, o->rule, &o->alert);
		alert_keep(&w->arena, &w->over[w->n_over - 1].alert);
	}
}

static void
message_add(struct step *s, struct group *g, const char *kind)
{
	struct arena *a = &s->is->arena;
	const struct alert_channel *c = &s->j->channels[g->channel];
	struct json *v = json_object(a);
	struct json *body = group_message(s->j, a, g, kind, s->now_ms);
	struct str project = c->project, key = utf8_cut(g->key, DEDUP_MOST);

	for (uint32_t i = 0; i < g->pure.n && project.n == 0; i++)
		if (g->alerts[i] != NULL)
			project = g->alerts[i]->project;
	json_set(a, v, "channel_id", json_string(a, c->id));
	json_set(
	    a, v, "project_id", project.n > 0 ? json_string(a, project) : NULL);
	json_set(a, v, "group_key", json_string(a, g->key));
	json_set(a, v, "dedup_key",
	    json_cstring(
		a, arena_printf(a, "%.*s:%.*s", STR_FMT(c->id), STR_FMT(key))));
	json_set(a, v, "kind", json_cstring(a, kind));
	json_set(a, v, "body", body);
	json_push(a, s->messages, v);
}

static void
group_add(struct step *s, const struct group *g)
{
	struct arena *a = &s->is->arena;
	struct json *v = json_object(a), *told = json_array(a);

	for (uint32_t i = 0; i < g->pure.n; i++)
		if (g->pure.notices[i].told_firing)
			json_push(
			    a, told, json_string(a, g->pure.notices[i].alert));
	json_set(
	    a, v, "channel_id", json_string(a, s->j->channels[g->channel].id));
	json_set(a, v, "group_key", json_string(a, g->key));
	json_set(a, v, "begun_at", json_time(a, g->pure.begun_ms));
	json_set(a, v, "sent_at", json_time(a, g->pure.sent_ms));
	json_set(a, v, "told", told);
	json_set(a, v, "gone", json_bool(g->gone));
	json_push(a, s->groups, v);
}

static void
group_step(struct step *s, struct group *g)
{
	const struct notify_policy *policy = &s->j->channels[g->channel].policy;
	int64_t begun = g->pure.begun_ms, at;
	enum notify_due due = notify_due(policy, &g->pure, s->now_ms, &at);

	if (due == NOTIFY_NEW || due == NOTIFY_REPEAT) {
		message_add(s, g, due == NOTIFY_NEW ? "new" : "repeat");
		notify_sent(&g->pure, s->now_ms);
		group_add(s, g);
	} else if (due == NOTIFY_END) {
		g->gone = 1;
		if (begun != 0 || g->pure.sent_ms != 0)
			group_add(s, g);
	} else if (g->pure.begun_ms != begun) {
		group_add(s, g);
	}
}

/* ---- steps ------------------------------------------------------------------ */

/* The step counts. */
static void
step_take(struct judge *j)
{
	j->at = !j->at;
	for (uint32_t i = 0; i < j->n_rules; i++)
		j->rules[i].now = j->rules[i].next;
}

static void
recorded(void *arg, struct rows *rows, const struct error *err)
{
	struct judge *j = arg;

	(void)rows;
	j->busy = 0;
	testpoint("judge.recorded");
	if (err == NULL) {
		step_take(j);
		deliver_due(j->m->deliver);
		return;
	}
	/* it may have been recorded all the same: read what is there */
	judge_reset(j);
	if (err->fault != FAULT_RETRY)
		log_warn("alerts.not_recorded", E_(err));
}

static void
step(struct judge *j)
{
	struct step s = { .j = j,
		.was = &j->worlds[j->at],
		.is = &j->worlds[!j->at],
		.now_ms = samples_now(&j->m->samples) };
	struct arena *a = &s.is->arena;
	struct error err;

	world_reset(s.is);
	s.changes = json_array(a);
	s.groups = json_array(a);
	s.messages = json_array(a);
	s.problems = json_array(a);
	groups_copy(&s);
	for (uint32_t i = 0; i < j->n_rules; i++)
		rule_step(&s, i);
	for (uint32_t i = 0; i < j->n_rules; i++)
		for (uint32_t k = 0; k < j->rules[i].next.n; k++)
			if (j->rules[i].next.items[k].state == ALERT_FIRING)
				alert_spread(&s, i, &j->rules[i].next.items[k]);
	over_keep(&s);
	over_spread(&s);
	for (uint32_t i = 0; i < s.is->n_groups; i++)
		group_step(&s, &s.is->groups[i]);
	if (s.changes->n + s.groups->n + s.messages->n + s.problems->n == 0) {
		step_take(j);
		return;
	}
	testpoint("judge.decided");
	j->busy = db_call(j->m->db, &sql_alert_record, recorded, j, &err,
		      db_int8(j->m->fence), db_time(db_time_from_ms(s.now_ms)),
		      db_jsonb(json_text(a, s.changes)),
		      db_jsonb(json_text(a, s.groups)),
		      db_jsonb(json_text(a, s.messages)),
		      db_jsonb(json_text(a, s.problems))) == 0;
}

/* What the rules look back at is there. */
static void
recalled(void *arg, const struct error *err)
{
	struct judge *j = arg;

	j->busy = 0;
	if (err == NULL) {
		step(j);
		return;
	}
	judge_reset(j);
	if (err->fault != FAULT_RETRY)
		log_warn("alerts.not_recalled", E_(err));
}

static void
loaded(void *arg, struct rows *rows, const struct error *cause)
{
	struct judge *j = arg;
	struct error err;

	j->busy = 0;
	if (cause != NULL) {
		if (cause->fault != FAULT_RETRY)
			log_warn("alerts.not_loaded", E_(cause));
		return;
	}
	if (judge_take(j, rows_str(rows, 0, "state"), &err) < 0) {
		log_warn("alerts.not_loaded", E_(&err));
		judge_reset(j);
		return;
	}
	log_debug("alerts.loaded", I_("rules", j->n_rules),
	    I_("channels", j->n_channels));
	j->busy = 1;
	samples_recall(j->m, j->reads, j->n_reads, recalled, j);
}

void
judge_tick(struct judge *j, int64_t version)
{
	struct error err;

	if (j->busy)
		return; /* the next tick sees it all */
	if (j->version != version)
		j->busy =
		    db_call(j->m->db, &sql_alert_load, loaded, j, &err) == 0;
	else
		step(j);
}
