#include "core/log.h"
#include "core/mem.h"
#include "worker/engine/engine-sql.h"
#include "worker/engine/engine.h"

#include <stdlib.h>
#include <string.h>

/* Versions never change, so they are kept while memory allows; those that no
 * task uses go first, least recently used. */
enum { KEEP_BYTES = 8 << 20 };

static struct version *
version_free(struct version *v)
{
	list_remove(&v->link);
	secrets_wipe(&v->secrets);
	arena_deinit(&v->arena);
	free(v);
	return NULL;
}

static void
versions_trim(struct worker *w)
{
	size_t used = 0;

	list_for_safe (it, &w->versions) {
		struct version *v = list_entry(it, struct version, link);

		used += v->arena.used;
		if (v->refs == 0 && (used > KEEP_BYTES || v->flow == NULL))
			version_free(v);
	}
}

void
version_drop(struct version *v)
{
	if (v != NULL)
		v->refs--;
}

/* A definition that was published was found good; if it isn't to this
 * program, its runs can't go on. */
static void
version_parse(struct version *v, struct rows *rows)
{
	struct problems problems = { 0 };
	struct json *definition;

	if (rows->n == 0) {
		fail(&v->error, FAULT_INPUT, "GONE", "its version is gone");
		return;
	}
	v->workflow = arena_str(&v->arena, rows_str(rows, 0, "workflow"));
	v->number = (int32_t)rows_int(rows, 0, "version");
	rows_uuid(rows, 0, "project_id", &v->project);
	if (json_parse(&v->arena,
		arena_str(&v->arena, rows_str(rows, 0, "definition")), NULL,
		&definition, &v->error) < 0)
		return;
	if (flow_parse(&v->arena, definition, &v->flow, &problems) < 0) {
		v->flow = NULL;
		fail(&v->error, FAULT_INPUT, "DEFINITION", "%s: %s",
		    problems.items[0].pointer, problems.items[0].text);
	}
	secrets_prepare(v);
}

static void
waiting_begin(struct version *v)
{
	struct list *it;

	while ((it = list_pop(&v->waiting)) != NULL)
		task_begin(list_entry(it, struct task, link));
}

static void
loaded(void *arg, struct rows *rows, const struct error *err)
{
	struct version *v = arg;
	struct worker *w;

	v->loading = 0;
	v->refs--;
	if (err != NULL && err->fault != FAULT_RETRY)
		log_warn("version.not_loaded", E_(err));
	/* no run's fault, as a right that is missing: versions_retry() */
	if (err != NULL || list_empty(&v->waiting))
		return;
	w = list_entry(v->waiting.next, struct task, link)->w;
	version_parse(v, rows);
	waiting_begin(v);
	versions_trim(w);
}

static void
version_load(struct worker *w, struct version *v)
{
	struct error err;

	if (v->loading ||
	    db_call(
		w->db, &sql_load_version, loaded, v, &err, db_uuid(&v->id)) < 0)
		return;
	v->loading = 1;
	v->refs++;
}

void
versions_retry(struct worker *w)
{
	list_for (it, &w->versions) {
		struct version *v = list_entry(it, struct version, link);

		if (!list_empty(&v->waiting))
			version_load(w, v);
	}
}

static struct version *
version_find(struct worker *w, const struct uuid *id)
{
	list_for (it, &w->versions) {
		struct version *v = list_entry(it, struct version, link);

		if (uuid_cmp(&v->id, id) != 0)
			continue;
		list_remove(&v->link);
		list_prepend(&w->versions, &v->link);
		return v;
	}
	return NULL;
}

void
version_take(struct worker *w, struct task *t, const struct uuid *id)
{
	struct version *v = version_find(w, id);

	if (v == NULL) {
		v = xcalloc(1, sizeof(*v));
		v->id = *id;
		arena_init(&v->arena);
		list_init(&v->waiting);
		list_init(&v->link);
		list_prepend(&w->versions, &v->link);
	}
	v->refs++;
	t->version = v;
	if (v->flow != NULL) {
		task_begin(t);
		return;
	}
	list_remove(&t->link);
	list_append(&v->waiting, &t->link);
	version_load(w, v);
}

void
versions_deinit(struct worker *w)
{
	list_for_safe (it, &w->versions)
		version_free(list_entry(it, struct version, link));
}
