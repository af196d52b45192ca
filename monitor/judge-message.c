/* Who hears of an alert, and what a message says. */
#include "core/json.h"
#include "core/mem.h"
#include "core/time.h"
#include "core/utf8.h"
#include "monitor/judge-impl.h"

#include <stdio.h>
#include <string.h>

enum { MESSAGE_ALERTS = 50, FILLED_MOST = 2000 };

struct json *
json_time(struct arena *a, int64_t ms)
{
	char text[TIME_TEXT];

	return ms == 0 ? NULL : json_cstring(a, time_format(ms, text));
}

struct json *
json_labels(struct arena *a, const struct alert *alert)
{
	struct json *labels = json_object(a);

	for (uint32_t i = 0; i < alert->n_labels; i++)
		json_set_str(a, labels, alert->labels[i].name,
		    json_string(a, alert->labels[i].value));
	return labels;
}

/* A label of the alert, or of its rule; "project" and "rule" are ones, too. */
static struct str
label_of(const struct rule *rule, const struct alert *alert, struct str name)
{
	if (str_is(name, "rule"))
		return rule->name;
	if (str_is(name, "project"))
		return alert->project;
	if (str_is(name, "severity"))
		return rule->severity_name;
	for (uint32_t i = 0; i < alert->n_labels; i++)
		if (str_eq(alert->labels[i].name, name))
			return alert->labels[i].value;
	return json_str(json_get_str(rule->labels, name));
}

static int
silence_fits(
    const struct silence *s, const struct rule *rule, const struct alert *alert)
{
	if (s->project.n > 0 && !str_eq(s->project, alert->project))
		return 0;
	if (s->rule.n > 0 && !str_eq(s->rule, rule->name))
		return 0;
	for (uint32_t i = 0; s->labels != NULL && i < s->labels->n; i++)
		if (!str_eq(label_of(rule, alert, s->labels->of[i].key),
			json_str(s->labels->of[i].value)))
			return 0;
	return 1;
}

int
alert_silenced(const struct judge *j, const struct rule *rule,
    const struct alert *alert, int64_t now_ms)
{
	for (uint32_t i = 0; i < j->n_silences; i++) {
		const struct silence *s = &j->silences[i];

		if (s->from_ms <= now_ms && now_ms < s->to_ms &&
		    silence_fits(s, rule, alert))
			return 1;
	}
	return 0;
}

struct str
alert_group_key(struct arena *a, const struct alert_channel *c,
    const struct rule *rule, const struct alert *alert)
{
	struct json *key = json_object(a);

	for (uint32_t i = 0; c->group_by != NULL && i < c->group_by->n; i++) {
		struct str name = json_str(c->group_by->items[i]);

		json_set_str(
		    a, key, name, json_string(a, label_of(rule, alert, name)));
	}
	return json_canonical(a, key);
}

static struct str
project_name(const struct judge *j, struct str id)
{
	struct json *slug = json_get_str(j->projects, id);

	return slug != NULL ? json_str(slug) : id;
}

struct filling {
	const struct judge *j;
	const struct rule *rule;
	const struct alert *alert;
};

/* "slot standby_1", "table runs, kind x" */
static struct str
labels_text(struct arena *a, const struct alert *alert)
{
	const char *text = "";

	for (uint32_t i = 0; i < alert->n_labels; i++)
		text = arena_printf(a, "%s%s%.*s %.*s", text, i > 0 ? ", " : "",
		    STR_FMT(alert->labels[i].name),
		    STR_FMT(alert->labels[i].value));
	return str_of(text);
}

static struct str
fill_one(struct arena *a, const struct filling *f, struct str name)
{
	if (str_is(name, "value"))
		return str_of(arena_printf(a, "%.6g", f->alert->value));
	if (str_is(name, "labels"))
		return labels_text(a, f->alert);
	if (str_is(name, "project"))
		return project_name(f->j, f->alert->project);
	if (name.n > 7 && memcmp(name.s, "labels.", 7) == 0)
		return label_of(
		    f->rule, f->alert, (struct str){ name.s + 7, name.n - 7 });
	return str_is(name, "rule") ? f->rule->name : (struct str){ 0 };
}

