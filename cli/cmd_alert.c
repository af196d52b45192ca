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
list(struct session *s, struct error *err)
{
	return SESSION_LIST(s, alerts, &sql_alert_list, err, alert_scope(s),
	    db_bool(cli_opt(s->cli, "all") != NULL));
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
	.open = alert_open,
	.run = list,
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

	if (cli_id(id, "alert", "alert list", err) < 0 ||
	    SESSION_RECORD(s, &sql_alert_ack, &record, err, db_text(id),
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
	SESSION_SHOW(s, acked, record);
	return EXIT_OK;
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
	.open = session_open,
	.run = ack,
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
	const char *rule = cli->n_args > 0 ? cli->args[0] : NULL;
	struct db_param labels;
	struct json *record;
	int64_t ms = 0;
	int known = 1;

	if (cli_opt_duration(cli, "for", 1, "30m, 2h", &ms, err) < 0)
		return -1;
	if (ms == 0)
		return usage(err, "--for says how long\nas in: --for 2h");
	if (alert_labels(cli, &labels, err) < 0)
		return -1;
	if (rule == NULL && cli_opt(cli, "label") == NULL &&
	    cli_opt(cli, "all") == NULL)
		return usage(err,
		    "everything would be silent\n"
		    "name a rule or a --label, or say --all");
	if (rule != NULL)
		known = session_known(
		    s, "rule of any", db_null(DB_TEXT), rule, err);
	if (known < 0)
		return -1;
	if (known == 0)
		session_note(s, "There is no rule \"%.63s\" yet.", rule);
	if (SESSION_RECORD(s, &sql_alert_silence, &record, err, alert_scope(s),
		db_text(rule), labels, db_int8(ms),
		db_text(cli_opt(cli, "comment"))) < 0)
		return -1;
	SESSION_SHOW(s, silenced, record);
	return EXIT_OK;
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
	.open = alert_open,
	.run = silence,
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
list_silences(struct session *s, struct error *err)
{
	return SESSION_LIST(
	    s, silences, &sql_alert_silences, err, alert_scope(s));
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
	.open = alert_open,
	.run = list_silences,
};

static int
unsilence(struct session *s, struct error *err)
{
	const char *id = s->cli->args[0];
	struct rows rows = { 0 };
	int r = 0;

	if (cli_id(id, "silence", "alert silences", err) < 0 ||
	    SESSION_QUERY(s, &sql_alert_unsilence, &rows, err, db_text(id)) < 0)
		return -1;
	if (rows.n == 0)
		r = fail(err, FAULT_INPUT, "PT404",
		    "no silence %s\nlist them: meshhook alert silences", id);
	rows_deinit(&rows);
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
	.open = session_open,
	.run = unsilence,
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
list_history(struct session *s, struct error *err)
{
	struct cli *cli = s->cli;
	int64_t ms = HISTORY_MS, limit = 200;

	if (cli_opt_duration(cli, "since", 0, "2h, 7d", &ms, err) < 0 ||
	    cli_opt_int(cli, "limit", 1, 100000, &limit, err) < 0)
		return -1;
	return SESSION_LIST(s, history, &sql_alert_history, err, alert_scope(s),
	    db_text(cli_opt(cli, "rule")), db_int8(ms), db_int8(limit));
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
	.open = alert_open,
	.run = list_history,
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
list_messages(struct session *s, struct error *err)
{
	int64_t limit = 100;

	if (cli_opt_int(s->cli, "limit", 1, 100000, &limit, err) < 0)
		return -1;
	return SESSION_LIST(s, messages, &sql_alert_messages, err,
	    alert_scope(s), db_text(cli_opt(s->cli, "state")), db_int8(limit));
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
	.open = alert_open,
	.run = list_messages,
};
