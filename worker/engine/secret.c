#include "worker/engine/secret.h"

#include "core/log.h"
#include "worker/engine/engine-sql.h"
#include "worker/engine/engine.h"

#include <string.h>
#include <strings.h>

static void secrets_turn(void *arg);

int
secrets_init(struct worker *w, struct str keys, struct error *err)
{
	struct asking *s = &w->secrets;

	if (keys.n > 0 && vault_init(&s->vault, keys, err) < 0)
		return fail_in(err, "MESHHOOK_SECRET_KEY");
	s->turn = loop_defer_new(w->loop, secrets_turn, w);
	db_array_init(&s->project, DB_UUID);
	db_array_init(&s->name, DB_TEXT);
	db_array_init(&s->run, DB_UUID);
	return 0;
}

void
secrets_deinit(struct worker *w)
{
	struct asking *s = &w->secrets;

	loop_defer_free(s->turn);
	s->turn = NULL;
	db_array_deinit(&s->project);
	db_array_deinit(&s->name);
	db_array_deinit(&s->run);
	vault_deinit(&s->vault);
}

void
secrets_wipe(struct secrets *s)
{
	arena_wipe(&s->arena);
	arena_deinit(&s->arena);
	*s = (struct secrets){ 0 };
}

void
secrets_prepare(struct version *v)
{
	arena_init(&v->secrets.arena);
	if (v->flow != NULL && v->flow->redact != 0)
		v->secrets.mask =
		    mask_new(&v->secrets.arena, NULL, 0, v->flow->redact);
}

/* The step of this message is an http_call about to be made. */
static const struct node *
sender(const struct task *t)
{
	const struct node *node = &t->version->flow->nodes[t->message.node];

	return node->n_secrets > 0 &&
		(t->message.kind == MESSAGE_STEP ||
		    t->message.kind == MESSAGE_RETRY)
	    ? node
	    : NULL;
}

int
secrets_take(struct task *t)
{
	const struct version *v = t->version;
	struct worker *w = t->w;
	int64_t age = loop_now_ms(w->loop) - v->secrets.at_ms;

	if (v->flow->n_secrets == 0)
		return 0;
	if (v->secrets.at_ms != 0 && age < SECRET_KEEP_MS && sender(t) == NULL)
		return 0;
	t->secrets = SECRETS_WANTED;
	list_remove(&t->link);
	list_append(&w->tasks[TASK_LOADING], &t->link);
	loop_defer_call(w->secrets.turn);
	return 1;
}

static void
names_add(struct asking *s, const struct task *t)
{
	const struct flow *flow = t->version->flow;
	const struct node *node = sender(t);

	for (uint32_t i = 0; i < flow->n_secrets; i++) {
		int sends = 0;

		for (uint32_t j = 0; node != NULL && j < node->n_secrets; j++)
			sends |= str_eq(node->secrets[j], flow->secrets[i]);
		db_array_uuid(&s->project, &t->version->project);
		db_array_str(&s->name, flow->secrets[i]);
		if (sends)
			db_array_uuid(&s->run, &t->run);
		else
			db_array_null(&s->run);
	}
}

/* An envelope opens, or *wrong says why not. */
static void
row_open(struct version *v, const struct vault *vault, struct rows *rows,
    int row, struct mask_value *out)
{
	struct secrets *s = &v->secrets;
	struct arena *a = &s->arena;
	struct str name = arena_str(a, rows_str(rows, row, "name"));
	struct vault_place place = { .project = v->project,
		.name = str_of(arena_printf(a, "secret/%.*s", STR_FMT(name))),
		.version = (int)rows_int(rows, row, "version") };
	int current = rows_bool(rows, row, "is_current");
	struct error err;

	*out = (struct mask_value){ .name = name };
	if (vault->n == 0)
		fail(&err, FAULT_CONFIG, "KEY",
		    "the worker holds no MESHHOOK_SECRET_KEY");
	else if (vault_open(vault, a, &place, rows_str(rows, row, "sealed"),
		     &out->value, &err) == 0) {
		if (current)
			json_set_str(
			    a, s->values, name, json_string(a, out->value));
		return;
	}
	log_error("secret.sealed", S_("secret", name.s), E_(&err));
	if (current)
		json_set_str(a, s->wrong, name, json_cstring(a, err.text));
}

static void
version_fill(struct version *v, const struct vault *vault, struct rows *rows,
    int64_t now_ms)
{
	struct secrets *s = &v->secrets;
	struct arena *a = &s->arena;
	struct mask_value *values;
	uint32_t n = 0;

	arena_wipe(a);
	s->values = json_object(a);
	s->hosts = json_object(a);
	s->wrong = json_object(a);
	s->at_ms = now_ms;
	values = arena_array(a, (size_t)rows->n + 1, sizeof(*values));
	for (int row = 0; row < rows->n; row++) {
		struct str name = rows_str(rows, row, "name");
		struct uuid project;
		int uses = 0;

		rows_uuid(rows, row, "project_id", &project);
		for (uint32_t i = 0; i < v->flow->n_secrets; i++)
			uses |= str_eq(v->flow->secrets[i], name);
		if (!uses || uuid_cmp(&project, &v->project) != 0)
			continue;
		json_set_str(a, s->hosts, name,
		    json_string(a, rows_str(rows, row, "hosts")));
		row_open(v, vault, rows, row, &values[n]);
		n += values[n].value.s != NULL;
	}
	s->mask = mask_new(a, values, n, v->flow->redact);
}

