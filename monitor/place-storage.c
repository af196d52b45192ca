/*
 * Supabase Storage, by its HTTP interface: an upload is
 * POST /storage/v1/object/BUCKET/PATH with the object as the body, reading it
 * back GET /storage/v1/object/authenticated/BUCKET/PATH. An object of a part
 * has a name of its own and is never replaced, a manifest may be (x-upsert).
 * Storage takes up to 50 MB at once unless the project says less; a part is
 * about 4 MB.
 *
 * The key goes in both headers: a gateway takes a secret key (sb_secret_...)
 * for authorization only where it is also the apikey.
 */
#include "core/json.h"
#include "core/mem.h"
#include "monitor/place-impl.h"

#include <stdio.h>
#include <string.h>

enum {
	UPLOAD_MS = 120000,
	SEND_CAP = 48 << 20,
	ANSWER_CAP = 4096,
	N_HEADERS = 4,
};

static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
			      "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/";

int
storage_init(struct place *p, const struct place_options *o, struct error *err)
{
	struct http_options http = { .ca_file = o->ca_file,
		.send_cap = SEND_CAP,
		.body_cap = ANSWER_CAP };
	size_t n;

	if (p->bucket[0] == '\0' || p->bucket[0] == '/' ||
	    p->bucket[strspn(p->bucket, allowed)] != '\0' ||
	    strstr(p->bucket, "..") != NULL || strstr(p->bucket, "//") != NULL)
		return fail(err, FAULT_CONFIG, "CONFIG",
		    "\"%.80s\" is no supabase://BUCKET/PREFIX", o->where);
	if (o->key == NULL || o->url == NULL)
		return fail(err, FAULT_CONFIG, "CONFIG",
		    "Storage needs MESHHOOK_SUPABASE_URL and "
		    "MESHHOOK_STORAGE_KEY");
	n = strlen(p->bucket);
	p->bucket = arena_strndup(
	    &p->own, p->bucket, p->bucket[n - 1] == '/' ? n - 1 : n);
	n = strlen(o->url);
	p->base = arena_printf(&p->own, "%.*s/storage/v1/object",
	    (int)(o->url[n - 1] == '/' ? n - 1 : n), o->url);
	p->key = o->key;
	/* the operator says where, so anywhere is allowed */
	if (guard_init(&p->guard, "0.0.0.0/0 ::/0", err) < 0)
		return -1;
	http.guard = &p->guard;
	p->http = http_new(p->loop, &http, err);
	return p->http != NULL ? 0 : -1;
}

void
storage_deinit(struct place *p)
{
	p->http = http_free(p->http);
	guard_deinit(&p->guard);
}

void
storage_cancel(struct place *p)
{
	char none[SHA256_HEX];

	p->call = http_call_cancel(p->call);
	if (p->sha != NULL)
		sha256_end(p->sha, none);
	p->sha = NULL;
	arena_wipe(&p->arena); /* it held the key */
}

static void
over(struct place *p)
{
	storage_cancel(p);
	loop_defer_call(p->told);
}

/* Storage says why in JSON; its status is often 400 whatever the reason. */
static void
refused(struct place *p, const char *what, const struct http_response *res)
{
	struct arena *a = &p->arena;
	struct json *body = NULL;
	struct str why = { 0 };

	if (json_parse(a, arena_str(a, res->body), NULL, &body, NULL) == 0)
		why = json_str(json_get(body, "message"));
	if (res->outcome != HTTP_ANSWERED)
		fail(&p->err, FAULT_RETRY, res->error.code, "%s %s: %s", what,
		    p->path, res->error.text);
	else if (why.n > 0)
		fail(&p->err, FAULT_RETRY, res->error.code,
		    "%s %s: Storage answered %d, %.*s", what, p->path,
		    res->status, (int)(why.n < 200 ? why.n : 200), why.s);
	else
		fail(&p->err, FAULT_RETRY, res->error.code,
		    "%s %s: Storage answered %d", what, p->path, res->status);
}

static int
ask(struct place *p, const char *how, struct http_request *req,
    http_done_fn *fn)
{
	const char *bearer = arena_printf(&p->arena, "Bearer %s", p->key);
	struct http_header headers[N_HEADERS] = {
		{ STR("authorization"), str_of(bearer), 1 },
		{ STR("apikey"), str_of(p->key), 1 },
		{ STR("content-type"),
		    p->replace ? STR("application/json")
			       : STR("application/gzip"),
		    0 },
		{ STR("x-upsert"), p->replace ? STR("true") : STR("false"), 0 },
	};

	req->url =
	    str_of(arena_printf(&p->arena, "%s%s/%s", p->base, how, p->path));
	req->headers = headers;
	req->n_headers = req->body.n > 0 ? N_HEADERS : 2;
	req->timeout_ms = UPLOAD_MS;
	p->call = http_call_start(p->http, req, fn, p, &p->err);
	return p->call != NULL ? 0 : -1;
}

static void
came_back(void *arg, const struct http_response *res)
{
	struct place *p = arg;
	char put[SHA256_HEX] = "", got[SHA256_HEX] = "";

	p->call = NULL;
	sha256_end(p->sha, got);
	p->sha = NULL;
	sha256_hex(p->bytes, put);
	if (res->outcome != HTTP_ANSWERED || res->status != 200)
		refused(p, "read", res);
	else if (strcmp(put, got) != 0)
		fail(&p->err, FAULT_RETRY, "EIO",
		    "%s reads otherwise than it was written", p->path);
	over(p);
}

static void
piece_came(void *arg, const struct http_response *res)
{
	struct place *p = arg;

	sha256_add(p->sha, res->body);
}

static void
uploaded(void *arg, const struct http_response *res)
{
	struct place *p = arg;
	struct http_request back = { .method = STR("GET"),
		.piece = piece_came };

	p->call = NULL;
	if (res->outcome != HTTP_ANSWERED || res->status < 200 ||
	    res->status >= 300) {
		refused(p, "upload", res);
		over(p);
		return;
	}
	p->sha = sha256_begin();
	if (ask(p, "/authenticated", &back, came_back) < 0)
		over(p);
}

void
storage_put(struct place *p, const char *dir, const char *file)
{
	struct http_request req = { .method = STR("POST"), .body = p->bytes };

	arena_reset(&p->arena);
	p->path = arena_printf(&p->arena, "%s/%s/%s", p->bucket, dir, file);
	p->replace = strcmp(file, "manifest.json") == 0;
	if (ask(p, "", &req, uploaded) < 0)
		over(p);
}
