#include "cli/commands.h"
#include "cli/session.h"
#include "cli/sql.h"

#include <string.h>

static const struct column created[] = {
	{ "slug", "project", COLUMN_TEXT },
	{ "id", "id", COLUMN_TEXT },
	{ "name", "name", COLUMN_TEXT },
};

static int
create(struct session *s, struct error *err)
{
	struct cli *cli = s->cli;
	const char *slug = cli->args[0], *name = cli_opt(cli, "name");
	struct json *record;

	if (SESSION_RECORD(s, &sql_project_create, &record, err, db_text(slug),
		db_text(name != NULL ? name : slug)) == 0) {
		SESSION_SHOW(s, created, record);
		return EXIT_OK;
	}
	if (strcmp(err->code, "23505") == 0)
		return fail(err, FAULT_INPUT, "23505",
		    "project \"%.63s\" exists already\n"
		    "choose another slug, or see: meshhook project list",
		    slug);
	if (strcmp(err->code, "23514") == 0)
		return usage(err,
		    "\"%.80s\" is no slug\nit has letters a-z, "
		    "digits, - and _, begins with a letter or digit, and has "
		    "at most 63",
		    slug);
	return -1;
}

static const struct column listed[] = {
	{ "slug", "PROJECT", COLUMN_TEXT },
	{ "id", "ID", COLUMN_TEXT },
	{ "workflows", "WORKFLOWS", COLUMN_NUMBER },
	{ "endpoints", "ENDPOINTS", COLUMN_NUMBER },
	{ "created_at", "CREATED (UTC)", COLUMN_TIME },
	{ "name", "NAME", COLUMN_TEXT },
};

static int
list(struct session *s, struct error *err)
{
	return SESSION_LIST(s, listed, &sql_project_list, err);
}

static const struct opt create_opts[] = {
	{ .name = "name",
	    .arg = "NAME",
	    .help = "a name for people; preset: the slug" },
	{ .name = NULL },
};
static const struct example create_examples[] = {
	{ "project create acme --name 'ACME Inc.'", "create a project" },
	{ NULL, NULL },
};
const struct cmd cmd_project_create_entry = {
	.noun = "project",
	.verb = "create",
	.args = "SLUG",
	.help = "create a project",
	.text = "A project is the unit of tenancy: workflows, endpoints, runs "
		"and members belong to one. Its slug is part of its webhooks' "
		"addresses.",
	.opts = create_opts,
	.examples = create_examples,
	.settings = SETTING_G_DB | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.min_args = 1,
	.max_args = 1,
	.open = session_open,
	.run = create,
};

static const struct example list_examples[] = {
	{ "project list", "a table" },
	{ "project list -o csv", "for a spreadsheet" },
	{ NULL, NULL },
};
const struct cmd cmd_project_list_entry = {
	.noun = "project",
	.verb = "list",
	.args = "",
	.help = "list the projects",
	.text = "All projects of this database, by slug.",
	.examples = list_examples,
	.settings = SETTING_G_DB | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TABLE,
	.open = session_open,
	.run = list,
};
