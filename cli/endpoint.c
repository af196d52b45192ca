#include "cli/endpoint.h"
#include "cli/sql.h"
#include "core/base64.h"
#include "core/hex.h"
#include "supabase/client/vault.h"
#include "worker/flow/expr.h"

#include <string.h>
#include <sys/random.h>

enum { SECRET_BYTES = 32 };

int
endpoint_begin(struct session *s, struct cli *cli, struct error *err)
{
	if (config_need(&cli->config, SETTING_INTAKE_KEY, err) < 0)
		return -1;
	return session_open_project(s, cli, err);
}

int
endpoint_find(struct session *s, struct endpoint *out, struct error *err)
{
	struct arena *a = &s->cli->arena;
	const char *name = s->cli->args[0];
	struct rows rows = { 0 };
	int r;

	if (SESSION_QUERY(s, &sql_endpoint_find, &rows, err, db_text(s->id),
		db_text(name)) < 0)
		return -1;
	if (rows.n == 0) {
		rows_deinit(&rows);
		return session_unknown(
		    s, "endpoint", name, "endpoint list", err);
	}
	rows_uuid(&rows, 0, "id", &out->id);
	out->version = (int)rows_int(&rows, 0, "secret_version");
	out->path = arena_strdup(a, rows_text(&rows, 0, "path"));
	out->sealed = rows_str(&rows, 0, "sealed");
	if (out->sealed.s != NULL)
		out->sealed = arena_str(a, out->sealed);
	r = json_parse(a, arena_str(a, rows_str(&rows, 0, "scheme")), NULL,
	    &out->config, err);
	if (r == 0)
		r = signature_scheme_parse(out->config, &out->scheme, err);
	rows_deinit(&rows);
	return r;
}

static int
is_none(const char *value)
{
	return strcmp(value, "none") == 0;
}

/* --header NAME, in lower case, as often as it was given. */
static struct json *
headers_of(struct arena *a, const char *lines)
{
	struct json *list = json_array(a);

	while (*lines != '\0' && !is_none(lines)) {
		size_t n = strcspn(lines, "\n");
		char *name = arena_strndup(a, lines, n);

		for (char *c = name; *c != '\0'; c++)
			if (*c >= 'A' && *c <= 'Z')
				*c = (char)(*c | 0x20);
		json_push(a, list, json_cstring(a, name));
		lines += n + (lines[n] == '\n');
	}
	return list;
}

static int
numbers_add(struct cli *cli, struct json *o, struct error *err)
{
	static const struct {
		const char *name, *key;
	} numbers[] = {
		{ "rate", "rate" },
		{ "burst", "burst" },
		{ "keep-body", "keep_body_days" },
		{ "max-body", "max_body_bytes" },
	};

	for (size_t i = 0; i < NELEM(numbers); i++) {
		const char *text = cli_opt(cli, numbers[i].name);
		int64_t v = 0;

		if (text == NULL)
			continue;
		if (!is_none(text) &&
		    cli_opt_int(cli, numbers[i].name, 1, 16777216, &v, err) < 0)
			return -1;
		json_set(&cli->arena, o, numbers[i].key,
		    v == 0 ? json_null() : json_int(&cli->arena, v));
	}
	return 0;
}

int
endpoint_options(
    struct cli *cli, struct json *scheme, struct str *out, struct error *err)
{
	struct arena *a = &cli->arena;
	struct json *o = json_object(a);
	const char *mapping = cli_opt(cli, "mapping");
	const char *headers = cli_opt(cli, "header");
	const char *enabled = cli_opt(cli, "enabled");
	struct expr *expr;
	struct error why;

	if (scheme != NULL)
		json_set(a, o, "scheme", scheme);
	if (headers != NULL)
		json_set(a, o, "headers", headers_of(a, headers));
	if (mapping != NULL && !is_none(mapping) &&
	    expr_compile(a, str_of(mapping), &expr, &why) < 0)
		return usage(err, "--mapping: %s", why.text);
	if (mapping != NULL)
		json_set(a, o, "mapping",
		    is_none(mapping) ? json_null() : json_cstring(a, mapping));
	if (enabled != NULL)
		json_set(
		    a, o, "enabled", json_bool(strcmp(enabled, "yes") == 0));
	if (numbers_add(cli, o, err) < 0)
		return -1;
	*out = json_text(a, o);
	return (int)o->n;
}

/* "key=value" lines into the scheme's members. */
static int
options_add(
    struct cli *cli, struct json *config, const char *lines, struct error *err)
{
	struct arena *a = &cli->arena;

	while (lines != NULL && *lines != '\0') {
		size_t n = strcspn(lines, "\n");
		const char *eq = memchr(lines, '=', n);
		const char *key;
		struct json *value;

		if (eq == NULL)
			return usage(err,
			    "--scheme-option takes KEY=VALUE\n"
			    "as in: --scheme-option header=X-Signature");
		key = arena_strndup(a, lines, (size_t)(eq - lines));
		value = json_string(
		    a, (struct str){ eq + 1, n - (size_t)(eq - lines) - 1 });
		if (strcmp(key, "tolerance") == 0)
			value = json_number(a, json_str(value));
		json_set(a, config, key, value);
		lines += n + (lines[n] == '\n');
	}
	return 0;
}

