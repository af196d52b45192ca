/* Whom alerts are told: targets are sealed here, and shown nowhere. */
#include "cli/alert.h"
#include "cli/ask.h"
#include "cli/commands.h"
#include "cli/endpoint.h"
#include "cli/sql.h"
#include "core/time.h"
#include "monitor/format/format.h"
#include "supabase/client/vault.h"

#include <string.h>

enum { TEST_MS = 30000, TEST_LOOK_MS = 200 };

/* A line alone is the one thing that most kinds need. */
static int
target_parse(struct cli *cli, const char *kind, struct str text,
    struct json **out, struct error *err)
{
	struct arena *a = &cli->arena;
	struct error why;

	while (text.n > 0 && strchr(" \t\r\n", text.s[text.n - 1]) != NULL)
		text.n--;
	if (text.n > 0 && text.s[0] == '{') {
		if (json_parse(a, text, NULL, out, &why) < 0)
			return usage(err, "the target: %s", why.text);
		return 0;
	}
	*out = json_object(a);
	json_set(a, *out,
	    strcmp(kind, "pagerduty") == 0 ? "routing_key" : "url",
	    json_string(a, text));
	return 0;
}

static int
target_read(struct session *s, const char *kind, struct json **target,
    const char **made, struct error *err)
{
	struct signature_scheme scheme =
	    signature_scheme_of(SIGNATURE_STANDARD);
	struct signature_secret parsed;
	struct str text, secret;
	struct error why;
	int fresh;

	*made = NULL;
	if (ask_secret(s->cli, cli_opt(s->cli, "file"), "Target", &text, err) <
		0 ||
	    target_parse(s->cli, kind, text, target, err) < 0)
		return -1;
	if (strcmp(kind, "webhook") != 0)
		return 0;
	secret = json_str(json_get(*target, "secret"));
	if (secret.n == 0) {
		if (endpoint_secret(s->cli, &scheme, &secret, &fresh, err) < 0)
			return -1;
		json_set(&s->cli->arena, *target, "secret",
		    json_string(&s->cli->arena, secret));
		*made = secret.s;
	}
	if (signature_secret_parse(&scheme, secret, &parsed, &why) < 0)
		return usage(err, "%s", why.text);
	secret_wipe(&parsed, sizeof(parsed));
	return 0;
}

static int
seal(struct session *s, const struct uuid *id, const struct json *target,
    struct str *sealed, struct error *err)
{
	struct arena *a = &s->cli->arena;
	char text[UUID_TEXT];
	struct vault_place place = { .project = s->project, .version = 1 };
	struct vault vault;
	int r;

	if (config_need(&s->cli->config, SETTING_INTAKE_KEY, err) < 0)
		return -1;
	if (vault_init(&vault,
		str_of(config_text(&s->cli->config, SETTING_INTAKE_KEY)),
		err) < 0)
		return fail_in(err, "MESHHOOK_INTAKE_KEY");
	place.name =
	    str_of(arena_printf(a, "channel/%s", uuid_format(id, text)));
	r = vault_seal(&vault, a, &place, json_text(a, target), sealed, err);
	vault_deinit(&vault);
	return r;
}

static const struct column added[] = {
	{ "name", "channel", COLUMN_TEXT },
	{ "kind", "kind", COLUMN_TEXT },
	{ "target", "target", COLUMN_TEXT },
	{ "min_severity", "from severity", COLUMN_TEXT },
	{ "enabled", "enabled", COLUMN_TEXT },
	{ "id", "id", COLUMN_TEXT },
	{ "secret", "secret", COLUMN_TEXT },
};

static int
unknown(struct session *s, const char *name, struct error *err)
{
	return alert_unknown(s, "channel", name, "alert channel", err);
}

/* What may be set of it, of the channel named `name`. */
static int
settle(struct session *s, const char *name, struct json **record,
    struct error *err)
{
	struct cli *cli = s->cli;
	struct db_param wait, interval, repeat, rate = db_null(DB_INT4);
	int64_t per_minute;

	if (alert_duration(cli, "wait", 1, &wait, err) < 0 ||
	    alert_duration(cli, "interval", 1, &interval, err) < 0 ||
	    alert_duration(cli, "repeat", 1, &repeat, err) < 0 ||
	    cli_opt_int(cli, "per-minute", 1, 600, &per_minute, err) < 0)
		return -1;
	if (cli_opt(cli, "per-minute") != NULL)
		rate = db_int4((int)per_minute);
	if (SESSION_RECORD(s, &sql_alert_channel_set, record, err,
		alert_scope(s), db_text(name),
		db_text(cli_opt(cli, "min-severity")),
		db_text(cli_opt(cli, "group-by")), wait, interval, repeat, rate,
		alert_switch(cli, "enabled")) < 0)
		return -1;
	if (*record == NULL)
		return unknown(s, name, err);
	return 0;
}

