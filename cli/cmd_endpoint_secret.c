/* An endpoint's secret: rotate it, and sign a request by it. */
#include "cli/commands.h"
#include "cli/endpoint.h"
#include "cli/sql.h"
#include "core/time.h"
#include "http/client.h"
#include "supabase/client/vault.h"

#include <string.h>

enum { ANSWER_MS = 30000 };

static const struct column rotated[] = {
	{ "slug", "endpoint", COLUMN_TEXT },
	{ "version", "version", COLUMN_TEXT },
	{ "secret", "secret", COLUMN_TEXT },
};

static int
rotate(struct session *s, struct error *err)
{
	struct arena *a = &s->cli->arena;
	int64_t grace_ms = 86400000;
	struct json *o = json_object(a);
	struct rows rows = { 0 };
	struct str secret, sealed;
	struct endpoint e = { 0 };
	int made;

	if (cli_opt_duration(s->cli, "grace", 0, "1h, 24h", &grace_ms, err) <
		0 ||
	    endpoint_find(s, &e, err) < 0)
		return -1;
	if (signature_is_keyless(&e.scheme))
		return fail(err, FAULT_INPUT, "INPUT",
		    "this endpoint has no secret of its own");
	if (endpoint_secret(s->cli, &e.scheme, &secret, &made, err) < 0 ||
	    endpoint_seal(s, &e.id, e.version + 1, secret, &sealed, err) < 0 ||
	    SESSION_QUERY(s, &sql_endpoint_rotate, &rows, err, db_uuid(&e.id),
		db_str(sealed), db_int8(grace_ms), db_int4(e.version + 1)) < 0)
		return -1;
	rows_deinit(&rows);
	json_set(a, o, "slug", json_cstring(a, s->cli->args[0]));
	json_set(a, o, "version", json_int(a, e.version + 1));
	if (made)
		json_set(a, o, "secret", json_string(a, secret));
	SESSION_SHOW(s, rotated, o);
	if (made)
		session_note(s,
		    "The secret is shown this once: give it to whoever "
		    "signs the webhooks.");
	return EXIT_OK;
}

/* The answer to the request that test sends. */
struct answer {
	struct session *s;
	int64_t ms;
	int status, over;
	struct str body;
	struct error error;
};

static void
answered(void *arg, const struct http_response *res)
{
	struct answer *answer = arg;
	struct arena *a = &answer->s->cli->arena;

	answer->status = res->status;
	answer->ms = res->timing.total / 1000;
	answer->body = arena_str(a, res->body);
	answer->error = res->error;
	answer->over = 1;
	loop_stop(answer->s->loop, 0);
}

static int
request_send(struct session *s, const struct http_request *req,
    struct answer *answer, struct error *err)
{
	struct http_options options = { .timeout_ms = ANSWER_MS };
	struct guard guard;
	struct http *http;

	/* the operator says where, so anywhere is allowed */
	if (guard_init(&guard, "0.0.0.0/0 ::/0", err) < 0)
		return -1;
	options.guard = &guard;
	answer->s = s;
	http = http_new(s->loop, &options, err);
	if (http != NULL &&
	    http_call_start(http, req, answered, answer, err) != NULL)
		while (!answer->over)
			loop_run(s->loop);
	http_free(http);
	guard_deinit(&guard);
	return answer->over ? 0 : -1;
}

static const struct column tested[] = {
	{ "status", "status", COLUMN_TEXT },
	{ "ms", "ms", COLUMN_TEXT },
	{ "url", "url", COLUMN_TEXT },
	{ "answer", "answer", COLUMN_TEXT },
	{ "error", "error", COLUMN_TEXT },
};

static int
answer_print(struct session *s, const char *url, const struct answer *answer)
{
	struct arena *a = &s->cli->arena;
	struct json *o = json_object(a), *body;
	struct error err;

	if (answer->status > 0)
		json_set(a, o, "status", json_int(a, answer->status));
	json_set(a, o, "ms", json_int(a, answer->ms));
	json_set(a, o, "url", json_cstring(a, url));
	if (json_parse(a, answer->body, NULL, &body, &err) < 0)
		body = json_string(a, answer->body);
	if (answer->status > 0)
		json_set(a, o, "answer", body);
	else
		json_set(a, o, "error", json_cstring(a, answer->error.text));
	SESSION_SHOW(s, tested, o);
	return answer->status >= 200 && answer->status < 300 ? EXIT_OK
							     : EXIT_FAILED;
}

/* Signed as the scheme says, by the endpoint's current secret. */
static int
request_make(struct session *s, const struct endpoint *e,
    struct http_request *req, struct error *err)
{
	struct arena *a = &s->cli->arena;
	struct http1_header signed_by[SIGNATURE_SIGN_HEADERS];
	struct http_header *headers =
	    arena_array(a, SIGNATURE_SIGN_HEADERS + 1, sizeof(*headers));
	struct signature_secret secret = { 0 };
	struct signature_request what = { .scheme = &e->scheme,
		.body = req->body,
		.secrets = &secret,
		.n_secrets = 1,
		.now_s = time_wall_ms() / 1000 };
	const char *id = cli_opt(s->cli, "id");
	char fresh[UUID_TEXT];
	struct uuid uuid;
	struct str text;
	uint32_t n;

