/* One message: from its row to a request, and from the answer to an outcome. */
#include "core/json.h"
#include "core/base64.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/testpoint.h"
#include "core/time.h"
#include "http/mail.h"
#include "monitor/deliver-impl.h"
#include "monitor/format/format.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum {
	GIVE_UP_MS = 86400000,
	ATTEMPTS = 300,
	NO_KEY_MS = 60000,
	BACKOFF_MS = 1000,
	BACKOFF_MOST_MS = 300000,
	RETRY_AFTER_MOST_MS = 3600000,
	SIGN_HEADERS = 3,
};

/* Any status but these is the receiver's last word. */
static struct retry_policy
policy(void)
{
	return (struct retry_policy){ .max_attempts = ATTEMPTS,
		.base_ms = BACKOFF_MS,
		.cap_ms = BACKOFF_MOST_MS,
		.factor = 2,
		.jitter = 1,
		.on_connection = 1,
		.use_retry_after = 1,
		.retry_after_cap_ms = RETRY_AFTER_MOST_MS,
		.n_statuses = 4,
		.statuses = {
		    { 408, 408 }, { 425, 425 }, { 429, 429 }, { 500, 599 } } };
}

/* Whether asking again can help where no answer came: what the guard refuses,
 * and a URL that is none, it refuses again. */
static enum retry_cause
cause_of(const struct http_response *res)
{
	if (res->outcome == HTTP_BLOCKED || res->outcome == HTTP_BAD_REQUEST ||
	    res->outcome == HTTP_REDIRECTS)
		return RETRY_NEVER;
	return res->outcome == HTTP_ANSWERED ? RETRY_STATUS : RETRY_CONNECTION;
}

/* A channel that says when to come back is left alone until then. */
static void
channel_hears(struct channel *c, const struct retry_try *t, int64_t now)
{
	if (t->status != 429 && t->status != 503)
		return;
	if (t->retry_after_ms != RETRY_NO_AFTER)
		c->paused_until_ms = now + t->retry_after_ms;
}

static void
answered(void *arg, const struct http_response *res)
{
	struct item *it = arg;
	struct retry_policy p = policy();
	struct retry_try t;
	uint64_t random = 0;
	int64_t after;
	int maybe, is_mail = str_is(it->kind, "email");

	it->call = NULL;
	it->status = res->status;
	testpoint("deliver.answered");
	if (res->status >= 200 && res->status < 300 &&
	    (!is_mail || res->outcome == HTTP_ANSWERED)) {
		item_end(it, "sent", 0, "%s", "");
		return;
	}
	getrandom(&random, sizeof(random), 0);
	t = http_retry_try(res, (uint32_t)it->attempts, time_wall_ms(), random);
	t.cause = cause_of(res);
	if (is_mail && res->status >= 400)
		t.cause = res->status < 500 ? RETRY_CONNECTION : RETRY_NEVER;
	after = it->age_ms < GIVE_UP_MS ? retry_next(&p, &t) : RETRY_GIVE_UP;
	channel_hears(it->channel, &t, loop_now_ms(it->d->m->loop));
	maybe = res->outcome == HTTP_TIMEOUT || res->outcome == HTTP_BROKEN;
	if (res->outcome == HTTP_ANSWERED || (is_mail && res->status >= 400))
		item_end(it, after < 0 ? "dead" : "later", after,
		    "the receiver answered %d", res->status);
	else
		item_end(it,
		    after < 0   ? "dead"
			: maybe ? "unsure"
				: "later",
		    after, "no answer: %s (%s)",
		    http_outcome_name(res->outcome), res->error.code);
}

static const char *
message_id(struct item *it)
{
	return arena_printf(&it->arena, "msg_%llx_%lld",
	    (unsigned long long)it->created_ms, (long long)it->id);
}

/* Standard Webhooks: webhook-id stays the same for a message, however often it
 * is sent. The secret is "whsec_" and base64. */
static int
sign(struct item *it, const struct json *target, struct str body,
    struct http_header headers[SIGN_HEADERS], struct error *err)
{
	struct arena *a = &it->arena;
	struct str secret = json_str(json_get(target, "secret")), key;
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int n = 0;
	const char *id = message_id(it);
	const char *at =
	    arena_printf(a, "%lld", (long long)(time_wall_ms() / 1000));
	struct str text =
	    str_of(arena_printf(a, "%s.%s.%.*s", id, at, STR_FMT(body)));