static int
add(struct session *s, struct error *err)
{
	struct cli *cli = s->cli;
	const char *kind = cli->n_args > 1 ? cli->args[1] : "", *made;
	const char *name = cli->n_args > 2 ? cli->args[2] : "";
	struct json *target, *record;
	struct rows rows = { 0 };
	struct str show, sealed;
	struct uuid id;

	if (alert_args(cli, 2, 2, "add KIND NAME < TARGET", err) < 0 ||
	    target_read(s, kind, &target, &made, err) < 0)
		return -1;
	if (format_target_check(&cli->arena, kind, target, &show, err) < 0)
		return usage(err, "%.300s\nsee: meshhook help alert channel",
		    arena_strdup(&cli->arena, err->text));
	uuid_random(&id);
	if (seal(s, &id, target, &sealed, err) < 0)
		return -1;
	if (SESSION_QUERY(s, &sql_alert_channel_add, &rows, err, db_uuid(&id),
		alert_scope(s), db_text(name), db_text(kind), db_str(show),
		db_str(sealed)) < 0) {
		if (strcmp(err->code, "23505") == 0)
			return fail(err, FAULT_INPUT, "23505",
			    "channel \"%.63s\" exists already\n"
			    "choose another name, or: meshhook alert channel "
			    "remove %.63s",
			    name, name);
		if (strcmp(err->code, "23514") == 0)
			return usage(err,
			    "\"%.80s\" is no channel's name\nit has letters "
			    "a-z, digits, - and _, and at most 63",
			    name);
		return -1;
	}
	rows_deinit(&rows);
	if (settle(s, name, &record, err) < 0)
		return -1;
	if (made != NULL)
		json_set(&cli->arena, record, "secret",
		    json_cstring(&cli->arena, made));
	SESSION_SHOW(s, added, record);
	if (made != NULL)
		session_note(s,
		    "The secret is shown this once: the receiver verifies "
		    "messages by it.");
	return EXIT_OK;
}

static const struct column listed[] = {
	{ "name", "CHANNEL", COLUMN_TEXT },
	{ "kind", "KIND", COLUMN_TEXT },
	{ "project", "PROJECT", COLUMN_TEXT },
	{ "state", "STATE", COLUMN_STATUS },
	{ "target", "TARGET", COLUMN_TEXT },
	{ "min_severity", "FROM", COLUMN_TEXT },
	{ "waiting", "WAITING", COLUMN_NUMBER },
	{ "dead", "DEAD", COLUMN_NUMBER },
	{ "sent_at", "LAST SENT (UTC)", COLUMN_TIME },
};

static int
list(struct session *s, struct error *err)
{
	return alert_list(s, &sql_alert_channels, listed, NELEM(listed), err);
}

static int
change(struct session *s, struct error *err)
{
	struct json *record;

	if (alert_args(s->cli, 1, 1, "set NAME --per-minute 10", err) < 0 ||
	    settle(s, s->cli->args[1], &record, err) < 0)
		return -1;
	SESSION_SHOW(s, added, record);
	return EXIT_OK;
}

static int
drop(struct session *s, struct error *err)
{
	int n = alert_remove(s, &sql_alert_channel_remove, err);

	if (n < 0)
		return -1;
	return n > 0 ? EXIT_OK : unknown(s, s->cli->args[1], err);
}

static int
dispatch(struct session *s, struct error *err)
{
	static session_fn *const fns[] = { list, add, change, drop };

	return alert_dispatch(s, fns, err);
}

