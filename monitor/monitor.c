#include "monitor/monitor.h"
#include "core/harden.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/testpoint.h"
#include "monitor/monitor-impl.h"
#include "monitor/monitor-sql.h"
#include "supabase/client/schema.h"

#include <signal.h>
#include <unistd.h>

enum {
	HEARTBEAT_MS = 15000,
	GOODBYE_MS = 2000,
	LEASE_PARTS = 4, /* asked so often in a lease's time */
	EXIT_CONFIG = 78,
};

static void
ignored(void *arg, struct rows *rows, const struct error *err)
{
	(void)arg;
	(void)rows;
	if (err != NULL)
		log_debug("monitor.heartbeat", E_(err));
}

static void
beat(void *arg)
{
	struct monitor *m = arg;
	char host[65] = "";
	struct error err;

	gethostname(host, sizeof(host) - 1);
	if (m->serving)
		db_call(m->db, &sql_monitor_heartbeat, ignored, NULL, &err,
		    db_uuid(&m->id), db_text(host), db_int4((int)getpid()),
		    db_text(MESHHOOK_VERSION), db_bool(m->ending),
		    db_jsonb(m->fence != 0 ? STR("{\"leads\": true}")
					   : STR("{\"leads\": false}")));
}

/* What was measured, and what rules make of it, from the beginning. */
static void
forget(struct monitor *m)
{
	samples_reset(m);
	recall_reset(&m->recall);
	judge_reset(m->judge);
}

/* Who leads has changed, as far as we can tell. */
static void
reign(struct monitor *m, int64_t fence)
{
	if (m->fence == fence)
		return;
	m->fence = fence;
	deliver_reset(m->deliver);
	archive_reset(m->archive);
	canary_reset(m->canary);
	if (fence == 0) {
		log_info("monitor.standby");
		return;
	}
	log_info("monitor.leads", I_("fence", fence));
	forget(m);
	upkeep_reset(m);
}

static void
told_failed(void *arg, struct rows *rows, const struct error *err)
{
	struct monitor *m = arg;

	m->telling = 0;
	testpoint("monitor.told_failed");
	if (err == NULL && rows_int(rows, 0, "told") > 0)
		deliver_due(m->deliver);
	else if (err != NULL && err->fault != FAULT_RETRY)
		log_warn("monitor.failed_runs_not_told", E_(err));
}

/* What is to follow at once on what the tick found. */
static void
tick_follow(struct monitor *m, struct rows *rows)
{
	struct error err;

	if (rows_bool(rows, 0, "watched"))
		flush_due(m->flush);
	if (rows_bool(rows, 0, "failed") && !m->telling)
		m->telling = db_call(m->db, &sql_tell_failed, told_failed, m,
				 &err, db_int8(m->fence)) == 0;
}

static void
ticked(void *arg, struct rows *rows, const struct error *err)
{
	struct monitor *m = arg;

	m->ticking = 0;
	if (err != NULL) {
		if (err->fault != FAULT_RETRY)
			log_warn("monitor.tick_failed", E_(err));
		return; /* the lease may be gone: the next tick tells */
	}
	if (rows->n == 0) {
		reign(m, 0);
		return;
	}
	reign(m, rows_int(rows, 0, "fence"));
	if (m->samples.refused > 0) { /* full: projects come and go */
		log_warn(
		    "monitor.samples_full", I_("series", m->samples.n_series));
		forget(m);
	}
	if (monitor_sampled(m, rows) == 0)
		judge_tick(m->judge, rows_int(rows, 0, "config"));
	tick_follow(m, rows);
	deliver_tick(m->deliver);
	canary_tick(m->canary);
	upkeep_step(m);
	archive_step(m->archive);
}

/* One at a time: a database that is slow is not asked more often. */
static void
tick(void *arg)
{
	struct monitor *m = arg;
	int64_t lag = canary_lag_ms(m->canary);
	struct db_array broken;
	struct error err;

	if (!m->serving || m->ticking || m->ending || m->fence == 0)
		return;
	db_array_init(&broken, DB_UUID);
	deliver_broken(m->deliver, &broken);
	m->ticking = db_call(m->db, &sql_tick, ticked, m, &err, db_uuid(&m->id),
			 db_int8(m->o->lease_ms),
			 lag < 0 ? db_null(DB_INT8) : db_int8(lag),
			 db_array(&broken)) == 0;
	db_array_deinit(&broken);
}

static void
led(void *arg, struct rows *rows, const struct error *err)
{
	struct monitor *m = arg;
	int new_reign;

	m->leading = 0;
	if (err != NULL || m->ending)
		return;
	new_reign = m->fence == 0;
	reign(m, rows_null(rows, 0, "fence") ? 0 : rows_int(rows, 0, "fence"));
	if (new_reign)
		tick(m);
}

/* Lead, or go on leading, apart from ticks, which may take their time. */
static void
lead(void *arg)
{
	struct monitor *m = arg;
	struct error err;

	if (m->serving && !m->leading && !m->ending)
		m->leading = db_call(m->db, &sql_lead, led, m, &err,
				 db_uuid(&m->id), db_int8(m->o->lease_ms)) == 0;
}