	if (e->scheme.jwks_url[0] != '\0')
		return fail(err, FAULT_INPUT, "INPUT",
		    "who holds the keys at %.200s signs for this endpoint, "
		    "and nobody else",
		    e->scheme.jwks_url);
	if (e->scheme.type != SIGNATURE_NONE) {
		if (endpoint_open(
			s, &e->id, e->version, e->sealed, &text, err) < 0 ||
		    signature_secret_parse(&e->scheme, text, &secret, err) < 0)
			return -1;
		secret_wipe((void *)(uintptr_t)text.s, text.n);
	}
	uuid_random(&uuid);
	if (id == NULL)
		id = uuid_format(&uuid, fresh);
	n = (uint32_t)signature_sign(
	    a, &what, str_of(arena_strdup(a, id)), signed_by);
	secret_wipe(&secret, sizeof(secret));
	for (uint32_t i = 0; i < n; i++)
		headers[i] = (struct http_header){ signed_by[i].name,
			signed_by[i].value, 0 };
	headers[n++] = (struct http_header){ STR("content-type"),
		STR("application/json"), 0 };
	req->headers = headers;
	req->n_headers = n;
	return 0;
}

static int
test(struct session *s, struct error *err)
{
	const char *base = cli_opt(s->cli, "url");
	const char *data = cli_opt(s->cli, "data");
	struct http_request req = { .method = STR("POST"),
		.body = STR("{\"test\": true}") };
	struct answer answer = { 0 };
	struct endpoint e = { 0 };
	const char *url;

	if (endpoint_find(s, &e, err) < 0 ||
	    (data != NULL && cli_read(s->cli, data, &req.body, err) < 0) ||
	    request_make(s, &e, &req, err) < 0)
		return -1;
	url = arena_printf(&s->cli->arena, "%s%s",
	    base != NULL ? base
			 : arena_printf(&s->cli->arena, "http://127.0.0.1:%lld",
			       (long long)config_int(
				   &s->cli->config, SETTING_GATEWAY_PORT)),
	    e.path);
	req.url = str_of(url);
	if (request_send(s, &req, &answer, err) < 0)
		return -1;
	return answer_print(s, url, &answer);
}

static const struct opt rotate_opts[] = {
	{ .name = "grace",
	    .arg = "DURATION",
	    .help = "how long the secrets before it stay valid; 24h" },
	{ .name = "secret-file",
	    .arg = "FILE",
	    .help = "the new secret, where the provider makes it; - is "
		    "standard input" },
	{ .name = NULL },
};
static const struct example rotate_examples[] = {
	{ "endpoint rotate leads", "both secrets are valid for a day" },
	{ "endpoint rotate leads --grace 0s",
	    "the old one leaked: it is void at once" },
	{ NULL, NULL },
};
const struct cmd cmd_endpoint_rotate_entry = {
	.noun = "endpoint",
	.verb = "rotate",
	.args = "ENDPOINT",
	.help = "give an endpoint another secret",
	.text = "Seals the new secret under MESHHOOK_INTAKE_KEY. Until the "
		"grace period ends requests signed by the old one are taken, "
		"too. Gateways know the new one within 5 seconds, or at the "
		"first request that it signs.",
	.opts = rotate_opts,
	.examples = rotate_examples,
	.settings =
	    SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG | SETTING_G_INTAKE,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.min_args = 1,
	.max_args = 1,
	.open = endpoint_begin,
	.run = rotate,
};

static const struct opt test_opts[] = {
	{ .name = "url",
	    .arg = "URL",
	    .help = "the gateway; this machine's unless given" },
	{ .name = "data",
	    .arg = "FILE",
	    .help = "the body, or - for standard input; {\"test\": true}" },
	{ .name = "id",
	    .arg = "ID",
	    .help = "what tells this delivery from others, where a header "
		    "does" },
	{ .name = NULL },
};
static const struct example test_examples[] = {
	{ "endpoint test leads", "a signed request, and its answer" },
	{ "endpoint test leads --url https://hooks.example.com --data "
	  "lead.json",
	    "through the proxy, with a body" },
	{ NULL, NULL },
};
const struct cmd cmd_endpoint_test_entry = {
	.noun = "endpoint",
	.verb = "test",
	.args = "ENDPOINT",
	.help = "send a signed request and show the answer",
	.text = "Signs as the endpoint's provider would, by its current "
		"secret, and sends it: a run starts. Exits 1 unless the "
		"answer is 2xx.",
	.opts = test_opts,
	.examples = test_examples,
	.settings =
	    SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG | SETTING_G_INTAKE,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.min_args = 1,
	.max_args = 1,
	.open = endpoint_begin,
	.run = test,
};
