#include "cli/session.h"
#include "cli/sql.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What to do about an error, by its code; a class of SQLSTATEs by a prefix. */
static const struct advice {
	const char *code, *next;
} advices[] = {
	{ "28", "check user and password in MESHHOOK_DB_URL" },
	{ "42501", "this needs the operator's rights: connect as postgres" },
	{ "3F000", "MeshHook is not installed here: supabase db push" },
	{ "42P01", "the schema is missing or old: supabase db push" },
	{ "42703", "the schema is old: supabase db push" },
	{ "42883", "the schema is missing or old: supabase db push" },
	{ "57014", "the statement took longer than its time-out allows" },
	{ "08", "is the database up? see: meshhook doctor" },
	{ "DNS", "is the host's name right in MESHHOOK_DB_URL?" },
};

/* The statement's own name says nothing to people; what the credentials don't
 * allow is a matter of rights, whatever it is to a process that runs on. */
int
session_advise(const struct sql *sql, struct error *err)
{
	size_t name = sql != NULL ? strlen(sql->name) : 0, n;

	if (name > 0 && strncmp(err->text, sql->name, name) == 0 &&
	    strncmp(err->text + name, ": ", 2) == 0)
		memmove(err->text, err->text + name + 2,
		    strlen(err->text + name + 2) + 1);
	if (strncmp(err->code, "28", 2) == 0)
		err->fault = FAULT_AUTH;
	n = strlen(err->text);
	if (strchr(err->text, '\n') != NULL)
		return -1;
	for (size_t i = 0; i < NELEM(advices); i++) {
		const char *code = advices[i].code;

		if (strncmp(err->code, code, strlen(code)) != 0)
			continue;
		snprintf(err->text + n, sizeof(err->text) - n, "\n%s",
		    advices[i].next);
		break;
	}
	return -1;
}

int
session_query(struct session *s, const struct sql *sql,
    const struct db_param *params, struct rows *rows, struct error *err)
{
	if (db_query_params(s->db, sql, params, rows, err) < 0)
		return session_advise(sql, err);
	return 0;
}

int
session_begin(struct session *s, struct cli *cli, struct error *err)
{
	*s = (struct session){ .cli = cli };
	s->loop = loop_new(err);
	return s->loop != NULL ? 0 : -1;
}

int
session_connect(struct session *s, struct error *err)
{
	struct db_options options = {
		.url = config_text(&s->cli->config, SETTING_DB_URL),
		.application_name = "meshhook cli",
	};

	if (config_need(&s->cli->config, SETTING_DB_URL, err) < 0)
		return -1;
	s->db = db_new(s->loop, &options, err);
	return s->db != NULL ? 0 : session_advise(NULL, err);
}

int
session_open(struct session *s, struct cli *cli, struct error *err)
{
	if (session_begin(s, cli, err) < 0)
		return -1;
	return session_connect(s, err);
}

void
session_close(struct session *s)
{
	s->db = db_free(s->db);
	s->loop = loop_free(s->loop);
}

int
session_command(struct cli *cli, struct error *err)
{
	struct session s = { 0 };
	int r = cli->cmd->open(&s, cli, err);

	if (r == 0)
		r = cli->cmd->run(&s, err);
	session_close(&s);
	return r;
}

int
session_project(struct session *s, struct error *err)
{
	const char *want = config_text(&s->cli->config, SETTING_PROJECT);
	struct rows rows = { 0 };
	int r = 0;

	if (SESSION_QUERY(s, &sql_project_find, &rows, err, db_text(want)) < 0)
		return -1;
	if (rows.n == 0 && want != NULL)
		r = fail(err, FAULT_INPUT, "PT404",
		    "no project \"%.80s\"\n"
		    "list them: meshhook project list",
		    want);
	else if (rows.n == 0)
		r = fail(err, FAULT_INPUT, "PT404",
		    "there is no project yet\n"
		    "make one: meshhook project create SLUG");
	else if (rows.n > 1 && want == NULL)
		r = usage(err,
		    "there are several projects\nchoose one by "
		    "--project or MESHHOOK_PROJECT: meshhook project list");
	if (r == 0) {
		rows_uuid(&rows, 0, "id", &s->project);
		uuid_format(&s->project, s->id);
		s->slug =
		    arena_strdup(&s->cli->arena, rows_text(&rows, 0, "slug"));
	}
	rows_deinit(&rows);
	return r;
}

