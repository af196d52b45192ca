/* Alerts: what fires, who sees to it, what is to be quiet, what was sent. */
#include "cli/alert.h"
#include "cli/commands.h"
#include "cli/sql.h"
#include "core/time.h"

#include <string.h>

enum { HISTORY_MS = 86400000 };

/* ---- alert list --------------------------------------------------------------- */

static const struct column alerts[] = {
	{ "state", "STATE", COLUMN_STATUS },
	{ "severity", "SEVERITY", COLUMN_TEXT },
	{ "rule", "RULE", COLUMN_TEXT },
	{ "project", "PROJECT", COLUMN_TEXT },
	{ "value", "VALUE", COLUMN_NUMBER },
	{ "since", "SINCE (UTC)", COLUMN_TIME },
	{ "acked_by", "ACKNOWLEDGED", COLUMN_TEXT },
	{ "id", "ALERT", COLUMN_TEXT },
	{ "labels", "LABELS", COLUMN_TEXT },
};

static int
cmd_alert_list(struct cli *cli, struct error *err)
{
	struct session s;
	int r = alert_open(&s, cli, err);

	OUT_BEGIN(&cli->out, alerts);
	if (r == 0)
		r = SESSION_ROWS(&s, &sql_alert_list, err, alert_scope(&s),
		    db_bool(cli_opt(cli, "all") != NULL));
	if (r == 0)
		out_end(&cli->out);
	session_close(&s);
	return r;
}

static const struct opt list_opts[] = {
	{ .name = "all", .help = "those that resolved in the last day, too" },
	ALERT_INSTALLATION,
	{ .name = NULL },
};
static const struct example list_examples[] = {
	{ "alert list", "what fires, and what is about to" },
	{ "alert list --all -o json | jq .rule", "with what is over" },
	{ NULL, NULL },
};
const struct cmd cmd_alert_list_entry = {
	.noun = "alert",
	.verb = "list",
	.args = "",
	.help = "list the alerts that are open",
	.text = "pending: its condition holds, not for long enough yet. "
		"firing: it does, and channels are told. Of the project, when "
		"one is named by --project or MESHHOOK_PROJECT; else all.",
	.opts = list_opts,
	.examples = list_examples,
	.settings = ALERT_SETTINGS,
	.formats = OUT_RECORDS,
	.format = OUT_TABLE,
	.fn = cmd_alert_list,
};

/* ---- alert ack ---------------------------------------------------------------- */

static const struct column acked[] = {
	{ "rule", "rule", COLUMN_TEXT },
	{ "id", "alert", COLUMN_TEXT },
	{ "acknowledged", "acknowledged", COLUMN_TEXT },
};

static int
ack(struct session *s, struct error *err)
{
	const char *id = s->cli->args[0];
	struct json *record;
	struct uuid parsed;

	if (uuid_parse(str_of(id), &parsed) < 0)
		return usage(err,
		    "\"%.80s\" is no alert's id\nlist them: meshhook alert "
		    "list",
		    id);
	if (SESSION_RECORD(s, &sql_alert_ack, &record, err, db_text(id),
		db_text(cli_opt(s->cli, "note"))) < 0)
		return -1;
	if (record == NULL)
		return fail(err, FAULT_INPUT, "PT404",
		    "no alert %s\nlist them: meshhook alert list", id);
	if (!json_is(json_get(record, "acknowledged"), JSON_TRUE))
		return fail(err, FAULT_INPUT, "INPUT", "%s",
		    json_is(json_get(record, "before"), JSON_TRUE)
			? "it was acknowledged before"
			: "it doesn't fire");
	OUT_OBJECT(&s->cli->out, &s->cli->arena, acked, record);
	return EXIT_OK;
}

static int
cmd_alert_ack(struct cli *cli, struct error *err)
{
	struct session s;
	int r = session_open(&s, cli, err);

	if (r == 0)
		r = ack(&s, err);
	session_close(&s);
	return r;
}

