#include "cli/commands.h"
#include "cli/definition.h"
#include "cli/history.h"
#include "cli/session.h"
#include "cli/sql.h"

#include <errno.h>
#include <string.h>

enum { PAGE = 1000 };

/* The run's events, page by page, into one array. */
static int
load_events(
    struct session *s, const char *id, struct json *list, struct error *err)
{
	struct arena *a = &s->cli->arena;
	int64_t after = 0;
	int n;

	do {
		struct rows rows = { 0 };
		int r = SESSION_QUERY(s, &sql_run_events, &rows, err,
		    db_text(id), db_int4((int32_t)after), db_int4(PAGE));

		n = rows.n;
		for (int i = 0; r == 0 && i < n; i++) {
			struct json *event;

			r = json_parse(a,
			    arena_str(a, rows_str(&rows, i, "record")), NULL,
			    &event, err);
			if (r == 0)
				json_push(a, list, event);
			after = rows_int(&rows, i, "seq");
		}
		rows_deinit(&rows);
		if (r < 0)
			return -1;
	} while (n == PAGE);
	return 0;
}

/* A run as a history: its definition, its events, its rows of steps. */
static int
load_run(
    struct session *s, const char *id, struct json **out, struct error *err)
{
	struct arena *a = &s->cli->arena;
	struct json *o = json_object(a), *events = json_array(a), *v;
	struct rows rows = { 0 };
	int r = 0;

	if (SESSION_QUERY(s, &sql_replay_load, &rows, err, db_text(id)) < 0)
		return -1;
	if (rows.n == 0)
		r = fail(err, FAULT_INPUT, "PT404",
		    "no run %s\nlist them: meshhook run list", id);
	json_set(a, o, "run", json_cstring(a, id));
	for (int i = 0; r == 0 && i < 2; i++) {
		const char *column = i == 0 ? "definition" : "steps";

		r = json_parse(
		    a, arena_str(a, rows_str(&rows, 0, column)), NULL, &v, err);
		if (r == 0)
			json_set(a, o, column, v);
	}
	rows_deinit(&rows);
	if (r < 0 || load_events(s, id, events, err) < 0)
		return -1;
	json_set(a, o, "events", events);
	*out = o;
	return 0;
}

static int
save(struct cli *cli, const struct json *history, struct error *err)
{
	const char *path = cli_opt(cli, "save");
	struct str text;
	FILE *f;
	int bad;

	if (path == NULL)
		return 0;
	f = fopen(path, "we");
	if (f == NULL)
		return fail(
		    err, FAULT_INPUT, "WRITE", "%s: %s", path, strerror(errno));
	text = json_pretty(&cli->arena, history);
	bad = fwrite(text.s, 1, text.n, f) != text.n || fputc('\n', f) == EOF;
	if (fclose(f) != 0 || bad)
		return fail(
		    err, FAULT_RETRY, "WRITE", "%s: %s", path, strerror(errno));
	return 0;
}

static const struct column columns[] = {
	{ "history", "history", COLUMN_TEXT },
	{ "result", "result", COLUMN_STATUS },
	{ "events", "events", COLUMN_NUMBER },
	{ "facts", "facts", COLUMN_NUMBER },
	{ "status", "run", COLUMN_STATUS },
	{ "seq", "at event", COLUMN_NUMBER },
	{ "problem", "problem", COLUMN_TEXT },
};

/* problem NULL: there is none. */
static int
print_result(struct cli *cli, const struct history *h, const struct replay *r,
    const char *problem)
{
	struct arena *a = &cli->arena;
	struct json *o = json_object(a);

	json_set(a, o, "history", json_cstring(a, cli->args[0]));
	json_set(
	    a, o, "result", json_cstring(a, problem == NULL ? "ok" : "failed"));
	json_set(a, o, "events", json_int(a, h->n));
	json_set(a, o, "facts", json_int(a, r->facts));
	json_set(a, o, "status", json_cstring(a, run_status_name(r->status)));
	if (r->seq > 0)
		json_set(a, o, "seq", json_int(a, r->seq));
	if (problem != NULL)
		json_set(a, o, "problem", json_cstring(a, problem));
	OUT_OBJECT(&cli->out, a, columns, o);
	return problem == NULL ? EXIT_OK : EXIT_FAILED;
}

static int
check(struct cli *cli, const struct json *json, struct error *err)
{
	struct definition d = { .file = cli->args[0] };
	struct replay replay;
	struct history h;
	const char *problem;

	if (save(cli, json, err) < 0 ||
	    history_parse(&cli->arena, json, &h, err) < 0)
		return -1;
	d.json = (struct json *)h.definition;
	definition_check(cli, &d);
	if (d.flow == NULL)
		return definition_refuse(&d, err);
	if (replay_check(&cli->arena, d.flow, h.events, h.n, &replay) != 0)
		problem = replay.text;
	else
		problem = history_differs(&cli->arena, &h, &replay);
	return print_result(cli, &h, &replay, problem);
}

/* A file needs no database. */
static int
is_run(const char *arg)
{
	struct uuid id;

	return strcmp(arg, "latest") == 0 || uuid_parse(str_of(arg), &id) == 0;
}

static int
cmd_replay(struct cli *cli, struct error *err)
{
	struct session s = { 0 };
	char id[UUID_TEXT];
	struct json *json;
	int r;

	if (!is_run(cli->args[0])) {
		r = cli_read_json(cli, cli->args[0], &json, err);
		return r < 0 ? r : check(cli, json, err);
	}
	r = session_open(&s, cli, err);
	if (r == 0)
		r = session_run(&s, cli->args[0], id, err);
	if (r == 0)
		r = load_run(&s, id, &json, err);
	session_close(&s);
	return r < 0 ? r : check(cli, json, err);
}

static const struct opt opts[] = {
	{ .name = "save",
	    .arg = "FILE",
	    .help =
		"write the history there, to replay it without a database" },
	{ .name = NULL },
};
static const struct example examples[] = {
	{ "replay latest", "check the newest run" },
	{ "replay latest --save run.json", "keep its history as a file" },
	{ "replay tests/histories/lead-intake.json", "check a file" },
	{ NULL, NULL },
};
const struct cmd cmd_replay_entry = {
	.noun = "replay",
	.args = "RUN|FILE",
	.help = "decide a history again and compare",
	.text = "Folds every prefix of the history and checks that what is "
		"decided on it is exactly what was recorded behind it; of a "
		"run also that the table of steps says what the events say. "
		"Exits 1 at the first difference, which it names. A file "
		"needs no database.",
	.opts = opts,
	.examples = examples,
	.settings = SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.min_args = 1,
	.max_args = 1,
	.fn = cmd_replay,
};
