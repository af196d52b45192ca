#include "cli/commands.h"
#include "cli/session.h"
#include "cli/sql.h"
#include "supabase/client/vault.h"

#include <string.h>
#include <sys/random.h>

enum { SECRET_BYTES = 32 };

/* The trigger that is meant: --trigger, or the workflow's only webhook. */
static const char *
pick_trigger(struct session *s, struct rows *target, struct error *err)
{
	const char *workflow = s->cli->args[1];
	const char *want = cli_opt(s->cli, "trigger");
	const char *all = rows_text(target, 0, "triggers");
	int found = 0, n = 0;

	for (const char *p = all; p != NULL && *p != '\0'; n++) {
		size_t len = strcspn(p, " ");

		found |= want != NULL && strlen(want) == len &&
		    memcmp(p, want, len) == 0;
		p += len + (p[len] == ' ');
	}
	if (n == 0) {
		fail(err, FAULT_INPUT, "INPUT",
		    "workflow \"%s\" has no webhook "
		    "trigger\nadd a node of type \"webhook\" to it",
		    workflow);
		return NULL;
	}
	if ((want == NULL && n == 1) || found)
		return arena_strdup(&s->cli->arena, want != NULL ? want : all);
	if (want != NULL)
		usage(err,
		    "workflow \"%s\" has no webhook \"%.63s\"\n"
		    "it has: %s",
		    workflow, want, all);
	else
		usage(err,
		    "workflow \"%s\" has several webhooks\n"
		    "choose one by --trigger: %s",
		    workflow, all);
	return NULL;
}

/* "whsec_" and base64, as Standard Webhooks writes secrets. */
static int
make_secret(struct arena *a, char **out, struct error *err)
{
	unsigned char bytes[SECRET_BYTES];

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return fail(err, FAULT_RETRY, "RANDOM", "no random bytes");
	*out = arena_printf(a, "whsec_%s",
	    base64_encode(a, (struct str){ (char *)bytes, sizeof(bytes) }).s);
	secret_wipe(bytes, sizeof(bytes));
	return 0;
}

static int
seal(struct session *s, const struct uuid *endpoint, const char *secret,
    struct str *sealed, struct error *err)
{
	const char *keys = config_text(&s->cli->config, SETTING_INTAKE_KEY);
	struct vault_place place = { .project = s->project, .version = 1 };
	char id[UUID_TEXT];
	struct vault vault;
	int r;

	place.name = str_of(arena_printf(
	    &s->cli->arena, "endpoint/%s", uuid_format(endpoint, id)));
	if (vault_init(&vault, str_of(keys), err) < 0)
		return fail_in(err, "MESHHOOK_INTAKE_KEY");
	r = vault_seal(
	    &vault, &s->cli->arena, &place, str_of(secret), sealed, err);
	vault_deinit(&vault);
	return r;
}

static const struct column created[] = {
	{ "slug", "endpoint", COLUMN_TEXT },
	{ "path", "path", COLUMN_TEXT },
	{ "workflow", "workflow", COLUMN_TEXT },
	{ "trigger", "trigger", COLUMN_TEXT },
	{ "id", "id", COLUMN_TEXT },
	{ "secret", "secret", COLUMN_TEXT },
};

static void
print_created(struct session *s, const struct uuid *id, const char *trigger,
    const char *secret)
{
	struct arena *a = &s->cli->arena;
	struct json *o = json_object(a);
	char text[UUID_TEXT];

	json_set(a, o, "id", json_cstring(a, uuid_format(id, text)));
	json_set(a, o, "slug", json_cstring(a, s->cli->args[0]));
	json_set(a, o, "workflow", json_cstring(a, s->cli->args[1]));
	json_set(a, o, "trigger", json_cstring(a, trigger));
	json_set(a, o, "path",
	    json_cstring(
		a, arena_printf(a, "/hooks/%s/%s", s->slug, s->cli->args[0])));
	json_set(a, o, "secret", json_cstring(a, secret));
	OUT_OBJECT(&s->cli->out, a, created, o);
	session_note(s,
	    "The secret is shown this once: give it to whoever "
	    "signs the webhooks.");
}

