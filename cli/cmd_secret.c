/* Secrets of steps: sealed here, under the workers' key; what is printed is
 * never a value. */
#include "cli/ask.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "cli/sql.h"
#include "supabase/client/vault.h"

#include <string.h>

enum { VALUE_MOST = 65536, VALUE_LEAST = 8 /* what is masked */ };

static int
vault_of(struct cli *cli, struct vault *vault, struct error *err)
{
	const char *keys = config_text(&cli->config, SETTING_SECRET_KEY);

	if (config_need(&cli->config, SETTING_SECRET_KEY, err) < 0)
		return -1;
	if (vault_init(vault, str_of(keys), err) < 0)
		return fail_in(err, "MESHHOOK_SECRET_KEY");
	return 0;
}

static struct vault_place
place_of(
    struct cli *cli, const struct uuid *project, const char *name, int version)
{
	return (struct vault_place){
		.project = *project,
		.name = str_of(arena_printf(&cli->arena, "secret/%s", name)),
		.version = version,
	};
}

/* From --file or standard input, without the line's end that editors add. */
static int
value_read(struct session *s, struct str *out, struct error *err)
{
	if (ask_secret(s->cli, cli_opt(s->cli, "file"), "Value", out, err) < 0)
		return -1;
	if (out->n == 0 || out->n > VALUE_MOST)
		return usage(err, "a value has from 1 to %d bytes, this %zu",
		    VALUE_MOST, out->n);
	for (size_t i = 0; i < out->n; i++)
		if (out->s[i] == '\0')
			return usage(err, "a value holds no NUL byte");
	if (out->n < VALUE_LEAST)
		session_note(s,
		    "A value of less than %d bytes is not masked in logs.",
		    VALUE_LEAST);
	return 0;
}

/* --host lines, by blanks; NULL: not given. "any" takes them away. */
static int
hosts_read(struct cli *cli, const char **out, struct error *err)
{
	const char *given = cli_opt(cli, "host");
	char *text;

	*out = NULL;
	if (given == NULL)
		return 0;
	text = arena_strdup(&cli->arena, given);
	for (char *c = text; *c != '\0'; c++) {
		if (*c == '\n')
			*c = ' ';
		else if (strchr(" \t/@?#", *c) != NULL)
			return usage(err,
			    "--host takes a host, \"%.80s\" is none\n"
			    "as in: --host api.example.com, --host "
			    "'*.example.com', --host localhost:8080",
			    given);
	}
	*out = strcmp(text, "any") == 0 ? "" : text;
	return 0;
}

static const struct column stored[] = {
	{ "name", "secret", COLUMN_TEXT },
	{ "version", "version", COLUMN_TEXT },
};

static int
store(struct session *s, int version, struct error *err)
{
	struct cli *cli = s->cli;
	const char *name = cli->args[0], *hosts;
	struct vault_place place = place_of(cli, &s->project, name, version);
	struct json *o = json_object(&cli->arena);
	struct rows rows = { 0 };
	struct str value, sealed;
	struct vault vault;
	int r;

	if (hosts_read(cli, &hosts, err) < 0 || vault_of(cli, &vault, err) < 0)
		return -1;
	r = value_read(s, &value, err);
	if (r == 0)
		r = vault_seal(
		    &vault, &cli->arena, &place, value, &sealed, err);
	vault_deinit(&vault);
	if (r == 0)
		secret_wipe((void *)(uintptr_t)value.s, value.n);
	if (r < 0 ||
	    SESSION_QUERY(s, &sql_secret_set, &rows, err, db_text(s->id),
		db_text(name), db_int4(version), db_str(sealed),
		db_text(hosts)) < 0)
		return -1;
	rows_deinit(&rows);
	json_set(&cli->arena, o, "name", json_cstring(&cli->arena, name));
	json_set(&cli->arena, o, "version", json_int(&cli->arena, version));
	SESSION_SHOW(s, stored, o);
	return EXIT_OK;
}

