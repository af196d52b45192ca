#include "cli/commands.h"
#include "cli/session.h"
#include "cli/sql.h"

static const struct column columns[] = {
	{ "runs", "runs", COLUMN_NUMBER },
	{ "channels", "channels", COLUMN_NUMBER },
};

static int
recover(struct session *s, struct error *err)
{
	struct json *record;

	if (SESSION_RECORD(s, &sql_recover, &record, err) < 0)
		return -1;
	SESSION_SHOW(s, columns, record);
	return EXIT_OK;
}

static const struct example examples[] = {
	{ "recover", "after the database was restored from a backup" },
	{ NULL, NULL },
};
const struct cmd cmd_recover_entry = {
	.noun = "recover",
	.args = "",
	.help = "after a restore: a new epoch in every log",
	.text =
	    "Once a database was restored to an earlier moment, or a "
	    "failover lost commits, numbers of log lines are given a second "
	    "time. This begins a new epoch in every channel that may go on "
	    "(the runs that have not ended, and all other channels): whoever "
	    "stands at a line of the old one is told of a gap with the "
	    "reason \"reset\", and never takes another line for one that it "
	    "knows. Run it before workers and gateways start again. Doing it "
	    "without need costs every reader such a gap, and nothing else.",
	.examples = examples,
	.settings = SETTING_G_DB | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.open = session_open,
	.run = recover,
};
