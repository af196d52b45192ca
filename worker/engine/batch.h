#pragma once
/*
 * The parameters of one commit, built in one pass into the arrays that are
 * sent, and used again for the next.
 */
#include "worker/engine/item.h"

enum batch_array {
	IT_RUN,
	IT_BASE,
	IT_EVENTS,
	IT_LINES,
	IT_STATUS,
	IT_ERROR,
	MG_ITEM,
	MG_ID,
	MG_VT,
	EV_ITEM,
	EV_SEQ,
	EV_TYPE,
	EV_PAYLOAD,
	ST_ITEM,
	ST_STEP,
	ST_STATUS,
	ST_ATTEMPT,
	ST_WAITS,
	ST_LIVE,
	ST_SEQ,
	ST_NEW,
	LG_ITEM,
	LG_ORD,
	LG_LEVEL,
	LG_MESSAGE,
	LG_ATTRS,
	SD_ITEM,
	SD_MESSAGE,
	TM_ITEM,
	TM_KIND,
	TM_STEP,
	TM_ATTEMPT,
	TM_DUE,
	TM_MESSAGE,
	DL_ITEM,
	DL_MESSAGE,
	MG_WAIT,
	MG_TIME,
	HS_ITEM,
	HS_CELL,
	HS_N,
	N_BATCH_ARRAYS
};

/* A bucket of the histogram of one of these is a cell (bucket_end() in SQL). */
enum { CELL_WAIT = 0, CELL_TIME = 512 };

/* How many attempts of a project's are in a cell; item is one of them. */
struct cell {
	const struct uuid *project;
	uint32_t item;
	int32_t n;
	int cell;
};

struct batch {
	struct db_array arrays[N_BATCH_ARRAYS];
	uint32_t n_items, n_sends;
	int64_t due_ms;  /* the first of its timers; 0: none */
	struct buf runs; /* of items with lines, for those who follow them */
	struct cell *cells;
	uint32_t n_cells, room_cells;
};

void batch_init(struct batch *b);
void batch_deinit(struct batch *b); /* idempotent */
void batch_reset(struct batch *b);
/* Items come sorted by run. */
void batch_add(
    struct batch *b, const struct item *item, struct task **tasks, uint32_t n);
size_t batch_bytes(const struct batch *b);
/* All of them, behind the slot; params has room for N_BATCH_ARRAYS + 2. */
void batch_params(struct batch *b, int32_t slot, struct db_param *params);