/* must_exist: to rotate. */
static int
store_next(struct session *s, int must_exist, struct error *err)
{
	const char *name = s->cli->args[0];
	struct rows rows = { 0 };
	int r = SESSION_QUERY(
	    s, &sql_secret_find, &rows, err, db_text(s->id), db_text(name));
	int version = 1;

	if (r == 0 && rows.n > 0)
		version = 1 + (int)rows_int(&rows, 0, "version");
	if (r == 0 && rows.n == 0 && must_exist)
		r = fail(err, FAULT_INPUT, "PT404",
		    "no secret \"%.63s\" in %s\n"
		    "make it: meshhook secret set %.63s",
		    name, s->slug, name);
	rows_deinit(&rows);
	if (r == 0)
		r = store(s, version, err);
	if (r < 0 && strcmp(err->code, "23514") == 0)
		r = usage(err,
		    "\"%.80s\" is no secret's name\nit has letters, digits and "
		    "_, does not begin with a digit, and has at most 63",
		    name);
	return r;
}

static int
set(struct session *s, struct error *err)
{
	return store_next(s, 0, err);
}

static int
rotate(struct session *s, struct error *err)
{
	return store_next(s, 1, err);
}

static const struct column listed[] = {
	{ "name", "SECRET", COLUMN_TEXT },
	{ "version", "VERSION", COLUMN_TEXT },
	{ "hosts", "HOSTS", COLUMN_TEXT },
	{ "key", "KEY", COLUMN_TEXT },
	{ "updated_at", "SET (UTC)", COLUMN_TIME },
	{ "used_at", "USED (UTC)", COLUMN_TIME },
};

static int
list(struct session *s, struct error *err)
{
	return SESSION_LIST(s, listed, &sql_secret_list, err, db_text(s->id));
}

static int delete (struct session *s, struct error *err)
{
	const char *name = s->cli->args[0];
	struct rows rows = { 0 };
	int n;

	if (SESSION_QUERY(s, &sql_secret_delete, &rows, err, db_text(s->id),
		db_text(name)) < 0)
		return -1;
	n = rows.n;
	rows_deinit(&rows);
	return n > 0 ? EXIT_OK
		     : session_unknown(s, "secret", name, "secret list", err);
}

static int
reseal(struct session *s, const struct vault *vault, struct rows *all, int row,
    int *done, struct error *err)
{
	struct arena *a = &s->cli->arena;
	const char *name = arena_strdup(a, rows_text(all, row, "name"));
	int version = (int)rows_int(all, row, "version");
	struct uuid project, id;
	struct vault_place place;
	struct rows rows = { 0 };
	struct str value, sealed;
	int r;

	rows_uuid(all, row, "project_id", &project);
	rows_uuid(all, row, "secret_id", &id);
	place = place_of(s->cli, &project, name, version);
	r = vault_open(
	    vault, a, &place, rows_str(all, row, "sealed"), &value, err);
	if (r < 0)
		return fail_in(err, arena_printf(a, "secret %s", name));
	r = vault_seal(vault, a, &place, value, &sealed, err);
	secret_wipe((void *)(uintptr_t)value.s, value.n);
	if (r < 0 ||
	    SESSION_QUERY(s, &sql_secret_reseal, &rows, err, db_uuid(&id),
		db_int4(version), db_str(rows_str(all, row, "sealed")),
		db_str(sealed)) < 0)
		return -1;
	*done += rows_bool(&rows, 0, "done");
	rows_deinit(&rows);
	return 0;
}

static const struct column resealed[] = {
	{ "key", "key", COLUMN_TEXT },
	{ "resealed", "resealed", COLUMN_TEXT },
};

static int
cmd_secret_rotate_kek(struct cli *cli, struct error *err)
{
	struct json *o = json_object(&cli->arena);
	struct session s = { 0 };
	struct rows all = { 0 };
	struct vault vault;
	int r = vault_of(cli, &vault, err), done = 0;

	if (r < 0)
		return -1;
	r = session_open(&s, cli, err);
	if (r == 0)
		r = SESSION_QUERY(&s, &sql_secret_envelopes, &all, err,
		    db_text(vault.keys[0].id));
	for (int i = 0; r == 0 && i < all.n; i++)
		r = reseal(&s, &vault, &all, i, &done, err);
	rows_deinit(&all);
	session_close(&s);
	if (r == 0) {
		json_set(&cli->arena, o, "key",
		    json_cstring(&cli->arena, vault.keys[0].id));
		json_set(
		    &cli->arena, o, "resealed", json_int(&cli->arena, done));
		OUT_OBJECT(&cli->out, &cli->arena, resealed, o);
	}
	vault_deinit(&vault);
	return r;
}