int
session_open_project(struct session *s, struct cli *cli, struct error *err)
{
	if (session_open(s, cli, err) < 0)
		return -1;
	return session_project(s, err);
}

int
session_run(
    struct session *s, const char *arg, char id[UUID_TEXT], struct error *err)
{
	struct rows rows = { 0 };
	struct uuid uuid;
	int r = 0;

	if (strcmp(arg, "latest") != 0) {
		if (uuid_parse(str_of(arg), &uuid) < 0)
			return usage(err,
			    "\"%.80s\" is no run's id\n"
			    "list them: meshhook run list; \"latest\" is the "
			    "newest",
			    arg);
		uuid_format(&uuid, id);
		return 0;
	}
	if (session_project(s, err) < 0 ||
	    SESSION_QUERY(s, &sql_run_latest, &rows, err, db_text(s->id)) < 0)
		return -1;
	if (rows.n == 0)
		r = fail(err, FAULT_INPUT, "PT404",
		    "no run yet in %s\n"
		    "start one: meshhook run start WORKFLOW",
		    s->slug);
	else
		snprintf(id, UUID_TEXT, "%s", rows_text(&rows, 0, "id"));
	rows_deinit(&rows);
	return r;
}

static int
parse_record(struct session *s, struct rows *rows, int row, struct json **out,
    struct error *err)
{
	struct str text = rows_str(rows, row, "record");

	/* parsed values may borrow from the text, which goes with the rows */
	if (json_parse(&s->cli->arena, arena_str(&s->cli->arena, text), NULL,
		out, err) < 0)
		return fail_in(err, "answer of the database");
	return 0;
}

int
session_record(struct session *s, const struct sql *sql,
    const struct db_param *params, struct json **out, struct error *err)
{
	struct rows rows = { 0 };
	int r = session_query(s, sql, params, &rows, err);

	*out = NULL;
	if (r == 0 && rows.n > 0)
		r = parse_record(s, &rows, 0, out, err);
	rows_deinit(&rows);
	return r;
}

int
session_rows(struct session *s, const struct sql *sql,
    const struct db_param *params, struct error *err)
{
	struct rows rows = { 0 };
	int r = session_query(s, sql, params, &rows, err);

	for (int i = 0; r == 0 && i < rows.n; i++) {
		struct json *record;

		r = parse_record(s, &rows, i, &record, err);
		if (r == 0)
			out_row(&s->cli->out, &s->cli->arena, record);
	}
	rows_deinit(&rows);
	return r;
}

int
session_list(struct session *s, const struct column *columns, size_t n,
    const struct sql *sql, const struct db_param *params, struct error *err)
{
	out_begin(&s->cli->out, columns, n);
	if (session_rows(s, sql, params, err) < 0)
		return -1;
	out_end(&s->cli->out);
	return EXIT_OK;
}

int
session_known(struct session *s, const char *what, struct db_param project,
    const char *name, struct error *err)
{
	struct rows rows = { 0 };
	int known;

	if (SESSION_QUERY(s, &sql_known, &rows, err, db_text(what), project,
		db_text(name)) < 0)
		return -1;
	known = rows_bool(&rows, 0, "known");
	rows_deinit(&rows);
	return known;
}

int
session_unknown(const struct session *s, const char *what, const char *name,
    const char *list, struct error *err)
{
	return fail(err, FAULT_INPUT, "PT404",
	    "no %s \"%.63s\"%s%s\nlist them: meshhook %s", what, name,
	    s->slug != NULL ? " in " : " of the installation",
	    s->slug != NULL ? s->slug : "", list);
}

static void
wake(void *arg)
{
	loop_stop(arg, 0);
}

void
session_sleep(struct session *s, int64_t ms)
{
	struct loop_timer *timer = loop_timer_new(s->loop, wake, s->loop);

	loop_timer_set(timer, ms);
	loop_run(s->loop);
	loop_timer_free(timer);
}

void
session_note(const struct session *s, const char *fmt, ...)
{
	va_list ap;

	if (s->cli->quiet)
		return;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}