/* {{ name }} for what it stands; what isn't known is left out. */
static struct json *
filled(struct arena *a, const struct filling *f, struct str text)
{
	char out[FILLED_MOST];
	size_t n = 0;

	while (text.n > 0) {
		const char *open = memmem(text.s, text.n, "{{", 2);
		size_t plain = open != NULL ? (size_t)(open - text.s) : text.n;
		const char *close =
		    open == NULL ? NULL : memmem(open, text.n - plain, "}}", 2);
		struct str name, value, fits;

		if (close == NULL)
			plain = text.n;
		fits = utf8_cut((struct str){ text.s, plain }, FILLED_MOST - n);
		memcpy(out + n, fits.s, fits.n);
		n += fits.n;
		if (close == NULL || fits.n < plain)
			break;
		name = (struct str){ open + 2, (size_t)(close - open) - 2 };
		while (name.n > 0 && *name.s == ' ')
			name = (struct str){ name.s + 1, name.n - 1 };
		while (name.n > 0 && name.s[name.n - 1] == ' ')
			name.n--;
		value = fill_one(a, f, name);
		if (value.n > FILLED_MOST - n)
			break;
		memcpy(out + n, value.s != NULL ? value.s : "", value.n);
		n += value.n;
		text.n -= (size_t)(close + 2 - text.s);
		text.s = close + 2;
	}
	return json_string(a, (struct str){ out, n });
}

static struct json *
alert_message(struct judge *j, struct arena *a, uint32_t at,
    const struct alert *alert, int firing, int64_t now_ms)
{
	const struct rule *rule = &j->rules[at];
	struct filling f = { j, rule, alert };
	struct json *v = json_object(a);

	json_set(a, v, "id", json_string(a, alert->id));
	json_set(a, v, "rule", json_string(a, rule->name));
	json_set(a, v, "severity", json_string(a, rule->severity_name));
	json_set(
	    a, v, "status", json_cstring(a, firing ? "firing" : "resolved"));
	json_set(a, v, "project",
	    alert->project.n > 0
		? json_string(a, project_name(j, alert->project))
		: NULL);
	json_set(a, v, "labels", json_labels(a, alert));
	json_set(a, v, "value", json_double(a, alert->value));
	json_set(a, v, "since", json_time(a, alert->since_ms));
	json_set(a, v, "fired_at", json_time(a, alert->fired_ms));
	json_set(a, v, "resolved_at", json_time(a, firing ? 0 : now_ms));
	json_set(a, v, "summary", filled(a, &f, rule->summary));
	json_set(a, v, "description", filled(a, &f, rule->description));
	json_set(a, v, "runbook", json_string(a, rule->runbook));
	return v;
}

struct json *
group_message(struct judge *j, struct arena *a, const struct group *g,
    const char *kind, int64_t now_ms)
{
	struct json *v = json_object(a), *alerts = json_array(a), *key;
	int firing = 0;
	uint32_t more = 0;

	for (uint32_t i = 0; i < g->pure.n; i++) {
		const struct notice *n = &g->pure.notices[i];

		if (!notice_shown(n) || g->alerts[i] == NULL)
			continue;
		firing |= n->firing;
		if (alerts->n == MESSAGE_ALERTS)
			more++;
		else
			json_push(a, alerts,
			    alert_message(j, a, g->rules[i], g->alerts[i],
				n->firing, now_ms));
	}
	if (json_parse(a, g->key, NULL, &key, NULL) < 0)
		key = NULL;
	json_set(a, v, "kind", json_cstring(a, kind));
	json_set(
	    a, v, "status", json_cstring(a, firing ? "firing" : "resolved"));
	json_set(a, v, "at", json_time(a, now_ms));
	json_set(a, v, "group", key);
	json_set(a, v, "alerts", alerts);
	json_set(a, v, "more", json_int(a, more));
	return v;
}
