#include "cli/commands.h"
#include "cli/session.h"
#include "cli/sql.h"

#include <string.h>

static const struct column created[] = {
	{ "service", "service", COLUMN_TEXT },
	{ "name", "name", COLUMN_TEXT },
	{ "id", "id", COLUMN_TEXT },
	{ "expires_at", "expires", COLUMN_TIME },
	{ "token", "token", COLUMN_TEXT },
};

static int
create(struct session *s, struct error *err)
{
	const char *service = s->cli->args[0];
	struct json *record;
	int64_t ms = 0; /* for good */

	if (cli_opt_duration(s->cli, "expires", 1, "30d, 12h", &ms, err) < 0)
		return -1;
	if (SESSION_RECORD(s, &sql_service_token_create, &record, err,
		db_text(s->id), db_text(service),
		db_text(cli_opt(s->cli, "name")),
		ms > 0 ? db_int8(ms) : db_null(DB_INT8)) == 0) {
		SESSION_SHOW(s, created, record);
		session_note(s,
		    "The token is shown this once: give it to the service, "
		    "which sends it as Authorization: Bearer.");
		return EXIT_OK;
	}
	if (strcmp(err->code, "23514") == 0)
		return usage(err,
		    "\"%.80s\" is no service\nit has up to 64 letters, digits, "
		    "_, . and -, and is not \"run\", which is the engine's",
		    service);
	return -1;
}

static const struct column listed[] = {
	{ "id", "TOKEN", COLUMN_TEXT },
	{ "service", "SERVICE", COLUMN_TEXT },
	{ "status", "STATUS", COLUMN_TEXT },
	{ "expires_at", "EXPIRES (UTC)", COLUMN_TIME },
	{ "last_used_at", "LAST USED (UTC)", COLUMN_TIME },
	{ "created_at", "CREATED (UTC)", COLUMN_TIME },
	{ "name", "NAME", COLUMN_TEXT },
};

static int
list(struct session *s, struct error *err)
{
	return SESSION_LIST(
	    s, listed, &sql_service_token_list, err, db_text(s->id));
}

static const struct column revoked[] = {
	{ "id", "id", COLUMN_TEXT },
	{ "service", "service", COLUMN_TEXT },
	{ "revoked", "revoked", COLUMN_TEXT },
};

static int
revoke(struct session *s, struct error *err)
{
	const char *id = s->cli->args[0];
	struct json *record;

	if (cli_id(id, "token", "service-token list", err) < 0 ||
	    SESSION_RECORD(s, &sql_service_token_revoke, &record, err,
		db_text(s->id), db_text(id)) < 0)
		return -1;
	if (record == NULL)
		return fail(err, FAULT_INPUT, "PT404",
		    "no token %s in %s\nlist them: meshhook service-token list",
		    id, s->slug);
	SESSION_SHOW(s, revoked, record);
	if (!json_is(json_get(record, "revoked"), JSON_TRUE))
		session_note(s, "It had been revoked before.");
	return EXIT_OK;
}

static const struct opt create_opts[] = {
	{ .name = "name",
	    .arg = "TEXT",
	    .help = "what people call it; the service's name when not given" },
	{ .name = "expires",
	    .arg = "DURATION",
	    .help = "for how long it is valid, such as 90d; for good when not "
		    "given" },
	{ .name = NULL },
};
static const struct example create_examples[] = {
	{ "service-token create etl --expires 90d",
	    "a token for lines of logs:etl:PROJECT:*" },
	{ "service-token create etl -o json | jq -r .token", "keep the token" },
	{ NULL, NULL },
};
const struct cmd cmd_service_token_create_entry = {
	.noun = "service-token",
	.verb = "create",
	.args = "SERVICE",
	.help = "let a service publish log lines",
	.text = "Makes a token with which a program writes to the channels of "
		"one service of this project (and, marked as its own, to the "
		"logs of running runs) by POST /api/logs/publish. It is "
		"printed once; the database keeps its hash.",
	.opts = create_opts,
	.examples = create_examples,
	.settings = SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.min_args = 1,
	.max_args = 1,
	.open = session_open_project,
	.run = create,
};

static const struct example list_examples[] = {
	{ "service-token list", "a table" },
	{ "service-token list --project acme -o json", "one object a line" },
	{ NULL, NULL },
};
const struct cmd cmd_service_token_list_entry = {
	.noun = "service-token",
	.verb = "list",
	.args = "",
	.help = "list a project's service tokens",
	.text = "Revoked and expired ones, too. Never shows a token.",
	.examples = list_examples,
	.settings = SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TABLE,
	.open = session_open_project,
	.run = list,
};

static const struct example revoke_examples[] = {
	{ "service-token revoke 01a1fd0e-68e4-77a3-a591-6399d90cf1cb",
	    "refused from now on" },
	{ NULL, NULL },
};
const struct cmd cmd_service_token_revoke_entry = {
	.noun = "service-token",
	.verb = "revoke",
	.args = "TOKEN",
	.help = "make a service token void",
	.text =
	    "TOKEN is its id, as list shows it. Requests that are under way "
	    "are refused as well: the transaction that would store their "
	    "lines looks again.",
	.examples = revoke_examples,
	.settings = SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.min_args = 1,
	.max_args = 1,
	.open = session_open_project,
	.run = revoke,
};
