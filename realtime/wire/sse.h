#pragma once
/*
 * What goes over an event stream (text/event-stream, WHATWG HTML 9.2):
 *
 *     event: ready   {"stream", "channels": [{"channel", ...}]}
 *     event: log     {"channel", "epoch", "lines": [line, ...]}
 *     event: gap     {"channel", "epoch", "from", "to", "reason"}
 *     event: auth    {"expires_in"}: seconds
 *     event: end     {"channel", "seq"}
 *
 * An event is one `data:` line of JSON, then perhaps its `id:`, the cursor
 * behind it. A log event is put together from parts, of which all but the
 * id are the same for every reader:
 *     head, lines (each with a comma behind it, but for the last), tail
 *
 * Pure: it only appends to buffers.
 */
#include <stdint.h>

#include "core/buf.h"

struct sse_line {
	int64_t seq, ts_ms;
	int level; /* as OpenTelemetry counts */
	struct str message;
	struct str attrs;  /* JSON text; s NULL: none */
	struct str source; /* s NULL: the channel's own */
};

/* The least level with that name ("trace", "debug", "info", "warn", "error",
 * "fatal"), or a number of 1 to 24; -1: no such. */
int sse_level(struct str name);

/* A string as JSON, quoted. */
void sse_json(struct buf *b, struct str text);

/* Up to the first line. */
void sse_log_head(struct buf *b, struct str channel, int epoch);
/* A line and a comma. */
void sse_log_line(struct buf *b, const struct sse_line *line);
/* Behind the last line, whose comma is left out. id s NULL: none. */
void sse_log_tail(struct buf *b, struct str id);

enum sse_gap {
	SSE_GAP_EXPIRED, /* retention took these lines */
	SSE_GAP_RESET,   /* the database was restored; another epoch begins */
	SSE_GAP_SLOW, /* not read in time; the stream ends, a new one has them */
};
struct sse_gap_event {
	struct str channel;
	int epoch;
	int64_t from, to; /* to 0: null */
	enum sse_gap reason;
};
void sse_gap(struct buf *b, const struct sse_gap_event *gap, struct str id);

/* Any other event; data is JSON text of one line. */
void sse_event(struct buf *b, const char *name, struct str data, struct str id);
/* An id alone: what is remembered moves, nothing is dispatched. */
void sse_id(struct buf *b, struct str id);
/* "Come back after so many ms." */
void sse_retry(struct buf *b, int64_t ms);
/* What keeps proxies awake and finds dead peers. */
#define SSE_HEARTBEAT ":\n\n"
