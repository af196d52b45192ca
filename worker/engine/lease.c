#include "core/log.h"
#include "core/mem.h"
#include "worker/engine/engine-sql.h"
#include "worker/engine/engine.h"

#include <stdlib.h>

/*
 * Leases of what is in flight are extended at half their life, all in one
 * statement. Its answer brings a new vt, which a commit must name: so nothing
 * is committed between the two. What isn't ours any more is let go.
 */
struct leases {
	struct loop_timer *timer;
	struct db_array ids, vts;
	int busy;
};

struct lease {
	int64_t id, vt;
};

static int
lease_order(const void *x, const void *y)
{
	const struct lease *a = x, *b = y;

	return (a->id > b->id) - (a->id < b->id);
}

static void
leases_apply(struct worker *w, const struct lease *held, uint32_t n)
{
	list_for_safe (it, &w->held) {
		struct task *t = list_entry(it, struct task, held);
		struct lease key = { .id = t->id };
		const struct lease *l;

		if (!t->extending)
			continue;
		t->extending = 0;
		l = n == 0 ? NULL
			   : bsearch(&key, held, n, sizeof(key), lease_order);
		if (l != NULL) {
			t->vt = l->vt;
			continue;
		}
		log_info("lease.lost", I_("message", t->id));
		task_free(t);
	}
}

static void
extended(void *arg, struct rows *rows, const struct error *err)
{
	struct worker *w = arg;
	uint32_t n = err == NULL ? (uint32_t)rows->n : 0;
	struct lease *held;

	w->leases->busy = 0;
	if (err != NULL) {
		log_warn("lease.not_extended", E_(err));
		list_for (it, &w->held)
			list_entry(it, struct task, held)->extending = 0;
		commits_turn(w);
		return;
	}
	held = xcalloc(n + 1, sizeof(*held));
	for (uint32_t i = 0; i < n; i++) {
		held[i].id = rows_int(rows, (int)i, "msg_id");
		held[i].vt = rows_time(rows, (int)i, "vt");
	}
	qsort(held, n, sizeof(*held), lease_order);
	leases_apply(w, held, n);
	free(held);
	commits_turn(w);
	worker_check_over(w);
}

static void
lease_add(struct leases *ls, const struct task *t)
{
	db_array_int8(&ls->ids, t->id);
	db_array_time(&ls->vts, t->vt);
}

static void
tick(void *arg)
{
	struct worker *w = arg;
	struct leases *ls = w->leases;
	int64_t half = db_time_from_ms(poll_now_ms(w) + w->o.lease_ms / 2);
	struct error err;

	if (ls->busy || !w->serving || w->n_held == 0)
		return;
	db_array_reset(&ls->ids);
	db_array_reset(&ls->vts);
	list_for (it, &w->held) {
		struct task *t = list_entry(it, struct task, held);

		if (t->state == TASK_COMMITTING || t->vt > half)
			continue;
		t->extending = 1;
		lease_add(ls, t);
	}
	if (ls->ids.n == 0)
		return;
	if (db_call(w->db, &sql_extend, extended, w, &err, db_array(&ls->ids),
		db_array(&ls->vts), db_int4((int32_t)w->o.lease_ms)) == 0)
		ls->busy = 1;
}

static void
given_back(void *arg, struct rows *rows, const struct error *err)
{
	(void)arg;
	(void)rows;
	(void)err; /* else the leases run out */
}

static void
release_send(struct worker *w)
{
	struct leases *ls = w->leases;
	struct error err;

	if (ls->ids.n == 0)
		return;
	log_info("lease.given_back", I_("messages", ls->ids.n));
	db_call(w->db, &sql_release, given_back, NULL, &err, db_array(&ls->ids),
	    db_array(&ls->vts));
}

void
lease_give_back_rows(struct worker *w, struct rows *claimed)
{
	struct leases *ls = w->leases;

	db_array_reset(&ls->ids);
	db_array_reset(&ls->vts);
	for (int i = 1; i < claimed->n; i++) {
		db_array_int8(&ls->ids, rows_int(claimed, i, "msg_id"));
		db_array_time(&ls->vts, rows_time(claimed, i, "vt"));
	}
	release_send(w);
}

void
lease_give_back(struct worker *w, struct list *tasks)
{
	struct leases *ls = w->leases;
	struct list *it;

	db_array_reset(&ls->ids);
	db_array_reset(&ls->vts);
	while ((it = tasks->next) != tasks) {
		struct task *t = list_entry(it, struct task, link);

		lease_add(ls, t);
		task_free(t);
	}
	release_send(w);
}

int
leases_busy(const struct worker *w)
{
	return w->leases->busy;
}

void
leases_init(struct worker *w)
{
	struct leases *ls = xcalloc(1, sizeof(*ls));

	db_array_init(&ls->ids, DB_INT8);
	db_array_init(&ls->vts, DB_TIMESTAMPTZ);
	ls->timer = loop_timer_new(w->loop, tick, w);
	loop_timer_every(ls->timer, w->o.lease_ms / 5 + 1);
	w->leases = ls;
}

void
leases_deinit(struct worker *w)
{
	struct leases *ls = w->leases;

	ls->timer = loop_timer_free(ls->timer);
	db_array_deinit(&ls->ids);
	db_array_deinit(&ls->vts);
	free(ls);
	w->leases = NULL;
}
