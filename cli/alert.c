#include "cli/alert.h"
#include "cli/commands.h"
#include "core/measure.h"
#include "core/suggest.h"

#include <string.h>

enum { RANGE_MOST_MS = 3600000 };

int
alert_open(struct session *s, struct cli *cli, struct error *err)
{
	if (session_open(s, cli, err) < 0)
		return -1;
	if (cli_opt(cli, "installation") != NULL ||
	    config_text(&cli->config, SETTING_PROJECT) == NULL)
		return 0;
	return session_project(s, err);
}

struct db_param
alert_scope(const struct session *s)
{
	return db_text(s->id[0] != '\0' ? s->id : NULL);
}

int
alert_duration(struct cli *cli, const char *name, int64_t unit_ms,
    struct db_param *out, struct error *err)
{
	int64_t ms = -1;

	*out = db_null(DB_INT4);
	if (cli_opt_duration(cli, name, 0, "30s, 5m, 2h", &ms, err) < 0)
		return -1;
	if (ms > 30 * 86400000LL)
		return usage(err, "--%s: 30 days at most", name);
	if (ms >= 0)
		*out = db_int4((int)(ms / unit_ms));
	return 0;
}

int
alert_labels(struct cli *cli, struct db_param *out, struct error *err)
{
	const char *lines = cli_opt(cli, "label");
	struct json *o = json_object(&cli->arena);

	*out = db_null(DB_JSONB);
	if (lines == NULL)
		return 0;
	while (*lines != '\0') {
		size_t n = strcspn(lines, "\n");
		const char *eq = memchr(lines, '=', n);
		struct str value;

		if (eq == NULL || eq == lines)
			return usage(err,
			    "--label takes NAME=VALUE, not \"%.80s\"\n"
			    "as in: --label queue=work",
			    lines);
		value = (struct str){ eq + 1, (size_t)(lines + n - eq) - 1 };
		json_set_str(&cli->arena, o,
		    (struct str){ lines, (size_t)(eq - lines) },
		    json_string(&cli->arena, value));
		lines += n + (lines[n] == '\n');
	}
	*out = db_jsonb(json_text(&cli->arena, o));
	return 0;
}

struct db_param
alert_switch(const struct cli *cli, const char *name)
{
	const char *text = cli_opt(cli, name);

	return text == NULL ? db_null(DB_BOOL)
			    : db_bool(strcmp(text, "on") == 0);
}

/* Which of the words, NULL-terminated; the first where there is none. */
static int
word_find(struct cli *cli, const char *const words[], struct error *err)
{
	const char *all = words[0];

	if (cli->n_args == 0)
		return 0;
	for (int i = 0; words[i] != NULL; i++)
		if (strcmp(words[i], cli->args[0]) == 0)
			return i;
	for (int i = 1; words[i] != NULL; i++)
		all = arena_printf(&cli->arena, "%s, %s", all, words[i]);
	return usage(err, "%s has no \"%.40s\"\nit has: %s",
	    cmd_name(&cli->arena, cli->cmd), cli->args[0], all);
}

int
alert_unknown(struct session *s, const char *what, const char *name,
    const char *list, struct error *err)
{
	int r = 0;

	if (s->slug != NULL)
		r = session_known(s, what, db_null(DB_TEXT), name, err);
	if (r > 0)
		return fail(err, FAULT_INPUT, "PT404",
		    "the %s \"%.63s\" is the installation's, not that of %s\n"
		    "say --installation",
		    what, name, s->slug);
	return r < 0 ? r : session_unknown(s, what, name, list, err);
}

/* A rule over a metric that is never measured would never fire. */
static int
metric_known(struct str name, struct error *err)
{
	const struct measure *m = measure_find(name);
	struct suggest near;

	if (str_is(name, "runs_failed") ||
	    (m != NULL && !measure_is_histogram(name)))
		return 0;
	suggest_init(&near, name);
	for (m = measures; m->name != NULL; m++)
		suggest_add(&near, str_of(m->name));
	if (near.best.s != NULL)
		return usage(err, "no metric \"%.*s\"\ndid you mean %.*s?",
		    STR_FMT(name), STR_FMT(near.best));
	return usage(err, "no metric \"%.*s\"\ndocs/monitoring.md lists them",
	    STR_FMT(name));
}

int
alert_condition(
    struct cli *cli, const char *text, struct cond **out, struct error *err)
{
	struct cond_metric *metrics = NULL;
	struct error why;
	size_t n;

	if (cond_parse(&cli->arena, str_of(text), RANGE_MOST_MS, out, &why) < 0)
		return usage(err,
		    "the condition: %.300s\nsee docs/monitoring.md", why.text);
	n = cond_metrics(&cli->arena, *out, &metrics, 0);
	for (size_t i = 0; i < n; i++) {
		if (metric_known(metrics[i].name, err) < 0)
			return -1;
	}
	return 0;
}

int
alert_args(struct cli *cli, size_t least, size_t most, const char *form,
    struct error *err)
{
	size_t n = cli->n_args > 0 ? cli->n_args - 1 : 0;

	if (n >= least && n <= most)
		return 0;
	return usage(err, "too %s arguments\nas in: meshhook %s %s",
	    n < least ? "few" : "many", cmd_name(&cli->arena, cli->cmd), form);
}

int
alert_dispatch(struct session *s, session_fn *const fns[4], struct error *err)
{
	static const char *const words[] = { "list", "add", "set", "remove",
		NULL };
	int word = word_find(s->cli, words, err);

	return word < 0 ? -1 : fns[word](s, err);
}

int
alert_list(struct session *s, const struct sql *sql,
    const struct column *columns, size_t n, struct error *err)
{
	struct out *out = &s->cli->out;

	if (alert_args(s->cli, 0, 0, "list", err) < 0)
		return -1;
	if (out->format == OUT_TEXT)
		out->format = OUT_TABLE;
	return session_list(s, columns, n, sql, DB_PARAMS(alert_scope(s)), err);
}

int
alert_remove(struct session *s, const struct sql *sql, struct error *err)
{
	struct rows rows = { 0 };
	int n;

	if (alert_args(s->cli, 1, 1, "remove NAME", err) < 0 ||
	    SESSION_QUERY(s, sql, &rows, err, alert_scope(s),
		db_text(s->cli->args[1])) < 0)
		return -1;
	n = rows.n;
	rows_deinit(&rows);
	return n;
}
