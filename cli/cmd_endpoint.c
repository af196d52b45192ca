#include "cli/commands.h"
#include "cli/endpoint.h"
#include "cli/sql.h"
#include "supabase/client/vault.h"

#include <stdlib.h>
#include <string.h>

#define SHOWN_ONCE                                                             \
	"The secret is shown this once: give it to whoever signs the "         \
	"webhooks."
#define OPEN_TO_ALL                                                            \
	"Anybody who knows the path can start runs: nothing is verified."
#define HEADERS_TEXT                                                           \
	"headers are named by them too, and never Authorization or Cookie"

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
	SESSION_SHOW(s, created, o);
	if (secret.s != NULL)
		session_note(s, SHOWN_ONCE);
	if (scheme->type == SIGNATURE_NONE)
		session_note(s, OPEN_TO_ALL);
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
		return session_unknown(
		    s, "workflow", s->cli->args[1], "workflow list", err);
	trigger = pick_trigger(s, target, err);
	if (trigger == NULL)
		return -1;
	rows_uuid(target, 0, "id", &id);
	if (endpoint_scheme(s->cli, NULL, &config, &scheme, err) < 0 ||
	    endpoint_options(s->cli, config, &options, err) < 0 ||
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
		    "letter or digit, and has at most 63; " HEADERS_TEXT,
		    slug);
	return r;
}

static const struct column changed[] = {
	{ "slug", "endpoint", COLUMN_TEXT },
	{ "scheme", "scheme", COLUMN_TEXT },
	{ "secret", "secret", COLUMN_TEXT },
	{ "enabled", "enabled", COLUMN_TEXT },
	{ "mapping", "mapping", COLUMN_TEXT },
	{ "headers", "headers", COLUMN_TEXT },
	{ "rate", "rate", COLUMN_TEXT },
	{ "burst", "burst", COLUMN_TEXT },
	{ "keep_body_days", "keep body", COLUMN_TEXT },
	{ "max_body_bytes", "max body", COLUMN_TEXT },
};

/* Another secret, where the scheme that was can't share its own. */
static int
change_secret(struct session *s, const struct endpoint *e,
    const struct signature_scheme *scheme, struct str *out, int *made,
    struct error *err)
{
	struct signature_secret parsed;
	struct error why;
	struct str text;
	int fits = 0;

	if (signature_is_keyless(scheme))
		return 0;
	if (config_need(&s->cli->config, SETTING_INTAKE_KEY, err) < 0)
		return -1;
	if (scheme->type == e->scheme.type && e->sealed.s != NULL &&
	    cli_opt(s->cli, "secret-file") == NULL) {
		if (endpoint_open(
			s, &e->id, e->version, e->sealed, &text, err) < 0)
			return -1;
		fits = signature_secret_parse(scheme, text, &parsed, &why) == 0;
		secret_wipe(&parsed, sizeof(parsed));
		secret_wipe((void *)(uintptr_t)text.s, text.n);
	}
	return fits ? 0 : endpoint_secret(s->cli, scheme, out, made, err);
}

static int
change(struct session *s, const struct endpoint *e, struct error *err)
{
	struct cli *cli = s->cli;
	const char *type = cli_opt(cli, "scheme");
	struct str options, sealed = { 0 }, secret = { 0 };
	struct json *config = NULL, *record;
	struct signature_scheme scheme;
	int made = 0, n;

	if (type != NULL || cli_opt(cli, "scheme-option") != NULL) {
		if (endpoint_scheme(cli, e->config, &config, &scheme, err) <
			0 ||
		    change_secret(s, e, &scheme, &secret, &made, err) < 0 ||
		    endpoint_seal(
			s, &e->id, e->version + 1, secret, &sealed, err) < 0)
			return -1;
	} else if (cli_opt(cli, "secret-file") != NULL) {
		return usage(err,
		    "a secret is changed by: meshhook endpoint rotate\n"
		    "here --secret-file goes with another --scheme");
	}
	n = endpoint_options(cli, config, &options, err);
	if (n == 0)
		return usage(err,
		    "there is nothing to change\n"
		    "see: meshhook help endpoint set");
	if (n < 0 ||
	    SESSION_RECORD(s, &sql_endpoint_set, &record, err, db_uuid(&e->id),
		db_jsonb(options), db_str(sealed), db_int4(e->version + 1)) < 0)
		return -1;
	if (made)
		json_set(&cli->arena, record, "secret",
		    json_string(&cli->arena, secret));
	SESSION_SHOW(s, changed, record);
	if (made)
		session_note(s, SHOWN_ONCE);
	if (config != NULL && scheme.type == SIGNATURE_NONE)
		session_note(s, OPEN_TO_ALL);
	return EXIT_OK;
}

static int
set(struct session *s, struct error *err)
{
	struct endpoint e = { 0 };
	int r = endpoint_find(s, &e, err);

	if (r == 0)
		r = change(s, &e, err);
	if (r < 0 && strcmp(err->code, "23514") == 0)
		return usage(
		    err, "an option can't have its value\n" HEADERS_TEXT);
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
list(struct session *s, struct error *err)
{
	return SESSION_LIST(s, listed, &sql_endpoint_list, err, db_text(s->id));
}

/* Of create; all but the first of set, too. */
static const struct opt endpoint_opts[] = {
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
	{ .name = "enabled",
	    .arg = "YES",
	    .choices = "yes|no",
	    .help = "no: webhooks are refused" },
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
	.opts = endpoint_opts,
	.examples = create_examples,
	.settings =
	    SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG | SETTING_G_INTAKE,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.min_args = 2,
	.max_args = 2,
	.open = endpoint_begin,
	.run = create_in,
};

static const struct example set_examples[] = {
	{ "endpoint set leads --rate 20 --burst 100",
	    "20 webhooks a second, up to 100 at once" },
	{ "endpoint set leads --mapping none --keep-body none",
	    "the body is the input again; bodies are kept no longer" },
	{ "endpoint set shop --scheme stripe --secret-file stripe.secret",
	    "what Stripe signs, from now on" },
	{ "endpoint set leads --enabled no", "refuse webhooks for a while" },
	{ NULL, NULL },
};
const struct cmd cmd_endpoint_set_entry = {
	.noun = "endpoint",
	.verb = "set",
	.args = "ENDPOINT",
	.help = "change an endpoint's options",
	.text =
	    "Changes what is given and leaves the rest; \"none\" takes a "
	    "mapping, the headers, a rate, a burst or the keeping of bodies "
	    "away. Another scheme has another secret, in the place of the old "
	    "one at once: made and printed once, or given by --secret-file. "
	    "--scheme-option without --scheme changes options of the scheme "
	    "that it has. Gateways know it within 5 seconds; the audit log "
	    "says what was changed, and by whom.",
	.opts = endpoint_opts + 1,
	.examples = set_examples,
	.settings =
	    SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG | SETTING_G_INTAKE,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.min_args = 1,
	.max_args = 1,
	.open = session_open_project,
	.run = set,
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
	.open = session_open_project,
	.run = list,
};