static const struct opt ack_opts[] = {
	{ .name = "note", .arg = "TEXT", .help = "for whoever looks at it" },
	{ .name = NULL },
};
static const struct example ack_examples[] = {
	{ "alert ack 0198f7a5-3a52-7f6e-9f0c-2a57d3f2c001 --note 'on it'",
	    "no more repeats; its end is told" },
	{ NULL, NULL },
};
const struct cmd cmd_alert_ack_entry = {
	.noun = "alert",
	.verb = "ack",
	.args = "ALERT",
	.help = "say that somebody sees to a firing alert",
	.text = "It is not repeated any more; channels that were told of it "
		"are told when it resolves.",
	.opts = ack_opts,
	.examples = ack_examples,
	.settings = SETTING_G_DB | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.min_args = 1,
	.max_args = 1,
	.fn = cmd_alert_ack,
};

/* ---- alert silence, silences, unsilence ----------------------------------------- */

static const struct column silenced[] = {
	{ "id", "silence", COLUMN_TEXT },
	{ "rule", "rule", COLUMN_TEXT },
	{ "labels", "labels", COLUMN_TEXT },
	{ "ends_at", "until", COLUMN_TIME },
};

static int
silence(struct session *s, struct error *err)
{
	struct cli *cli = s->cli;
	const char *span = cli_opt(cli, "for");
	struct db_param labels;
	struct json *record;
	int64_t ms = 0;

	if (span == NULL || duration_parse(str_of(span), &ms) < 0 || ms <= 0)
		return usage(err, "--for says how long\nas in: --for 2h");
	if (alert_labels(cli, &labels, err) < 0)
		return -1;
	if (cli->n_args == 0 && cli_opt(cli, "label") == NULL &&
	    cli_opt(cli, "all") == NULL)
		return usage(err,
		    "everything would be silent\n"
		    "name a rule or a --label, or say --all");
	if (SESSION_RECORD(s, &sql_alert_silence, &record, err, alert_scope(s),
		db_text(cli->n_args > 0 ? cli->args[0] : NULL), labels,
		db_int8(ms), db_text(cli_opt(cli, "comment"))) < 0)
		return -1;
	OUT_OBJECT(&cli->out, &cli->arena, silenced, record);
	return EXIT_OK;
}

static int
cmd_alert_silence(struct cli *cli, struct error *err)
{
	struct session s;
	int r = alert_open(&s, cli, err);

	if (r == 0)
		r = silence(&s, err);
	session_close(&s);
	return r;
}

static const struct opt silence_opts[] = {
	{ .name = "for", .arg = "DURATION", .help = "such as 30m, 2h" },
	{ .name = "label",
	    .arg = "NAME=VALUE",
	    .many = 1,
	    .help = "only alerts with it; as often as you like" },
	{ .name = "comment", .arg = "TEXT", .help = "why" },
	{ .name = "all", .help = "whatever the rule and the labels" },
	ALERT_INSTALLATION,
	{ .name = NULL },
};
static const struct example silence_examples[] = {
	{ "alert silence backlog --for 2h --comment 'import runs'",
	    "no messages about that rule for two hours" },
	{ "alert silence --label queue=timers --for 30m", "by a label" },
	{ NULL, NULL },
};
const struct cmd cmd_alert_silence_entry = {
	.noun = "alert",
	.verb = "silence",
	.args = "[RULE]",
	.help = "send nothing about some alerts for a while",
	.text = "Alerts go on being judged and recorded; what still fires when "
		"the silence ends is told then. With a project only its "
		"alerts are meant.",
	.opts = silence_opts,
	.examples = silence_examples,
	.settings = ALERT_SETTINGS,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.max_args = 1,
	.fn = cmd_alert_silence,
};

