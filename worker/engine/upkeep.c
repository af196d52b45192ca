#include "core/log.h"
#include "core/mem.h"
#include "worker/engine/engine-sql.h"
#include "worker/engine/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * What any worker does for all: months of partitions ahead, counters folded,
 * new lines' blocks summarised.
 * With jitter, so that workers that started together don't do it together; the
 * functions themselves see to it that twice does no harm.
 */
struct chore {
	const struct sql *sql;
	int64_t first_ms, every_ms;
};

static const struct chore chores[] = {
	{ &sql_compact_counters, 5000, 10000 },
	{ &sql_summarize_logs, 2000, 5000 },
	{ &sql_ensure_partitions, 30000, 3600000 },
	{ &sql_purge_bodies, 20000, 60000 },
};
enum { HEARTBEAT_MS = 15000, N_CHORES = NELEM(chores) };

struct upkeep {
	struct loop_timer *heartbeat;
	struct chore_timer {
		struct worker *w;
		const struct chore *chore;
		struct loop_timer *timer;
	} chores[N_CHORES];
};

static void
answered(void *arg, struct rows *rows, const struct error *err)
{
	(void)rows;
	if (err != NULL && err->fault != FAULT_RETRY)
		log_warn(
		    "upkeep.failed", S_("chore", (const char *)arg), E_(err));
}

void
upkeep_heartbeat(struct worker *w)
{
	char host[256] = "";
	char info[128];
	struct error err;

	gethostname(host, sizeof(host) - 1);
	snprintf(info, sizeof(info), "{\"held\": %u, \"calling\": %u}",
	    w->n_held, w->n_tasks[TASK_CALLING]);
	db_call(w->db, &sql_heartbeat, answered, (void *)"heartbeat", &err,
	    db_uuid(&w->id), db_text(host), db_int4((int)getpid()),
	    db_text(MESHHOOK_VERSION), db_bool(w->draining),
	    db_jsonb(str_of(info)));
}

static void
beat(void *arg)
{
	struct worker *w = arg;

	if (w->serving)
		upkeep_heartbeat(w);
	loop_timer_set(w->upkeep->heartbeat, jittered(HEARTBEAT_MS));
}

static void
chore_due(void *arg)
{
	struct chore_timer *c = arg;
	struct error err;

	if (c->w->serving)
		db_call(c->w->db, c->chore->sql, answered,
		    (void *)(uintptr_t)c->chore->sql->name, &err);
	loop_timer_set(c->timer, jittered(c->chore->every_ms));
}

void
upkeep_init(struct worker *w)
{
	struct upkeep *u = xcalloc(1, sizeof(*u));

	w->upkeep = u;
	u->heartbeat = loop_timer_new(w->loop, beat, w);
	loop_timer_set(u->heartbeat, jittered(HEARTBEAT_MS));
	for (size_t i = 0; i < N_CHORES; i++) {
		u->chores[i].w = w;
		u->chores[i].chore = &chores[i];
		u->chores[i].timer =
		    loop_timer_new(w->loop, chore_due, &u->chores[i]);
		loop_timer_set(
		    u->chores[i].timer, jittered(chores[i].first_ms));
	}
}

void
upkeep_deinit(struct worker *w)
{
	struct upkeep *u = w->upkeep;

	u->heartbeat = loop_timer_free(u->heartbeat);
	for (size_t i = 0; i < N_CHORES; i++)
		u->chores[i].timer = loop_timer_free(u->chores[i].timer);
	free(u);
	w->upkeep = NULL;
}
