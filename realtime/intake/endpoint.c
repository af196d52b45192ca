#include "realtime/intake/endpoint.h"
#include "core/log.h"
#include "core/mem.h"
#include "realtime/realtime-sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	BUCKETS = 4096,
	DOUBT_MS = 100,
	LOADS_MAX = 256, /* at once: names that don't exist are cheap to send */
};

enum entry_state {
	ENTRY_NEW,    /* never read */
	ENTRY_KNOWN,  /* endpoint is it */
	ENTRY_ABSENT, /* there is none */
};

struct entry {
	struct endpoint endpoint; /* first: an endpoint is its entry */
	struct list link;         /* endpoints->recent */
	struct entry *next;       /* of its bucket */
	struct list waits;
	struct endpoints *all;
	uint32_t hash;
	enum entry_state state;
	int loading;
	int64_t read_ms;
	char project[ENDPOINT_NAME_MAX + 1], name[ENDPOINT_NAME_MAX + 1];
};

struct endpoints {
	struct loop *loop;
	struct db *db;
	const struct vault *vault;
	struct http *http;
	struct list recent; /* asked for last: first */
	size_t n;
	uint32_t loads;
	uint32_t seed; /* so that nobody can aim at one bucket */
	struct entry *buckets[BUCKETS];
};

struct endpoints *
endpoints_new(struct loop *loop, struct db *db, const struct vault *vault,
    struct http *http)
{
	struct endpoints *all = xcalloc(1, sizeof(*all));
	struct uuid random;

	uuid_random(&random);
	memcpy(&all->seed, random.bytes, sizeof(all->seed));
	all->loop = loop;
	all->db = db;
	all->vault = vault;
	all->http = http;
	list_init(&all->recent);
	return all;
}

static void
entry_free(struct entry *e, int db_gone)
{
	struct entry **at = &e->all->buckets[e->hash % BUCKETS];

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	list_remove(&e->link);
	e->all->n--;
	e->endpoint.rate = quota_free(e->endpoint.rate, db_gone);
	e->endpoint.jwks = jwks_free(e->endpoint.jwks);
	arena_deinit(&e->endpoint.arena);
	secret_wipe(&e->endpoint, sizeof(e->endpoint));
	free(e);
}

struct endpoints *
endpoints_free(struct endpoints *all)
{
	if (all == NULL)
		return NULL;
	while (!list_empty(&all->recent)) {
		struct entry *e =
		    list_entry(all->recent.next, struct entry, link);

		while (list_pop(&e->waits) != NULL)
			continue;
		entry_free(e, 1);
	}
	free(all);
	return NULL;
}

/* FNV-1a over both names. */
static uint32_t
hash(const struct endpoints *all, struct str project, struct str name)
{
	uint32_t h = 2166136261u ^ all->seed;

	for (size_t i = 0; i < project.n; i++)
		h = (h ^ (unsigned char)project.s[i]) * 16777619u;
	h = (h ^ '/') * 16777619u;
	for (size_t i = 0; i < name.n; i++)
		h = (h ^ (unsigned char)name.s[i]) * 16777619u;
	return h ^ (h >> 15);
}

/* Make room: the one asked for longest ago that nobody waits for. */
static void
evict(struct endpoints *all)
{
	struct list *it = all->recent.prev;

	while (it != &all->recent) {
		struct entry *e = list_entry(it, struct entry, link);

		if (!e->loading) {
			entry_free(e, 0);
			return;
		}
		it = it->prev;
	}
}

static struct entry *
entry_of(struct endpoints *all, struct str project, struct str name)
{
	uint32_t h = hash(all, project, name);
	struct entry *e = all->buckets[h % BUCKETS];

	while (e != NULL &&
	    (e->hash != h || !str_is(project, e->project) ||
		!str_is(name, e->name)))
		e = e->next;
	if (e != NULL) {
		list_remove(&e->link);
		list_prepend(&all->recent, &e->link);
		return e;
	}
	if (all->n >= ENDPOINT_ENTRIES)
		evict(all);
	if (all->n >= ENDPOINT_ENTRIES)
		return NULL; /* all of them are being read */
	e = xcalloc(1, sizeof(*e));
	e->all = all;
	e->hash = h;
	memcpy(e->project, project.s, project.n);
	memcpy(e->name, name.s, name.n);
	list_init(&e->waits);
	list_prepend(&all->recent, &e->link);
	e->next = all->buckets[h % BUCKETS];
	all->buckets[h % BUCKETS] = e;
	all->n++;
	return e;
}

