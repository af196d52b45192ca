#include "core/log.h"
#include "core/mem.h"
#include "core/time.h"
#include "monitor/judge-impl.h"
#include "monitor/monitor-impl.h"

#include <string.h>

enum { RANGE_MOST_MS = 3600000 };

static int64_t
number(const struct json *of, const char *key)
{
	int64_t v = 0;

	json_integer(json_get(of, key), &v);
	return v;
}

static int64_t
moment(const struct json *of, const char *key)
{
	int64_t ms = 0;

	time_parse(json_str(json_get(of, key)), &ms);
	return ms;
}

static struct str
text(const struct json *of, const char *key)
{
	return json_str(json_get(of, key));
}

/* What outlives the answer. */
static struct str
kept(struct arena *a, const struct json *of, const char *key)
{
	struct str s = text(of, key);

	return s.n > 0 ? arena_str(a, s) : (struct str){ "", 0 };
}

/* NULL for what is empty. */
static struct json *
kept_json(struct arena *a, const struct json *of)
{
	struct json *v = NULL;

	if (of != NULL && of->n > 0)
		json_parse(a, json_text(a, of), NULL, &v, NULL);
	return v;
}

static enum severity
severity(struct str name)
{
	return str_is(name, "critical") ? SEVERITY_CRITICAL
	    : str_is(name, "warning")   ? SEVERITY_WARNING
					: SEVERITY_INFO;
}

/* What it looks at, and how far back. */
static void
take_reads(struct judge *j, struct rule *r)
{
	struct cond_metric *own = NULL;
	size_t n = cond_metrics(&j->config, r->pure.cond, &own, 0);

	for (size_t i = 0; i < n; i++)
		if (r->pure.range_ms < own[i].range_ms)
			r->pure.range_ms = own[i].range_ms;
	if (r->enabled)
		j->n_reads = cond_metrics(
		    &j->config, r->pure.cond, &j->reads, j->n_reads);
}

static void
take_rule(struct judge *j, struct rule *r, const struct json *of)
{
	struct arena *a = &j->config;
	struct cond *cond = NULL;
	struct error err;

	*r = (struct rule){ .id = kept(a, of, "id"),
		.name = kept(a, of, "name"),
		.severity_name = kept(a, of, "severity"),
		.severity = severity(text(of, "severity")),
		.summary = kept(a, of, "summary"),
		.description = kept(a, of, "description"),
		.runbook = kept(a, of, "runbook"),
		.labels = kept_json(a, json_get(of, "labels")),
		.inhibited_by = kept_json(a, json_get(of, "inhibited_by")) };
	r->pure = (struct alert_rule){ .id = r->id,
		.project = kept(a, of, "project_id"),
		.hold_ms = number(of, "hold_s") * 1000,
		.keep_ms = number(of, "keep_s") * 1000 };
	r->enabled = json_is(json_get(of, "enabled"), JSON_TRUE);
	r->problem_told = text(of, "problem").n > 0; /* by the row */
	if (cond_parse(a, text(of, "expr"), RANGE_MOST_MS, &cond, &err) < 0)
		r->problem = arena_strdup(a, err.text);
	r->pure.cond = cond;
	take_reads(j, r);
}

static void
take_channel(struct arena *a, struct alert_channel *c, const struct json *of)
{
	*c = (struct alert_channel){ .id = kept(a, of, "id"),
		.project = kept(a, of, "project_id"),
		.name = kept(a, of, "name"),
		.least = severity(text(of, "min_severity")),
		.group_by = kept_json(a, json_get(of, "group_by")),
		.policy = { .wait_ms = number(of, "wait_ms"),
		    .interval_ms = number(of, "interval_ms"),
		    .repeat_ms = number(of, "repeat_ms") } };
}

static void
take_labels(struct arena *a, struct alert *x, const struct json *labels)
{
	for (uint32_t i = 0;
	     labels != NULL && i < labels->n && x->n_labels < ALERT_LABELS; i++)
		x->labels[x->n_labels++] =
		    (struct label){ arena_str(a, labels->of[i].key),
			    arena_str(a, json_str(labels->of[i].value)) };
}

static struct alert
take_alert(struct arena *a, const struct json *of)
{
	struct str state = text(of, "state");
	struct alert x = { .id = kept(a, of, "id"),
		.acked = text(of, "acked_at").n > 0,
		.state = str_is(state, "firing") ? ALERT_FIRING
		    : str_is(state, "pending")   ? ALERT_PENDING
						 : ALERT_RESOLVED,
		.project = kept(a, of, "project_id"),
		.since_ms = moment(of, "since"),
		.fired_ms = moment(of, "fired_at"),
		.value = json_num(json_get(of, "value")) };

	/* when it last held isn't kept: now, so that nothing resolves early */
	x.held_ms = INT64_MAX;
	take_labels(a, &x, json_get(of, "labels"));
	return x;
}

