#include "monitor/upkeep.h"
#include "core/log.h"
#include "core/mem.h"
#include "monitor/monitor-impl.h"
#include "monitor/monitor-sql.h"

static const struct chore {
	const struct sql *sql;
	int64_t every_ms;
	int fenced;
} chores[UPKEEP_CHORES] = {
	{ &sql_roll_up_metrics, 60000, 1 },
	{ &sql_metric_days, 3600000, 0 },
	{ &sql_monitor_partitions, 3600000, 0 },
	{ &sql_outbox_trim, 3600000, 0 },
};

static void
done(void *arg, struct rows *rows, const struct error *err)
{
	struct monitor *m = arg;

	m->upkeep.busy = 0;
	if (err != NULL && err->fault != FAULT_RETRY)
		log_warn("upkeep.failed", E_(err));
	else if (rows != NULL && rows->n > 0 && rows_int(rows, 0, "done") > 0)
		log_debug("upkeep.done", I_("n", rows_int(rows, 0, "done")));
}

void
upkeep_step(struct monitor *m)
{
	struct upkeep *u = &m->upkeep;
	int64_t now = loop_now_ms(m->loop);
	struct error err;
	int r;

	for (size_t i = 0; i < NELEM(chores) && !u->busy; i++) {
		const struct chore *c = &chores[i];

		if (u->due_ms[i] > now)
			continue;
		if (c->fenced)
			r = db_call(
			    m->db, c->sql, done, m, &err, db_int8(m->fence));
		else
			r = db_call(m->db, c->sql, done, m, &err);
		if (r < 0)
			return;
		u->busy = 1;
		u->due_ms[i] = now + c->every_ms;
	}
}
