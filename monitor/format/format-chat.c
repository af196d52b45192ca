/* Slack and Discord: for people. */
#include "core/json.h"
#include "monitor/format/format-impl.h"

#include <stdio.h>
#include <string.h>

enum {
	/* api.slack.com/reference/block-kit */
	SLACK_HEADER = 150,
	SLACK_SECTION = 2900,
	SLACK_BLOCKS = 45,
	SLACK_TEXT = 2900,
	/* discord.com/developers/docs/resources/message */
	DISCORD_TITLE = 250,
	DISCORD_DESCRIPTION = 1000,
	DISCORD_EMBEDS = 5, /* 10, and 6,000 characters in all */
};

/* & < > are Slack's control characters. */
static struct str
slack_escaped(struct arena *a, struct str s)
{
	char *out = arena_alloc(a, 5 * s.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		const char *as = s.s[i] == '&' ? "&amp;"
		    : s.s[i] == '<'            ? "&lt;"
		    : s.s[i] == '>'            ? "&gt;"
					       : NULL;
		size_t k = as != NULL ? strlen(as) : 1;

		memcpy(out + n, as != NULL ? as : s.s + i, k);
		n += k;
	}
	out[n] = '\0';
	return (struct str){ out, n };
}

static struct json *
slack_text(struct arena *a, const char *type, struct str text)
{
	struct json *v = json_object(a);

	json_set(a, v, "type", json_cstring(a, type));
	json_set(a, v, "text", json_string(a, text));
	return v;
}

static struct json *
slack_block(struct arena *a, const char *type, struct json *text)
{
	struct json *v = json_object(a);

	json_set(a, v, "type", json_cstring(a, type));
	if (strcmp(type, "context") == 0) {
		struct json *elements = json_array(a);

		json_push(a, elements, text);
		json_set(a, v, "elements", elements);
	} else if (text != NULL) {
		json_set(a, v, "text", text);
	}
	return v;
}

static const char *
slack_sign(const struct json *alert)
{
	struct str severity = json_str(json_get(alert, "severity"));

	if (!str_is(json_str(json_get(alert, "status")), "firing"))
		return ":white_check_mark:";
	return str_is(severity, "critical") ? ":red_circle:"
	    : str_is(severity, "warning")   ? ":large_yellow_circle:"
					    : ":large_blue_circle:";
}

static struct str
slack_alert(struct arena *a, const struct json *alert)
{
	struct str summary =
	    slack_escaped(a, format_cut(a, format_summary(alert), 500));
	struct str text = slack_escaped(
	    a, format_cut(a, json_str(json_get(alert, "description")), 800));
	struct str labels =
	    slack_escaped(a, format_cut(a, format_labels(a, alert), 300));
	struct str runbook = json_str(json_get(alert, "runbook"));
	struct str link = format_run_link(alert);
	const char *run = link.n > 0
	    ? arena_printf(a, "\n<%.*s|Open the run>", STR_FMT(link))
	    : "";

	return format_cut(a,
	    str_of(arena_printf(a, "%s *%.*s*%s%.*s%s%.*s%s%s%s%.*s",
		slack_sign(alert), STR_FMT(summary), labels.n > 0 ? "\n" : "",
		STR_FMT(labels), text.n > 0 ? "\n" : "", STR_FMT(text), run,
		runbook.n > 0 ? "\n" : "", runbook.n > 0 ? "What to do: " : "",
		STR_FMT(slack_escaped(a, runbook)))),
	    SLACK_SECTION);
}

void
format_slack(struct arena *a, const struct json *target,
    const struct format_message *m, struct format_out *out)
{
	const struct json *alerts = format_alerts(m);
	struct json *v = json_object(a), *blocks = json_array(a);
	struct str title = format_cut(a, format_title(a, m), SLACK_HEADER);
	struct str link = format_link(a, m);
	struct str first = format_summary(json_at(alerts, 0));
	int64_t more = 0;

	(void)target;
	json_set(a, v, "text",
	    json_string(a,
		format_cut(a,
		    slack_escaped(a,
			str_of(arena_printf(
			    a, "%.*s: %.*s", STR_FMT(title), STR_FMT(first)))),
		    SLACK_TEXT)));
	json_push(a, blocks,
	    slack_block(a, "header", slack_text(a, "plain_text", title)));
	json_integer(json_get(m->body, "more"), &more);
	for (uint32_t i = 0; i < alerts->n; i++) {
		if (blocks->n == SLACK_BLOCKS) {
			more += alerts->n - i;
			break;
		}
		json_push(a, blocks,
		    slack_block(a, "section",
			slack_text(
			    a, "mrkdwn", slack_alert(a, alerts->items[i]))));
	}
	if (more > 0)
		json_push(a, blocks,
		    slack_block(a, "context",
			slack_text(a, "mrkdwn",
			    str_of(arena_printf(
				a, "and %lld more", (long long)more)))));
	if (link.n > 0)
		json_push(a, blocks,
		    slack_block(a, "context",
			slack_text(a, "mrkdwn",
			    str_of(arena_printf(a, "<%.*s|Open the console>",
				STR_FMT(link))))));
	json_set(a, v, "blocks", blocks);
	out->body = json_text(a, v);
}

static int
discord_color(const struct json *alert)
{
	struct str severity = json_str(json_get(alert, "severity"));

	if (!str_is(json_str(json_get(alert, "status")), "firing"))
		return 0x2eb67d;
	return str_is(severity, "critical") ? 0xe01e5a
	    : str_is(severity, "warning")   ? 0xecb22e
					    : 0x36c5f0;
}

void
format_discord(struct arena *a, const struct json *target,
    const struct format_message *m, struct format_out *out)
{
	const struct json *alerts = format_alerts(m);
	struct json *v = json_object(a), *embeds = json_array(a);
	struct json *nobody = json_object(a);

	(void)target;
	for (uint32_t i = 0; i < alerts->n && i < DISCORD_EMBEDS; i++) {
		const struct json *alert = alerts->items[i];
		struct json *e = json_object(a);
		struct str labels = format_labels(a, alert);
		struct str text = json_str(json_get(alert, "description"));

		json_set(a, e, "title",
		    json_string(a,
			format_cut(a, format_summary(alert), DISCORD_TITLE)));
		json_set(a, e, "description",
		    json_string(a,
			format_cut(a,
			    str_of(arena_printf(a, "%.*s\n%.*s",
				STR_FMT(labels), STR_FMT(text))),
			    DISCORD_DESCRIPTION)));
		json_set(a, e, "color", json_int(a, discord_color(alert)));
		if (format_run_link(alert).n > 0)
			json_set(a, e, "url", json_get(alert, "link"));
		json_push(a, embeds, e);
	}
	json_set(a, v, "content",
	    json_string(a, format_cut(a, format_title(a, m), 1900)));
	json_set(a, v, "embeds", embeds);
	json_set(a, nobody, "parse", json_array(a));
	json_set(a, v, "allowed_mentions", nobody);
	out->body = json_text(a, v);
}