static const struct opt channel_opts[] = {
	{ .name = "file",
	    .arg = "FILE",
	    .help = "the target; standard input unless given" },
	{ .name = "min-severity",
	    .arg = "SEVERITY",
	    .choices = "info|warning|critical",
	    .help = "tell of alerts from there on; warning" },
	{ .name = "group-by",
	    .arg = "LABEL",
	    .many = 1,
	    .help = "alerts with the same value share a message; rule" },
	{ .name = "wait",
	    .arg = "DURATION",
	    .help = "before a group's first message; 0s" },
	{ .name = "interval",
	    .arg = "DURATION",
	    .help = "between a group's messages; 1m" },
	{ .name = "repeat",
	    .arg = "DURATION",
	    .help = "say again what still fires; 4h, 0s: never" },
	{ .name = "per-minute", .arg = "N", .help = "messages at most; 30" },
	{ .name = "enabled",
	    .arg = "on|off",
	    .choices = "on|off",
	    .help = "off: nothing is sent to it" },
	ALERT_INSTALLATION,
	{ .name = NULL },
};
static const struct example channel_examples[] = {
	{ "alert channel add slack ops < slack-url.txt",
	    "an incoming webhook's URL" },
	{ "alert channel add webhook hooks <<< https://ops.example.com/alerts",
	    "signed by Standard Webhooks; prints the secret" },
	{ "alert channel add pagerduty oncall --min-severity critical < "
	  "key.txt",
	    "an integration key of the Events API v2" },
	{ "alert channel", "all of them, what waits and what was given up" },
	{ "alert channel set ops --per-minute 10", "slower" },
	{ "alert channel remove ops", "its messages go with it" },
	{ NULL, NULL },
};
const struct cmd cmd_alert_channel_entry = {
	.noun = "alert",
	.verb = "channel",
	.args = "[list|add KIND NAME|set NAME|remove NAME]",
	.help = "say whom to tell of alerts",
	.text = "KIND is slack, pagerduty, alertmanager, webhook, discord or "
		"email. The target comes from standard input or a file, never "
		"from the command line: a URL (of pagerduty: the integration "
		"key), or a JSON object: slack, discord {url}; pagerduty "
		"{routing_key, url}; alertmanager {url, token}; webhook {url, "
		"secret}; email {url, from, to, starttls}, url "
		"smtps://USER:PASSWORD@HOST or smtp://. It is sealed under "
		"MESHHOOK_INTAKE_KEY, which the "
		"monitor needs, too, and is shown nowhere again.",
	.opts = channel_opts,
	.examples = channel_examples,
	.settings = ALERT_SETTINGS | SETTING_G_INTAKE,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.max_args = 3,
	.open = alert_open,
	.run = dispatch,
};

/* ---- alert send-test ------------------------------------------------------------ */

static const struct column tested[] = {
	{ "channel", "channel", COLUMN_TEXT },
	{ "state", "state", COLUMN_STATUS },
	{ "answer", "answer", COLUMN_TEXT },
	{ "attempts", "attempts", COLUMN_TEXT },
	{ "problem", "problem", COLUMN_TEXT },
	{ "ms", "ms", COLUMN_TEXT },
};

/* Until it was sent, given up or refused once. */
static int
follow(struct session *s, int64_t id, int64_t within, struct error *err)
{
	int64_t end = time_mono_ms() + within;
	struct json *record;
	struct str state;

	for (;;) {
		if (SESSION_RECORD(
			s, &sql_alert_message, &record, err, db_int8(id)) < 0)
			return -1;
		if (record == NULL)
			return fail(err, FAULT_INPUT, "PT404",
			    "the channel was removed meanwhile");
		state = json_str(json_get(record, "state"));
		if (str_is(state, "sent") || str_is(state, "dead") ||
		    json_str(json_get(record, "problem")).n > 0)
			break;
		if (time_mono_ms() > end)
			return fail(err, FAULT_RETRY, "LATE",
			    json_is(json_get(record, "leads"), JSON_TRUE)
				? "not sent yet; it stays in the outbox\n"
				  "see: meshhook alert messages"
				: "no monitor leads, so nothing is sent\n"
				  "start one: meshhook monitor");
		session_sleep(s, TEST_LOOK_MS);
	}
	SESSION_SHOW(s, tested, record);
	return str_is(state, "sent") ? EXIT_OK : EXIT_FAILED;
}

static int
send_test(struct session *s, struct error *err)
{
	struct rows rows = { 0 };
	int64_t within = TEST_MS, id = 0;

	if (cli_opt_duration(s->cli, "within", 0, "30s, 5m", &within, err) < 0)
		return -1;
	if (SESSION_QUERY(s, &sql_alert_send_test, &rows, err, alert_scope(s),
		db_text(s->cli->args[0])) < 0)
		return -1;
	if (rows.n > 0)
		id = rows_int(&rows, 0, "id");
	rows_deinit(&rows);
	if (id == 0)
		return unknown(s, s->cli->args[0], err);
	return follow(s, id, within, err);
}

static const struct opt test_opts[] = {
	{ .name = "within", .arg = "DURATION", .help = "wait so long; 30s" },
	ALERT_INSTALLATION,
	{ .name = NULL },
};
static const struct example test_examples[] = {
	{ "alert send-test ops", "does it arrive? exits 1 if not" },
	{ NULL, NULL },
};
const struct cmd cmd_alert_send_test_entry = {
	.noun = "alert",
	.verb = "send-test",
	.args = "CHANNEL",
	.help = "send a test message to a channel",
	.text = "By the monitor that leads, as any other message: through the "
		"outbox, with its key and its allow-list. On PagerDuty an "
		"incident opens and resolves.",
	.opts = test_opts,
	.examples = test_examples,
	.settings = ALERT_SETTINGS,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.min_args = 1,
	.max_args = 1,
	.open = alert_open,
	.run = send_test,
};
