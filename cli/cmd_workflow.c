/* workflow push and publish: what changes a workflow. */
#include "cli/commands.h"
#include "cli/definition.h"
#include "cli/session.h"
#include "cli/sql.h"

#include <string.h>

static const char *
workflow_name(struct cli *cli, const struct definition *d)
{
	const char *name = cli_opt(cli, "name");

	return name != NULL ? name : arena_str(&cli->arena, d->flow->name).s;
}

/* Save the draft; *id is the workflow's. */
static int
push(struct session *s, const char *name, const struct definition *d,
    struct uuid *id, struct error *err)
{
	struct rows rows = { 0 };

	if (SESSION_QUERY(s, &sql_workflow_push, &rows, err, db_text(s->id),
		db_text(name),
		db_jsonb(json_text(&s->cli->arena, d->json))) < 0) {
		if (strcmp(err->code, "23514") != 0)
			return -1;
		return usage(err,
		    "\"%.80s\" is no workflow's name\nit has "
		    "letters a-z, digits, - and _, begins with a letter or "
		    "digit, and has at most 63",
		    name);
	}
	uuid_parse(rows_str(&rows, 0, "id"), id);
	rows_deinit(&rows);
	return 0;
}

static const struct column pushed[] = {
	{ "workflow", "workflow", COLUMN_TEXT },
	{ "version", "version", COLUMN_NUMBER },
	{ "id", "id", COLUMN_TEXT },
};

/* version 0: it was pushed only. */
static void
print_pushed(
    struct session *s, const char *name, const struct uuid *id, int64_t version)
{
	struct arena *a = &s->cli->arena;
	struct json *o = json_object(a);
	char text[UUID_TEXT];

	json_set(a, o, "id", json_cstring(a, uuid_format(id, text)));
	json_set(a, o, "workflow", json_cstring(a, name));
	if (version > 0)
		json_set(a, o, "version", json_int(a, version));
	SESSION_SHOW(s, pushed, o);
}

static int
read_valid(struct cli *cli, struct definition *d, struct error *err)
{
	if (definition_read(cli, cli->args[0], d, err) < 0)
		return -1;
	return d->flow != NULL ? 0 : definition_refuse(d, err);
}

/* A step that uses a secret which isn't there could only fail. */
static int
secrets_check(struct session *s, const struct definition *d, struct error *err)
{
	struct arena *a = &s->cli->arena;
	const char *names = "", *unknown;
	struct rows rows = { 0 };
	int r = 0;

	if (d->flow->n_secrets == 0)
		return 0;
	for (uint32_t i = 0; i < d->flow->n_secrets; i++)
		names = arena_printf(a, "%s%s%.*s", names, i > 0 ? " " : "",
		    STR_FMT(d->flow->secrets[i]));
	if (SESSION_QUERY(s, &sql_secret_unknown, &rows, err, db_text(s->id),
		db_text(names)) < 0)
		return -1;
	unknown = rows_text(&rows, 0, "names");
	if (unknown[0] != '\0')
		r = fail(err, FAULT_INPUT, "PT404",
		    "%s has no secret %.200s, which the workflow uses\n"
		    "make it: meshhook secret set %.*s",
		    s->slug, unknown, (int)strcspn(unknown, " "), unknown);
	rows_deinit(&rows);
	return r;
}

static int
cmd_workflow_push(struct cli *cli, struct error *err)
{
	struct session s = { 0 };
	struct definition d;
	struct error why;
	struct uuid id;
	int r = read_valid(cli, &d, err);

	if (r == 0)
		r = session_open_project(&s, cli, err);
	if (r == 0)
		r = push(&s, workflow_name(cli, &d), &d, &id, err);
	if (r == 0) {
		print_pushed(&s, workflow_name(cli, &d), &id, 0);
		if (secrets_check(&s, &d, &why) < 0)
			session_note(&s, "%s", why.text);
		session_note(&s,
		    "A draft runs nothing yet: meshhook workflow "
		    "publish %s",
		    workflow_name(cli, &d));
	}
	session_close(&s);
	return r;
}

