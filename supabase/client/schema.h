#pragma once
/*
 * Does the database's schema fit this program? Each process asks when it has
 * connected, before anything else:
 *     db_call(db, &sql_schema_info, seen, arg, &err)
 * and judges the answer by schema_fits().
 */
#include "supabase/client/db.h"

extern const struct sql sql_schema_info;

enum {
	SCHEMA_NEEDED = 1, /* the oldest schema this program works on */
	PROGRAM_LEVEL = 1, /* what schemas compare their oldest_program to */
};

/*
 *     0  it fits
 *     1  SCHEMA_UNKNOWN: the connection was lost; the next one asks again
 *    -1  it doesn't, and won't by itself: FAULT_CONFIG says what to do
 */
enum { SCHEMA_UNKNOWN = 1 };
int schema_fits(
    struct rows *rows, const struct error *cause, struct error *err);
