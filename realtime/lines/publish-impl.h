#pragma once
/* What publish.c (a request) and publish-batch.c (a transaction) share. */
#include "core/list.h"
#include "realtime/lines/lines.h"
#include "realtime/lines/publish.h"
#include "realtime/limit/rate.h"

/* The parameters of append_logs, in its order. */
enum {
	PUB_TOKEN, /* of a request */
	PUB_PROJECT,
	PUB_SERVICE,
	PUB_RESOURCE, /* of a channel */
	PUB_REQUEST,
	PUB_CHANNEL,
	PUB_ORD,
	PUB_LEVEL,
	PUB_MESSAGE,
	PUB_ATTRS,
	PUB_CLIENT_TS,
	PUB_ID, /* of a line */
	PUB_N_ARRAYS
};

/* A request on its way, with all its lines. */
struct pub_item {
	struct list link;    /* publish->queue; none in a batch */
	struct request *req; /* NULL: the client left, or was answered */
	struct publish *publish;
	struct uuid token;
	struct arena arena;
	struct lines lines;
	size_t cost; /* bytes of memory: 20 times a list of numbers' */
	int64_t deadline_ms, began_us;
};

struct pub_batch {
	struct list link; /* publish->sent or publish->resend */
	struct publish *publish;
	struct arena arena;
	size_t n;
	struct pub_item *items[PUBLISH_BATCH];
	/* of the whole batch; a line's channel as they number them: */
	struct line_channels channels;
	uint32_t *line_channel;
	uint32_t n_lines;
};

struct publish {
	struct loop *loop;
	struct publish_options o;
	struct rates rates;
	uint32_t seed;
	struct list queue, sent, resend;
	size_t queue_cost;
	uint32_t n_sent; /* batches on their way */
	struct loop_defer *pump;
	struct loop_timer *sweep, *pause;
	int64_t away_ms; /* since when the database is away; 0: it's there */
	int paused;
	struct metric *lines, *bytes, *duplicates, *refused, *batches, *seconds;
	struct db_array arrays[PUB_N_ARRAYS];
};

extern const struct problem publish_unavailable;

void publish_pump(void *arg);
void publish_expire(
    struct publish *p, int64_t now, const struct problem *problem);
void pub_item_push(struct publish *p, struct pub_item *item);
struct pub_item *pub_item_free(struct pub_item *item); /* NULL */
/* Answer and free. */
void pub_item_problem(struct pub_item *item, const struct problem *problem);
struct pub_batch *pub_batch_free(struct pub_batch *b); /* NULL; not its items */
