#pragma once
/*
 * Errors. A function that can fail returns int and takes struct error last:
 *     0  done
 *    <0  failed, *err says why; hand it up unchanged or add context
 *    >0  an outcome this function documents (enum *_OUT_*); caller handles it
 * The caller owns *err; it never allocates.
 */
enum fault {
	FAULT_NONE,
	FAULT_RETRY,  /* the world's fault, may pass: retry with backoff */
	FAULT_INPUT,  /* this job's fault: fail the step, never retry */
	FAULT_CONFIG, /* the operator's fault: exit 78, do not restart */
	FAULT_AUTH,   /* the caller may not do this: exit 3 */
	FAULT_BUG,    /* our fault: log, abort in debug builds */
};

struct error {
	enum fault fault;
	char code[20];  /* SQLSTATE, "HTTP503", "unknown-function" */
	char text[488]; /* "claim: connection lost", outermost context first */
};

/* Fill *err (which may be NULL) and return -1. */
int fail(struct error *err, enum fault fault, const char *code, const char *fmt,
    ...) __attribute__((format(printf, 4, 5)));

/* Put "context: " in front of err->text and return -1. */
int fail_in(struct error *err, const char *context);

/* The stable lower-case name of a fault: "retry", "input", ... */
const char *fault_name(enum fault fault);
