#pragma once
/*
 * Does the database's schema fit this program, and the role this process? Each
 * asks when it has connected, before anything else, by schema_ask(), and judges
 * the answer by schema_fits().
 */
#include "supabase/client/db.h"

enum {
	SCHEMA_NEEDED = 1, /* the oldest schema this program works on */
	PROGRAM_LEVEL = 1, /* what schemas compare their oldest_program to */
};

/* As a process that calls this one: "meshhook_engine.claim". */
int schema_ask(struct db *db, const char *function, db_done_fn *fn, void *arg,
    struct error *err);
/*
 *     0  it fits
 *     1  SCHEMA_UNKNOWN: the connection was lost; the next one asks again
 *    -1  it doesn't, and won't by itself: FAULT_CONFIG says what to do
 */
enum { SCHEMA_UNKNOWN = 1 };
int schema_fits(
    struct rows *rows, const struct error *cause, struct error *err);
