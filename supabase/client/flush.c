#include "supabase/client/flush.h"
#include "core/log.h"
#include "core/mem.h"
#include "supabase/client/supabase-sql.h"

#include <stdlib.h>
#include <unistd.h>

/*
 * BUSY_MS: an answer below it names the moment when what is due may be sent;
 * nothing can be sent before, whatever else becomes due.
 */
enum { IDLE_MS = 8000, IDLE_SPREAD_MS = 4000, BUSY_MS = 1000 };

struct flush {
	struct loop_timer *timer;
	struct db *db;
	int calling;
	int again;   /* something became due behind the call */
	int watched; /* as of the last answer */
	int known;   /* when to come again was said, and why */
};

static void
answered(void *arg, struct rows *rows, const struct error *err)
{
	struct flush *f = arg;
	int64_t wait_ms = IDLE_MS + getpid() % IDLE_SPREAD_MS;

	f->calling = 0;
	f->watched =
	    err == NULL && rows->n > 0 && !rows_null(rows, 0, "wait_ms");
	if (f->watched)
		wait_ms = rows_int(rows, 0, "wait_ms");
	if (err != NULL && err->fault != FAULT_RETRY)
		log_warn("flush.failed", E_(err));
	f->known = f->watched && wait_ms < BUSY_MS;
	if (f->again && !f->known)
		wait_ms = 0;
	f->again = 0;
	loop_timer_set(f->timer, wait_ms);
}

static int
flush_send(struct flush *f, int last, db_done_fn *fn)
{
	struct error err;

	return db_call(f->db, &sql_flush_broadcasts, fn, f, &err,
		   db_bool(last)) == 0;
}

static void
flush_call(void *arg)
{
	struct flush *f = arg;

	if (f->calling)
		return;
	f->known = 0;
	f->calling = flush_send(f, 0, answered);
	if (!f->calling)
		loop_timer_set(f->timer, BUSY_MS);
}

void
flush_due(struct flush *f)
{
	if (f->calling)
		f->again = 1;
	else if (!f->known)
		flush_call(f);
}

void
flush_wrote(struct flush *f)
{
	if (f->watched)
		flush_due(f);
}

static void
ignored(void *arg, struct rows *rows, const struct error *err)
{
	(void)arg;
	(void)rows;
	(void)err; /* another process sends it, or the readers' renewals tell */
}

void
flush_last(struct flush *f)
{
	flush_send(f, 1, ignored);
}

struct flush *
flush_new(struct loop *loop, struct db *db)
{
	struct flush *f = xcalloc(1, sizeof(*f));

	f->db = db;
	f->timer = loop_timer_new(loop, flush_call, f);
	loop_timer_set(f->timer, getpid() % BUSY_MS);
	return f;
}

struct flush *
flush_free(struct flush *f)
{
	if (f == NULL)
		return NULL;
	f->timer = loop_timer_free(f->timer);
	free(f);
	return NULL;
}
