#include "worker/engine/worker.h"
#include "core/harden.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/time.h"
#include "worker/engine/engine-sql.h"
#include "worker/engine/engine.h"
#include "supabase/client/schema.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/*
 *	connecting --schema is good--> serving --SIGTERM--> draining --> over
 *	     ^------- connection lost -----'
 *
 * Draining claims nothing, gives back what was not begun, lets calls end until
 * the deadline, records them, and gives back the rest.
 */
enum {
	EXIT_CONFIG = 78,
	DRAINED = 2,
	SETTLE_MS = 2000,
	DRAIN_TIMERS_MS = 60000, /* --drain waits for those due by then */
};

static const char *const work_channels[] = { "meshhook_work", NULL };

uint64_t
random_u64(void)
{
	uint64_t v;

	if (getrandom(&v, sizeof(v), 0) != (ssize_t)sizeof(v))
		abort();
	return v;
}

int64_t
jittered(int64_t v)
{
	return v - v / 4 + (int64_t)(random_u64() % (uint64_t)(v / 2 + 1));
}

static void
stop(struct worker *w, int code)
{
	w->exit_code = code;
	if (w->loop != NULL)
		loop_stop(w->loop, code);
}

void
worker_fail(struct worker *w, const struct error *err)
{
	log_error(
	    "worker.failed", S_("fault", fault_name(err->fault)), E_(err));
	stop(w,
	    err->fault == FAULT_CONFIG || err->fault == FAULT_AUTH ? EXIT_CONFIG
								   : 1);
}

static void
said_goodbye(void *arg, struct rows *rows, const struct error *err)
{
	(void)rows;
	(void)err;
	stop(arg, 0);
}

static void
leave(struct worker *w)
{
	struct error err;

	if (w->exit_code >= 0)
		return;
	w->exit_code = 0;
	w->draining = 1;
	flush_last(w->flush);
	if (db_call(w->db, &sql_goodbye, said_goodbye, w, &err,
		db_uuid(&w->id)) < 0)
		stop(w, 0);
}

static int
is_idle(const struct worker *w)
{
	return w->n_held == 0 && commits_out(w) == 0 && !w->poller.claiming;
}

static void
left_answered(void *arg, struct rows *rows, const struct error *err)
{
	struct worker *w = arg;

	w->asking = 0;
	/* else the next claim that finds nothing asks again */
	if (err == NULL && is_idle(w) && !w->poller.want &&
	    !rows_bool(rows, 0, "left_to_do"))
		leave(w);
}

void
worker_check_over(struct worker *w)
{
	struct error err;

	if (!is_idle(w))
		return;
	if (w->draining)
		leave(w);
	else if (!w->o.drain || !w->serving || w->asking)
		return;
	else if (!w->poller.empty)
		poll_wake(w);
	else if (!w->poller.want &&
	    db_call(w->db, &sql_left_to_do, left_answered, w, &err,
		db_int4(DRAIN_TIMERS_MS)) == 0)
		w->asking = 1;
}

static void
drain_over(void *arg)
{
	struct worker *w = arg;

	if (!db_ready(w->db) || w->draining == DRAINED) {
		stop(w, 0);
		return;
	}
	/* what came of a call is recorded, if the database answers soon */
	for (int s = TASK_PARKED; s < TASK_READY; s++)
		lease_give_back(w, &w->tasks[s]);
	w->draining = DRAINED;
	loop_timer_set(w->drain_timer, SETTLE_MS);
	worker_check_over(w);
}

static void
versions_give_back(struct worker *w)
{
	list_for (it, &w->versions)
		lease_give_back(
		    w, &list_entry(it, struct version, link)->waiting);
}

static void
signalled(void *arg, int signo)
{
	struct worker *w = arg;

	if (w->draining) {
		log_warn("worker.stopped", I_("signal", signo),
		    I_("held", w->n_held));
		stop(w, 128 + signo);
		return;
	}
	log_info("worker.draining", I_("signal", signo), I_("held", w->n_held));
	w->draining = 1;
	lease_give_back(w, &w->tasks[TASK_PARKED]);
	versions_give_back(w);
	loop_timer_set(w->drain_timer, w->o.drain_ms);
	upkeep_heartbeat(w);
	worker_check_over(w);
}

static void
schema_seen(void *arg, struct rows *rows, const struct error *cause)
{
	struct worker *w = arg;
	struct error err;
	int r = schema_fits(rows, cause, &err);

	if (r < 0)
		worker_fail(w, &err);
	if (r != 0)
		return;
	w->serving = 1;
	log_info("worker.ready", S_("database", db_where(w->db)),
	    I_("ms", (time_mono_us() - w->began_us) / 1000));
	upkeep_heartbeat(w);
	versions_retry(w);
	secrets_retry(w);
	commits_turn(w);
	poll_wake(w);
}

