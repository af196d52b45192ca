#include "monitor/format/format.h"
#include "core/buf.h"
#include "core/utf8.h"
#include "monitor/format/format-impl.h"

#include <stdio.h>
#include <string.h>

static const struct kind {
	const char *name;
	const char *needs[3]; /* members of the target; the first is a URL */
	const char *preset;   /* of the URL */
	format_fn *format;
} kinds[] = {
	{ "slack", { "url" }, NULL, format_slack },
	{ "pagerduty", { "url", "routing_key" },
	    "https://events.pagerduty.com/v2/enqueue", format_pagerduty },
	{ "alertmanager", { "url" }, NULL, format_alertmanager },
	{ "webhook", { "url", "secret" }, NULL, format_webhook },
	{ "discord", { "url" }, NULL, format_discord },
	{ "email", { "url", "from", "to" }, NULL, format_email },
};

const char *const format_kinds[] = { "slack", "pagerduty", "alertmanager",
	"webhook", "discord", "email", NULL };

static const struct kind *
kind_of(const char *name, struct error *err)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	fail(err, FAULT_INPUT, "CHANNEL", "no kind of channel \"%.40s\"", name);
	return NULL;
}

static int
begins(struct str s, const char *with)
{
	size_t n = strlen(with);

	return s.n > n && memcmp(s.s, with, n) == 0;
}

static struct str
url_of(const struct kind *kind, const struct json *target)
{
	struct str url = json_str(json_get(target, "url"));

	return url.n == 0 && kind->preset != NULL ? str_of(kind->preset) : url;
}

/* Scheme and host: what comes behind them may be a secret. */
static struct str
shown(struct arena *a, struct str url)
{
	const char *host = memmem(url.s, url.n, "://", 3);
	const char *at, *end;

	if (host == NULL)
		return (struct str){ 0 };
	host += 3;
	end = memchr(host, '/', (size_t)(url.s + url.n - host));
	if (end == NULL)
		end = url.s + url.n;
	at = memrchr(host, '@', (size_t)(end - host));
	return str_of(arena_printf(a, "%.*s%.*s", (int)(host - url.s), url.s,
	    (int)(end - (at != NULL ? at + 1 : host)),
	    at != NULL ? at + 1 : host));
}

static int
target_check(
    const struct kind *kind, const struct json *target, struct error *err)
{
	struct str url = url_of(kind, target);
	int mail = kind->format == format_email;

	for (size_t i = 0; i < 3 && kind->needs[i] != NULL; i++) {
		const struct json *v = json_get(target, kind->needs[i]);

		if (i == 0 ? url.n == 0
			   : json_str(v).n == 0 && !json_is(v, JSON_ARRAY))
			return fail(err, FAULT_INPUT, "CHANNEL",
			    "a %s channel needs \"%s\"", kind->name,
			    kind->needs[i]);
	}
	if (mail ? begins(url, "smtp://") || begins(url, "smtps://")
		 : begins(url, "https://") || begins(url, "http://"))
		return 0;
	return fail(err, FAULT_INPUT, "CHANNEL",
	    "the url of a %s channel begins with %s", kind->name,
	    mail ? "smtp:// or smtps://" : "https://");
}

int
format_target_check(struct arena *a, const char *name,
    const struct json *target, struct str *show, struct error *err)
{
	const struct kind *kind = kind_of(name, err);

	if (kind == NULL || target_check(kind, target, err) < 0)
		return -1;
	*show = shown(a, url_of(kind, target));
	return 0;
}

static struct json *
object_copy(struct arena *a, const struct json *of)
{
	struct json *v = json_object(a);

	for (uint32_t i = 0; i < of->n; i++)
		json_set_str(a, v, of->of[i].key, of->of[i].value);
	return v;
}

/* The body with a link to each failed run. */
static const struct json *
linked(struct arena *a, const struct format_message *m)
{
	const struct json *alerts = format_alerts(m);
	struct json *body, *list;

	if (m->console == NULL || json_get(json_at(alerts, 0), "run") == NULL)
		return m->body;
	body = object_copy(a, m->body);
	list = json_array(a);
	for (uint32_t i = 0; i < alerts->n; i++) {
		struct json *alert = object_copy(a, alerts->items[i]);
		struct str project = json_str(json_get(alert, "project"));
		struct str run = json_str(json_get(alert, "run"));

		json_set(a, alert, "link",
		    json_cstring(a,
			arena_printf(a, "%s/p/%.*s/runs/%.*s", m->console,
			    STR_FMT(project), STR_FMT(run))));
		json_push(a, list, alert);
	}
	json_set(a, body, "alerts", list);
	return body;
}

