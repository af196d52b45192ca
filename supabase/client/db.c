#include "supabase/client/db.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/testpoint.h"
#include "supabase/client/db-impl.h"

#include <stdlib.h>
#include <string.h>

/*
 * In libpq's pipeline each statement is answered by its result and a NULL, and
 * each Sync by PGRES_PIPELINE_SYNC. A transaction is committed by its Sync: an
 * error there (a deferred trigger's, say) comes after the results, so results
 * are kept until the Sync is answered, and only then do the calls end.
 */

/* Classes and states, the more specific ones first. */
static const struct {
	const char *prefix;
	enum fault fault;
} faults[] = {
	{ "08", FAULT_RETRY },
	{ "22", FAULT_INPUT },
	{ "23", FAULT_INPUT },
	{ "25006", FAULT_RETRY }, /* a standby that was the primary */
	{ "25P02", FAULT_RETRY },
	{ "28", FAULT_CONFIG },
	{ "3D", FAULT_CONFIG },
	{ "3F", FAULT_CONFIG }, /* a schema that isn't there: migrations */
	{ "40", FAULT_RETRY },
	{ "42501", FAULT_AUTH },
	{ "42883", FAULT_CONFIG },
	{ "42P01", FAULT_CONFIG },
	{ "53", FAULT_RETRY },
	{ "54", FAULT_INPUT },
	{ "55P03", FAULT_RETRY },
	{ "57", FAULT_RETRY },
	{ "58", FAULT_RETRY },
	{ "P0", FAULT_INPUT },
	{ "MH", FAULT_INPUT },
};

enum fault
db_fault(const char *sqlstate)
{
	for (size_t i = 0; i < NELEM(faults); i++)
		if (strncmp(sqlstate, faults[i].prefix,
			strlen(faults[i].prefix)) == 0)
			return faults[i].fault;
	return FAULT_BUG;
}

static struct db_entry *
entry_at(struct db *db, uint32_t i)
{
	return &db->ring[(db->head + i) & (db->room - 1)];
}

static struct db_entry *
entry_push(struct db *db)
{
	if (db->len == db->room) {
		uint32_t room = db->room > 0 ? db->room * 2 : 16;
		struct db_entry *ring = xcalloc(room, sizeof(*ring));

		for (uint32_t i = 0; i < db->len; i++)
			ring[i] = *entry_at(db, i);
		free(db->ring);
		db->ring = ring;
		db->room = room;
		db->head = 0;
	}
	return entry_at(db, db->len++);
}

static struct db_entry
entry_pop(struct db *db)
{
	struct db_entry e = *entry_at(db, 0);

	db->head = (db->head + 1) & (db->room - 1);
	db->len--;
	return e;
}

static void timed_out(void *arg);
static void connection_failed(struct db *db);

struct db *
db_new(struct loop *loop, const struct db_options *o, struct error *err)
{
	struct db *db = xcalloc(1, sizeof(*db));

	db->loop = loop;
	db->on_state = o->on_state;
	db->arg = o->arg;
	db->connect_timeout_ms =
	    o->connect_timeout_ms > 0 ? o->connect_timeout_ms : 10000;
	db->dead_after_ms = o->dead_after_ms > 0 ? o->dead_after_ms : 20000;
	if (db_url_parse(db, o->url, err) < 0) {
		free(db);
		return NULL;
	}
	db->name = xstrdup(
	    o->application_name != NULL ? o->application_name : "meshhook");
	db->timer = loop_timer_new(loop, timed_out, db);
	db->phase = PHASE_WAITING;
	/* from the loop, so that no callback comes before db_new returned */
	loop_timer_set(db->timer, 0);
	return db;
}

static void
db_reap(struct db *db)
{
	buf_deinit(&db->hosts);
	buf_deinit(&db->addrs);
	buf_deinit(&db->ports);
	buf_deinit(&db->scratch);
	free(db->ring);
	free(db->name);
	free(db->where);
	free(db);
}

/* Within one of our callbacks only the shell is left, for the caller above. */
struct db *
db_free(struct db *db)
{
	if (db == NULL || db->dead)
		return NULL;
	db->dead = 1;
	while (db->len > 0)
		PQclear(entry_pop(db).res);
	db_disconnect(db);
	db->timer = loop_timer_free(db->timer);
	db_url_free(db);
	if (db->depth == 0)
		db_reap(db);
	return NULL;
}

static void
callback_enter(struct db *db)
{
	db->depth++;
}

/* True when the db is gone: then nothing of it may be touched. */
static int
callback_leave(struct db *db)
{
	if (--db->depth > 0)
		return db->dead;
	if (!db->dead)
		return 0;
	db_reap(db);
	return 1;
}