/* A row of the answer is a secret of the endpoint; the newest come first. */
static void
secret_read(struct entry *e, struct arena *a, struct rows *rows, int row)
{
	struct endpoint *ep = &e->endpoint;
	struct signature_secret *s = &ep->secrets[ep->n_secrets];
	struct vault_place place = { .project = ep->project };
	char id[UUID_TEXT];
	struct error err;
	struct str text;

	s->version = place.version = (int)rows_int(rows, row, "secret_version");
	place.name =
	    str_of(arena_printf(a, "endpoint/%s", uuid_format(&ep->id, id)));
	if (vault_open(e->all->vault, a, &place, rows_str(rows, row, "sealed"),
		&text, &err) < 0) {
		log_error("endpoint.secret", S_("project", e->project),
		    S_("endpoint", e->name), I_("version", s->version),
		    E_(&err));
		return;
	}
	if (signature_secret_parse(&ep->scheme, text, s, &err) == 0)
		ep->n_secrets++;
	else
		log_error("endpoint.secret", S_("project", e->project),
		    S_("endpoint", e->name), E_(&err));
	secret_wipe((void *)(uintptr_t)text.s, text.n);
}

/* Slices of a list by blanks. */
static void
headers_read(struct endpoint *ep, struct str list)
{
	list = arena_str(&ep->arena, list);
	ep->headers =
	    arena_array(&ep->arena, list.n / 2 + 1, sizeof(*ep->headers));
	ep->n_headers = 0;
	for (size_t i = 0, n; i < list.n; i += n + 1) {
		const char *end = memchr(list.s + i, ' ', list.n - i);

		n = end != NULL ? (size_t)(end - list.s) - i : list.n - i;
		if (n > 0)
			ep->headers[ep->n_headers++] =
			    (struct str){ list.s + i, n };
	}
}

/* Anybody who may change an endpoint may break it: then it takes nothing. */
static int
options_read(struct endpoint *ep, struct rows *rows, struct error *err)
{
	struct str mapping = rows_str(rows, 0, "mapping");
	struct json *scheme;

	ep->max_body = (size_t)rows_int(rows, 0, "max_body_bytes");
	ep->limit.rate = (int32_t)rows_int(rows, 0, "rate");
	ep->limit.burst = (int32_t)rows_int(rows, 0, "burst");
	ep->keep_body = rows_bool(rows, 0, "keep_body");
	ep->mapping = NULL;
	headers_read(ep, rows_str(rows, 0, "headers"));
	if (json_parse(&ep->arena, rows_str(rows, 0, "scheme"), NULL, &scheme,
		err) < 0 ||
	    signature_scheme_parse(scheme, &ep->scheme, err) < 0)
		return fail_in(err, "scheme");
	if (mapping.s != NULL &&
	    expr_compile(&ep->arena, mapping, &ep->mapping, err) < 0)
		return fail_in(err, "mapping");
	return 0;
}

/* Keys stay while their URL does. */
static void
keys_read(struct entry *e, const char *was)
{
	struct endpoint *ep = &e->endpoint;
	const char *url = ep->scheme.jwks_url;

	if (strcmp(was, url) != 0)
		ep->jwks = jwks_free(ep->jwks);
	if (url[0] != '\0' && ep->jwks == NULL)
		ep->jwks = jwks_new(e->all->loop, e->all->http, url);
}

