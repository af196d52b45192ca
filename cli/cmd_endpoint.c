#include "cli/commands.h"
#include "cli/endpoint.h"
#include "cli/sql.h"
#include "worker/flow/expr.h"

#include <stdlib.h>
#include <string.h>

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

static const struct column created[] = {
	{ "slug", "endpoint", COLUMN_TEXT },
	{ "path", "path", COLUMN_TEXT },
	{ "workflow", "workflow", COLUMN_TEXT },
	{ "trigger", "trigger", COLUMN_TEXT },
	{ "scheme", "scheme", COLUMN_TEXT },
	{ "id", "id", COLUMN_TEXT },
	{ "secret", "secret", COLUMN_TEXT },
};

static void
print_created(struct session *s, const struct uuid *id, const char *trigger,
    const struct signature_scheme *scheme, struct str secret)
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
	json_set(
	    a, o, "scheme", json_cstring(a, signature_type_name(scheme->type)));
	if (secret.s != NULL)
		json_set(a, o, "secret", json_string(a, secret));
	OUT_OBJECT(&s->cli->out, a, created, o);
	if (secret.s != NULL)
		session_note(s,
		    "The secret is shown this once: give it to whoever "
		    "signs the webhooks.");
	if (scheme->type == SIGNATURE_NONE)
		session_note(s,
		    "Anybody who knows the path can start runs: nothing is "
		    "verified.");
}

static int
number_add(struct cli *cli, struct json *o, const char *name, const char *key,
    struct error *err)
{
	int64_t v = 0;

	if (cli_opt(cli, name) == NULL)
		return 0;
	if (cli_opt_int(cli, name, 1, 16777216, &v, err) < 0)
		return -1;
	return json_set(&cli->arena, o, key, json_int(&cli->arena, v));
}

/* --header NAME, in lower case, as often as it was given. */
static void
headers_add(struct cli *cli, struct json *o)
{
	struct json *list = json_array(&cli->arena);
	const char *lines = cli_opt(cli, "header");

	while (lines != NULL && *lines != '\0') {
		size_t n = strcspn(lines, "\n");
		char *name = arena_strndup(&cli->arena, lines, n);

		for (char *c = name; *c != '\0'; c++)
			if (*c >= 'A' && *c <= 'Z')
				*c = (char)(*c | 0x20);
		json_push(&cli->arena, list, json_cstring(&cli->arena, name));
		lines += n + (lines[n] == '\n');
	}
	json_set(&cli->arena, o, "headers", list);
}

/* Columns of the endpoint. */
static int
options_make(
    struct cli *cli, struct json *scheme, struct str *out, struct error *err)
{
	struct json *o = json_object(&cli->arena);
	const char *mapping = cli_opt(cli, "mapping");
	struct expr *expr;
	struct error why;

	json_set(&cli->arena, o, "scheme", scheme);
	headers_add(cli, o);
	if (mapping != NULL &&
	    expr_compile(&cli->arena, str_of(mapping), &expr, &why) < 0)
		return usage(err, "--mapping: %s", why.text);
	if (mapping != NULL)
		json_set(&cli->arena, o, "mapping",
		    json_cstring(&cli->arena, mapping));
	if (number_add(cli, o, "rate", "rate", err) < 0 ||
	    number_add(cli, o, "burst", "burst", err) < 0 ||
	    number_add(cli, o, "keep-body", "keep_body_days", err) < 0 ||
	    number_add(cli, o, "max-body", "max_body_bytes", err) < 0)
		return -1;
	*out = json_text(&cli->arena, o);
	return 0;
}