static void
tell_state(struct db *db, enum db_state state, const struct error *err)
{
	if (db->wait != NULL)
		db_wait_state(db->wait, err);
	if (db->on_state != NULL && !db->dead)
		db->on_state(db->arg, state, err);
}

int
db_ready(const struct db *db)
{
	return db->phase == PHASE_READY;
}

uint32_t
db_outstanding(const struct db *db)
{
	return db->len;
}

/* End the first n calls; err NULL: with their own results. */
static void
calls_end(struct db *db, uint32_t n, const struct error *err)
{
	while (n-- > 0 && !db->dead) {
		struct db_entry e = entry_pop(db);
		struct rows rows = { .res = e.res, .n = 0, .column = -1 };
		struct error own;

		if (err != NULL) {
			e.fn(e.arg, NULL, err);
		} else if (PQresultStatus(e.res) == PGRES_TUPLES_OK ||
		    PQresultStatus(e.res) == PGRES_COMMAND_OK) {
			rows.n = PQntuples(e.res);
			e.fn(e.arg, &rows, NULL);
		} else {
			const char *code =
			    PQresultErrorField(e.res, PG_DIAG_SQLSTATE);
			const char *text =
			    PQresultErrorField(e.res, PG_DIAG_MESSAGE_PRIMARY);

			if (code == NULL)
				code = "25P02";
			fail(&own, db_fault(code), code, "%s: %s", e.name,
			    text != NULL ? text : "a call before it failed");
			e.fn(e.arg, NULL, &own);
		}
		rows_deinit(&rows);
	}
}

void
db_lost(struct db *db, const struct error *err)
{
	struct error lost;
	uint32_t n = db->len;

	fail(&lost, FAULT_RETRY, "08006", "%s", err->text);
	callback_enter(db);
	db_disconnect(db);
	db->answering = 0;
	db->group_open = 0;
	db->at_sync.fault = FAULT_NONE;
	db_connect_later(db);
	calls_end(db, n, &lost);
	tell_state(db, DB_CONNECTING, err);
	callback_leave(db);
}

/* The connect timeout, the end of the back-off, or the end of a connection
 * that broke while we were sending. */
static void
timed_out(void *arg)
{
	struct db *db = arg;
	struct error err;

	if (db->phase == PHASE_READY) {
		connection_failed(db);
		return;
	}

	if (db->phase == PHASE_WAITING) {
		db_connect(db);
		return;
	}
	fail(&err, FAULT_RETRY, "08001", "database: no connection after %lld s",
	    (long long)db->connect_timeout_ms / 1000);
	db_lost(db, &err);
}

/* The group at the head was committed, or failed to be. */
static void
group_done(struct db *db)
{
	struct error at_sync = db->at_sync;
	uint32_t n = 0;

	while (!entry_at(db, n++)->last)
		;
	db->answering = 0;
	db->at_sync.fault = FAULT_NONE;
	calls_end(db, n, at_sync.fault != FAULT_NONE ? &at_sync : NULL);
}

static void
commit_failed(struct db *db, PGresult *res)
{
	const char *code = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	if (code == NULL)
		code = "08006";
	fail(&db->at_sync, db_fault(code), code, "%s: %s",
	    entry_at(db, 0)->name,
	    PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY));
	PQclear(res);
}

/* One result of libpq. The entry being answered moves on at each NULL. */
static void
result_input(struct db *db, PGresult *res)
{
	struct db_entry *e = entry_at(db, db->answering);
	int past_last =
	    db->answering > 0 && entry_at(db, db->answering - 1)->last;

	if (res == NULL) {
		if (!past_last && e->res != NULL)
			db->answering++;
	} else if (PQresultStatus(res) == PGRES_PIPELINE_SYNC) {
		PQclear(res);
		group_done(db);
	} else if (past_last) {
		commit_failed(db, res);
	} else {
		PQclear(e->res);
		e->res = res;
	}
}

static void
notifications_input(struct db *db)
{
	PGnotify *n;

	while (!db->dead && db->conn != NULL &&
	    (n = PQnotifies(db->conn)) != NULL) {
		if (db->on_notify != NULL)
			db->on_notify(db->notify_arg, n->relname, n->extra);
		PQfreemem(n);
	}
}

static void
connection_failed(struct db *db)
{
	struct error err;
	char text[400];

	db_one_line(PQerrorMessage(db->conn), text, sizeof(text));
	fail(&err, FAULT_RETRY, "08006", "database: %s",
	    text[0] != '\0' ? text : "connection lost");
	db_lost(db, &err);
}

/* libpq closes the socket itself when sending fails, and the number may be
 * another's at once: so the watch ends here, and the calls from the loop. */
