#include "supabase/client/schema.h"

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
		return 0;
	return fail(err, FAULT_CONFIG, "SCHEMA",
	    "the schema has version %lld, this program needs %d: run "
	    "\"supabase db push\", or another release of this program",
	    rows->n > 0 ? (long long)rows_int(rows, 0, "version") : 0,
	    SCHEMA_NEEDED);
}