int
endpoint_scheme(struct cli *cli, const struct json *was, struct json **config,
    struct signature_scheme *out, struct error *err)
{
	const char *type = cli_opt(cli, "scheme");
	struct error why;
	struct str text;

	*config = json_object(&cli->arena);
	json_set(&cli->arena, *config, "type",
	    json_cstring(&cli->arena, type != NULL ? type : "standard"));
	for (uint32_t i = 0; type == NULL && was != NULL && i < was->n; i++)
		json_set_str(
		    &cli->arena, *config, was->of[i].key, was->of[i].value);
	if (options_add(cli, *config, cli_opt(cli, "scheme-option"), err) < 0)
		return -1;
	/* read back, as a tolerance may be no number */
	text = json_text(&cli->arena, *config);
	if (json_parse(&cli->arena, text, NULL, config, &why) < 0)
		return usage(err,
		    "a tolerance is a number of seconds\n"
		    "as in: --scheme-option tolerance=300");
	if (signature_scheme_parse(*config, out, &why) < 0)
		return usage(
		    err, "%s\nsee: meshhook help endpoint create", why.text);
	return 0;
}

/* As its scheme writes secrets: base64 behind "whsec_", or hexadecimal. */
static int
secret_make(struct arena *a, const struct signature_scheme *scheme,
    struct str *out, struct error *err)
{
	unsigned char bytes[SECRET_BYTES];
	struct str raw = { (char *)bytes, sizeof(bytes) };
	char *text = arena_zalloc(a, 2 * SECRET_BYTES + 1);

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return fail(err, FAULT_RETRY, "RANDOM", "no random bytes");
	hex_put(text, bytes, sizeof(bytes));
	if (scheme->key == SIGNATURE_KEY_BASE64)
		text = arena_printf(a, "%s%s",
		    scheme->type == SIGNATURE_STANDARD ? "whsec_" : "",
		    base64_encode(a, raw).s);
	secret_wipe(bytes, sizeof(bytes));
	*out = str_of(text);
	return 0;
}

int
endpoint_secret(struct cli *cli, const struct signature_scheme *scheme,
    struct str *out, int *made, struct error *err)
{
	const char *file = cli_opt(cli, "secret-file");
	struct signature_secret parsed;
	struct error why;
	int r;

	*out = (struct str){ NULL, 0 };
	*made = 0;
	if (signature_is_keyless(scheme))
		return 0;
	if (file == NULL &&
	    (scheme->type == SIGNATURE_STRIPE ||
		scheme->type == SIGNATURE_SLACK ||
		scheme->type == SIGNATURE_SHOPIFY))
		return usage(err,
		    "the provider makes the secret of the scheme \"%s\"\n"
		    "give it by --secret-file FILE, or - for standard input",
		    signature_type_name(scheme->type));
	if (file == NULL) {
		*made = 1;
		return secret_make(&cli->arena, scheme, out, err);
	}
	if (cli_read(cli, file, out, err) < 0)
		return -1;
	while (out->n > 0 && strchr("\r\n", out->s[out->n - 1]) != NULL)
		out->n--;
	r = signature_secret_parse(scheme, *out, &parsed, &why);
	secret_wipe(&parsed, sizeof(parsed));
	return r < 0 ? usage(err, "%s", why.text) : 0;
}

static int
vault_of(struct session *s, struct vault *vault, struct error *err)
{
	const char *keys = config_text(&s->cli->config, SETTING_INTAKE_KEY);

	if (vault_init(vault, str_of(keys), err) < 0)
		return fail_in(err, "MESHHOOK_INTAKE_KEY");
	return 0;
}

static struct vault_place
place_of(struct session *s, const struct uuid *endpoint, int version)
{
	char id[UUID_TEXT];

	return (struct vault_place){
		.project = s->project,
		.name = str_of(arena_printf(
		    &s->cli->arena, "endpoint/%s", uuid_format(endpoint, id))),
		.version = version,
	};
}

int
endpoint_seal(struct session *s, const struct uuid *endpoint, int version,
    struct str secret, struct str *sealed, struct error *err)
{
	struct vault_place place = place_of(s, endpoint, version);
	struct vault vault;
	int r;

	*sealed = (struct str){ NULL, 0 };
	if (secret.s == NULL)
		return 0;
	if (vault_of(s, &vault, err) < 0)
		return -1;
	r = vault_seal(&vault, &s->cli->arena, &place, secret, sealed, err);
	vault_deinit(&vault);
	return r;
}

int
endpoint_open(struct session *s, const struct uuid *endpoint, int version,
    struct str sealed, struct str *secret, struct error *err)
{
	struct vault_place place = place_of(s, endpoint, version);
	struct vault vault;
	int r;

	if (vault_of(s, &vault, err) < 0)
		return -1;
	r = vault_open(&vault, &s->cli->arena, &place, sealed, secret, err);
	vault_deinit(&vault);
	return r;
}