static void
broken(struct db *db)
{
	db->io = loop_io_stop(db->io);
	loop_timer_set(db->timer, 0);
}

static void
flush(struct db *db)
{
	int r;

	if (db->io == NULL)
		return; /* broken already */
	r = PQflush(db->conn);

	if (r < 0 || PQstatus(db->conn) == CONNECTION_BAD)
		broken(db);
	else
		loop_io_set(db->io, r > 0 ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

/* A connection that broke, maybe while a callback was sending, is never busy
 * and has no result for ever. */
static void
answers_input(struct db *db)
{
	while (!db->dead && db->phase == PHASE_READY && db->len > 0 &&
	    !PQisBusy(db->conn)) {
		PGresult *res = PQgetResult(db->conn);

		if (res == NULL && PQstatus(db->conn) == CONNECTION_BAD)
			return;
		result_input(db, res);
	}
}

static void
io_ready(void *arg, int events)
{
	struct db *db = arg;

	callback_enter(db);
	if ((events & LOOP_READ) && !PQconsumeInput(db->conn))
		connection_failed(db);
	answers_input(db);
	if (!db->dead && db->phase == PHASE_READY)
		notifications_input(db);
	if (!db->dead && db->phase == PHASE_READY) {
		if (PQstatus(db->conn) == CONNECTION_BAD)
			connection_failed(db);
		else
			flush(db);
	}
	callback_leave(db);
}

void
db_connected(struct db *db)
{
	struct error err;

	if (PQsetnonblocking(db->conn, 1) < 0 ||
	    PQenterPipelineMode(db->conn) == 0) {
		fail(&err, FAULT_BUG, "08001", "database: no pipeline mode");
		db_lost(db, &err);
		return;
	}
	loop_timer_clear(db->timer);
	db->failures = 0;
	db->phase = PHASE_READY;
	db->io = loop_io_start(
	    db->loop, PQsocket(db->conn), LOOP_READ, io_ready, db);
	callback_enter(db);
	tell_state(db, DB_READY, NULL);
	callback_leave(db);
}

const char *
db_where(const struct db *db)
{
	return db->where;
}

static void
group_sync(struct db *db)
{
	entry_at(db, db->len - 1)->last = 1;
	PQpipelineSync(db->conn);
	flush(db);
}

/* jsonb's binary form is its text behind a version byte. */
static size_t
scratch_need(const struct db_param *params)
{
	size_t need = 0;

	for (; params->type != 0; params++)
		if (params->type == DB_JSONB && params->n >= 0)
			need += (size_t)params->n + 1;
	return need;
}

static int
params_send(struct db *db, const struct sql *sql, const struct db_param *params)
{
	Oid types[DB_PARAMS_MAX];
	const char *values[DB_PARAMS_MAX];
	int lengths[DB_PARAMS_MAX], formats[DB_PARAMS_MAX];
	int n = 0;

	buf_clear(&db->scratch);
	buf_reserve(&db->scratch, scratch_need(params));
	for (const struct db_param *p = params; p->type != 0; p++, n++) {
		if (n == DB_PARAMS_MAX)
			abort();
		types[n] = p->type;
		lengths[n] = p->n;
		formats[n] = 1;
		values[n] =
		    p->bytes != NULL ? p->bytes : (const void *)&p->word;
		if (p->n < 0) {
			values[n] = NULL;
		} else if (p->type == DB_JSONB) {
			values[n] = db->scratch.bytes + db->scratch.len;
			lengths[n]++;
			buf_addc(&db->scratch, 1);
			buf_add(&db->scratch, p->bytes, (size_t)p->n);
		}
	}
	return PQsendQueryParams(
	    db->conn, sql->text, n, types, values, lengths, formats, 1);
}

int
db_send(struct db *db, const struct sql *sql, const struct db_param *params,
    db_done_fn *fn, void *arg, struct error *err)
{
	struct db_entry *e;

	if (db->phase != PHASE_READY || db->io == NULL)
		return fail(err, FAULT_RETRY, "08003",
		    "%s: not connected to the database", sql->name);
	if (fault_hit() || !params_send(db, sql, params)) {
		broken(db);
		return fail(err, FAULT_RETRY, "08006",
		    "%s: not sent to the database", sql->name);
	}
	e = entry_push(db);
	*e = (struct db_entry){ .name = sql->name, .fn = fn, .arg = arg };
	if (db->group)
		db->group_open = 1;
	else
		group_sync(db);
	return 0;
}

void
db_begin(struct db *db)
{
	db->group = 1;
}

void
db_end(struct db *db)
{
	db->group = 0;
	if (!db->group_open)
		return;
	db->group_open = 0;
	group_sync(db);
}
