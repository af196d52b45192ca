#pragma once
/*
 * What a step does, as data. node_begin renders the step's templates against
 * its context and says what must happen; the engine makes it happen and turns
 * the outcome into the fact that run_evolve folds. Pure.
 */
#include "worker/flow/flow.h"
#include "worker/flow/run.h"

/*
 * What templates see. outputs[i] belongs to flow->nodes[which[i]], NULL when
 * the step has none (skipped, or not there yet): null. What the folded events
 * say of a step goes before what the slice said. What a step reads and neither
 * names is not loaded.
 */
struct context {
	const struct json *input; /* NULL: not loaded */
	const struct json
	    *run; /* {id, workflow, version, started_at, trigger} */
	const uint32_t *which;
	const struct json **outputs;
	uint32_t n_outputs;
	const struct run *folded;   /* or NULL */
	const struct json *secrets; /* by name, for this one step; or NULL */
};

enum effect_type {
	EFFECT_DONE, /* output; for a branch {"case": name} */
	EFFECT_HTTP, /* a request to make; node_http_done() ends it */
	EFFECT_WAIT, /* until_ms: a delay */
	EFFECT_FAIL, /* error: {code, message}; never retried */
};

struct header {
	struct str name, value;
	int secret; /* it holds one */
};

struct http_step {
	struct str method, url, body;
	/* The content type and "Idempotency-Key: RUN.STEP" are among them. */
	struct header *headers;
	uint32_t n_headers;
	int64_t timeout_ms;  /* of one try */
	int64_t deadline_ms; /* of all tries; 0: none */
	int max_redirects;
	int body_secret; /* the body holds one */
};

struct log_line {
	int level; /* as meshhook.logs.level: 9 info, 13 warn, 17 error */
	struct str message;
	const struct json *attrs; /* NULL: none */
};

struct effect {
	enum effect_type type;
	const struct json *output;
	struct http_step http;
	int64_t until_ms;
	const char *code; /* FAIL */
	const char *message;
	struct log_line line; /* a log node's line; message.s NULL: none */
};

/* What came of a try, from the HTTP executor. */
struct http_result {
	int status; /* 0: none came */
	const char
	    *code; /* "HTTP503", "ETIMEDOUT", "SSRF", ...; NULL: a success */
	const char *message;
	int retryable; /* no whole answer, may pass: timeouts, refused, reset */
	int64_t took_ms;
	int64_t retry_after_ms; /* -1: not said */
	const struct header *headers;
	uint32_t n_headers;
	struct str body;
	int truncated;
};

/* Can this step run in the item of the step before it (decisions/0001)? */
int node_is_inline(const struct node *node);

/* The slice lacks an output that the step reads: don't inline it. */
enum { NODE_OUT_NOT_LOADED = 1 };
int node_begin(struct arena *a, const struct flow *flow, uint32_t node,
    const struct context *context, int64_t now_ms, struct effect *out,
    struct error *err);

struct event;
/*
 * The fact that an effect other than HTTP makes: step.succeeded, step.waiting
 * or step.failed. at_ms: the database's clock.
 */
void node_done(struct arena *a, const struct flow *flow,
    const struct message *message, const struct effect *effect, int64_t at_ms,
    struct event *out);

/*
 * The fact that a try makes, step.succeeded or step.failed, and the line a
 * person reads ("POST https://... answered 503 in 41 ms, attempt 2 of 5, next
 * in 1.2 s").
 */
struct
try {
	const struct message *message;
	int64_t at_ms;       /* the database's clock, when it ended */
	int64_t deadline_ms; /* the message's, or begin + http.deadline_ms; 0 */
	uint64_t random;     /* for the jitter */
	const char *what;    /* "POST https://api.example.com/x", redacted */
	const struct http_result *result;
};
void node_http_done(struct arena *a, const struct flow *flow,
    const struct try *try, struct event *out, struct log_line *line);