static void
db_changed(void *arg, enum db_state state, const struct error *cause)
{
	struct worker *w = arg;
	struct error err;

	w->serving = 0;
	if (state == DB_READY) {
		w->connected = 1;
		schema_ask(
		    w->db, "meshhook_engine.claim", schema_seen, w, &err);
		return;
	}
	if (cause == NULL)
		return;
	if (!w->connected && cause->fault != FAULT_RETRY) {
		worker_fail(w, cause);
		return;
	}
	log_warn("db.lost", E_(cause));
	if (w->draining && w->n_held == 0)
		stop(w, 0);
}

static void
woken(void *arg, const char *channel, const char *payload)
{
	(void)channel;
	(void)payload;
	poll_wake(arg);
}

static int
connect_all(struct worker *w, struct error *err)
{
	struct db_options db = {
		.url = w->o.database_url,
		.application_name = "meshhook worker",
		.on_state = db_changed,
		.arg = w,
	};
	struct listen_options listen = {
		.db = { .url = w->o.database_url,
		    .application_name = "meshhook worker listen" },
		.channels = work_channels,
		.fn = woken,
		.arg = w,
	};

	w->db = db_new(w->loop, &db, err);
	if (w->db == NULL)
		return -1;
	w->flush = flush_new(w->loop, w->db);
	if (w->o.no_listen)
		return 0;
	listen.via = w->db;
	w->listen = listen_new(w->loop, &listen, err);
	return w->listen != NULL ? 0 : -1;
}

static void
options_fill(struct worker *w, const struct worker_options *o)
{
	w->o = *o;
	if (w->o.max_in_flight == 0)
		w->o.max_in_flight = 500;
	if (w->o.batch == 0)
		w->o.batch = 100;
	if (w->o.lease_ms == 0)
		w->o.lease_ms = 30000;
	if (w->o.drain_ms == 0)
		w->o.drain_ms = 25000;
	if (w->o.poll_ms == 0)
		w->o.poll_ms = 1000;
	if (w->o.poll_fast_ms == 0)
		w->o.poll_fast_ms = 120;
}

static int
worker_init(struct worker *w, const struct worker_options *o, struct error *err)
{
	struct http_options http = { .guard = &w->guard,
		.ca_file = o->http_ca_file };

	w->began_us = time_mono_us();
	w->exit_code = -1;
	options_fill(w, o);
	uuid_random(&w->id);
	w->slot = w->id.bytes[0] % 64;
	list_init(&w->versions);
	list_init(&w->held);
	list_init(&w->spare);
	for (int i = 0; i < N_TASK_STATES; i++)
		list_init(&w->tasks[i]);
	if (guard_init(&w->guard, o->http_allow, err) < 0)
		return -1;
	w->loop = loop_new(err);
	if (w->loop == NULL)
		return -1;
	poll_init(w);
	commits_init(w);
	leases_init(w);
	upkeep_init(w);
	w->drain_timer = loop_timer_new(w->loop, drain_over, w);
	w->signals[0] = loop_signal_start(w->loop, SIGTERM, signalled, w);
	w->signals[1] = loop_signal_start(w->loop, SIGINT, signalled, w);
	if (secrets_init(w, o->secret_keys, err) < 0)
		return -1;
	w->http = http_new(w->loop, &http, err);
	return w->http != NULL ? connect_all(w, err) : -1;
}

static void
tasks_free(struct worker *w)
{
	struct list *it;

	while ((it = w->held.next) != &w->held)
		task_free(list_entry(it, struct task, held));
	while ((it = list_pop(&w->spare)) != NULL) {
		struct task *t = list_entry(it, struct task, link);

		arena_deinit(&t->arena);
		free(t);
	}
}

static void
worker_deinit(struct worker *w)
{
	if (w->loop != NULL) {
		w->listen = listen_free(w->listen);
		w->db = db_free(w->db);
		w->flush = flush_free(w->flush);
		commits_deinit(w);
		tasks_free(w);
		versions_deinit(w);
		w->http = http_free(w->http);
		w->signals[0] = loop_signal_stop(w->signals[0]);
		w->signals[1] = loop_signal_stop(w->signals[1]);
		w->drain_timer = loop_timer_free(w->drain_timer);
		upkeep_deinit(w);
		leases_deinit(w);
		poll_deinit(w);
		secrets_deinit(w);
		w->loop = loop_free(w->loop);
	}
	guard_deinit(&w->guard);
}

int
worker_main(const struct worker_options *options)
{
	struct worker *w = xcalloc(1, sizeof(*w));
	struct error err;
	int code;

	harden_process();
	if (worker_init(w, options, &err) < 0)
		worker_fail(w, &err);
	else
		loop_run(w->loop);
	code = w->exit_code < 0 ? 1 : w->exit_code;
	log_info("worker.stopped", I_("code", code), I_("items", w->n_items),
	    I_("stale", w->n_stale));
	worker_deinit(w);
	free(w);
	return code;
}
