/* PagerDuty, Alertmanager's webhook, our own: for programs. And mail. */
#include "core/json.h"
#include "monitor/format/format-impl.h"

#include <stdio.h>
#include <string.h>

enum { PAGERDUTY_SUMMARY = 1000, PAGERDUTY_KEY = 255, MAIL_SUBJECT = 200 };

/* developer.pagerduty.com/docs/events-api-v2 */
void
format_pagerduty(struct arena *a, const struct json *target,
    const struct format_message *m, struct format_out *out)
{
	struct json *v = json_object(a), *payload = json_object(a);
	struct json *links = json_array(a), *link;
	const struct json *first = json_at(format_alerts(m), 0);
	struct str title = format_title(a, m), href = format_link(a, m);

	json_set(a, v, "routing_key", json_get(target, "routing_key"));
	json_set(a, v, "event_action",
	    json_cstring(a, format_fires(m) ? "trigger" : "resolve"));
	json_set(a, v, "dedup_key",
	    json_string(a, format_cut(a, m->dedup_key, PAGERDUTY_KEY)));
	json_set(a, payload, "summary",
	    json_string(a,
		format_cut(a,
		    str_of(arena_printf(a, "%.*s: %.*s", STR_FMT(title),
			STR_FMT(format_summary(first)))),
		    PAGERDUTY_SUMMARY)));
	json_set(a, payload, "source", json_cstring(a, "meshhook"));
	json_set(a, payload, "severity", json_cstring(a, format_severity(m)));
	json_set(a, payload, "timestamp", json_get(m->body, "at"));
	json_set(a, payload, "component", json_get(first, "project"));
	json_set(a, payload, "custom_details", json_get(m->body, "alerts"));
	json_set(a, v, "payload", payload);
	if (href.n > 0) {
		link = json_object(a);
		json_set(a, link, "href", json_string(a, href));
		json_set(a, link, "text", json_cstring(a, "Console"));
		json_push(a, links, link);
	}
	json_set(a, v, "links", links);
	out->body = json_text(a, v);
}

static void
authorize(struct arena *a, const struct json *target, struct format_out *out)
{
	struct str token = json_str(json_get(target, "token"));

	if (token.n > 0)
		out->authorization =
		    str_of(arena_printf(a, "Bearer %.*s", STR_FMT(token)));
}

static struct json *
alertmanager_labels(struct arena *a, const struct json *alert)
{
	struct json *labels = json_object(a);
	const struct json *of = json_get(alert, "labels");

	json_set(a, labels, "alertname", json_get(alert, "rule"));
	json_set(a, labels, "severity", json_get(alert, "severity"));
	if (json_str(json_get(alert, "project")).n > 0)
		json_set(a, labels, "project", json_get(alert, "project"));
	for (uint32_t i = 0; of != NULL && i < of->n; i++)
		json_set_str(a, labels, of->of[i].key, of->of[i].value);
	return labels;
}

/* prometheus.io/docs/alerting/latest/configuration/#webhook_config */
void
format_alertmanager(struct arena *a, const struct json *target,
    const struct format_message *m, struct format_out *out)
{
	const struct json *alerts = format_alerts(m);
	struct json *v = json_object(a), *list = json_array(a);
	struct str link = format_link(a, m);

	for (uint32_t i = 0; i < alerts->n; i++) {
		const struct json *of = alerts->items[i];
		struct json *alert = json_object(a), *notes = json_object(a);
		const struct json *end = json_get(of, "resolved_at");

		json_set(a, notes, "summary", json_get(of, "summary"));
		json_set(a, notes, "description", json_get(of, "description"));
		json_set(a, notes, "runbook_url", json_get(of, "runbook"));
		json_set(a, alert, "status", json_get(of, "status"));
		json_set(a, alert, "labels", alertmanager_labels(a, of));
		json_set(a, alert, "annotations", notes);
		json_set(a, alert, "startsAt", json_get(of, "fired_at"));
		json_set(a, alert, "endsAt",
		    json_cstring(a,
			json_str(end).n > 0 ? json_str(end).s
					    : "0001-01-01T00:00:00Z"));
		json_set(a, alert, "generatorURL",
		    format_run_link(of).n > 0 ? json_get(of, "link")
					      : json_string(a, link));
		json_set(a, alert, "fingerprint", json_get(of, "id"));
		json_push(a, list, alert);
	}
	json_set(a, v, "version", json_cstring(a, "4"));
	json_set(a, v, "groupKey", json_string(a, m->dedup_key));
	json_set(a, v, "truncatedAlerts", json_get(m->body, "more"));
	json_set(a, v, "status", json_get(m->body, "status"));
	json_set(a, v, "receiver", json_cstring(a, "meshhook"));
	json_set(a, v, "groupLabels", json_get(m->body, "group"));
	json_set(a, v, "commonLabels", json_object(a));
	json_set(a, v, "commonAnnotations", json_object(a));
	json_set(a, v, "externalURL", json_string(a, link));
	json_set(a, v, "alerts", list);
	out->body = json_text(a, v);
	authorize(a, target, out);
}

/* standardwebhooks.com: type, timestamp, data */
void
format_webhook(struct arena *a, const struct json *target,
    const struct format_message *m, struct format_out *out)
{
	struct json *v = json_object(a), *data = json_object(a);

	(void)target;
	json_set(a, v, "type",
	    json_cstring(
		a, format_fires(m) ? "alert.firing" : "alert.resolved"));
	json_set(a, v, "timestamp", json_get(m->body, "at"));
	for (uint32_t i = 0; i < m->body->n; i++)
		json_set_str(a, data, m->body->of[i].key, m->body->of[i].value);
	json_set(a, data, "dedup_key", json_string(a, m->dedup_key));
	json_set(a, data, "again", json_bool(m->again));
	json_set(a, v, "data", data);
	out->body = json_text(a, v);
}

/* RFC 5322: a header has no line breaks. */
static struct str
one_line(struct arena *a, struct str s)
{
	char *out = arena_strndup(a, s.s, s.n);

	for (char *c = out; *c != '\0'; c++)
		if ((unsigned char)*c < ' ')
			*c = ' ';
	return str_of(out);
}

void
format_email(struct arena *a, const struct json *target,
    const struct format_message *m, struct format_out *out)
{
	const struct json *alerts = format_alerts(m);
	struct str link = format_link(a, m);
	const char *text = "";

	(void)target;
	for (uint32_t i = 0; i < alerts->n; i++) {
		const struct json *x = alerts->items[i];
		struct str status = json_str(json_get(x, "status"));
		struct str summary = format_summary(x);
		struct str labels = format_labels(a, x);
		struct str more = json_str(json_get(x, "description"));
		struct str runbook = json_str(json_get(x, "runbook"));
		struct str run = format_run_link(x);

		text = arena_printf(a,
		    "%s%.*s: %.*s\r\n%.*s\r\n%.*s\r\n%s%.*s%.*s%s\r\n\r\n",
		    text, STR_FMT(status), STR_FMT(summary), STR_FMT(labels),
		    STR_FMT(more), runbook.n > 0 ? "What to do: " : "",
		    STR_FMT(runbook), STR_FMT(run), run.n > 0 ? "\r\n" : "");
	}
	out->subject =
	    format_cut(a, one_line(a, format_title(a, m)), MAIL_SUBJECT);
	out->body = str_of(arena_printf(a, "%s%.*s\r\n", text, STR_FMT(link)));
	out->content_type = "text/plain; charset=utf-8";
}
