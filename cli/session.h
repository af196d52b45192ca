#pragma once
/*
 * A command's conversation with the database: a loop, a connection as the
 * operator, and the project that is meant. Statements of the command line
 * answer records as JSON text in a column `record`, which are printed as they
 * are (-o json) or by columns.
 */
#include "cli/cli.h"
#include "supabase/client/db.h"

struct session {
	struct cli *cli;
	struct loop *loop;
	struct db *db;
	struct uuid project;
	char id[UUID_TEXT]; /* the project's */
	const char *slug;
};

/* Connects; an error says what to do about it. session_close in any case. */
int session_open(struct session *s, struct cli *cli, struct error *err);
/* Its two halves: a loop without a database, and the connection. */
int session_begin(struct session *s, struct cli *cli, struct error *err);
int session_connect(struct session *s, struct error *err);
/* The project of --project or MESHHOOK_PROJECT, or the only one there is. */
int session_project(struct session *s, struct error *err);
/* Both of them. */
int session_open_project(struct session *s, struct cli *cli, struct error *err);
void session_close(struct session *s);
/* What a command with a session does. */
int session_command(struct cli *cli, struct error *err);

/* A run's id: as given, or the project's newest for "latest". */
int session_run(
    struct session *s, const char *arg, char id[UUID_TEXT], struct error *err);

/* Run a statement; the error is put into words for people. */
#define SESSION_QUERY(s, sql, rows, err, ...)                                  \
	session_query(s, sql, DB_PARAMS(__VA_ARGS__), rows, err)
int session_query(struct session *s, const struct sql *sql,
    const struct db_param *params, struct rows *rows, struct error *err);
/* One record; *out is NULL when there is none. */
#define SESSION_RECORD(s, sql, out, err, ...)                                  \
	session_record(s, sql, DB_PARAMS(__VA_ARGS__), out, err)
int session_record(struct session *s, const struct sql *sql,
    const struct db_param *params, struct json **out, struct error *err);
/* Print every record as a row between out_begin and out_end. */
#define SESSION_ROWS(s, sql, err, ...)                                         \
	session_rows(s, sql, DB_PARAMS(__VA_ARGS__), err)
int session_rows(struct session *s, const struct sql *sql,
    const struct db_param *params, struct error *err);
/* All of them, as a list: its exit status. */
#define SESSION_LIST(s, columns, sql, err, ...)                                \
	session_list(                                                          \
	    s, columns, NELEM(columns), sql, DB_PARAMS(__VA_ARGS__), err)
int session_list(struct session *s, const struct column *columns, size_t n,
    const struct sql *sql, const struct db_param *params, struct error *err);
/* One record, printed as an object. */
#define SESSION_SHOW(s, columns, record)                                       \
	OUT_OBJECT(&(s)->cli->out, &(s)->cli->arena, columns, record)

/* Fails: the project, or the installation, has no such thing; `list` is the
 * command that names them. */
/* 1: there is one; "workflow", "channel" or "rule", project null: the
 * installation's. "rule of any": of whatever project. */
int session_known(struct session *s, const char *what, struct db_param project,
    const char *name, struct error *err);
int session_unknown(const struct session *s, const char *what, const char *name,
    const char *list, struct error *err);
/* Put an error of the database into words for people: without the statement's
 * name (NULL: none), with what to do about it. -1. */
int session_advise(const struct sql *sql, struct error *err);
/* Let the loop run for so long. */
void session_sleep(struct session *s, int64_t ms);
/* Say something on stderr, unless -q. */
void session_note(const struct session *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