/* The answer is for those that asked by this call and are still here. */
static void
answered(void *arg, struct rows *rows, const struct error *err)
{
	struct worker *w = arg;
	struct list ready, *it;
	uint64_t call = ++w->secrets.call;

	w->secrets.out = 0;
	if (err != NULL && err->fault != FAULT_RETRY)
		log_warn("secret.not_read", E_(err));
	list_init(&ready);
	list_for_safe (at, &w->tasks[TASK_LOADING]) {
		struct task *t = list_entry(at, struct task, link);

		if (t->secrets != SECRETS_ASKED)
			continue;
		t->secrets = SECRETS_WANTED;
		/* no step's fault, as a right that is missing: secrets_retry() */
		if (err != NULL && err->fault != FAULT_INPUT)
			continue;
		t->secrets = SECRETS_TAKEN;
		if (err != NULL) {
			t->refused = *err;
			t->care = CARE_FAIL;
		} else if (t->version->secrets.call != call) {
			version_fill(t->version, &w->secrets.vault, rows,
			    loop_now_ms(w->loop));
			t->version->secrets.call = call;
		}
		list_remove(&t->link);
		list_append(&ready, &t->link);
	}
	while ((it = list_pop(&ready)) != NULL)
		task_go(list_entry(it, struct task, link));
	if (err == NULL)
		loop_defer_call(w->secrets.turn); /* who came meanwhile */
}

/* One call is out at a time: what comes meanwhile goes together. */
static void
secrets_turn(void *arg)
{
	struct worker *w = arg;
	struct asking *s = &w->secrets;
	struct error err;
	uint32_t n = 0;

	if (s->out)
		return;
	db_array_reset(&s->project);
	db_array_reset(&s->name);
	db_array_reset(&s->run);
	list_for (it, &w->tasks[TASK_LOADING]) {
		struct task *t = list_entry(it, struct task, link);

		if (t->secrets == SECRETS_WANTED) {
			names_add(s, t);
			n++;
		}
	}
	if (n == 0 || !w->serving ||
	    db_call(w->db, &sql_use_secrets, answered, w, &err,
		db_array(&s->project), db_array(&s->name),
		db_array(&s->run)) < 0)
		return;
	s->out = 1;
	list_for (it, &w->tasks[TASK_LOADING]) {
		struct task *t = list_entry(it, struct task, link);

		if (t->secrets == SECRETS_WANTED)
			t->secrets = SECRETS_ASKED;
	}
}

void
secrets_retry(struct worker *w)
{
	loop_defer_call(w->secrets.turn);
}

int
secrets_of(struct task *t, struct json **out, struct error *err)
{
	const struct secrets *s = &t->version->secrets;
	const struct node *node = &t->version->flow->nodes[t->message.node];

	*out = NULL;
	if (node->n_secrets == 0)
		return 0;
	*out = json_object(&t->arena);
	for (uint32_t i = 0; i < node->n_secrets; i++) {
		struct str name = node->secrets[i];
		struct json *value = json_get_str(s->values, name);
		struct str why = json_str(json_get_str(s->wrong, name));

		if (value == NULL && why.n > 0)
			return fail(err, FAULT_INPUT, "SECRET",
			    "the secret %.*s can't be opened: %.*s",
			    STR_FMT(name), STR_FMT(why));
		if (value == NULL)
			return fail(err, FAULT_INPUT, "SECRET",
			    "there is no secret %.*s in this project",
			    STR_FMT(name));
		json_set_str(&t->arena, *out, name, value);
	}
	return 0;
}

/* "host:port" of a URL whose authority was checked when it was parsed. */
static struct str
authority_of(struct str url)
{
	const char *at = memmem(url.s, url.n, "://", 3);
	size_t from = at != NULL ? (size_t)(at - url.s) + 3 : url.n;
	size_t to = from;

	while (to < url.n && strchr("/?#", url.s[to]) == NULL)
		to++;
	return (struct str){ url.s + from, to - from };
}

static int
host_fits(struct str entry, struct str authority)
{
	struct str host = authority;
	size_t n = 0;

	while (n < host.n && (host.s[n] != ':' || host.s[0] == '['))
		if (host.s[n++] == ']')
			break;
	host.n = n;
	/* an entry with a port means that port alone */
	if (entry.n > 0 && entry.s[0] != '[' &&
	    memchr(entry.s, ':', entry.n) != NULL)
		host = authority;
	if (entry.n > 2 && entry.s[0] == '*' && entry.s[1] == '.') {
		entry = (struct str){ entry.s + 1, entry.n - 1 };
		if (host.n <= entry.n)
			return 0;
		host = (struct str){ host.s + host.n - entry.n, entry.n };
	}
	return host.n == entry.n && strncasecmp(host.s, entry.s, host.n) == 0;
}

int
secrets_host_check(struct task *t, struct str url, struct error *err)
{
	const struct node *node = &t->version->flow->nodes[t->message.node];
	struct str authority = authority_of(url);

	for (uint32_t i = 0; i < node->n_secrets; i++) {
		struct str all = json_str(
		    json_get_str(t->version->secrets.hosts, node->secrets[i]));
		int fits = all.n == 0;

		for (size_t at = 0, n; !fits && at < all.n; at += n + 1) {
			const char *end = memchr(all.s + at, ' ', all.n - at);

			n = end != NULL ? (size_t)(end - all.s) - at
					: all.n - at;
			fits =
			    host_fits((struct str){ all.s + at, n }, authority);
		}
		if (!fits)
			return fail(err, FAULT_INPUT, "SECRET",
			    "the secret %.*s may go to %.*s, not to %.*s",
			    STR_FMT(node->secrets[i]), STR_FMT(all),
			    STR_FMT(authority));
	}
	return 0;
}
