#pragma once
/*
 * What db.c (calls and answers) and db-connect.c (getting a connection) share.
 *
 *   waiting --timer--> looking up --addresses--> connecting --> ready
 *      ^------------------- any failure -----------------------'
 */
#include <libpq-fe.h>

#include "supabase/client/db.h"

enum db_phase { PHASE_WAITING, PHASE_LOOKUP, PHASE_POLLING, PHASE_READY };

/* A call on its way, in a ring. The last one of its transaction is `last`; its
 * answer counts only once that transaction's Sync was answered. */
struct db_entry {
	const char *name;
	db_done_fn *fn;
	void *arg;
	PGresult *res;
	int last;
};

struct db {
	struct loop *loop;
	db_state_fn *on_state;
	void *arg;
	void (*on_notify)(void *arg, const char *channel, const char *payload);
	void *notify_arg;

	PQconninfoOption *url;
	char *name, *where;
	int64_t connect_timeout_ms, dead_after_ms;

	enum db_phase phase;
	PGconn *conn;
	struct loop_io *io;
	struct loop_timer *timer; /* back-off, or the connect timeout */
	struct loop_lookup *lookup;
	struct buf hosts, addrs, ports; /* the lists that libpq is given */
	uint32_t host;                  /* being looked up */
	uint32_t failures;              /* since the last connection */

	struct db_entry *ring;
	uint32_t head, len, room; /* room is a power of two */
	uint32_t answering;       /* of the group at head: entry being read */
	int group, group_open;    /* between db_begin and db_end; has calls */
	struct error at_sync;     /* the group failed when it was committed */
	struct buf scratch;

	struct db_wait *wait; /* db_query's, while it runs the loop */
	uint32_t depth;       /* callbacks of ours on the stack */
	int dead;             /* freed from within one of them */
};

/* A synchronous query in its wait for a connection, then for its answer. It is
 * on the heap, as the answer may come after the caller was interrupted. */
struct db_wait {
	struct loop *loop;
	struct rows rows;
	struct error err;
	int done, abandoned;
};
void db_wait_state(struct db_wait *w, const struct error *err);

/* Parse and keep the URL; nothing of it appears in *err. */
int db_url_parse(struct db *db, const char *url, struct error *err);
void db_url_free(struct db *db);
/* Begin to connect now, or after the back-off. */
void db_connect(struct db *db);
void db_connect_later(struct db *db);
/* Let go of the descriptor and the connection. */
void db_disconnect(struct db *db);
/* db-connect.c calls it when the connection stands ... */
void db_connected(struct db *db);
/* ... and either when it is lost or could not be made. */
void db_lost(struct db *db, const struct error *err);

/* SQLSTATE to what may be done about it. */
enum fault db_fault(const char *sqlstate);
/* libpq's message in one line, without its trailing newline. */
void db_one_line(const char *message, char *out, size_t room);