static int
create(struct session *s, struct rows *target, struct error *err)
{
	struct rows rows = { 0 };
	const char *trigger;
	struct str sealed;
	struct uuid id;
	char *secret = NULL;

	if (target->n == 0)
		return fail(err, FAULT_INPUT, "PT404",
		    "no workflow \"%.63s\" in "
		    "%s\nlist them: meshhook workflow list",
		    s->cli->args[1], s->slug);
	trigger = pick_trigger(s, target, err);
	if (trigger == NULL)
		return -1;
	rows_uuid(target, 0, "id", &id);
	if (make_secret(&s->cli->arena, &secret, err) < 0 ||
	    seal(s, &id, secret, &sealed, err) < 0)
		return -1;
	if (SESSION_QUERY(s, &sql_endpoint_create, &rows, err, db_text(s->id),
		db_text(s->cli->args[0]), db_text(s->cli->args[1]),
		db_text(trigger), db_str(sealed), db_uuid(&id)) < 0)
		return -1;
	rows_deinit(&rows);
	print_created(s, &id, trigger, secret);
	if (!rows_bool(target, 0, "published"))
		session_note(s,
		    "Webhooks are refused until the workflow is "
		    "published: meshhook workflow publish %s",
		    s->cli->args[1]);
	return EXIT_OK;
}

static int
create_in(struct session *s, struct error *err)
{
	struct rows target = { 0 };
	const char *slug = s->cli->args[0];
	int r;

	if (SESSION_QUERY(s, &sql_endpoint_target, &target, err, db_text(s->id),
		db_text(s->cli->args[1])) < 0)
		return -1;
	r = create(s, &target, err);
	rows_deinit(&target);
	if (r < 0 && strcmp(err->code, "23505") == 0)
		return fail(err, FAULT_INPUT, "23505",
		    "endpoint \"%.63s\" exists already in %s\n"
		    "choose another name, or see: meshhook endpoint list",
		    slug, s->slug);
	if (r < 0 && strcmp(err->code, "23514") == 0)
		return usage(err,
		    "\"%.80s\" is no slug\nit has letters a-z, "
		    "digits, - and _, begins with a letter or digit, and has "
		    "at most 63",
		    slug);
	return r;
}

static int
cmd_endpoint_create(struct cli *cli, struct error *err)
{
	struct session s = { 0 };
	int r = config_need(&cli->config, SETTING_INTAKE_KEY, err);

	if (r == 0)
		r = session_open_project(&s, cli, err);
	if (r == 0)
		r = create_in(&s, err);
	session_close(&s);
	return r;
}

static const struct column listed[] = {
	{ "slug", "ENDPOINT", COLUMN_TEXT },
	{ "workflow", "WORKFLOW", COLUMN_TEXT },
	{ "trigger", "TRIGGER", COLUMN_TEXT },
	{ "enabled", "ENABLED", COLUMN_TEXT },
	{ "created_at", "CREATED (UTC)", COLUMN_TIME },
	{ "path", "PATH", COLUMN_TEXT },
};

static int
cmd_endpoint_list(struct cli *cli, struct error *err)
{
	struct session s;
	int r = session_open_project(&s, cli, err);

	OUT_BEGIN(&cli->out, listed);
	if (r == 0)
		r = SESSION_ROWS(&s, &sql_endpoint_list, err, db_text(s.id));
	if (r == 0)
		out_end(&cli->out);
	session_close(&s);
	return r;
}

static const struct opt create_opts[] = {
	{ .name = "trigger",
	    .arg = "NODE",
	    .help = "the webhook node that it starts; not needed where the "
		    "workflow has one" },
	{ .name = NULL },
};
static const struct example create_examples[] = {
	{ "endpoint create leads lead-intake",
	    "webhooks to /hooks/PROJECT/leads start runs of lead-intake" },
	{ "endpoint create leads lead-intake -o json | jq -r .secret",
	    "keep the secret" },
	{ NULL, NULL },
};
const struct cmd cmd_endpoint_create_entry = {
	.noun = "endpoint",
	.verb = "create",
	.args = "SLUG WORKFLOW",
	.help = "open an address for webhooks",
	.text = "Makes a signing secret (Standard Webhooks), seals it under "
		"MESHHOOK_INTAKE_KEY and prints it once. What arrives at the "
		"gateway's path with a valid signature starts a run of the "
		"workflow's published version.",
	.opts = create_opts,
	.examples = create_examples,
	.settings =
	    SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG | SETTING_G_INTAKE,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.min_args = 2,
	.max_args = 2,
	.fn = cmd_endpoint_create,
};

static const struct example list_examples[] = {
	{ "endpoint list", "a table" },
	{ "endpoint list --project acme -o json", "one object a line" },
	{ NULL, NULL },
};
const struct cmd cmd_endpoint_list_entry = {
	.noun = "endpoint",
	.verb = "list",
	.args = "",
	.help = "list a project's endpoints",
	.text = "Never shows a secret: the database has them sealed, and this "
		"program does not open them.",
	.examples = list_examples,
	.settings = SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TABLE,
	.fn = cmd_endpoint_list,
};
