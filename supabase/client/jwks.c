#include "supabase/client/jwks.h"
#include "core/log.h"
#include "core/mem.h"

#include <stdlib.h>

struct jwks {
	struct loop *loop;
	struct http *http;
	char *url;
	struct http_call *call; /* NULL: none is under way */
	struct jwt_keys keys;
	struct list waits;
	int64_t fresh_until_ms; /* 0: never fetched */
	int64_t not_before_ms;  /* no fetch earlier */
	struct error why;       /* of the last fetch, when it failed */
};

struct jwks *
jwks_new(struct loop *loop, struct http *http, const char *url)
{
	struct jwks *j = xcalloc(1, sizeof(*j));

	j->loop = loop;
	j->http = http;
	j->url = xstrdup(url);
	list_init(&j->waits);
	return j;
}

struct jwks *
jwks_free(struct jwks *j)
{
	if (j == NULL)
		return NULL;
	if (j->call != NULL)
		http_call_cancel(j->call);
	while (list_pop(&j->waits) != NULL)
		continue;
	jwt_keys_deinit(&j->keys);
	free(j->url);
	free(j);
	return NULL;
}

/* A whole set takes the place of the old one, or nothing changes. */
static int
keys_take(struct jwks *j, const struct http_response *res, struct error *err)
{
	struct jwt_keys fresh = { 0 };

	if (res->error.code[0] != '\0') {
		*err = res->error;
		return -1;
	}
	if (res->status != 200 || res->truncated)
		return fail(err, FAULT_RETRY, "KEYS",
		    "key set: answered %d, %llu bytes", res->status,
		    (unsigned long long)res->body_bytes);
	if (jwt_keys_add_jwks(&fresh, res->body, err) < 0)
		return -1;
	jwt_keys_deinit(&j->keys);
	j->keys = fresh;
	return 0;
}

static void
fetched(void *arg, const struct http_response *res)
{
	struct jwks *j = arg;
	int64_t now = loop_now_ms(j->loop);
	struct error err = { 0 };
	struct list *it, waits;
	int r = keys_take(j, res, &err);

	j->call = NULL;
	j->not_before_ms =
	    now + (j->keys.n > 0 ? JWKS_AGAIN_MS : JWKS_RETRY_MS);
	if (r == 0) {
		j->fresh_until_ms = now + JWKS_FRESH_MS;
	} else {
		log_warn("jwks.failed", E_(&err), I_("kept", j->keys.n));
		err.fault = FAULT_RETRY;
		j->why = err;
	}
	list_init(&waits);
	while ((it = list_pop(&j->waits)) != NULL)
		list_append(&waits, it);
	while ((it = list_pop(&waits)) != NULL) {
		struct jwks_wait *w = list_entry(it, struct jwks_wait, link);

		w->fn(w, r < 0 && j->keys.n == 0 ? &err : NULL);
	}
}

static int
fetch(struct jwks *j, struct error *err)
{
	struct http_request req = { .method = STR("GET"),
		.url = str_of(j->url),
		.timeout_ms = JWKS_TIMEOUT_MS,
		.max_redirects = 2 };

	if (j->call == NULL)
		j->call = http_call_start(j->http, &req, fetched, j, err);
	return j->call == NULL ? -1 : 0;
}

const struct jwt_keys *
jwks_keys(struct jwks *j)
{
	int64_t now = loop_now_ms(j->loop);

	if (now >= j->fresh_until_ms && now >= j->not_before_ms)
		fetch(j, NULL); /* what is known will do meanwhile */
	return &j->keys;
}

int
jwks_refresh(struct jwks *j, struct jwks_wait *wait, struct error *err)
{
	list_init(&wait->link);
	if (j->call == NULL && loop_now_ms(j->loop) < j->not_before_ms) {
		if (j->keys.n > 0)
			return 0;
		*err = j->why;
		return -1;
	}
	if (fetch(j, err) < 0)
		return -1;
	list_append(&j->waits, &wait->link);
	return JWKS_LATER;
}

void
jwks_cancel(struct jwks_wait *wait)
{
	list_remove(&wait->link);
}
