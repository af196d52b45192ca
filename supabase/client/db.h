#pragma once
/*
 * Postgres on the event loop: one connection, pipelined. libpq's header is
 * included in db*.c and nowhere else.
 *
 * A struct db connects in the background and again whenever the connection is
 * lost, with backoff and jitter; names are resolved off the loop. Calls are
 * unnamed statements with binary parameters and results, so that all of it
 * works through a transaction pooler. Each call is its own transaction, unless
 * made between db_begin and db_end: then those calls are one, and an error
 * fails all that follow it in the group with code "25P02".
 *
 * A call ends exactly once, from the loop, never within db_call, in the order
 * in which the calls were made. When the connection is lost all outstanding
 * calls end with FAULT_RETRY and code "08006": whether they were committed is
 * not known, and what they do must bear being done again. Done functions may
 * call, and may free the db.
 *
 * Neither errors nor logs hold anything of the URL but host and user.
 */
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/uuid.h"

/* One statement of a .sql file, embedded by scripts/embed-sql. */
struct sql {
	const char *name, *text;
};

struct db;

enum db_state {
	DB_CONNECTING, /* first time, or again: *err says why, when known */
	DB_READY,
};

/* err is NULL when DB_READY, and at the first DB_CONNECTING. FAULT_CONFIG and
 * FAULT_AUTH will not mend by themselves; db goes on trying all the same. */
typedef void db_state_fn(
    void *arg, enum db_state state, const struct error *err);

struct db_options {
	const char *url;              /* postgresql://... or key=value ... */
	const char *application_name; /* NULL: "meshhook" */
	int64_t connect_timeout_ms;   /* of one try; 0: 10 s */
	int64_t dead_after_ms;        /* peer silent while owing; 0: 20 s */
	db_state_fn *on_state;        /* may be NULL */
	void *arg;
};

/* Options are copied. NULL with FAULT_CONFIG when the URL is malformed. */
struct db *db_new(
    struct loop *loop, const struct db_options *options, struct error *err);
struct db *db_free(struct db *db); /* drops outstanding calls; NULL */
int db_ready(const struct db *db);
/* Calls that have not ended. */
uint32_t db_outstanding(const struct db *db);
/* "host:port", or "socket:path", for people. */
const char *db_where(const struct db *db);

/* Postgres' types of parameters and array elements (their OIDs). */
enum db_type {
	DB_BOOL = 16,
	DB_BYTEA = 17,
	DB_INT8 = 20,
	DB_INT2 = 21,
	DB_INT4 = 23,
	DB_TEXT = 25,
	DB_TIMESTAMPTZ = 1184,
	DB_UUID = 2950,
	DB_JSONB = 3802,
};

/*
 * Parameters, by value: db_call(db, &sql, fn, arg, &err, db_int4(1), ...).
 * What they point to is read before db_call returns. Times are microseconds
 * since 2000-01-01 UTC, as Postgres keeps them.
 */
struct db_param {
	uint32_t type; /* 0 ends the list */
	int32_t n;     /* -1: NULL */
	const void *bytes;
	uint64_t word; /* the bytes themselves, when bytes is NULL */
};

struct db_array;
struct db_param db_null(enum db_type type);
struct db_param db_bool(int v);
struct db_param db_int4(int32_t v);
struct db_param db_int8(int64_t v);
struct db_param db_time(int64_t us);
struct db_param db_text(const char *s);         /* NULL: null */
struct db_param db_str(struct str s);           /* s.s NULL: null */
struct db_param db_jsonb(struct str s);         /* JSON text; s.s NULL: null */
struct db_param db_uuid(const struct uuid *id); /* NULL: null */
struct db_param db_array(struct db_array *a);

/*
 * An array parameter, built straight into the bytes that are sent. Elements are
 * added one by one; reset keeps the memory for the next batch.
 */
struct db_array {
	struct buf buf;
	enum db_type type;
	uint32_t n;
	int has_null;
};

