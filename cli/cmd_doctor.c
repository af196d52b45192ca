#include "cli/commands.h"
#include "cli/session.h"
#include "cli/sql.h"
#include "core/time.h"
#include "http/client.h"
#include "supabase/client/schema.h"
#include "supabase/client/vault.h"

#include <stdlib.h>
#include <string.h>

enum {
	SKEW_MOST_MS = 5000,
	PROBE_MOST_MS = 1500,
	PROBE_LOOK_MS = 25,
	API_MOST_MS = 5000,
};

struct doctor {
	struct session *s;
	struct arena *arena;
	struct json *findings; /* {"check", "result", "detail", "mend"} */
};

enum result { OK, FAILED, UNKNOWN };

__attribute__((format(printf, 5, 6))) static void
found(struct doctor *d, const char *check, enum result result, const char *mend,
    const char *fmt, ...)
{
	static const char *const names[] = { "ok", "failed", "unknown" };
	struct json *o = json_object(d->arena);
	char detail[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	json_set(d->arena, o, "check", json_cstring(d->arena, check));
	json_set(d->arena, o, "result", json_cstring(d->arena, names[result]));
	json_set(d->arena, o, "detail", json_cstring(d->arena, detail));
	json_set(d->arena, o, "mend",
	    result != OK ? json_cstring(d->arena, mend) : NULL);
	json_push(d->arena, d->findings, o);
}

/* The first line of an error. */
static const char *
said(struct doctor *d, const struct error *err)
{
	return arena_strndup(d->arena, err->text, strcspn(err->text, "\n"));
}

/* Connects; 0 when nothing else can be looked at. */
static int
check_database(struct doctor *d)
{
	const char *url = config_text(&d->s->cli->config, SETTING_DB_URL);
	struct error err = { 0 };
	struct rows rows = { 0 };
	int64_t before, after, skew;

	if (SESSION_QUERY(d->s, &sql_doctor_here, &rows, &err) < 0) {
		found(d, "database", FAILED,
		    "check MESHHOOK_DB_URL and that the database runs",
		    "%s: %s", config_masked(d->arena, url), said(d, &err));
		return 0;
	}
	found(d, "database", OK, NULL, "PostgreSQL %s at %s, as %s",
	    rows_text(&rows, 0, "server"), db_where(d->s->db),
	    rows_text(&rows, 0, "role"));
	rows_deinit(&rows);
	before = time_wall_ms();
	if (SESSION_QUERY(d->s, &sql_doctor_here, &rows, &err) < 0)
		return 0;
	after = time_wall_ms();
	skew = rows_time_ms(&rows, 0, "now") - (before + after) / 2;
	rows_deinit(&rows);
	found(d, "clocks", llabs(skew) <= SKEW_MOST_MS ? OK : FAILED,
	    "set this machine's clock (NTP): webhooks are judged by it",
	    "the database's is %lld ms %s, known to %lld ms",
	    (long long)llabs(skew), skew < 0 ? "behind" : "ahead",
	    (long long)((after - before) / 2 + 1));
	return 1;
}

static void
ignore(void *arg, const char *channel, const char *payload)
{
	(void)arg;
	(void)channel;
	(void)payload;
}

/* Does NOTIFY come through? Not where a pooler lends a connection for a
 * transaction only. */
static void
check_pooler(struct doctor *d)
{
	static const char *const channels[] = { "meshhook_doctor", NULL };
	struct session *s = d->s;
	struct listen_options options = {
		.db.url = config_text(&s->cli->config, SETTING_DB_URL),
		.db.application_name = "meshhook doctor",
		.channels = channels,
		.via = s->db,
		.fn = ignore,
	};
	int64_t begun = time_mono_ms();
	struct error err = { 0 };
	struct listen *l = listen_new(s->loop, &options, &err);
	int works = 0;

	while (l != NULL && !works && time_mono_ms() - begun < PROBE_MOST_MS) {
		session_sleep(s, PROBE_LOOK_MS);
		works = listen_works(l);
	}
	listen_free(l);
	if (works)
		found(d, "pooler", OK, NULL,
		    "a direct or session connection: NOTIFY arrives");
	else
		found(d, "pooler", UNKNOWN,
		    "nothing need be done: workers poll; for starts within "
		    "milliseconds connect directly (port 5432)",
		    "NOTIFY does not arrive: a transaction pooler");
}

struct login {
	const char *check, *function; /* that its work begins with */
	enum setting_id url;
};

static const struct login logins[] = {
	{ "worker", "meshhook_engine.claim", SETTING_WORKER_DB_URL },
	{ "gateway", "meshhook_engine.intake", SETTING_GATEWAY_DB_URL },
	{ "monitor", "meshhook_engine.tick", SETTING_MONITOR_DB_URL },
};

/* May a process log in with the URL that it would use, and do its work? */
static void
check_login(struct doctor *d, const struct login *login)
{
	const struct config *config = &d->s->cli->config;
	struct db_options options = { .url = config->values[login->url].text };
	const char *env = settings[login->url].env;
	struct error err = { 0 };
	struct rows rows = { 0 };
	struct db *db;

	if (options.url == NULL)
		return;
	db = db_new(d->s->loop, &options, &err);
	if (db == NULL ||
	    db_query(db, &sql_doctor_login, &rows, &err,
		db_text(login->function)) < 0)
		found(d, login->check, FAILED,
		    arena_printf(d->arena,
			"check %s; alter role meshhook_%s login password "
			"'...'",
			env, login->check),
		    "%s", said(d, &err));
	else
		found(d, login->check,
		    rows_bool(&rows, 0, "allowed") ? OK : FAILED,
		    arena_printf(d->arena, "%s: log in as meshhook_%s", env,
			login->check),
		    "%s at %s%s", rows_text(&rows, 0, "role"), db_where(db),
		    rows_bool(&rows, 0, "allowed")
			? ""
			: arena_printf(d->arena,
			      ", which may not do a %s's work", login->check));
	rows_deinit(&rows);
	db_free(db);
}

/* What the database knows itself; its schema may be missing or old. */
static void
check_schema(struct doctor *d)
{
	struct error err = { 0 };
	struct rows rows = { 0 };

	if (SESSION_QUERY(d->s, &sql_doctor_checks, &rows, &err) < 0) {
		found(d, "schema", FAILED,
		    strcmp(err.code, "42501") == 0
			? "MESHHOOK_DB_URL: log in as the operator, postgres"
			: "supabase db push",
		    "%s", said(d, &err));
		return;
	}
	for (int i = 0; i < rows.n; i++) {
		struct str text = rows_str(&rows, i, "record");
		struct json *record;

		if (json_parse(d->arena, arena_str(d->arena, text), NULL,
			&record, &err) == 0)
			json_push(d->arena, d->findings, record);
	}
	rows_deinit(&rows);
}

static void
check_version(struct doctor *d)
{
	struct error err = { 0 };
	struct rows rows = { 0 };
	int64_t schema, program;

	if (SESSION_QUERY(d->s, &sql_doctor_version, &rows, &err) < 0)
		return; /* check_schema says it */
	schema = rows_int(&rows, 0, "version");
	program = rows_int(&rows, 0, "oldest_program");
	rows_deinit(&rows);
	if (schema < SCHEMA_NEEDED)
		found(d, "version", FAILED, "supabase db push",
		    "the schema is version %lld, this program needs %d",
		    (long long)schema, SCHEMA_NEEDED);
	else if (program > PROGRAM_LEVEL)
		found(d, "version", FAILED, "install the newer meshhook",
		    "the schema wants programs of level %lld, this is %d",
		    (long long)program, PROGRAM_LEVEL);
	else
		found(d, "version", OK, NULL,
		    "meshhook %s and schema %lld fit each other",
		    MESHHOOK_VERSION, (long long)schema);
}

/* One envelope of each key, opened as its owner would. */
static int
key_opens(struct doctor *d, const struct vault *vault, struct rows *rows,
    int row, struct error *err)
{
	struct vault_place place = { .name = rows_str(rows, row, "place"),
		.version = (int)rows_int(rows, row, "version") };
	struct str text;

	rows_uuid(rows, row, "project_id", &place.project);
	if (vault_open(vault, d->arena, &place, rows_str(rows, row, "sealed"),
		&text, err) < 0)
		return -1;
	secret_wipe((void *)(uintptr_t)text.s, text.n);
	return 0;
}

/* Is a key that seals here, and is it the one that did? */
static void
check_key(
    struct doctor *d, enum setting_id id, const char *check, struct rows *rows)
{
	const char *env = settings[id].env;
	const char *keys = config_text(&d->s->cli->config, id);
	const char *mend = arena_printf(d->arena,
	    "%s=\"new:KEY,old:KEY\": the first seals, and each that sealed "
	    "what is there must be among them",
	    env);
	struct vault vault = { 0 };
	struct error err = { 0 };
	int64_t n = 0;
	int failed = 0;

	if (keys != NULL && vault_init(&vault, str_of(keys), &err) < 0) {
		found(d, check, FAILED, mend, "%s", said(d, &err));
		return;
	}
	for (int i = 0; i < rows->n; i++) {
		if (strcmp(rows_text(rows, i, "check"), check) != 0)
			continue;
		n += rows_int(rows, i, "n");
		if (keys == NULL || key_opens(d, &vault, rows, i, &err) == 0)
			continue;
		failed = 1;
		found(d, check, FAILED, mend,
		    "it does not open the %lld values that are sealed under "
		    "key \"%s\": %s",
		    (long long)rows_int(rows, i, "n"),
		    rows_text(rows, i, "key"), said(d, &err));
	}
	if (keys == NULL)
		found(d, check, UNKNOWN,
		    arena_printf(d->arena,
			"ask where %s is set; make one with: openssl rand "
			"-base64 32",
			env),
		    "%s is not set here; %lld values are sealed", env,
		    (long long)n);
	else if (!failed)
		found(d, check, OK, NULL, "opens what it sealed, %lld value%s",
		    (long long)n, n == 1 ? "" : "s");
	vault_deinit(&vault);
}

static void
check_keys(struct doctor *d)
{
	struct error err = { 0 };
	struct rows rows = { 0 };

	if (SESSION_QUERY(d->s, &sql_doctor_keys, &rows, &err) < 0)
		return; /* check_schema says it */
	check_key(d, SETTING_INTAKE_KEY, "intake-key", &rows);
	check_key(d, SETTING_SECRET_KEY, "secret-key", &rows);
	rows_deinit(&rows);
}

struct api_answer {
	struct doctor *d;
	int over, status;
	struct str code; /* PostgREST's, or SQLSTATE */
	struct error error;
};

static void
api_answered(void *arg, const struct http_response *res)
{
	struct api_answer *answer = arg;
	struct arena *a = answer->d->arena;
	struct json *body = NULL;
	struct error err;

	if (json_parse(a, arena_str(a, res->body), NULL, &body, &err) == 0)
		answer->code = json_str(json_get(body, "code"));
	answer->status = res->status;
	answer->error = res->error;
	answer->over = 1;
	loop_stop(answer->d->s->loop, 0);
}

static int
api_ask(struct doctor *d, const char *url, const char *key,
    struct api_answer *answer)
{
	const struct http_header headers[] = {
		{ STR("apikey"), str_of(key), 1 },
		{ STR("accept-profile"), STR("meshhook"), 0 },
	};
	const struct http_request req = { .method = STR("GET"),
		.url = str_of(
		    arena_printf(d->arena, "%s/rest/v1/projects?limit=0", url)),
		.headers = headers,
		.n_headers = NELEM(headers) };
	struct http_options options = { .timeout_ms = API_MOST_MS };
	struct error *err = &answer->error;
	struct guard guard;
	struct http *http;

	/* the operator says where, so anywhere is allowed */
	if (guard_init(&guard, "0.0.0.0/0 ::/0", err) < 0)
		return -1;
	options.guard = &guard;
	answer->d = d;
	http = http_new(d->s->loop, &options, err);
	if (http != NULL &&
	    http_call_start(http, &req, api_answered, answer, err) != NULL)
		while (!answer->over)
			loop_run(d->s->loop);
	http_free(http);
	guard_deinit(&guard);
	return answer->status > 0 ? 0 : -1;
}

/* Does PostgREST serve our schema? What the database knows of it may be old,
 * or not be there; where the project's key is given, it is asked itself. */
static void
check_api(struct doctor *d)
{
	const struct config *config = &d->s->cli->config;
	const char *url = config_text(config, SETTING_SUPABASE_URL);
	const char *key = config_text(config, SETTING_SUPABASE_KEY);
	struct api_answer answer = { 0 };

	if (key == NULL)
		return;
	if (api_ask(d, url, key, &answer) < 0)
		found(d, "api", UNKNOWN, "check MESHHOOK_SUPABASE_URL", "%s",
		    said(d, &answer.error));
	else if (answer.status < 300 || str_is(answer.code, "42501"))
		found(d, "api", OK, NULL, "%s serves the schema meshhook", url);
	else if (answer.status == 406)
		found(d, "api", FAILED,
		    "Project Settings > Data API > Exposed schemas: add "
		    "meshhook",
		    "%s does not serve the schema meshhook", url);
	else if (answer.status == 401)
		found(d, "api", FAILED, "check MESHHOOK_SUPABASE_KEY",
		    "%s refuses the key", url);
	else
		found(d, "api", UNKNOWN, "ask again; see the project's status",
		    "%s answers %d", url, answer.status);
}

static const struct column columns[] = {
	{ "check", "CHECK", COLUMN_TEXT },
	{ "result", "RESULT", COLUMN_STATUS },
	{ "detail", "DETAIL", COLUMN_TEXT },
	{ "mend", "MEND", COLUMN_TEXT },
};

static void
print_text(const struct out *out, const struct json *f)
{
	int ok = str_is(json_str(json_get(f, "result")), "ok");
	int bad = str_is(json_str(json_get(f, "result")), "failed");
	struct str mend = json_str(json_get(f, "mend"));
	struct buf b;

	buf_init(&b);
	out_escape(&b, json_str(json_get(f, "detail")));
	fprintf(out->file, "%s%-8.*s%s %-12.*s %s\n",
	    out_on(out,
		ok        ? COLOUR_GREEN
		    : bad ? COLOUR_RED
			  : COLOUR_YELLOW),
	    STR_FMT(json_str(json_get(f, "result"))), out_off(out),
	    STR_FMT(json_str(json_get(f, "check"))), buf_str(&b).s);
	if (mend.n > 0) {
		buf_clear(&b);
		out_escape(&b, mend);
		fprintf(out->file, "%22s%s: %s\n", "",
		    bad ? "to mend it" : "to know", buf_str(&b).s);
	}
	buf_deinit(&b);
}

static int
report(struct doctor *d)
{
	struct out *out = &d->s->cli->out;
	int failed = 0;

	OUT_BEGIN(out, columns);
	for (uint32_t i = 0; i < d->findings->n; i++) {
		const struct json *f = json_at(d->findings, i);

		failed |= str_is(json_str(json_get(f, "result")), "failed");
		if (out->format == OUT_TEXT)
			print_text(out, f);
		else
			out_row(out, d->arena, f);
	}
	if (out->format != OUT_TEXT)
		out_end(out);
	return failed ? EXIT_FAILED : EXIT_OK;
}

static int
check(struct session *s, struct error *err)
{
	struct doctor d = { .s = s, .arena = &s->cli->arena };

	(void)err;
	d.findings = json_array(d.arena);
	if (check_database(&d)) {
		check_pooler(&d);
		check_version(&d);
		check_schema(&d);
		check_keys(&d);
		check_api(&d);
		for (size_t i = 0; i < NELEM(logins); i++)
			check_login(&d, &logins[i]);
	}
	return report(&d);
}

static const struct example examples[] = {
	{ "doctor", "what is wrong, and how to mend it" },
	{ "doctor -o json | jq -r 'select(.result == \"failed\").mend'",
	    "only what there is to do" },
	{ NULL, NULL },
};
const struct cmd cmd_doctor_entry = {
	.noun = "doctor",
	.args = "",
	.help = "check the whole set-up, say how to mend it",
	.text = "Looks at the database and its clock, the pooler's mode, the "
		"schema's version, its exposure to the API, pgmq, roles, "
		"rights, partitions, Realtime, connections in sum, whether "
		"projections say what events say, and whether the keys of "
		"this environment open what is sealed. Where it has "
		"a process's URL, it logs in as that would; "
		"where it has the project's key, it asks the API. "
		"Exits 1 if anything failed; \"unknown\" is what can't be "
		"seen from here, or is no fault.",
	.examples = examples,
	.settings = SETTING_G_DB | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.open = session_open,
	.run = check,
};
