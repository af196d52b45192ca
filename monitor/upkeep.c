#include "monitor/upkeep.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/time.h"
#include "monitor/monitor-impl.h"
#include "monitor/monitor-sql.h"

#include <string.h>

enum {
	MINUTE_MS = 60000,
	HOUR_MS = 3600000,
	STEP_MS = 50,
	REST_MS = 100, /* between two steps, or longer: */
	REST_TIMES = 4,
};

static const struct chore {
	const char *name;
	int64_t every_ms;
} chores[UPKEEP_CHORES] = {
	[UPKEEP_MINUTES] = { "minutes", MINUTE_MS },
	[UPKEEP_DAYS] = { "days", HOUR_MS },
	[UPKEEP_PARTITIONS] = { "partitions", HOUR_MS },
	[UPKEEP_MESSAGES] = { "messages", HOUR_MS },
	[UPKEEP_WORKERS] = { "workers", HOUR_MS },
	[UPKEEP_QUEUES] = { "queues", HOUR_MS },
	[UPKEEP_RUNS] = { "runs", MINUTE_MS },
	[UPKEEP_COUNTERS] = { "counters", HOUR_MS },
	[UPKEEP_RETENTION] = { "retention", MINUTE_MS },
};

static void
stepped(void *arg, struct rows *rows, const struct error *err)
{
	struct monitor *m = arg;
	struct upkeep *u = &m->upkeep;
	const char *name = chores[u->chore].name;
	int64_t took = time_mono_ms() - u->begun_ms;

	u->busy = 0;
	if (err != NULL) {
		if (err->fault != FAULT_RETRY)
			log_warn("upkeep.failed", S_("chore", name), E_(err));
		return;
	}
	if (rows_int(rows, 0, "done") < 0)
		log_warn("upkeep.failed", S_("chore", name),
		    S_("problem", rows_text(rows, 0, "problem")));
	else if (rows_int(rows, 0, "done") > 0)
		log_debug("upkeep.done", S_("chore", name),
		    I_("n", rows_int(rows, 0, "done")), I_("ms", took));
	if (rows_bool(rows, 0, "more"))
		u->due_ms[u->chore] = 0;
	if (rows_int(rows, 0, "wait_ms") > 0)
		u->due_ms[u->chore] =
		    loop_now_ms(m->loop) + rows_int(rows, 0, "wait_ms");
	loop_timer_set(u->timer,
	    took * REST_TIMES > REST_MS ? took * REST_TIMES : REST_MS);
}

/* Those that come first in the list go first, as each is due seldom. What
 * a leader before did within the hour, the database knows: it is asked once. */
void
upkeep_step(struct monitor *m)
{
	struct upkeep *u = &m->upkeep;
	int64_t now = loop_now_ms(m->loop), within;
	struct error err;

	if (u->busy || m->fence == 0 || !m->serving || m->ending)
		return;
	for (int i = 0; i < UPKEEP_CHORES; i++) {
		if (u->due_ms[i] > now)
			continue;
		u->chore = (enum upkeep_chore)i;
		u->begun_ms = time_mono_ms();
		within = u->asked[i] || chores[i].every_ms < HOUR_MS
		    ? 0
		    : chores[i].every_ms;
		u->busy = db_call(m->db, &sql_upkeep, stepped, m, &err,
			      db_int8(m->fence), db_text(chores[i].name),
			      db_int4(STEP_MS), db_int8(within)) == 0;
		if (u->busy) {
			u->due_ms[i] = now + chores[i].every_ms;
			u->asked[i] = 1;
		}
		return;
	}
}

void
upkeep_due(struct monitor *m, enum upkeep_chore chore)
{
	m->upkeep.due_ms[chore] = 0;
	m->upkeep.asked[chore] = 1;
	upkeep_step(m);
}

static void
rested(void *arg)
{
	upkeep_step(arg);
}

void
upkeep_begin(struct monitor *m)
{
	m->upkeep.timer = loop_timer_new(m->loop, rested, m);
}

void
upkeep_end(struct monitor *m)
{
	if (m->upkeep.timer != NULL)
		m->upkeep.timer = loop_timer_free(m->upkeep.timer);
}

void
upkeep_reset(struct monitor *m)
{
	memset(&m->upkeep.due_ms, 0, sizeof(m->upkeep.due_ms));
	memset(&m->upkeep.asked, 0, sizeof(m->upkeep.asked));
}