static const struct column silences[] = {
	{ "id", "SILENCE", COLUMN_TEXT },
	{ "rule", "RULE", COLUMN_TEXT },
	{ "project", "PROJECT", COLUMN_TEXT },
	{ "labels", "LABELS", COLUMN_TEXT },
	{ "ends_at", "UNTIL (UTC)", COLUMN_TIME },
	{ "created_by", "BY", COLUMN_TEXT },
	{ "comment", "COMMENT", COLUMN_TEXT },
};

static int
cmd_alert_silences(struct cli *cli, struct error *err)
{
	struct session s;
	int r = alert_open(&s, cli, err);

	OUT_BEGIN(&cli->out, silences);
	if (r == 0)
		r = SESSION_ROWS(&s, &sql_alert_silences, err, alert_scope(&s));
	if (r == 0)
		out_end(&cli->out);
	session_close(&s);
	return r;
}

static const struct opt scope_opts[] = {
	ALERT_INSTALLATION,
	{ .name = NULL },
};
static const struct example silences_examples[] = {
	{ "alert silences", "what is silent now, and until when" },
	{ NULL, NULL },
};
const struct cmd cmd_alert_silences_entry = {
	.noun = "alert",
	.verb = "silences",
	.args = "",
	.help = "list the silences that have not ended",
	.text = "Those of all projects are among a project's.",
	.opts = scope_opts,
	.examples = silences_examples,
	.settings = ALERT_SETTINGS,
	.formats = OUT_RECORDS,
	.format = OUT_TABLE,
	.fn = cmd_alert_silences,
};

static int
unsilence(struct session *s, struct error *err)
{
	const char *id = s->cli->args[0];
	struct rows rows = { 0 };
	struct uuid parsed;
	int r = 0;

	if (uuid_parse(str_of(id), &parsed) < 0)
		return usage(err,
		    "\"%.80s\" is no silence's id\n"
		    "list them: meshhook alert silences",
		    id);
	if (SESSION_QUERY(s, &sql_alert_unsilence, &rows, err, db_text(id)) < 0)
		return -1;
	if (rows.n == 0)
		r = fail(err, FAULT_INPUT, "PT404",
		    "no silence %s\nlist them: meshhook alert silences", id);
	rows_deinit(&rows);
	return r;
}

static int
cmd_alert_unsilence(struct cli *cli, struct error *err)
{
	struct session s;
	int r = session_open(&s, cli, err);

	if (r == 0)
		r = unsilence(&s, err);
	session_close(&s);
	return r;
}

static const struct example unsilence_examples[] = {
	{ "alert unsilence 0198f7a5-3a52-7f6e-9f0c-2a57d3f2c001",
	    "what fires is told at once" },
	{ NULL, NULL },
};
const struct cmd cmd_alert_unsilence_entry = {
	.noun = "alert",
	.verb = "unsilence",
	.args = "SILENCE",
	.help = "end a silence now",
	.text = "SILENCE is its id, as alert silences shows it.",
	.examples = unsilence_examples,
	.settings = SETTING_G_DB | SETTING_G_LOG,
	.min_args = 1,
	.max_args = 1,
	.fn = cmd_alert_unsilence,
};

/* ---- alert history, messages ------------------------------------------------------ */

static const struct column history[] = {
	{ "at", "TIME (UTC)", COLUMN_TIME },
	{ "change", "CHANGE", COLUMN_STATUS },
	{ "severity", "SEVERITY", COLUMN_TEXT },
	{ "rule", "RULE", COLUMN_TEXT },
	{ "project", "PROJECT", COLUMN_TEXT },
	{ "value", "VALUE", COLUMN_NUMBER },
	{ "actor", "BY", COLUMN_TEXT },
	{ "labels", "LABELS", COLUMN_TEXT },
};

