/* What to raise an alert about. */
#include "cli/alert.h"
#include "cli/commands.h"
#include "cli/sql.h"

#include <string.h>

static const struct column listed[] = {
	{ "name", "RULE", COLUMN_TEXT },
	{ "project", "PROJECT", COLUMN_TEXT },
	{ "state", "STATE", COLUMN_STATUS },
	{ "severity", "SEVERITY", COLUMN_TEXT },
	{ "hold_s", "FOR, s", COLUMN_NUMBER },
	{ "expr", "CONDITION", COLUMN_LONG },
	{ "problem", "PROBLEM", COLUMN_TEXT },
};

static int
list(struct session *s, struct error *err)
{
	return alert_list(s, &sql_alert_rules, listed, NELEM(listed), err);
}

static const struct column changed[] = {
	{ "name", "rule", COLUMN_TEXT },
	{ "severity", "severity", COLUMN_TEXT },
	{ "expr", "condition", COLUMN_TEXT },
	{ "hold_s", "for, s", COLUMN_TEXT },
	{ "keep_s", "keep firing for, s", COLUMN_TEXT },
	{ "enabled", "enabled", COLUMN_TEXT },
};

/* By what the options say; expr NULL: as it is. *record NULL: no such rule. */
static int
store(struct session *s, const struct sql *sql, const char *expr,
    struct json **record, struct error *err)
{
	struct cli *cli = s->cli;
	struct db_param hold, keep, labels;
	struct cond *cond;

	if (expr != NULL && alert_condition(cli, expr, &cond, err) < 0)
		return -1;
	if (alert_duration(cli, "for", 1000, &hold, err) < 0 ||
	    alert_duration(cli, "keep-firing-for", 1000, &keep, err) < 0 ||
	    alert_labels(cli, &labels, err) < 0)
		return -1;
	return SESSION_RECORD(s, sql, record, err, alert_scope(s),
	    db_text(cli->args[1]), db_text(expr), hold, keep,
	    db_text(cli_opt(cli, "severity")), db_text(cli_opt(cli, "summary")),
	    db_text(cli_opt(cli, "description")),
	    db_text(cli_opt(cli, "runbook")),
	    db_text(cli_opt(cli, "inhibited-by")), alert_switch(cli, "enabled"),
	    labels);
}

/* The condition, as an argument or by --run-failed; NULL: none is given. */
static int
condition(struct session *s, const char **out, struct error *err)
{
	struct cli *cli = s->cli;
	const char *workflow = cli_opt(cli, "run-failed");

	*out = cli->n_args > 2 ? cli->args[2] : NULL;
	if (workflow == NULL)
		return 0;
	if (*out != NULL)
		return usage(
		    err, "--run-failed stands in place of a condition");
	if (s->slug == NULL)
		return usage(err,
		    "a workflow is of a project\nname it: --project PROJECT");
	*out =
	    arena_printf(&cli->arena, "runs_failed{workflow=\"%s\"}", workflow);
	return 0;
}

static int
add(struct session *s, struct error *err)
{
	struct cli *cli = s->cli;
	struct json *record;
	const char *expr;

	if (alert_args(cli, 1, 2, "add NAME CONDITION", err) < 0 ||
	    condition(s, &expr, err) < 0)
		return -1;
	if (expr == NULL)
		return usage(err,
		    "too few arguments\nas in: meshhook alert rules add NAME "
		    "CONDITION");
	if (store(s, &sql_alert_rule_add, expr, &record, err) < 0) {
		if (strcmp(err->code, "23505") == 0)
			return fail(err, FAULT_INPUT, "23505",
			    "rule \"%.63s\" exists already\n"
			    "change it: meshhook alert rules set %.63s",
			    cli->args[1], cli->args[1]);
		if (strcmp(err->code, "23514") == 0)
			return usage(err,
			    "\"%.80s\" is no rule's name, or a duration is "
			    "over a day\na name has letters a-z, digits, - and "
			    "_, and at most 63",
			    cli->args[1]);
		return -1;
	}
	SESSION_SHOW(s, changed, record);
	return EXIT_OK;
}

