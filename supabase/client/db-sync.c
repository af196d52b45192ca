#include "core/mem.h"
#include "supabase/client/db-impl.h"

#include <stdlib.h>

void
db_wait_state(struct db_wait *w, const struct error *err)
{
	if (err != NULL) {
		w->err = *err;
		w->done = 1;
	}
	loop_stop(w->loop, 0);
}

static void
answered(void *arg, struct rows *rows, const struct error *err)
{
	struct db_wait *w = arg;

	if (w->abandoned) {
		free(w);
		return;
	}
	w->done = 1;
	if (err != NULL) {
		w->err = *err;
	} else {
		w->rows = *rows;
		rows->res = NULL;
	}
	loop_stop(w->loop, 0);
}

/* The loop also stops when somebody else stops it: then *err says so. */
static int
wait_run(struct db_wait *w, struct error *err)
{
	loop_run(w->loop);
	if (!w->done)
		return fail(err, FAULT_RETRY, "EINTR", "interrupted");
	if (w->err.fault != FAULT_NONE) {
		*err = w->err;
		return -1;
	}
	return 0;
}

static int
connection_wait(struct db *db, struct error *err)
{
	struct db_wait w = { .loop = db->loop };
	int r = 0;

	db->wait = &w;
	while (!db_ready(db) && r == 0) {
		w.done = 0;
		loop_run(db->loop);
		if (w.err.fault != FAULT_NONE) {
			*err = w.err;
			r = -1;
		} else if (!db_ready(db)) {
			r = fail(err, FAULT_RETRY, "EINTR", "interrupted");
		}
	}
	db->wait = NULL;
	return r;
}

int
db_query_params(struct db *db, const struct sql *sql,
    const struct db_param *params, struct rows *rows, struct error *err)
{
	struct db_wait *w;
	struct error own;
	int r;

	if (err == NULL)
		err = &own;
	*rows = (struct rows){ .column = -1 };
	if (connection_wait(db, err) < 0)
		return -1;
	w = xcalloc(1, sizeof(*w));
	w->loop = db->loop;
	if (db_send(db, sql, params, answered, w, err) < 0) {
		free(w);
		return -1;
	}
	r = wait_run(w, err);
	*rows = w->rows;
	if (w->done)
		free(w);
	else
		w->abandoned = 1;
	return r;
}
