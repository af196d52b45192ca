#pragma once
/* What intake.c (a request) and intake-batch.c (a transaction) share. */
#include "core/list.h"
#include "realtime/intake.h"

/* A webhook on its way. Its slices are of the request. */
struct item {
	struct list link;    /* intake->queue; none in a batch */
	struct request *req; /* NULL: the client left */
	struct intake *intake;
	struct uuid endpoint;
	int secret_version;
	struct str key;
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

struct intake {
	struct loop *loop;
	struct intake_options o;
	struct endpoints *endpoints;
	struct arena arena; /* one body's tree at a time */
	struct list asking, queue, sent, resend;
	size_t n_queue;
	uint32_t n_sent; /* batches on their way */
	int slot;
	struct loop_defer *pump; /* at the end of the turn: one batch of all */
	struct loop_timer *sweep, *pause;
	int64_t away_ms; /* since when the database is away; 0: it's there */
	int paused;      /* after the database refused: for a moment */
	struct db_array endpoint, version, key, input, meta;
};

void intake_pump(void *arg);
/* Answer all that have waited until now. */
void intake_expire(struct intake *in, int64_t now, const struct problem *p);
void item_push(struct intake *in, struct item *item);
/* Answer and free. */
void item_started(struct item *item, const struct uuid *run, int duplicate);
void item_problem(struct item *item, const struct problem *p);