int
format_message(struct arena *a, const char *name, const struct json *target,
    const struct format_message *given, struct format_out *out,
    struct error *err)
{
	const struct kind *kind = kind_of(name, err);
	struct format_message m = *given;

	*out = (struct format_out){ .content_type = "application/json" };
	if (kind == NULL || target_check(kind, target, err) < 0)
		return -1;
	out->url = url_of(kind, target);
	m.body = linked(a, given);
	kind->format(a, target, &m, out);
	return 0;
}

/* ---- what they share -------------------------------------------------------- */

int
format_fires(const struct format_message *m)
{
	return str_is(json_str(json_get(m->body, "status")), "firing");
}

const struct json *
format_alerts(const struct format_message *m)
{
	static const struct json none = { .type = JSON_ARRAY };
	const struct json *alerts = json_get(m->body, "alerts");

	return json_is(alerts, JSON_ARRAY) ? alerts : &none;
}

const char *
format_severity(const struct format_message *m)
{
	const struct json *alerts = format_alerts(m);
	const char *most = "info";

	for (uint32_t i = 0; i < alerts->n; i++) {
		struct str s = json_str(json_get(alerts->items[i], "severity"));

		if (str_is(s, "critical"))
			return "critical";
		if (str_is(s, "warning"))
			most = "warning";
	}
	return most;
}

struct str
format_summary(const struct json *alert)
{
	struct str s = json_str(json_get(alert, "summary"));

	return s.n > 0 ? s : json_str(json_get(alert, "rule"));
}

struct str
format_cut(struct arena *a, struct str s, size_t max)
{
	struct str cut;

	if (s.n <= max)
		return s;
	cut = utf8_cut(s, max - 3);
	return str_of(arena_printf(a, "%.*s...", STR_FMT(cut)));
}

struct str
format_title(struct arena *a, const struct format_message *m)
{
	const struct json *alerts = format_alerts(m);
	struct str rule = json_str(json_get(json_at(alerts, 0), "rule"));
	const char *what = format_fires(m) ? "FIRING" : "RESOLVED";
	const char *tag = m->again ? " (may be a repeat)"
	    : str_is(json_str(json_get(m->body, "kind")), "repeat") ? " (still)"
								    : "";

	for (uint32_t i = 1; i < alerts->n; i++)
		if (!str_eq(json_str(json_get(alerts->items[i], "rule")), rule))
			return str_of(arena_printf(
			    a, "%s: %u alerts%s", what, alerts->n, tag));
	if (alerts->n > 1)
		return str_of(arena_printf(
		    a, "%s: %.*s (%u)%s", what, STR_FMT(rule), alerts->n, tag));
	return str_of(arena_printf(a, "%s: %.*s%s", what, STR_FMT(rule), tag));
}

struct str
format_labels(struct arena *a, const struct json *alert)
{
	const struct json *labels = json_get(alert, "labels");
	struct str project = json_str(json_get(alert, "project"));
	const char *text = project.n > 0
	    ? arena_printf(a, "project=%.*s", STR_FMT(project))
	    : "";

	for (uint32_t i = 0; labels != NULL && i < labels->n; i++) {
		struct str value = json_str(labels->of[i].value);

		text = arena_printf(a, "%s%s%.*s=%.*s", text,
		    *text != '\0' ? ", " : "", STR_FMT(labels->of[i].key),
		    STR_FMT(value));
	}
	return str_of(text);
}

struct str
format_run_link(const struct json *alert)
{
	return json_str(json_get(alert, "link"));
}

struct str
format_link(struct arena *a, const struct format_message *m)
{
	const struct json *first = json_at(format_alerts(m), 0);
	struct str project = json_str(json_get(first, "project"));

	if (m->console == NULL)
		return (struct str){ 0 };
	if (format_run_link(first).n > 0)
		return format_run_link(first);
	if (project.n == 0)
		return str_of(arena_printf(a, "%s/health", m->console));
	return str_of(
	    arena_printf(a, "%s/p/%.*s/health", m->console, STR_FMT(project)));
}
