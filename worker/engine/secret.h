#pragma once
/*
 * Secrets in a worker. A version that uses any has them opened while it is in
 * memory, the current values to send and those replaced within a day to mask,
 * and nothing of what its runs come to is recorded before.
 *
 * A task whose step sends a secret asks for it anew: so the database has
 * recorded the use before it happens, and a value that was rotated or deleted a
 * moment ago is not sent any more. All that ask in one turn ask together. Other
 * tasks of the version take what is there, unless it is older than KEEP_MS.
 */
#include "core/loop.h"
#include "core/uuid.h"
#include "supabase/client/db.h"
#include "supabase/client/vault.h"
#include "worker/flow/mask.h"

struct task;
struct worker;
struct version;

enum { SECRET_KEEP_MS = 30000 };

/* Of a version. */
struct secrets {
	struct arena arena;
	struct json *values; /* by name */
	struct json *hosts;  /* by name: "api.example.com *.example.org:8443" */
	struct json *wrong;  /* by name: why there is no value */
	struct mask *mask;   /* NULL: nothing to mask */
	int64_t at_ms;       /* when it was read; 0: never */
	uint64_t call;       /* which call brought it */
};

/* A worker's asking. */
struct asking {
	struct vault vault; /* n 0: no key is held */
	struct loop_defer *turn;
	struct db_array project, name, run;
	uint64_t call;
	int out; /* one is on its way */
};

int secrets_init(struct worker *w, struct str keys, struct error *err);
void secrets_deinit(struct worker *w);
void secrets_wipe(struct secrets *s); /* of a version that goes */
/* Kinds of personal data need no database. */
void secrets_prepare(struct version *v);
/* 1: task_go() follows; 0: go at once. */
int secrets_take(struct task *t);
void secrets_retry(struct worker *w); /* connected again, or now and then */

/* The values that the task's step uses, in *out. -1: one is not to be had. */
int secrets_of(struct task *t, struct json **out, struct error *err);
/* May they go to this URL's host? */
int secrets_host_check(struct task *t, struct str url, struct error *err);