static int
cmd_alert_history(struct cli *cli, struct error *err)
{
	const char *since = cli_opt(cli, "since");
	int64_t ms = HISTORY_MS, limit = 200;
	struct session s = { 0 };
	int r = 0;

	if (since != NULL && duration_parse(str_of(since), &ms) < 0)
		return usage(err,
		    "--since: \"%.80s\" is no duration\nsuch as 2h, 7d", since);
	if (cli_opt_int(cli, "limit", 1, 100000, &limit, err) < 0)
		return -1;
	r = alert_open(&s, cli, err);
	OUT_BEGIN(&cli->out, history);
	if (r == 0)
		r = SESSION_ROWS(&s, &sql_alert_history, err, alert_scope(&s),
		    db_text(cli_opt(cli, "rule")), db_int8(ms), db_int8(limit));
	if (r == 0)
		out_end(&cli->out);
	session_close(&s);
	return r;
}

static const struct opt history_opts[] = {
	{ .name = "rule", .arg = "NAME", .help = "only of this rule" },
	{ .name = "since", .arg = "DURATION", .help = "how far back; 1d" },
	{ .name = "limit", .arg = "N", .help = "at most; 200" },
	ALERT_INSTALLATION,
	{ .name = NULL },
};
static const struct example history_examples[] = {
	{ "alert history --since 7d", "the last week, the newest first" },
	{ "alert history --rule backlog -o csv", "for a spreadsheet" },
	{ NULL, NULL },
};
const struct cmd cmd_alert_history_entry = {
	.noun = "alert",
	.verb = "history",
	.args = "",
	.help = "every change of every alert",
	.text = "Append-only: when it began to hold, fired, was acknowledged "
		"and by whom, and resolved; forgotten is what no longer held "
		"before it fired.",
	.opts = history_opts,
	.examples = history_examples,
	.settings = ALERT_SETTINGS,
	.formats = OUT_RECORDS,
	.format = OUT_TABLE,
	.fn = cmd_alert_history,
};

static const struct column messages[] = {
	{ "id", "MESSAGE", COLUMN_NUMBER },
	{ "state", "STATE", COLUMN_STATUS },
	{ "channel", "CHANNEL", COLUMN_TEXT },
	{ "kind", "KIND", COLUMN_TEXT },
	{ "status", "SAYS", COLUMN_TEXT },
	{ "attempts", "ATTEMPTS", COLUMN_NUMBER },
	{ "created_at", "CREATED (UTC)", COLUMN_TIME },
	{ "problem", "PROBLEM", COLUMN_TEXT },
};

static int
cmd_alert_messages(struct cli *cli, struct error *err)
{
	struct session s = { 0 };
	int64_t limit = 100;
	int r;

	if (cli_opt_int(cli, "limit", 1, 100000, &limit, err) < 0)
		return -1;
	r = alert_open(&s, cli, err);
	OUT_BEGIN(&cli->out, messages);
	if (r == 0)
		r = SESSION_ROWS(&s, &sql_alert_messages, err, alert_scope(&s),
		    db_text(cli_opt(cli, "state")), db_int8(limit));
	if (r == 0)
		out_end(&cli->out);
	session_close(&s);
	return r;
}

static const struct opt messages_opts[] = {
	{ .name = "state",
	    .arg = "STATE",
	    .choices = "queued|sending|sent|dead",
	    .help = "only those; dead: given up" },
	{ .name = "limit", .arg = "N", .help = "at most; 100" },
	ALERT_INSTALLATION,
	{ .name = NULL },
};
static const struct example messages_examples[] = {
	{ "alert messages", "the newest first" },
	{ "alert messages --state dead", "what was never delivered, and why" },
	{ NULL, NULL },
};
const struct cmd cmd_alert_messages_entry = {
	.noun = "alert",
	.verb = "messages",
	.args = "",
	.help = "list what was sent to channels, or waits",
	.text = "A message is recorded before it is sent, and tried for a day. "
		"They are kept for 30 days.",
	.opts = messages_opts,
	.examples = messages_examples,
	.settings = ALERT_SETTINGS,
	.formats = OUT_RECORDS,
	.format = OUT_TABLE,
	.fn = cmd_alert_messages,
};
