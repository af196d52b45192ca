#pragma once
/*
 * Reading server-sent events (WHATWG HTML, 9.2.6), piece by piece: bytes in,
 * however they were cut; events out. Pure but for its buffers.
 *
 * A line ends in CR, LF or both; an event ends at an empty line, and what the
 * stream's end cuts off is none. Fields that nobody knows and comments are
 * skipped. `id` is the last one that came, also with an earlier event: it is
 * what a client says when it comes back.
 */
#include "core/buf.h"
#include "core/error.h"

struct sse_event {
	struct str type; /* "message" where none was said */
	struct str data; /* lines joined by LF */
	struct str id;   /* "" where none was said yet */
};

/* What it gets is borrowed. */
typedef void sse_fn(void *arg, const struct sse_event *event);

struct sse_client {
	size_t max;       /* bytes of one event */
	int64_t retry_ms; /* as the server said; -1: it didn't */
	/* private */
	struct buf line, type, data, id;
	int began, has_data, skip_lf;
};

void sse_client_init(struct sse_client *c, size_t max);
void sse_client_deinit(struct sse_client *c); /* idempotent */
/* -1, FAULT_INPUT "SSE": an event is larger than max; end the stream. */
int sse_client_feed(struct sse_client *c, struct str bytes, sse_fn *fn,
    void *arg, struct error *err);
/* The connection is another one; id and retry_ms stay. */
void sse_client_reset(struct sse_client *c);
