#include "cli/commands.h"
#include "cli/session.h"
#include "cli/sql.h"

static const struct column explained[] = {
	{ "run", "run", COLUMN_TEXT },
	{ "status", "status", COLUMN_STATUS },
	{ "cause", "cause", COLUMN_TEXT },
	{ "step", "step", COLUMN_TEXT },
	{ "text", "because", COLUMN_TEXT },
	{ "until", "until", COLUMN_TIME },
};

static int
explain(struct session *s, struct error *err)
{
	struct json *record;
	char id[UUID_TEXT];

	if (session_run(s, s->cli->args[0], id, err) < 0 ||
	    SESSION_RECORD(s, &sql_run_explain, &record, err, db_text(id)) < 0)
		return -1;
	SESSION_SHOW(s, explained, record);
	return EXIT_OK;
}

static const struct example examples[] = {
	{ "run explain latest", "what the newest run waits for" },
	{ "run explain latest -o json | jq -r .text", "in a sentence" },
	{ NULL, NULL },
};
const struct cmd cmd_run_explain_entry = {
	.noun = "run",
	.verb = "explain",
	.args = "RUN",
	.help = "say what a run waits for",
	.text = "The one cause: ended, in_flight (a worker has it), ready, "
		"no_worker, window_full (its project has enough in the queue), "
		"retry, timer, or unknown. RUN is an id or \"latest\". In SQL: "
		"select meshhook.explain(run).",
	.examples = examples,
	.settings = SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.min_args = 1,
	.max_args = 1,
	.open = session_open,
	.run = explain,
};