static void
entry_read(struct entry *e, struct rows *rows)
{
	struct endpoint *ep = &e->endpoint;
	char was[SIGNATURE_URL];
	struct arena a;

	memcpy(was, ep->scheme.jwks_url, sizeof(was));
	e->read_ms = loop_now_ms(e->all->loop);
	e->state = rows->n > 0 ? ENTRY_KNOWN : ENTRY_ABSENT;
	ep->n_secrets = 0;
	if (rows->n == 0)
		return;
	rows_uuid(rows, 0, "endpoint_id", &ep->id);
	rows_uuid(rows, 0, "project_id", &ep->project);
	arena_reset(&ep->arena);
	ep->broken = (struct error){ 0 };
	if (options_read(ep, rows, &ep->broken) < 0) {
		log_warn("endpoint.broken", S_("project", e->project),
		    S_("endpoint", e->name), E_(&ep->broken));
		return;
	}
	keys_read(e, was);
	arena_init(&a);
	for (int i = 0; i < rows->n && ep->n_secrets < ENDPOINT_SECRETS; i++)
		if (rows_text(rows, i, "sealed") != NULL)
			secret_read(e, &a, rows, i);
	arena_deinit(&a);
}

static void
looked_up(void *arg, struct rows *rows, const struct error *err)
{
	struct entry *e = arg;
	struct list waits;
	struct list *it;

	e->loading = 0;
	e->all->loads--;
	if (err == NULL)
		entry_read(e, rows);
	else
		log_warn("endpoint.lookup", E_(err));
	list_init(&waits);
	while ((it = list_pop(&e->waits)) != NULL)
		list_append(&waits, it);
	while ((it = list_pop(&waits)) != NULL) {
		struct endpoint_wait *w =
		    list_entry(it, struct endpoint_wait, link);

		if (err != NULL)
			w->fn(w, NULL, err);
		else
			w->fn(w, e->state == ENTRY_KNOWN ? &e->endpoint : NULL,
			    NULL);
	}
}

static int
entry_load(struct entry *e, struct error *err)
{
	if (e->loading)
		return 0;
	if (e->all->loads >= LOADS_MAX)
		return fail(err, FAULT_RETRY, "BUSY", "too many look-ups");
	if (db_call(e->all->db, &sql_endpoint_lookup, looked_up, e, err,
		db_text(e->project), db_text(e->name)) < 0)
		return -1;
	e->loading = 1;
	e->all->loads++;
	return 0;
}

int
endpoint_get(struct endpoints *all, struct str project, struct str name,
    struct endpoint **out, struct endpoint_wait *wait, struct error *err)
{
	int64_t age;
	struct entry *e;

	*out = NULL;
	list_init(&wait->link);
	if (project.n > ENDPOINT_NAME_MAX || name.n > ENDPOINT_NAME_MAX)
		return 0;
	e = entry_of(all, project, name);
	if (e == NULL)
		return fail(err, FAULT_RETRY, "BUSY", "too many look-ups");
	age = loop_now_ms(all->loop) - e->read_ms;
	if (e->state == ENTRY_ABSENT && age < ENDPOINT_ABSENT_MS)
		return 0;
	if (e->state == ENTRY_KNOWN && age < ENDPOINT_STALE_MS) {
		if (age >= ENDPOINT_FRESH_MS)
			entry_load(e, NULL); /* or later: this one will do */
		*out = &e->endpoint;
		return 0;
	}
	if (entry_load(e, err) < 0)
		return -1;
	list_append(&e->waits, &wait->link);
	return ENDPOINT_LATER;
}

void
endpoint_wait_cancel(struct endpoint_wait *wait)
{
	list_remove(&wait->link);
}

int
endpoint_quota(struct endpoints *all, struct endpoint *e,
    const struct quota_limit *limit, struct quota_wait *wait,
    enum quota_verdict *verdict, struct quota_state *state)
{
	if (e->rate == NULL)
		e->rate = quota_new(all->loop, all->db, &e->id);
	return quota_take(e->rate, limit, wait, verdict, state);
}

int
endpoint_doubt(struct endpoints *all, struct endpoint *endpoint,
    struct endpoint_wait *wait)
{
	struct entry *e = (struct entry *)endpoint;

	list_init(&wait->link);
	if (loop_now_ms(all->loop) - e->read_ms < DOUBT_MS ||
	    entry_load(e, NULL) < 0)
		return 0;
	list_append(&e->waits, &wait->link);
	return ENDPOINT_LATER;
}
