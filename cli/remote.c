#include "cli/remote.h"
#include "core/mem.h"
#include "core/time.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum {
	AGAIN_MS = 1000, /* backoff of a renewal, doubled */
	AGAIN_MOST_MS = 30000,
	SOON_MS = 5000, /* at the earliest, whatever its life */
};

struct remote {
	struct session *session;
	struct remote_options options;
	struct guard guard;
	struct http *http;
	const char *gateway, *supabase, *key, *ca_file;
	char *token, *refresh; /* secret */
	struct loop_timer *renew;
	struct http_call *renewing;
	struct loop_defer *first;
	uint32_t failures;
};

struct remote_call {
	struct http_call *http;
	remote_fn *fn;
	void *arg;
	struct loop_defer *refused; /* a request that couldn't be sent */
	struct error err;
};

static void
secret_set(char **secret, struct str value)
{
	if (*secret != NULL)
		explicit_bzero(*secret, strlen(*secret));
	free(*secret);
	*secret = xcalloc(value.n + 1, 1);
	if (value.n > 0)
		memcpy(*secret, value.s, value.n);
}

const char *
remote_gateway(const struct remote *r)
{
	return r->gateway;
}

const char *
remote_supabase(const struct remote *r)
{
	return r->supabase;
}

const char *
remote_key(const struct remote *r)
{
	return r->key;
}

const char *
remote_ca_file(const struct remote *r)
{
	return r->ca_file;
}

const char *
remote_token(const struct remote *r)
{
	return r->token;
}

int
remote_renews(const struct remote *r)
{
	return r->refresh != NULL;
}

/*
 * Answers.
 */
void
remote_explain(
    const struct http_response *res, const char *whom, struct error *err)
{
	static const char *const keys[] = { "message", "detail", "msg",
		"error_description", "title" };
	struct arena a;
	struct json *v = NULL;
	struct str text = { 0 };

	*err = res->error;
	if (res->status == 401 || res->status == 403)
		err->fault = FAULT_AUTH;
	arena_init(&a);
	if (res->outcome == HTTP_ANSWERED)
		json_parse(&a, res->body, NULL, &v, NULL);
	for (size_t i = 0; i < NELEM(keys) && text.n == 0; i++)
		text = json_str(json_get(v, keys[i]));
	if (text.n > 0)
		snprintf(err->text, sizeof(err->text), "%s: %.*s", whom,
		    (int)(text.n < 300 ? text.n : 300), text.s);
	else
		fail_in(err, whom);
	arena_deinit(&a);
}

static void
call_free(struct remote_call *call)
{
	loop_defer_free(call->refused);
	free(call);
}

static void
answered(void *arg, const struct http_response *res)
{
	struct remote_call *call = arg;
	struct arena a;
	struct json *v = NULL;
	struct error err = { 0 };

	arena_init(&a);
	if (res->error.code[0] != '\0')
		remote_explain(res, "Supabase", &err);
	else if (json_parse(&a, res->body, NULL, &v, &err) < 0)
		err.fault = FAULT_RETRY;
	call->fn(call->arg, v, err.code[0] != '\0' ? &err : NULL);
	arena_deinit(&a);
	call_free(call);
}

static void
was_refused(void *arg)
{
	struct remote_call *call = arg;

	call->fn(call->arg, NULL, &call->err);
	call_free(call);
}

struct http_call *
remote_start(struct remote *r, const struct http_request *req, http_done_fn *fn,
    void *arg, struct error *err)
{
	struct http_header headers[16];
	struct http_request with = *req;
	struct buf bearer;
	struct http_call *call;

	buf_init(&bearer);
	buf_addf(&bearer, "Bearer %s", r->token != NULL ? r->token : "");
	headers[0] =
	    (struct http_header){ STR("Authorization"), buf_str(&bearer), 1 };
	for (uint32_t i = 0; i < req->n_headers; i++)
		headers[i + 1] = req->headers[i];
	with.headers = headers;
	with.n_headers++;
	call = http_call_start(r->http, &with, fn, arg, err);
	explicit_bzero(bearer.bytes, bearer.len);
	buf_deinit(&bearer);
	return call;
}

