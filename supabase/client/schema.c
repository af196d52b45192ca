#include "supabase/client/schema.h"
#include "supabase/client/supabase-sql.h"

int
schema_ask(struct db *db, const char *function, db_done_fn *fn, void *arg,
    struct error *err)
{
	return db_call(db, &sql_schema_info, fn, arg, err, db_text(function));
}

/* The URL of another process logs in well, and can then do nothing. */
static int
role_fits(struct rows *rows, struct error *err)
{
	if (rows_null(rows, 0, "allowed") || rows_bool(rows, 0, "allowed"))
		return 0;
	return fail(err, FAULT_CONFIG, "42501",
	    "the role %.63s may not do this process's work: is the database "
	    "URL that of another process?",
	    rows_text(rows, 0, "role"));
}

int
schema_fits(struct rows *rows, const struct error *cause, struct error *err)
{
	if (cause != NULL && cause->fault == FAULT_RETRY)
		return SCHEMA_UNKNOWN;
	if (cause != NULL)
		return fail(err, FAULT_CONFIG, cause->code,
		    "the schema of MeshHook is not there, or not for this "
		    "role: run \"supabase db push\" (%.200s)",
		    cause->text);
	if (rows->n > 0 && rows_int(rows, 0, "version") >= SCHEMA_NEEDED &&
	    rows_int(rows, 0, "oldest_program") <= PROGRAM_LEVEL)
		return role_fits(rows, err);
	return fail(err, FAULT_CONFIG, "SCHEMA",
	    "the schema has version %lld, this program needs %d: run "
	    "\"supabase db push\", or another release of this program",
	    rows->n > 0 ? (long long)rows_int(rows, 0, "version") : 0,
	    SCHEMA_NEEDED);
}