static int
create(struct session *s, struct rows *target, struct error *err)
{
	struct str sealed, secret, options;
	struct signature_scheme scheme;
	struct rows rows = { 0 };
	struct json *config;
	const char *trigger;
	struct uuid id;
	int made;

	if (target->n == 0)
		return fail(err, FAULT_INPUT, "PT404",
		    "no workflow \"%.63s\" in "
		    "%s\nlist them: meshhook workflow list",
		    s->cli->args[1], s->slug);
	trigger = pick_trigger(s, target, err);
	if (trigger == NULL)
		return -1;
	rows_uuid(target, 0, "id", &id);
	if (endpoint_scheme(s->cli, &config, &scheme, err) < 0 ||
	    options_make(s->cli, config, &options, err) < 0 ||
	    endpoint_secret(s->cli, &scheme, &secret, &made, err) < 0 ||
	    endpoint_seal(s, &id, 1, secret, &sealed, err) < 0)
		return -1;
	if (SESSION_QUERY(s, &sql_endpoint_create, &rows, err, db_text(s->id),
		db_text(s->cli->args[0]), db_text(s->cli->args[1]),
		db_text(trigger), db_str(sealed), db_uuid(&id),
		db_jsonb(options)) < 0)
		return -1;
	rows_deinit(&rows);
	print_created(
	    s, &id, trigger, &scheme, made ? secret : (struct str){ NULL, 0 });
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
		    "\"%.80s\" is no slug, or an option can't have its value\n"
		    "a slug has letters a-z, digits, - and _, begins with a "
		    "letter or digit, and has at most 63; headers are named "
		    "by them too, and never Authorization or Cookie",
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
	{ "scheme", "SCHEME", COLUMN_TEXT },
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
	{ .name = "scheme",
	    .arg = "NAME",
	    .choices = "standard|stripe|github|slack|shopify|hmac|jwt|none",
	    .help = "how its requests are signed; standard: as Standard "
		    "Webhooks says" },
	{ .name = "scheme-option",
	    .arg = "KEY=VALUE",
	    .many = 1,
	    .help = "tolerance; of hmac: header, algorithm, encoding, key, "
		    "prefix, separator, timestamp_header, timestamp_prefix, "
		    "content, id_header; of jwt: header, prefix, jwks_url, "
		    "issuer, audience, body_claim" },
	{ .name = "secret-file",
	    .arg = "FILE",
	    .help = "the signing secret, where the provider makes it; - is "
		    "standard input" },
	{ .name = "mapping",
	    .arg = "EXPRESSION",
	    .help = "JMESPath over {body, headers, query, method} that makes "
		    "the run's input" },
	{ .name = "header",
	    .arg = "NAME",
	    .many = 1,
	    .help = "a request header that the mapping may see" },
	{ .name = "rate",
	    .arg = "N",
	    .help = "webhooks a second, over all gateways" },
	{ .name = "burst",
	    .arg = "N",
	    .help = "webhooks beyond the rate taken at once" },
	{ .name = "keep-body",
	    .arg = "DAYS",
	    .help = "keep bodies as they came, for so long" },
	{ .name = "max-body",
	    .arg = "BYTES",
	    .help = "the largest body that is taken" },
	{ .name = NULL },
};
static const struct example create_examples[] = {
	{ "endpoint create leads lead-intake",
	    "webhooks to /hooks/PROJECT/leads start runs of lead-intake" },
	{ "endpoint create leads lead-intake -o json | jq -r .secret",
	    "keep the secret" },
	{ "endpoint create shop order --scheme stripe --secret-file "
	  "stripe.secret",
	    "what Stripe signs" },
	{ "endpoint create legacy order --scheme hmac --scheme-option "
	  "header=X-Sig --scheme-option algorithm=sha1",
	    "HMAC-SHA1 of the body, in hexadecimal digits" },
	{ NULL, NULL },
};
const struct cmd cmd_endpoint_create_entry = {
	.noun = "endpoint",
	.verb = "create",
	.args = "SLUG WORKFLOW",
	.help = "open an address for webhooks",
	.text = "Makes a signing secret, or takes the provider's, and seals "
		"it under MESHHOOK_INTAKE_KEY; what it made it prints once. "
		"What arrives at the gateway's path with a valid signature "
		"starts a run of the workflow's published version.",
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
	.text = "Never shows a secret: the database has them sealed.",
	.examples = list_examples,
	.settings = SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TABLE,
	.fn = cmd_endpoint_list,
};
