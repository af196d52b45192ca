/* run list, show and events: what only looks. */
#include "cli/commands.h"
#include "cli/session.h"
#include "cli/sql.h"

enum { EVENTS_PAGE = 1000, LIST_PRESET = 20, LIST_MOST = 10000 };

static const struct column listed[] = {
	{ "id", "RUN", COLUMN_TEXT },
	{ "status", "STATUS", COLUMN_STATUS },
	{ "workflow", "WORKFLOW", COLUMN_TEXT },
	{ "version", "VERSION", COLUMN_NUMBER },
	{ "created_at", "STARTED (UTC)", COLUMN_TIME },
	{ "seconds", "SECONDS", COLUMN_NUMBER },
	{ "error.message", "ERROR", COLUMN_TEXT },
};

static int
list(struct session *s, struct error *err)
{
	struct cli *cli = s->cli;
	const char *workflow = cli_opt(cli, "workflow");
	int64_t limit = LIST_PRESET;
	int known = 1;

	if (cli_opt_int(cli, "limit", 1, LIST_MOST, &limit, err) < 0)
		return -1;
	if (workflow != NULL)
		known =
		    session_known(s, "workflow", db_text(s->id), workflow, err);
	if (known <= 0)
		return known < 0 ? -1
				 : session_unknown(s, "workflow", workflow,
				       "workflow list", err);
	return SESSION_LIST(s, listed, &sql_run_list, err, db_text(s->id),
	    db_text(workflow), db_text(cli_opt(cli, "status")),
	    db_int4((int32_t)limit));
}

static const struct column shown[] = {
	{ "id", "run", COLUMN_TEXT },
	{ "status", "status", COLUMN_STATUS },
	{ "workflow", "workflow", COLUMN_TEXT },
	{ "version", "version", COLUMN_NUMBER },
	{ "project", "project", COLUMN_TEXT },
	{ "trigger", "trigger", COLUMN_TEXT },
	{ "created_at", "started", COLUMN_TIME },
	{ "ended_at", "ended", COLUMN_TIME },
	{ "seconds", "seconds", COLUMN_NUMBER },
	{ "events", "events", COLUMN_NUMBER },
	{ "lines", "log lines", COLUMN_NUMBER },
	{ "error", "error", COLUMN_TEXT },
};

static const struct column steps[] = {
	{ "step", "STEP", COLUMN_TEXT },
	{ "status", "STATUS", COLUMN_STATUS },
	{ "attempt", "ATTEMPT", COLUMN_NUMBER },
};

static int
show(struct session *s, struct error *err)
{
	struct json *record;
	char id[UUID_TEXT];

	if (session_run(s, s->cli->args[0], id, err) < 0 ||
	    SESSION_RECORD(s, &sql_run_show, &record, err, db_text(id)) < 0)
		return -1;
	if (record == NULL)
		return fail(err, FAULT_INPUT, "PT404",
		    "no run %s\nlist them: meshhook run list", id);
	SESSION_SHOW(s, shown, record);
	OUT_BELOW(
	    &s->cli->out, &s->cli->arena, steps, json_get(record, "steps"));
	return EXIT_OK;
}

static const struct column events[] = {
	{ "seq", "SEQ", COLUMN_NUMBER },
	{ "ts", "TIME (UTC)", COLUMN_TIME },
	{ "type", "TYPE", COLUMN_TEXT },
	{ "payload.step", "STEP", COLUMN_TEXT },
	{ "payload", "PAYLOAD", COLUMN_TEXT },
};

/* Page by page, so that a long history neither waits nor fills the memory. */
static int
list_events(struct session *s, struct error *err)
{
	struct cli *cli = s->cli;
	struct arena page;
	char id[UUID_TEXT];
	int64_t after = 0;
	int n, r;

	if (cli_opt_int(cli, "after", 0, INT32_MAX, &after, err) < 0 ||
	    session_run(s, cli->args[0], id, err) < 0)
		return -1;
	arena_init(&page);
	OUT_BEGIN(&cli->out, events);
	do {
		struct rows rows = { 0 };

		arena_reset(&page);
		r = SESSION_QUERY(s, &sql_run_events, &rows, err, db_text(id),
		    db_int4((int32_t)after), db_int4(EVENTS_PAGE));
		n = rows.n;
		for (int i = 0; r == 0 && i < n; i++) {
			struct json *record;

			r = json_parse(&page, rows_str(&rows, i, "record"),
			    NULL, &record, err);
			if (r == 0)
				out_row(&cli->out, &page, record);
			after = rows_int(&rows, i, "seq");
		}
		rows_deinit(&rows);
	} while (r == 0 && n == EVENTS_PAGE);
	if (r == 0)
		out_end(&cli->out);
	arena_deinit(&page);
	return r;
}

static const struct opt list_opts[] = {
	{ .name = "workflow", .arg = "NAME", .help = "of this workflow only" },
	{ .name = "status",
	    .arg = "STATUS",
	    .help = "with this status only",
	    .choices = "running|succeeded|failed|cancelled" },
	{ .name = "limit",
	    .letter = 'n',
	    .arg = "N",
	    .help = "at most so many; preset: 20" },
	{ .name = NULL },
};
static const struct example list_examples[] = {
	{ "run list", "the newest 20" },
	{ "run list --status failed -n 100 -o json",
	    "the newest 100 that failed, one object a line" },
	{ NULL, NULL },
};
const struct cmd cmd_run_list_entry = {
	.noun = "run",
	.verb = "list",
	.args = "",
	.help = "list a project's runs, newest first",
	.text = "Of one workflow or one status where wanted.",
	.opts = list_opts,
	.examples = list_examples,
	.settings = SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TABLE,
	.open = session_open_project,
	.run = list,
};

static const struct example show_examples[] = {
	{ "run show latest", "the newest run and its steps" },
	{ "run show 0193f3c0-5f6e-7abc-8def-0123456789ab -o json",
	    "id, status, workflow, version, times, error, steps" },
	{ NULL, NULL },
};
const struct cmd cmd_run_show_entry = {
	.noun = "run",
	.verb = "show",
	.args = "RUN",
	.help = "print a run and its steps",
	.text = "RUN is a run's id, or \"latest\" for the project's newest "
		"one.",
	.examples = show_examples,
	.settings = SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.min_args = 1,
	.max_args = 1,
	.open = session_open,
	.run = show,
};

static const struct opt events_opts[] = {
	{ .name = "after",
	    .arg = "SEQ",
	    .help = "only events behind this one" },
	{ .name = NULL },
};
static const struct example events_examples[] = {
	{ "run events latest", "the timeline as a table" },
	{ "run events latest -o json | jq -r .type",
	    "seq, type, payload and ts, one object a line" },
	{ NULL, NULL },
};
const struct cmd cmd_run_events_entry = {
	.noun = "run",
	.verb = "events",
	.args = "RUN",
	.help = "print a run's history",
	.text = "Every event of the run in order: what happened and what was "
		"decided. docs/events.md explains the types. RUN is an id or "
		"\"latest\".",
	.opts = events_opts,
	.examples = events_examples,
	.settings = SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TABLE,
	.min_args = 1,
	.max_args = 1,
	.open = session_open,
	.run = list_events,
};
