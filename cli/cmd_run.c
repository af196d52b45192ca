/* run start and cancel: what changes a run. */
#include "cli/commands.h"
#include "cli/session.h"
#include "cli/sql.h"

#include <string.h>

enum { WAIT_LEAST_MS = 20, WAIT_MOST_MS = 500 };

/* "KEY=VALUE" is a string, "KEY:=JSON" any value. */
static int
add_pair(
    struct arena *a, struct json *input, const char *pair, struct error *err)
{
	const char *eq = strchr(pair, '=');
	struct json *value;
	size_t n;

	if (eq == NULL || eq == pair)
		return usage(err,
		    "\"%.80s\" is not KEY=VALUE\n"
		    "or KEY:=JSON, for what is no string",
		    pair);
	n = (size_t)(eq - pair);
	if (pair[n - 1] != ':') {
		json_set_str(
		    a, input, (struct str){ pair, n }, json_cstring(a, eq + 1));
		return 0;
	}
	if (json_parse(a, str_of(eq + 1), NULL, &value, err) < 0)
		return usage(
		    err, "%.80s: %s", pair, arena_strdup(a, err->text));
	json_set_str(a, input, (struct str){ pair, n - 1 }, value);
	return 0;
}

/* The input is a copy when pairs are added: parsed values are shared. */
static int
make_input(struct cli *cli, struct json **out, struct error *err)
{
	const char *file = cli_opt(cli, "input");
	struct json *input = json_object(&cli->arena);

	if (file != NULL && cli_read_json(cli, file, &input, err) < 0)
		return -1;
	*out = input;
	if (cli->n_args == 1)
		return 0;
	if (!json_is(input, JSON_OBJECT))
		return usage(
		    err, "KEY=VALUE needs an --input that is an object");
	*out = json_object(&cli->arena);
	for (uint32_t i = 0; i < input->n; i++)
		json_set_str(
		    &cli->arena, *out, input->of[i].key, input->of[i].value);
	for (size_t i = 1; i < cli->n_args; i++) {
		if (add_pair(&cli->arena, *out, cli->args[i], err) < 0)
			return -1;
	}
	return 0;
}

static const struct column shown[] = {
	{ "run_id", "run", COLUMN_TEXT },
	{ "status", "status", COLUMN_STATUS },
	{ "workflow", "workflow", COLUMN_TEXT },
	{ "version", "version", COLUMN_NUMBER },
	{ "created_at", "started", COLUMN_TIME },
	{ "ended_at", "ended", COLUMN_TIME },
	{ "error", "error", COLUMN_TEXT },
};

static int
is_over(const struct json *record)
{
	return !str_is(json_str(json_get(record, "status")), "running");
}

/* Look again and again, ever more slowly, until the run is over. */
static int
wait_for(
    struct session *s, const char *id, struct json **record, struct error *err)
{
	int64_t pause = WAIT_LEAST_MS;

	for (;;) {
		if (SESSION_RECORD(
			s, &sql_run_status, record, err, db_text(id)) < 0)
			return -1;
		if (*record == NULL)
			return fail(
			    err, FAULT_INPUT, "PT404", "run %s is gone", id);
		if (is_over(*record))
			return 0;
		session_sleep(s, pause);
		pause =
		    pause * 3 / 2 < WAIT_MOST_MS ? pause * 3 / 2 : WAIT_MOST_MS;
	}
}

static int
start(struct session *s, const struct json *input, struct error *err)
{
	struct cli *cli = s->cli;
	int wait = cli_opt(cli, "wait") != NULL;
	struct rows rows = { 0 };
	struct json *record;
	const char *id;

	if (SESSION_QUERY(s, &sql_run_start, &rows, err, db_text(s->id),
		db_text(cli->args[0]), db_jsonb(json_text(&cli->arena, input)),
		db_text(cli_opt(cli, "trigger")),
		db_text(cli_opt(cli, "dedupe-key"))) < 0)
		return strcmp(err->code, "PT404") == 0
		    ? session_unknown(
			  s, "workflow", cli->args[0], "workflow list", err)
		    : -1;
	id = arena_strdup(&cli->arena, rows_text(&rows, 0, "run_id"));
	rows_deinit(&rows);
	/* in a transaction of its own: see docs/architecture.md on NOTIFY */
	if (SESSION_QUERY(s, &sql_run_wake, &rows, err) < 0)
		return -1;
	rows_deinit(&rows);
	if (wait ? wait_for(s, id, &record, err) < 0
		 : SESSION_RECORD(
		       s, &sql_run_status, &record, err, db_text(id)) < 0)
		return -1;
	SESSION_SHOW(s, shown, record);
	if (!wait || str_is(json_str(json_get(record, "status")), "succeeded"))
		return EXIT_OK;
	return EXIT_FAILED;
}