enum {
	SETTINGS =
	    SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG | SETTING_G_SECRET
};

static const struct opt set_opts[] = {
	{ .name = "file",
	    .arg = "FILE",
	    .help = "the value; standard input unless given" },
	{ .name = "host",
	    .arg = "HOST",
	    .many = 1,
	    .help = "a host that it may be sent to, *.HOST for all below, "
		    "HOST:PORT for one port; any takes the limits away" },
	{ .name = NULL },
};
static const struct example set_examples[] = {
	{ "secret set API_KEY --host api.example.com < key.txt",
	    "steps may send it as {{ secrets.API_KEY }} to that host" },
	{ "secret set API_KEY --file key.txt", "the same, to any host" },
	{ NULL, NULL },
};
const struct cmd cmd_secret_set_entry = {
	.noun = "secret",
	.verb = "set",
	.args = "NAME",
	.help = "give a secret of steps a value",
	.text = "Reads the value from standard input or a file, never from "
		"the command line, and seals it under MESHHOOK_SECRET_KEY. "
		"Steps use it as {{ secrets.NAME }} from their next call on. "
		"The value before it is still masked for a day.",
	.opts = set_opts,
	.examples = set_examples,
	.settings = SETTINGS,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.min_args = 1,
	.max_args = 1,
	.open = session_open_project,
	.run = set,
};

static const struct example rotate_examples[] = {
	{ "secret rotate API_KEY < new.txt", "its hosts stay as they are" },
	{ NULL, NULL },
};
const struct cmd cmd_secret_rotate_entry = {
	.noun = "secret",
	.verb = "rotate",
	.args = "NAME",
	.help = "give a secret that exists another value",
	.text = "As secret set, of a secret that must exist.",
	.opts = set_opts,
	.examples = rotate_examples,
	.settings = SETTINGS,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.min_args = 1,
	.max_args = 1,
	.open = session_open_project,
	.run = rotate,
};

static const struct example list_examples[] = {
	{ "secret list", "names, hosts and keys; never a value" },
	{ NULL, NULL },
};
const struct cmd cmd_secret_list_entry = {
	.noun = "secret",
	.verb = "list",
	.args = "",
	.help = "list a project's secrets",
	.text = "Shows no value: nothing in this program prints one.",
	.examples = list_examples,
	.settings = SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TABLE,
	.open = session_open_project,
	.run = list,
};

static const struct example delete_examples[] = {
	{ "secret delete API_KEY", "steps that use it fail from now on" },
	{ NULL, NULL },
};
const struct cmd cmd_secret_delete_entry = {
	.noun = "secret",
	.verb = "delete",
	.args = "NAME",
	.help = "delete a secret and its values",
	.text = "Steps that use it fail from their next call on, and it is no "
		"longer masked.",
	.examples = delete_examples,
	.settings = SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG,
	.min_args = 1,
	.max_args = 1,
	.open = session_open_project,
	.run = delete,
};

static const struct example kek_examples[] = {
	{ "secret rotate-kek",
	    "with MESHHOOK_SECRET_KEY=\"k2:NEW,k1:OLD\", in all workers too" },
	{ NULL, NULL },
};
const struct cmd cmd_secret_rotate_kek_entry = {
	.noun = "secret",
	.verb = "rotate-kek",
	.args = "",
	.help = "seal all secrets anew under the first key",
	.text = "MESHHOOK_SECRET_KEY holds the new key, then those that open "
		"what there is. Give it to all workers first; when this is "
		"done, the old keys may go. Of all projects; it may be "
		"interrupted and run again.",
	.examples = kek_examples,
	.settings = SETTING_G_DB | SETTING_G_LOG | SETTING_G_SECRET,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.fn = cmd_secret_rotate_kek,
};
