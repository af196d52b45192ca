/*
 * What a user may on a private channel, asked as the real server asks: with a
 * probe row in realtime.messages, as that user, in a transaction that is rolled
 * back. May it read: the probe is written by us and looked for as the user. May
 * it write: the user writes the probe.
 */
#include "core/log.h"
#include "core/mem.h"
#include "realtime/local/local-impl.h"
#include "realtime/realtime-sql.h"

#include <stdlib.h>
#include <string.h>

static const struct sql sql_begin = { "local_begin", "begin" };
static const struct sql sql_rollback = { "local_rollback", "rollback" };

struct access *
access_new(struct channel *channel, void (*fn)(struct access *, enum may))
{
	struct access *ask = xcalloc(1, sizeof(*ask));

	ask->fn = fn;
	ask->channel = channel;
	ask->socket = channel->socket;
	ask->socket->asking = ask;
	list_append(&ask->socket->local->asked, &ask->link);
	bearer_copy(&ask->who, &channel->who);
	uuid_random(&ask->probe);
	return ask;
}

struct access *
access_free(struct access *ask)
{
	if (ask->socket != NULL)
		ask->socket->asking = NULL;
	list_remove(&ask->link);
	bearer_clear(&ask->who);
	free(ask->again);
	free(ask);
	return NULL;
}

void
access_cancel(struct access *ask)
{
	ask->socket->asking = NULL;
	ask->socket = NULL;
	if (ask->channel != NULL && list_empty(&ask->channel->link))
		channel_free(ask->channel); /* it was only to be joined */
	ask->channel = NULL;
}

/* A role that a token may name. Others are nobody's here, as the gateway
 * becomes none of them anywhere else. */
static int
is_role(const char *role)
{
	return strcmp(role, "anon") == 0 ||
	    strcmp(role, "authenticated") == 0 ||
	    strcmp(role, "service_role") == 0;
}

/* The last of its calls ended. */
static void
answered(struct access *ask)
{
	if (ask->socket == NULL)
		access_free(ask);
	else
		ask->fn(ask, ask->answer);
}

/* One call ended, in failure that may decide. */
static void
step_done(void *arg, struct rows *rows, const struct error *err)
{
	struct access *ask = arg;

	(void)rows;
	/* behind what failed first, everything fails */
	if (err != NULL && strcmp(err->code, "25P02") != 0) {
		ask->answer = err->fault == FAULT_RETRY ? MAY_UNKNOWN : MAY_NOT;
		log_debug("realtime.asked", E_(err));
	}
	if (--ask->owed == 0)
		answered(ask);
}

static void
read_done(void *arg, struct rows *rows, const struct error *err)
{
	struct access *ask = arg;

	if (err == NULL)
		ask->answer = rows_bool(rows, 0, "may") ? MAY : MAY_NOT;
	step_done(ask, rows, err);
}

static void
write_done(void *arg, struct rows *rows, const struct error *err)
{
	struct access *ask = arg;

	if (err == NULL)
		ask->answer = MAY;
	step_done(ask, rows, err);
}

#define CALL(ask, db, sql, fn, ...)                                            \
	((ask)->owed += db_call(db, sql, fn, ask, NULL, __VA_ARGS__) == 0)

static void
claims(struct access *ask, struct db *db, struct str topic)
{
	CALL(ask, db, &sql_local_claims, step_done, db_text(ask->who.role),
	    db_str(topic), db_text(ask->who.claims));
}

static void
ask_read(struct access *ask, struct db *db, struct str topic)
{
	CALL(ask, db, &sql_local_probe, step_done, db_uuid(&ask->probe),
	    db_str(topic));
	claims(ask, db, topic);
	CALL(ask, db, &sql_local_may_read, read_done, db_uuid(&ask->probe),
	    db_str(topic));
}

static void
ask_write(struct access *ask, struct db *db, struct str topic)
{
	claims(ask, db, topic);
	CALL(ask, db, &sql_local_probe, write_done, db_uuid(&ask->probe),
	    db_str(topic));
}

/* In one transaction; the rollback stands alone, to end one that failed. */
static void
ask_it(struct access *ask,
    void (*what)(struct access *ask, struct db *db, struct str topic))
{
	struct db *db = ask->socket->local->db;

	if (!is_role(ask->who.role)) {
		ask->answer = MAY_NOT;
	} else if (db_ready(db)) {
		db_begin(db);
		CALL(ask, db, &sql_begin, step_done, { 0 });
		what(ask, db, str_of(ask->channel->topic));
		db_end(db);
		CALL(ask, db, &sql_rollback, step_done, { 0 });
	}
	if (ask->owed == 0)
		answered(ask);
}

void
access_ask_read(struct access *ask)
{
	ask_it(ask, ask_read);
}

void
access_ask_write(struct access *ask)
{
	ask_it(ask, ask_write);
}