static int
cmd_run_start(struct cli *cli, struct error *err)
{
	struct session s = { 0 };
	struct json *input;
	int r = make_input(cli, &input, err);

	if (r == 0)
		r = session_open_project(&s, cli, err);
	if (r == 0)
		r = start(&s, input, err);
	session_close(&s);
	return r;
}

static const struct column cancelled[] = {
	{ "id", "run", COLUMN_TEXT },
	{ "cancelled", "cancelled", COLUMN_TEXT },
};

static int
cancel(struct session *s, struct error *err)
{
	struct arena *a = &s->cli->arena;
	struct json *o = json_object(a);
	struct rows rows = { 0 };
	char id[UUID_TEXT];
	int done;

	if (session_run(s, s->cli->args[0], id, err) < 0)
		return -1;
	if (SESSION_QUERY(s, &sql_run_cancel, &rows, err, db_text(id),
		db_text(cli_opt(s->cli, "reason"))) < 0)
		return -1;
	done = rows_bool(&rows, 0, "cancelled");
	rows_deinit(&rows);
	json_set(a, o, "id", json_cstring(a, id));
	json_set(a, o, "cancelled", json_bool(done));
	SESSION_SHOW(s, cancelled, o);
	if (!done)
		session_note(s, "The run was over already.");
	return done ? EXIT_OK : EXIT_FAILED;
}

static const struct opt start_opts[] = {
	{ .name = "input",
	    .arg = "FILE",
	    .help = "the input, a JSON file, or - for standard input" },
	{ .name = "trigger",
	    .arg = "NODE",
	    .help = "the trigger to start by; not needed where there is one, "
		    "or one manual one" },
	{ .name = "dedupe-key",
	    .arg = "KEY",
	    .help = "the same key gives the same run" },
	{ .name = "wait",
	    .letter = 'w',
	    .help = "wait until the run is over; exit 0 only if it succeeded" },
	{ .name = NULL },
};
static const struct example start_examples[] = {
	{ "run start lead-intake email=ada@example.com score:=42",
	    "an input of two fields, a string and a number" },
	{ "run start lead-intake --input lead.json --wait",
	    "run it and tell how it ended" },
	{ "logs \"$(meshhook run start lead-intake -o json | jq -r .run_id)\" "
	  "-f",
	    "start it and follow its log" },
	{ NULL, NULL },
};
const struct cmd cmd_run_start_entry = {
	.noun = "run",
	.verb = "start",
	.args = "WORKFLOW [KEY=VALUE | KEY:=JSON]...",
	.help = "start a run",
	.text = "Starts a run of the workflow's published version. The input "
		"is an object of the given fields, or the file's document "
		"with them added.",
	.opts = start_opts,
	.examples = start_examples,
	.settings = SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.min_args = 1,
	.max_args = -1,
	.fn = cmd_run_start,
};

static const struct opt cancel_opts[] = {
	{ .name = "reason", .arg = "TEXT", .help = "why, for the record" },
	{ .name = NULL },
};
static const struct example cancel_examples[] = {
	{ "run cancel latest --reason 'wrong input'", "end the newest run" },
	{ NULL, NULL },
};
const struct cmd cmd_run_cancel_entry = {
	.noun = "run",
	.verb = "cancel",
	.args = "RUN",
	.help = "end a run now",
	.text = "Nothing of the run is started any more; the answer to a call "
		"that is on the wire is not recorded. Exits 1 when the run "
		"was over already.",
	.opts = cancel_opts,
	.examples = cancel_examples,
	.settings = SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.min_args = 1,
	.max_args = 1,
	.open = session_open,
	.run = cancel,
};