/* The draft that is in the database. */
static int
load_draft(struct session *s, const char *name, struct definition *d,
    struct uuid *id, struct error *err)
{
	struct rows rows = { 0 };
	int r = 0;

	*d = (struct definition){ .file = name };
	if (SESSION_QUERY(s, &sql_workflow_draft, &rows, err, db_text(s->id),
		db_text(name)) < 0)
		return -1;
	if (rows.n == 0)
		r = session_unknown(s, "workflow", name, "workflow list", err);
	else
		r = json_parse(&s->cli->arena,
		    arena_str(&s->cli->arena, rows_str(&rows, 0, "draft")),
		    NULL, &d->json, err);
	if (r == 0) {
		rows_uuid(&rows, 0, "id", id);
		definition_check(s->cli, d);
		if (d->flow == NULL)
			r = definition_refuse(d, err);
	}
	rows_deinit(&rows);
	return r;
}

static int
publish(struct session *s, const char *name, const struct definition *d,
    const struct uuid *id, struct error *err)
{
	struct arena *a = &s->cli->arena;
	struct rows rows = { 0 };
	struct json *plan;

	if (secrets_check(s, d, err) < 0)
		return -1;
	if (flow_plan(a, d->flow, &plan, err) < 0)
		return fail_in(err, "plan");
	if (SESSION_QUERY(s, &sql_workflow_publish, &rows, err, db_uuid(id),
		db_jsonb(json_text(a, d->json)),
		db_jsonb(json_text(a, plan))) < 0)
		return -1;
	print_pushed(s, name, id, rows_int(&rows, 0, "version"));
	rows_deinit(&rows);
	return EXIT_OK;
}

/* A workflow's name has neither a slash nor a dot. */
static int
is_file(const char *arg)
{
	return strpbrk(arg, "/.") != NULL || strcmp(arg, "-") == 0;
}

static int
cmd_workflow_publish(struct cli *cli, struct error *err)
{
	const char *name = cli->args[0];
	struct session s = { 0 };
	struct definition d;
	struct uuid id;
	int file = is_file(name);
	int r = file ? read_valid(cli, &d, err) : 0;

	if (r == 0)
		r = session_open_project(&s, cli, err);
	if (r == 0 && file) {
		name = workflow_name(cli, &d);
		r = push(&s, name, &d, &id, err);
	} else if (r == 0) {
		r = load_draft(&s, name, &d, &id, err);
	}
	if (r == 0)
		r = publish(&s, name, &d, &id, err);
	session_close(&s);
	return r;
}

static const struct opt opts[] = {
	{ .name = "name",
	    .arg = "NAME",
	    .help = "the workflow's name; preset: the definition's" },
	{ .name = NULL },
};
static const struct example push_examples[] = {
	{ "workflow push examples/lead-intake.json", "save it as a draft" },
	{ NULL, NULL },
};
const struct cmd cmd_workflow_push_entry = {
	.noun = "workflow",
	.verb = "push",
	.args = "FILE",
	.help = "save a definition as a draft",
	.text = "Checks the definition as validate does and saves it as the "
		"workflow's draft. Runs are not touched: they use published "
		"versions.",
	.opts = opts,
	.examples = push_examples,
	.settings = SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.min_args = 1,
	.max_args = 1,
	.fn = cmd_workflow_push,
};

static const struct example publish_examples[] = {
	{ "workflow publish examples/lead-intake.json",
	    "save a file and publish it" },
	{ "workflow publish lead-intake", "publish the draft" },
	{ NULL, NULL },
};
const struct cmd cmd_workflow_publish_entry = {
	.noun = "workflow",
	.verb = "publish",
	.args = "WORKFLOW|FILE",
	.help = "make a draft, or a file, the next version",
	.text = "A version never changes; new runs use the newest one, and a "
		"run stays on the version that it started with. Publishing "
		"the same again gives the same version. A name with a dot or "
		"a slash is a file, which is pushed first.",
	.opts = opts,
	.examples = publish_examples,
	.settings = SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.min_args = 1,
	.max_args = 1,
	.fn = cmd_workflow_publish,
};