	if (secret.n > 6 && memcmp(secret.s, "whsec_", 6) == 0)
		secret = (struct str){ secret.s + 6, secret.n - 6 };
	if (base64_decode(a, secret, &key) < 0 || key.n == 0 ||
	    HMAC(EVP_sha256(), key.s, (int)key.n, (const unsigned char *)text.s,
		text.n, digest, &n) == NULL)
		return fail(err, FAULT_INPUT, "SECRET", "it is no base64");
	headers[0] = (struct http_header){ STR("webhook-id"), str_of(id), 0 };
	headers[1] =
	    (struct http_header){ STR("webhook-timestamp"), str_of(at), 0 };
	headers[2] = (struct http_header){ STR("webhook-signature"),
		str_of(arena_printf(a, "v1,%s",
		    base64_encode(a, (struct str){ (char *)digest, n }).s)),
		0 };
	return 0;
}

static int
open_target(struct item *it, struct json **target, struct error *err)
{
	struct vault_place place = { .version = 1 };
	char id[UUID_TEXT];
	struct str text;

	if (it->project.n > 0)
		uuid_parse(it->project, &place.project);
	place.name = str_of(arena_printf(
	    &it->arena, "channel/%s", uuid_format(&it->channel->id, id)));
	if (it->d->vault.n == 0)
		return fail(err, FAULT_CONFIG, "KEY",
		    "the monitor has no MESHHOOK_INTAKE_KEY");
	if (vault_open(
		&it->d->vault, &it->arena, &place, it->sealed, &text, err) < 0)
		return -1;
	return json_parse(&it->arena, text, NULL, target, err);
}

static int
start(struct item *it, const struct format_out *out,
    struct http_header *headers, uint32_t n, struct error *err)
{
	struct http_request req = { .method = STR("POST"),
		.url = out->url,
		.body = out->body,
		.timeout_ms = DELIVER_TIMEOUT_MS,
		.headers = headers };

	if (out->content_type != NULL)
		headers[n++] = (struct http_header){ STR("content-type"),
			str_of(out->content_type), 0 };
	if (out->authorization.n > 0)
		headers[n++] = (struct http_header){ STR("authorization"),
			out->authorization, 1 };
	req.n_headers = n;
	it->call = http_call_start(it->d->http, &req, answered, it, err);
	return it->call != NULL ? 0 : -1;
}

/* "to" is an address or a list of them; "starttls": false is for a server in
 * one's own network. */
static int
mail_start(struct item *it, const struct json *target,
    const struct format_out *out, struct error *err)
{
	const struct json *to = json_get(target, "to");
	uint32_t n = json_is(to, JSON_ARRAY) ? to->n : 1;
	struct str *all = arena_array(&it->arena, n + 1, sizeof(*all));
	struct mail mail = { .url = out->url,
		.from = json_str(json_get(target, "from")),
		.to = all,
		.n_to = n,
		.subject = out->subject,
		.body = out->body,
		.id = str_of(message_id(it)),
		.at_ms = it->created_ms,
		.plain = json_is(json_get(target, "starttls"), JSON_FALSE) };

	all[0] = json_str(to);
	for (uint32_t i = 0; json_is(to, JSON_ARRAY) && i < n; i++)
		all[i] = json_str(to->items[i]);
	it->call = mail_send(it->d->http, &mail, answered, it, err);
	return it->call != NULL ? 0 : -1;
}

static int
try_send(struct item *it, struct error *err)
{
	struct http_header headers[SIGN_HEADERS + 2];
	struct format_message message = { .dedup_key = it->dedup_key,
		.again = it->again,
		.console = it->d->m->o->console_url };
	const char *kind = arena_strndup(&it->arena, it->kind.s, it->kind.n);
	struct format_out out;
	struct json *target, *body;
	uint32_t n = 0;

	if (open_target(it, &target, err) < 0 ||
	    json_parse(&it->arena, it->body, NULL, &body, err) < 0)
		return -1;
	message.body = body;
	if (format_message(&it->arena, kind, target, &message, &out, err) < 0)
		return -1;
	if (strcmp(kind, "email") == 0)
		return mail_start(it, target, &out, err);
	if (strcmp(kind, "webhook") == 0) {
		if (sign(it, target, out.body, headers, err) < 0)
			return -1;
		n = SIGN_HEADERS;
	}
	return start(it, &out, headers, n, err);
}

/* What is wrong here is said by its code alone: the text may hold a target. */
void
item_send(struct item *it)
{
	struct error err = { 0 };

	testpoint("deliver.taken");
	if (try_send(it, &err) == 0)
		return;
	if (err.fault == FAULT_CONFIG)
		item_end(it, "later", NO_KEY_MS, "%s",
		    it->d->vault.n == 0
			? "the monitor has no MESHHOOK_INTAKE_KEY"
			: "sealed under a key that the monitor doesn't have");
	else if (err.fault == FAULT_RETRY)
		item_end(it, "unsent", BACKOFF_MS, "%s", err.code);
	else
		item_end(
		    it, "dead", 0, "its target can't be used (%s)", err.code);
}
