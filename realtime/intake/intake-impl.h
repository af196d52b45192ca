#pragma once
/* What intake.c (a request), intake-item.c (a webhook) and intake-batch.c (a
 * transaction) share; each calls those behind it alone. */
#include "core/list.h"
#include "realtime/intake/intake.h"

enum { INTAKE_DIGEST = 32 /* SHA-256 */ };

/* A webhook on its way. Its slices are of the request. */
struct item {
	struct list link;    /* intake->queue; none in a batch */
	struct request *req; /* NULL: the client left */
	struct intake *intake;
	struct uuid endpoint;
	int secret_version; /* 0: the endpoint has none */
	char key[SIGNATURE_ID_MAX + 1];
	unsigned char digest[INTAKE_DIGEST]; /* of the body */
	char *made; /* the input, unless it is the body */
	size_t n_made;
	char *kept; /* what is kept with the body; NULL: it isn't */
	struct quota_state rate;
	int64_t deadline_ms, received_ms;
};

struct batch {
	struct list link; /* intake->sent or intake->resend */
	struct intake *intake;
	size_t n;
	struct item *items[INTAKE_BATCH];
};

/* A request whose endpoint is being looked up. */
struct asking {
	struct endpoint_wait wait;
	struct list link; /* intake->asking */
	struct request *req;
	struct intake *intake;
	int64_t deadline_ms;
};

/* A request that waits for its endpoint's newer secrets, for its token's key
 * or, signed, for its endpoint's rate. */
struct rating {
	struct endpoint_wait secrets;
	struct jwks_wait keys;
	struct quota_wait wait;
	struct list link; /* intake->rating */
	struct request *req;
	struct intake *intake;
	int64_t deadline_ms;
};

struct intake {
	struct loop *loop;
	struct intake_options o;
	struct endpoints *endpoints;
	struct arena arena; /* one body's tree at a time */
	struct arena token; /* the claims of its token */
	struct list asking, rating, queue, sent, resend;
	size_t n_queue;
	uint32_t n_sent; /* batches on their way */
	int slot;
	struct loop_defer *pump; /* at the end of the turn: one batch of all */
	struct loop_timer *sweep, *pause;
	int64_t away_ms; /* since when the database is away; 0: it's there */
	int paused;      /* after the database refused: for a moment */
	struct metric *stored, *duplicates, *refused;
	struct db_array endpoint, version, key, input, meta, digest, body, kept;
};

enum { INTAKE_CHALLENGE = 200 };

/*
 * What a request whose signature holds comes to: the item's key and input.
 *     0    an item to be stored
 *     200  INTAKE_CHALLENGE: what it made is to be sent back, and that is all
 *     400, 415, 422  its body is no JSON, not said to be, or can't be mapped
 */
int intake_read(struct intake *in, struct endpoint *e, struct request *req,
    const struct signature *sig, struct item *item, struct error *err);

/* intake-item.c: into the queue, from which it goes with its client. */
void item_push(struct item *item);
void item_free(struct item *item);
/* Answer and free. */
void item_started(
    struct item *item, const struct uuid *run, const char *outcome);
void item_problem(struct item *item, const struct problem *p);

/* intake-batch.c: from the queue into the database. */
void intake_pump(void *arg);
/* Answer all that have waited until now. */
void intake_expire(struct intake *in, int64_t now, const struct problem *p);
void batches_free(struct intake *in);
