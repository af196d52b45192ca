#pragma once
/* What history.c (a request) and history-write.c (its answer) share. */
#include "core/buf.h"
#include "core/uuid.h"
#include "supabase/client/db.h"

enum { HISTORY_LINES = 1000, HISTORY_ATTRS = 8, HISTORY_TEXT = 512 };
#define HISTORY_NO_TIME INT64_MIN

enum history_format { HISTORY_JSON, HISTORY_NDJSON, HISTORY_CSV };

struct history_query {
	struct str query;    /* as it was sent */
	struct str channels; /* by commas */
	int level;
	int64_t since_ms, until_ms; /* or HISTORY_NO_TIME */
	struct str text;            /* n 0: any */
	struct str attrs;           /* JSON; s NULL: any */
	int32_t limit;
	int descending;
	int has_after; /* the page begins after: */
	int64_t after_us, after_seq;
	struct uuid after_channel;
	enum history_format format;
};

/* The body, and the header lines; returns its type. */
const char *history_write(struct buf *body, struct buf *headers,
    const struct history_query *q, struct rows *rows);