void db_array_init(struct db_array *a, enum db_type type);
void db_array_deinit(struct db_array *a); /* idempotent */
void db_array_reset(struct db_array *a);
void db_array_null(struct db_array *a);
void db_array_bool(struct db_array *a, int v);
void db_array_int2(struct db_array *a, int16_t v);
void db_array_int4(struct db_array *a, int32_t v);
void db_array_int8(struct db_array *a, int64_t v);
void db_array_time(struct db_array *a, int64_t us);
void db_array_uuid(struct db_array *a, const struct uuid *id);
void db_array_str(struct db_array *a, struct str s); /* or bytes; NULL: null */
void db_array_jsonb(struct db_array *a, struct str json);

/*
 * Results. Rows given to a done function live until it returns, unless moved:
 * mine = *rows; rows->res = NULL; and later rows_deinit(&mine). Columns are
 * read by name; reading them in the order of the select list costs one
 * comparison each. A column that isn't there is our bug: it aborts.
 */
struct rows {
	void *res;
	int n;      /* rows; 0 for a statement that returns none */
	int column; /* private: the last one read */
};

void rows_deinit(struct rows *rows); /* idempotent */
int rows_null(struct rows *rows, int row, const char *column);
int64_t rows_int(struct rows *rows, int row, const char *column); /* int2 4 8 */
int rows_bool(struct rows *rows, int row, const char *column);
double rows_double(struct rows *rows, int row, const char *column);
/* Text and jsonb, NUL-terminated; s NULL when null. */
struct str rows_str(struct rows *rows, int row, const char *column);
const char *rows_text(struct rows *rows, int row, const char *column);
int64_t rows_time(
    struct rows *rows, int row, const char *column); /* us, 2000 */
int64_t rows_time_ms(struct rows *rows, int row, const char *column); /* 1970 */
/* -1 when null */
int rows_uuid(struct rows *rows, int row, const char *column, struct uuid *id);
/* The rows from this one on that have its uuid: how many. */
int rows_group(struct rows *rows, int row, const char *column, struct uuid *id);

/* Milliseconds since 1970 from Postgres' microseconds, and back. */
int64_t db_time_to_ms(int64_t us);
int64_t db_time_from_ms(int64_t ms);

/* rows is NULL when err is not. */
typedef void db_done_fn(void *arg, struct rows *rows, const struct error *err);

/* -1 with FAULT_RETRY "08003" while not connected: then fn is not called. */
#define db_call(db, sql, fn, arg, err, ...)                                    \
	db_send(db, sql, DB_PARAMS(__VA_ARGS__), fn, arg, err)
#define DB_PARAMS(...)                                                         \
	((const struct db_param[]){ __VA_ARGS__ __VA_OPT__(, ){ 0 } })
enum { DB_PARAMS_MAX = 64 };
int db_send(struct db *db, const struct sql *sql, const struct db_param *params,
    db_done_fn *fn, void *arg, struct error *err);
/* The calls between them are one transaction, sent as one. */
void db_begin(struct db *db);
void db_end(struct db *db);

/*
 * For the command line: runs the loop until connected and until the answer is
 * there. The first connection that fails is an error, a lost one is, too. Not
 * from within a callback. The caller ends *rows with rows_deinit.
 */
#define db_query(db, sql, rows, err, ...)                                      \
	db_query_params(db, sql, DB_PARAMS(__VA_ARGS__), rows, err)
int db_query_params(struct db *db, const struct sql *sql,
    const struct db_param *params, struct rows *rows, struct error *err);

/*
 * Notifications, on a connection of their own. Through a transaction pooler
 * LISTEN is accepted and nothing ever arrives, so a probe is sent through
 * `via`: until it came back, listen_works() is 0 and the owner must poll.
 * fn(arg, NULL, NULL) says that notifications may have been missed: at first,
 * and after the connection was lost.
 */
struct listen;
typedef void listen_fn(void *arg, const char *channel, const char *payload);

struct listen_options {
	struct db_options db;        /* on_state and arg are not used */
	const char *const *channels; /* NULL-terminated; identifiers */
	struct db *via;              /* outlives the listen */
	listen_fn *fn;
	void *arg;
};
struct listen *listen_new(
    struct loop *loop, const struct listen_options *options, struct error *err);
struct listen *listen_free(struct listen *l); /* NULL */
int listen_works(const struct listen *l);
