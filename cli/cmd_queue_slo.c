#include "cli/commands.h"
#include "cli/session.h"
#include "cli/sql.h"

#include <stdio.h>
#include <stdlib.h>

enum { MONTH_S = 30 * 86400 };

static const int64_t SINCE_MOST_MS = INT64_C(30) * 86400 * 1000;

static const struct column columns[] = {
	{ "objective", "OBJECTIVE", COLUMN_TEXT },
	{ "available", "AVAILABLE", COLUMN_NUMBER },
	{ "target", "TARGET", COLUMN_NUMBER },
	{ "good", "GOOD", COLUMN_NUMBER },
	{ "total", "OF", COLUMN_NUMBER },
	{ "budget", "BUDGET LEFT", COLUMN_NUMBER },
	{ "measured_since", "MEASURED SINCE (UTC)", COLUMN_TIME },
};

/* "99.95 %": as many digits as tell it from 100 %. */
static struct json *
percent(struct arena *a, const struct json *share, int digits)
{
	if (!json_is(share, JSON_NUMBER))
		return json_cstring(a, "-");
	return json_cstring(
	    a, arena_printf(a, "%.*f %%", digits, json_num(share) * 100));
}

/* "99.9" is 0.999. */
static int
take_target(struct cli *cli, const char **out, struct error *err)
{
	const char *text = cli_opt(cli, "target");
	double v;
	char *end;

	*out = "0.999";
	if (text == NULL)
		return 0;
	v = strtod(text, &end);
	if (*end == '%')
		end++;
	if (end == text || *end != '\0' || !(v > 0 && v < 100))
		return usage(err,
		    "--target: \"%.40s\" is no share in percent\nsuch as 99.9",
		    text);
	*out = arena_printf(&cli->arena, "%.12g", v / 100);
	return 0;
}

static int
print(struct session *s, struct rows *rows, struct error *err)
{
	struct out *out = &s->cli->out;
	struct arena *a = &s->cli->arena;

	OUT_BEGIN(out, columns);
	for (int i = 0; i < rows->n; i++) {
		struct json *o;

		if (json_parse(a, arena_str(a, rows_str(rows, i, "record")),
			NULL, &o, err) < 0)
			return -1;
		if (out->format != OUT_JSON) {
			json_set(a, o, "available",
			    percent(a, json_get(o, "availability"), 3));
			json_set(a, o, "budget",
			    percent(a, json_get(o, "budget_left"), 0));
			json_set(a, o, "target",
			    percent(a, json_get(o, "target_share"), 2));
		}
		out_row(out, a, o);
	}
	out_end(out);
	return EXIT_OK;
}

static int
slo(struct session *s, struct error *err)
{
	struct cli *cli = s->cli;
	int64_t ms = (int64_t)MONTH_S * 1000;
	struct rows rows = { 0 };
	const char *target;
	int r;

	if (cli_opt_duration(cli, "since", 0, "24h, 7d, 30d", &ms, err) < 0 ||
	    take_target(cli, &target, err) < 0)
		return -1;
	if (ms > SINCE_MOST_MS)
		return usage(err, "--since: it is kept for 30 days");
	r = SESSION_QUERY(s, &sql_queue_slo, &rows, err,
	    db_text(cli->n_args > 0 ? cli->args[0] : NULL), db_int8(ms / 1000),
	    db_text(target));
	if (r == 0)
		r = print(s, &rows, err);
	rows_deinit(&rows);
	return r;
}

static const struct opt opts[] = {
	{ .name = "since",
	    .arg = "DURATION",
	    .help = "how far back, 30d at most; 30d unless given" },
	{ .name = "target",
	    .arg = "PERCENT",
	    .help = "what is to be available; 99.9 unless given" },
	{ .name = NULL },
};
static const struct example examples[] = {
	{ "queue slo", "the installation, over 30 days" },
	{ "queue slo acme --since 7d", "the runs of one project" },
	{ "queue slo -o json | jq 'select(.budget_left < 0.2)'",
	    "what is about to miss its target" },
	{ NULL, NULL },
};
const struct cmd cmd_queue_slo_entry = {
	.noun = "queue",
	.verb = "slo",
	.args = "[PROJECT]",
	.help = "how available it was, against a target",
	.text = "intake: webhooks that were taken, of those that were not the "
		"sender's fault (answers 5xx are ours). runs: those that "
		"ended, also by a step that failed, of those that the engine "
		"gave up, too. log_delivery: minutes in which a line reached "
		"its readers within 5 s. Budget left: how much of the "
		"failures that the target leaves room for is left; below 0 it "
		"is overdrawn. Intake and log delivery are the installation's, "
		"whatever the project. In SQL: select * from "
		"meshhook.slo('acme').",
	.opts = opts,
	.examples = examples,
	.settings = SETTING_G_DB | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TABLE,
	.max_args = 1,
	.open = session_open,
	.run = slo,
};