struct remote_call *
remote_ask(struct remote *r, const char *path, struct str post, remote_fn *fn,
    void *arg)
{
	struct remote_call *call = xcalloc(1, sizeof(*call));
	struct http_header headers[] = {
		{ STR("apikey"), str_of(r->key), 1 },
		{ STR("Accept"), STR("application/json"), 0 },
		{ STR("Accept-Profile"), STR("meshhook"), 0 },
		{ STR("Content-Profile"), STR("meshhook"), 0 },
		{ STR("Content-Type"), STR("application/json"), 0 },
	};
	struct http_request req = {
		.method = post.s != NULL ? STR("POST") : STR("GET"),
		.headers = headers,
		.n_headers = post.s != NULL ? 5 : 3,
		.body = post,
	};
	struct buf url;

	buf_init(&url);
	buf_addf(&url, "%s%s", r->supabase, path);
	req.url = buf_str(&url);
	call->fn = fn;
	call->arg = arg;
	call->http = remote_start(r, &req, answered, call, &call->err);
	if (call->http == NULL) {
		call->refused =
		    loop_defer_new(r->session->loop, was_refused, call);
		loop_defer_call(call->refused);
	}
	buf_deinit(&url);
	return call;
}

struct remote_call *
remote_cancel(struct remote_call *call)
{
	if (call == NULL)
		return NULL;
	http_call_cancel(call->http);
	call_free(call);
	return NULL;
}

/*
 * The token.
 */
static void
keep_refresh(struct remote *r)
{
	const char *path = r->options.refresh_file;
	struct buf beside;
	size_t n = strlen(r->refresh);
	int fd;

	if (path == NULL)
		return;
	buf_init(&beside);
	buf_addf(&beside, "%s.%ld", path, (long)getpid());
	fd = open(beside.bytes, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, r->refresh, n) != (ssize_t)n ||
	    fdatasync(fd) < 0 || rename(beside.bytes, path) < 0) {
		session_note(r->session,
		    "The new refresh token can't be kept in %s: %s", path,
		    strerror(errno));
		unlink(beside.bytes);
	}
	if (fd >= 0)
		close(fd);
	buf_deinit(&beside);
}

static void
renewal_failed(struct remote *r, const struct http_response *res)
{
	int64_t ms = (int64_t)AGAIN_MS << (r->failures < 5 ? r->failures : 5);
	struct error err;
	uint64_t random = 0;

	remote_explain(res, "the refresh token", &err);
	if (err.fault == FAULT_INPUT)
		err.fault = FAULT_AUTH; /* used up, or revoked: sign in again */
	if (err.fault != FAULT_RETRY || r->token == NULL) {
		r->options.token(r->options.arg, NULL, &err);
		return;
	}
	r->failures++;
	getrandom(&random, sizeof(random), 0);
	ms = ms < AGAIN_MOST_MS ? ms : AGAIN_MOST_MS;
	loop_timer_set(r->renew, ms / 2 + (int64_t)(random % (uint64_t)ms));
}

static void
renewed(void *arg, const struct http_response *res)
{
	struct remote *r = arg;
	struct arena a;
	struct json *v = NULL;
	struct str token, refresh;
	int64_t life = 0;

	r->renewing = NULL;
	arena_init(&a);
	if (res->error.code[0] == '\0')
		json_parse(&a, res->body, NULL, &v, NULL);
	token = json_str(json_get(v, "access_token"));
	refresh = json_str(json_get(v, "refresh_token"));
	if (token.n == 0) {
		renewal_failed(r, res);
	} else {
		r->failures = 0;
		secret_set(&r->token, token);
		if (refresh.n > 0)
			secret_set(&r->refresh, refresh);
		keep_refresh(r);
		/* a fifth of its life before the end, at most 5 min */
		json_integer(json_get(v, "expires_in"), &life);
		life =
		    life * 1000 - (life * 200 < 300000 ? life * 200 : 300000);
		loop_timer_set(r->renew, life > SOON_MS ? life : SOON_MS);
		r->options.token(r->options.arg, r->token, NULL);
	}
	arena_deinit(&a);
}

static void
renew(void *arg)
{
	struct remote *r = arg;
	struct arena a;
	struct json *body;
	struct http_header headers[] = {
		{ STR("apikey"), str_of(r->key), 1 },
		{ STR("Content-Type"), STR("application/json"), 0 },
	};
	struct http_request req = { .method = STR("POST"),
		.headers = headers,
		.n_headers = NELEM(headers) };
	struct error err;

	if (r->renewing != NULL || r->refresh == NULL)
		return;
	arena_init(&a);
	body = json_object(&a);
	json_set(&a, body, "refresh_token", json_cstring(&a, r->refresh));
	req.body = json_text(&a, body);
	req.url = str_of(arena_printf(
	    &a, "%s/auth/v1/token?grant_type=refresh_token", r->supabase));
	r->renewing = http_call_start(r->http, &req, renewed, r, &err);
	arena_deinit(&a);
	if (r->renewing == NULL)
		r->options.token(r->options.arg, NULL, &err);
}

