/* Messages that were given up, once more. */
#include "cli/alert.h"
#include "cli/commands.h"
#include "cli/sql.h"

#include <stdlib.h>

static const struct column columns[] = {
	{ "message", "MESSAGE", COLUMN_NUMBER },
	{ "outcome", "OUTCOME", COLUMN_STATUS },
	{ "channel", "CHANNEL", COLUMN_TEXT },
	{ "group", "GROUP", COLUMN_TEXT },
};

/* One message, by its number, or a channel's. */
static int
which(const struct cli *cli, struct db_param *message, struct error *err)
{
	const char *channel = cli_opt(cli, "channel");
	char *end;
	int64_t id;

	*message = db_null(DB_INT8);
	if ((cli->n_args == 0) == (channel == NULL))
		return usage(err,
		    "name a message, or --channel for all of a channel's\n"
		    "list them: meshhook alert messages --state dead");
	if (cli->n_args == 0)
		return 0;
	id = strtoll(cli->args[0], &end, 10);
	if (id <= 0 || *end != '\0')
		return usage(err,
		    "\"%.80s\" is no message's number\n"
		    "list them: meshhook alert messages --state dead",
		    cli->args[0]);
	*message = db_int8(id);
	return 0;
}

/* A message that was asked for by its number must be there. */
static int
resend(struct session *s, struct error *err)
{
	struct cli *cli = s->cli;
	const char *channel = cli_opt(cli, "channel");
	struct db_param message;
	struct json *record;
	int known = 1;

	if (which(cli, &message, err) < 0)
		return -1;
	if (channel != NULL)
		known =
		    session_known(s, "channel", alert_scope(s), channel, err);
	if (known <= 0)
		return known < 0 ? -1
				 : alert_unknown(s, "channel", channel,
				       "alert channel", err);
	if (channel != NULL)
		return SESSION_LIST(s, columns, &sql_alert_resend, err, message,
		    alert_scope(s), db_text(channel));
	if (SESSION_RECORD(s, &sql_alert_resend, &record, err, message,
		alert_scope(s), db_text(NULL)) < 0)
		return -1;
	if (record == NULL)
		return fail(err, FAULT_INPUT, "PT404",
		    "message %s was not given up\nlist those that were: "
		    "meshhook alert messages --state dead",
		    cli->args[0]);
	OUT_BEGIN(&cli->out, columns);
	out_row(&cli->out, &cli->arena, record);
	out_end(&cli->out);
	return EXIT_OK;
}

static const struct opt opts[] = {
	{ .name = "channel",
	    .arg = "CHANNEL",
	    .help = "all of this channel's that were given up" },
	ALERT_INSTALLATION,
	{ .name = NULL },
};
static const struct example examples[] = {
	{ "alert resend 4711", "one, as alert messages --state dead shows it" },
	{ "alert resend --channel ops", "once its receiver is back" },
	{ NULL, NULL },
};
const struct cmd cmd_alert_resend_entry = {
	.noun = "alert",
	.verb = "resend",
	.args = "[MESSAGE]",
	.help = "send messages again that were given up",
	.text =
	    "They go in their order and are tried for another day, under the "
	    "ids that they had. One that a later message of its group has "
	    "overtaken stays where it is: it would say what no longer holds. "
	    "Prints what was queued, and what was overtaken; nothing where "
	    "nothing was given up.",
	.opts = opts,
	.examples = examples,
	.settings = ALERT_SETTINGS,
	.formats = OUT_RECORDS,
	.format = OUT_TABLE,
	.max_args = 1,
	.open = alert_open,
	.run = resend,
};
