/* workflow list and show: what only looks. */
#include "cli/commands.h"
#include "cli/session.h"
#include "cli/sql.h"

static const struct column listed[] = {
	{ "name", "WORKFLOW", COLUMN_TEXT },
	{ "version", "VERSION", COLUMN_NUMBER },
	{ "published_at", "PUBLISHED (UTC)", COLUMN_TIME },
	{ "updated_at", "DRAFT OF (UTC)", COLUMN_TIME },
	{ "draft_differs", "DRAFT DIFFERS", COLUMN_TEXT },
};

static int
list(struct session *s, struct error *err)
{
	return SESSION_LIST(s, listed, &sql_workflow_list, err, db_text(s->id));
}

static const struct column shown[] = {
	{ "name", "workflow", COLUMN_TEXT },
	{ "version", "version", COLUMN_NUMBER },
	{ "published_at", "published", COLUMN_TIME },
	{ "updated_at", "draft of", COLUMN_TIME },
	{ "id", "id", COLUMN_TEXT },
};

/* For people the definition follows, readable and ready to be piped. */
static int
show(struct session *s, struct error *err)
{
	struct cli *cli = s->cli;
	int64_t version = 0;
	int given = cli_opt(cli, "version") != NULL;
	struct json *record;

	if (cli_opt_int(cli, "version", 1, INT32_MAX, &version, err) < 0)
		return -1;
	given |= cli_opt(cli, "draft") != NULL;
	if (SESSION_RECORD(s, &sql_workflow_show, &record, err, db_text(s->id),
		db_text(cli->args[0]),
		given ? db_int4((int32_t)version) : db_null(DB_INT4)) < 0)
		return -1;
	if (record == NULL)
		return fail(err, FAULT_INPUT, "PT404",
		    "no workflow \"%.63s\"%s in %s\nlist them: "
		    "meshhook workflow list",
		    cli->args[0], version > 0 ? " with this version" : "",
		    s->slug);
	if (cli_opt(cli, "definition") == NULL) {
		SESSION_SHOW(s, shown, record);
		if (cli->out.format != OUT_TEXT)
			return EXIT_OK;
		fputc('\n', cli->out.file);
	}
	fprintf(cli->out.file, "%s\n",
	    json_pretty(&cli->arena, json_get(record, "definition")).s);
	return EXIT_OK;
}

static const struct example list_examples[] = {
	{ "workflow list", "a table" },
	{ "workflow list --project acme -o json", "one object a line" },
	{ NULL, NULL },
};
const struct cmd cmd_workflow_list_entry = {
	.noun = "workflow",
	.verb = "list",
	.args = "",
	.help = "list a project's workflows",
	.text = "Each with its published version, and whether its draft "
		"differs from it.",
	.examples = list_examples,
	.settings = SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TABLE,
	.open = session_open_project,
	.run = list,
};

static const struct opt show_opts[] = {
	{ .name = "version",
	    .arg = "N",
	    .help = "this version; preset: the published one" },
	{ .name = "draft", .help = "the draft" },
	{ .name = "definition", .help = "nothing but the definition" },
	{ .name = NULL },
};
static const struct example show_examples[] = {
	{ "workflow show lead-intake", "the published version" },
	{ "workflow show lead-intake --definition > flow.json",
	    "take it out, to change and push it" },
	{ NULL, NULL },
};
const struct cmd cmd_workflow_show_entry = {
	.noun = "workflow",
	.verb = "show",
	.args = "WORKFLOW",
	.help = "print a workflow and its definition",
	.text = "The published version, or the draft where nothing was "
		"published yet.",
	.opts = show_opts,
	.examples = show_examples,
	.settings = SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.min_args = 1,
	.max_args = 1,
	.open = session_open_project,
	.run = show,
};