static uint32_t
rule_of(const struct judge *j, const struct lookup *by_id, struct str id)
{
	uint32_t i = lookup_first(by_id, lookup_hash(LOOKUP_BASIS, id));

	while (i != LOOKUP_NONE && !str_eq(j->rules[i].id, id))
		i = lookup_next(by_id, i);
	return i != LOOKUP_NONE ? i : j->n_rules;
}

static void
take_alerts(struct judge *j, struct world *w, const struct json *alerts)
{
	struct lookup by_id;

	lookup_init(&by_id, &w->arena);
	for (uint32_t i = 0; i < j->n_rules; i++)
		lookup_add(&by_id, lookup_hash(LOOKUP_BASIS, j->rules[i].id));
	w->over = arena_array(&w->arena, alerts->n + 1, sizeof(*w->over));
	for (uint32_t i = 0; i < alerts->n; i++) {
		uint32_t at =
		    rule_of(j, &by_id, text(alerts->items[i], "rule_id"));
		struct alert x = take_alert(&w->arena, alerts->items[i]);
		struct alerts *now;

		if (at == j->n_rules || x.state == ALERT_RESOLVED) {
			w->over[w->n_over++] = (struct over){ at, x };
			continue;
		}
		now = &j->rules[at].now;
		now->items = arena_more(
		    &w->arena, now->items, now->n, sizeof(*now->items));
		now->items[now->n++] = x;
	}
}

static void
take_group(struct judge *j, struct world *w, const struct json *of)
{
	const struct json *told = json_get(of, "told");
	struct group *g = &w->groups[w->n_groups];
	uint32_t n = told != NULL ? told->n : 0;

	*g = (struct group){ .key = kept(&w->arena, of, "group_key") };
	while (g->channel < j->n_channels &&
	    !str_eq(j->channels[g->channel].id, text(of, "channel_id")))
		g->channel++;
	if (g->channel == j->n_channels)
		return; /* disabled: when it comes back, it is told anew */
	g->pure.begun_ms = moment(of, "begun_at");
	g->pure.sent_ms = moment(of, "sent_at");
	g->pure.notices =
	    arena_zalloc(&w->arena, (n + 1) * sizeof(*g->pure.notices));
	for (; told != NULL && g->pure.n < n; g->pure.n++)
		g->pure.notices[g->pure.n] =
		    (struct notice){ .alert = arena_str(&w->arena,
					 json_str(told->items[g->pure.n])),
			    .told_firing = 1 };
	w->n_groups++;
}

static uint32_t
count(const struct json *list)
{
	return list != NULL ? list->n : 0;
}

static void
take_rules(struct judge *j, const struct json *rules)
{
	j->reads = NULL;
	j->n_reads = 0;
	j->n_rules = count(rules);
	j->rules = arena_array(&j->config, j->n_rules + 1, sizeof(*j->rules));
	lookup_init(&j->by_name, &j->config);
	for (uint32_t i = 0; i < j->n_rules; i++) {
		take_rule(j, &j->rules[i], rules->items[i]);
		lookup_add(
		    &j->by_name, lookup_hash(LOOKUP_BASIS, j->rules[i].name));
	}
}

static void
take_silences(struct judge *j, const struct json *silences)
{
	struct arena *a = &j->config;

	j->n_silences = count(silences);
	j->silences = arena_array(a, j->n_silences + 1, sizeof(*j->silences));
	for (uint32_t i = 0; i < j->n_silences; i++) {
		const struct json *of = silences->items[i];

		j->silences[i] = (struct silence){ kept(a, of, "project_id"),
			kept(a, of, "rule"),
			kept_json(a, json_get(of, "labels")),
			moment(of, "starts_at"), moment(of, "ends_at") };
	}
}

/* The answer is some megabytes for thousands of rules, and goes at the end. */
int
judge_take(struct judge *j, struct str answer, struct error *err)
{
	struct world *w = &j->worlds[0];
	struct json *all, *channels, *groups;
	struct arena a;

	arena_init(&a);
	if (json_parse(&a, answer, NULL, &all, err) < 0) {
		arena_deinit(&a);
		return fail_in(err, "alert_load");
	}
	arena_reset(&j->config);
	world_reset(w);
	j->at = 0;
	j->projects = kept_json(&j->config, json_get(all, "projects"));
	take_rules(j, json_get(all, "rules"));
	channels = json_get(all, "channels");
	j->n_channels = count(channels);
	j->channels =
	    arena_array(&j->config, j->n_channels + 1, sizeof(*j->channels));
	for (uint32_t i = 0; i < j->n_channels; i++)
		take_channel(&j->config, &j->channels[i], channels->items[i]);
	take_silences(j, json_get(all, "silences"));
	take_alerts(j, w, json_get(all, "alerts"));
	groups = json_get(all, "groups");
	w->groups =
	    arena_array(&w->arena, count(groups) + 1, sizeof(*w->groups));
	for (uint32_t i = 0; i < count(groups); i++)
		take_group(j, w, groups->items[i]);
	j->version = number(all, "version");
	arena_deinit(&a);
	return 0;
}