static void
give_up(struct monitor *m, const struct error *err)
{
	log_error("monitor.config", E_(err));
	loop_stop(m->loop, EXIT_CONFIG);
}

static void
schema_seen(void *arg, struct rows *rows, const struct error *cause)
{
	struct monitor *m = arg;
	struct error err;
	int r = schema_fits(rows, cause, &err);

	if (r < 0)
		give_up(m, &err);
	if (r != 0)
		return;
	m->serving = 1;
	log_info("monitor.ready", S_("database", db_where(m->db)));
	beat(m);
	lead(m);
}

static void
db_changed(void *arg, enum db_state state, const struct error *cause)
{
	struct monitor *m = arg;
	struct error err;

	m->serving = 0;
	m->connected |= state == DB_READY;
	if (state == DB_READY)
		schema_ask(m->db, "meshhook_engine.tick", schema_seen, m, &err);
	else if (cause != NULL && !m->connected && cause->fault != FAULT_RETRY)
		give_up(m, cause);
	else if (cause != NULL)
		log_warn("db.lost", E_(cause));
}

static void
said_goodbye(void *arg, struct rows *rows, const struct error *err)
{
	struct monitor *m = arg;

	(void)rows;
	if (err != NULL)
		log_debug("monitor.goodbye", E_(err));
	loop_stop(m->loop, 0);
}

static void
too_late(void *arg)
{
	struct monitor *m = arg;

	loop_stop(m->loop, 0); /* the lease ends by itself */
}

/* What was under way has ended. */
static void
say_goodbye(void *arg)
{
	struct monitor *m = arg;
	struct error err;

	loop_timer_set(m->late, GOODBYE_MS);
	if (!m->serving ||
	    db_call(m->db, &sql_monitor_goodbye, said_goodbye, m, &err,
		db_uuid(&m->id)) < 0)
		loop_stop(m->loop, 0);
}

static void
told_to_end(void *arg, int signo)
{
	struct monitor *m = arg;

	if (m->ending) { /* told twice: at once */
		loop_stop(m->loop, 128 + signo);
		return;
	}
	m->ending = 1;
	log_info("monitor.ending", I_("signal", signo));
	loop_timer_set(m->late, GOODBYE_MS);
	deliver_drain(m->deliver, say_goodbye, m);
}

static int
start(struct monitor *m, struct error *err)
{
	struct db_options db = { .url = m->o->db_url,
		.application_name = "meshhook monitor",
		.on_state = db_changed,
		.arg = m };

	m->loop = loop_new(err);
	if (m->loop == NULL)
		return -1;
	samples_reset(m);
	recall_reset(&m->recall);
	m->judge = judge_new(m);
	m->tick = loop_timer_new(m->loop, tick, m);
	m->lead = loop_timer_new(m->loop, lead, m);
	m->beat = loop_timer_new(m->loop, beat, m);
	m->late = loop_timer_new(m->loop, too_late, m);
	m->term = loop_signal_start(m->loop, SIGTERM, told_to_end, m);
	m->interrupt = loop_signal_start(m->loop, SIGINT, told_to_end, m);
	m->deliver = deliver_new(m, err);
	if (m->deliver == NULL)
		return -1;
	m->canary = canary_new(m, err);
	if (m->canary == NULL && err->fault != FAULT_NONE)
		return -1;
	upkeep_begin(m);
	if (m->o->archive != NULL && (m->archive = archive_new(m, err)) == NULL)
		return -1;
	m->db = db_new(m->loop, &db, err);
	if (m->db == NULL)
		return -1;
	m->flush = flush_new(m->loop, m->db);
	loop_timer_every(m->tick, m->o->interval_ms);
	loop_timer_every(m->lead, m->o->lease_ms / LEASE_PARTS);
	loop_timer_every(m->beat, HEARTBEAT_MS);
	return 0;
}

static void
end(struct monitor *m)
{
	if (m->loop == NULL)
		return;
	m->db = db_free(m->db);
	recall_deinit(&m->recall);
	m->flush = flush_free(m->flush);
	loop_signal_stop(m->term);
	loop_signal_stop(m->interrupt);
	loop_timer_free(m->tick);
	loop_timer_free(m->lead);
	loop_timer_free(m->beat);
	loop_timer_free(m->late);
	m->judge = judge_free(m->judge);
	m->deliver = deliver_free(m->deliver);
	m->archive = archive_free(m->archive);
	upkeep_end(m);
	m->canary = canary_free(m->canary);
	m->loop = loop_free(m->loop);
	arena_deinit(&m->store);
}

int
monitor_main(const struct monitor_options *options)
{
	struct monitor m = { .o = options };
	struct error err = { 0 };
	int code;

	harden_process();
	uuid_random(&m.id);
	if (start(&m, &err) < 0) {
		log_error("monitor.start", E_(&err));
		code = err.fault == FAULT_CONFIG ? EXIT_CONFIG : 1;
	} else {
		code = loop_run(m.loop);
	}
	end(&m);
	log_info("monitor.ended", I_("code", code));
	return code;
}
