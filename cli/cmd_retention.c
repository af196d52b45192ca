#include "cli/commands.h"
#include "cli/session.h"
#include "cli/sql.h"

#include <string.h>

enum { MONTHS_MOST = 1200 };

static const struct column columns[] = {
	{ "months", "months kept", COLUMN_TEXT },
	{ "archive_first", "archive first", COLUMN_TEXT },
	{ "expired", "over their time", COLUMN_TEXT },
};

static const struct column archives[] = {
	{ "name", "ARCHIVE", COLUMN_TEXT },
	{ "state", "STATE", COLUMN_STATUS },
	{ "rows", "ROWS", COLUMN_NUMBER },
	{ "bytes", "BYTES", COLUMN_NUMBER },
	{ "place", "WHERE", COLUMN_TEXT },
	{ "problem", "PROBLEM", COLUMN_TEXT },
};

static int
set(struct session *s, struct error *err)
{
	const char *archive = cli_opt(s->cli, "archive-first");
	int64_t months = -1;
	struct rows rows = { 0 };
	int r;

	if (cli_opt_int(s->cli, "months", 0, MONTHS_MOST, &months, err) < 0)
		return -1;
	if (months < 0 && archive == NULL)
		return 0;
	r = SESSION_QUERY(s, &sql_retention_set, &rows, err,
	    months < 0 ? db_null(DB_INT4) : db_int4((int)months),
	    archive == NULL ? db_null(DB_BOOL)
			    : db_bool(strcmp(archive, "on") == 0));
	rows_deinit(&rows);
	return r;
}

static int
show(struct session *s, struct error *err)
{
	struct json *record;

	if (SESSION_RECORD(s, &sql_retention_show, &record, err) < 0)
		return -1;
	SESSION_SHOW(s, columns, record);
	OUT_BELOW(&s->cli->out, &s->cli->arena, archives,
	    json_get(record, "archives"));
	return EXIT_OK;
}

static int
set_and_show(struct session *s, struct error *err)
{
	return set(s, err) < 0 ? -1 : show(s, err);
}

static const struct opt opts[] = {
	{ .name = "months",
	    .arg = "N",
	    .help = "keep so many whole months beside this one; 0: all" },
	{ .name = "archive-first",
	    .arg = "on|off",
	    .choices = "on|off",
	    .help = "drop only what is archived; on" },
	{ .name = NULL },
};
static const struct example examples[] = {
	{ "retention",
	    "for how long runs and logs are kept, and the archives" },
	{ "retention --months 13", "drop what is older, once it is archived" },
	{ "retention --months 3 --archive-first off",
	    "drop it without an archive" },
	{ NULL, NULL },
};
const struct cmd cmd_retention_entry = {
	.noun = "retention",
	.args = "",
	.help = "for how long runs and logs are kept",
	.text =
	    "All is kept unless you say for how many months. Then the monitor "
	    "that leads drops whole months of events and logs with their "
	    "runs, the oldest first, each when all of its runs have ended and "
	    "an archive of it is complete: monitors need MESHHOOK_ARCHIVE, a "
	    "folder or a bucket of Supabase Storage. Prints what is set and "
	    "the archives. Who changed it is in the audit log.",
	.opts = opts,
	.examples = examples,
	.settings = SETTING_G_DB | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.open = session_open,
	.run = set_and_show,
};