static int
unknown(struct session *s, const char *name, struct error *err)
{
	return alert_unknown(s, "rule", name, "alert rules", err);
}

static int
change(struct session *s, struct error *err)
{
	struct cli *cli = s->cli;
	struct json *record = NULL;
	const char *expr;

	if (alert_args(cli, 1, 2, "set NAME [CONDITION]", err) < 0 ||
	    condition(s, &expr, err) < 0 ||
	    store(s, &sql_alert_rule_set, expr, &record, err) < 0)
		return -1;
	if (record == NULL)
		return unknown(s, cli->args[1], err);
	SESSION_SHOW(s, changed, record);
	return EXIT_OK;
}

static int
drop(struct session *s, struct error *err)
{
	int n = alert_remove(s, &sql_alert_rule_remove, err);

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

static const struct opt opts[] = {
	{ .name = "run-failed",
	    .arg = "WORKFLOW",
	    .help = "in place of a condition: tell of each failed run of it" },
	{ .name = "for",
	    .arg = "DURATION",
	    .help = "it holds so long before it fires; 0s" },
	{ .name = "keep-firing-for",
	    .arg = "DURATION",
	    .help = "it doesn't hold so long before it resolves; 0s" },
	{ .name = "severity",
	    .arg = "SEVERITY",
	    .choices = "info|warning|critical",
	    .help = "warning unless given" },
	{ .name = "summary",
	    .arg = "TEXT",
	    .help = "one line; may hold {{ value }}, {{ project }}, {{ rule "
		    "}}, {{ labels }}, {{ labels.NAME }}" },
	{ .name = "description", .arg = "TEXT", .help = "what to do" },
	{ .name = "runbook", .arg = "URL", .help = "where more is said" },
	{ .name = "label",
	    .arg = "NAME=VALUE",
	    .many = 1,
	    .help = "for silences and groups; as often as you like" },
	{ .name = "inhibited-by",
	    .arg = "RULE",
	    .many = 1,
	    .help = "while that one fires, this one is quiet" },
	{ .name = "enabled",
	    .arg = "on|off",
	    .choices = "on|off",
	    .help = "off: it is not looked at, and its alerts resolve" },
	ALERT_INSTALLATION,
	{ .name = NULL },
};
static const struct example examples[] = {
	{ "alert rules", "all of them, and which one fires" },
	{ "alert rules add leads-late 'oldest_age{queue=\"backlog\"} > 1m' "
	  "--for 30s --severity critical --project acme",
	    "of one project, which alone it sees" },
	{ "alert rules add lead-failed --run-failed lead-intake --project acme",
	    "each failed run, with its step, its error and a link" },
	{ "alert rules set backlog 'oldest_age{queue=\"backlog\"} > 10m'",
	    "a default that fits you better" },
	{ "alert rules set slot-idle --enabled off", "not of interest here" },
	{ "alert rules remove leads-late --project acme",
	    "its alerts go with it" },
	{ NULL, NULL },
};
const struct cmd cmd_alert_rules_entry = {
	.noun = "alert",
	.verb = "rules",
	.args = "[list|add NAME CONDITION|set NAME [CONDITION]|remove NAME]",
	.help = "say what to raise an alert about",
	.text = "A condition is an expression over metrics, which "
		"docs/monitoring.md lists with the rules that ship. Rules are "
		"rows: the monitor that leads takes a change at its next tick. "
		"--run-failed is the condition runs_failed{workflow=\"NAME\"}. "
		"Try one before: meshhook alert test.",
	.opts = opts,
	.examples = examples,
	.settings = ALERT_SETTINGS,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.max_args = 3,
	.open = alert_open,
	.run = dispatch,
};