void
remote_renew(struct remote *r)
{
	renew(r);
}

static void
have_token(void *arg)
{
	struct remote *r = arg;

	r->options.token(r->options.arg, r->token, NULL);
}

static int
read_refresh(struct remote *r, struct error *err)
{
	struct cli *cli = r->session->cli;
	struct str text = { 0 };

	if (r->options.refresh_file == NULL) {
		const char *given =
		    config_text(&cli->config, SETTING_REFRESH_TOKEN);

		text = str_of(given != NULL ? given : "");
	} else {
		if (cli_read(cli, r->options.refresh_file, &text, err) < 0)
			return -1;
		while (text.n > 0 && strchr(" \t\r\n", text.s[text.n - 1]))
			text.n--;
	}
	if (text.n > 0)
		secret_set(&r->refresh, text);
	return 0;
}

static int
take_tokens(struct remote *r, struct error *err)
{
	const char *token =
	    config_text(&r->session->cli->config, SETTING_TOKEN);

	if (r->refresh != NULL) {
		renew(r); /* whose life is known then */
		return 0;
	}
	if (token == NULL)
		return fail(err, FAULT_CONFIG, "CONFIG",
		    "there is no user's token\n"
		    "give one by MESHHOOK_TOKEN or MESHHOOK_REFRESH_TOKEN "
		    "(or ..._FILE)");
	secret_set(&r->token, str_of(token));
	loop_defer_call(r->first);
	return 0;
}

/* "https://host/" without the last "/", or NULL. */
static const char *
take_url(struct remote *r, enum setting_id id, struct buf *allow)
{
	struct arena *a = &r->session->cli->arena;
	const char *url = config_text(&r->session->cli->config, id);
	const char *host = url != NULL ? strstr(url, "://") : NULL;
	size_t n = url != NULL ? strlen(url) : 0;

	if (host == NULL)
		return "";
	host += 3;
	buf_addf(allow, "%s%.*s", allow->len > 0 ? "," : "",
	    (int)strcspn(host, "/?#"), host);
	while (n > 0 && url[n - 1] == '/')
		n--;
	return arena_strndup(a, url, n);
}

static int
start(struct remote *r, struct error *err)
{
	const struct config *config = &r->session->cli->config;
	struct http_options options = {
		.guard = &r->guard, .body_cap = 64 << 20, .body_limit = 64 << 20
	};
	struct buf allow;
	int bad;

	buf_init(&allow);
	r->gateway = take_url(r, SETTING_GATEWAY_URL, &allow);
	r->supabase = take_url(r, SETTING_SUPABASE_URL, &allow);
	bad = guard_init(&r->guard, allow.bytes, err);
	buf_deinit(&allow);
	r->key = config_text(config, SETTING_SUPABASE_KEY);
	r->ca_file = config_text(config, SETTING_HTTP_CA_FILE);
	options.ca_file = r->ca_file;
	if (bad < 0 || read_refresh(r, err) < 0)
		return -1;
	if ((r->options.supabase || r->refresh != NULL) &&
	    config_need(config, SETTING_SUPABASE_KEY, err) < 0)
		return -1;
	r->http = http_new(r->session->loop, &options, err);
	return r->http != NULL ? take_tokens(r, err) : -1;
}

struct remote *
remote_new(
    struct session *s, const struct remote_options *options, struct error *err)
{
	struct remote *r = xcalloc(1, sizeof(*r));

	r->session = s;
	r->options = *options;
	r->renew = loop_timer_new(s->loop, renew, r);
	r->first = loop_defer_new(s->loop, have_token, r);
	return start(r, err) == 0 ? r : remote_free(r);
}

struct remote *
remote_free(struct remote *r)
{
	if (r == NULL)
		return NULL;
	r->first = loop_defer_free(r->first);
	r->renew = loop_timer_free(r->renew);
	r->http = http_free(r->http);
	guard_deinit(&r->guard);
	secret_set(&r->token, STR(""));
	secret_set(&r->refresh, STR(""));
	free(r->token);
	free(r->refresh);
	free(r);
	return NULL;
}
