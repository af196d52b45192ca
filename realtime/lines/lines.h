#pragma once
/*
 * A body of POST /api/logs/publish, read strictly: one entry, a JSON array of
 * entries, or one a line (NDJSON). An entry is
 *     service        the token's, or "run"; the token's when left out
 *     workspace_id   the token's project, by slug or id; may be left out
 *     workflow_id | function_id | pipeline_id | resource_id | run_id
 *                    what the lines are about; none: the service as a whole
 *     logData        a text, an object, or an array of them: the lines
 *     id             of a line that may be sent again: it is stored once
 * and an object of logData has message (or msg), level (or severity),
 * timestamp (or ts); attrs, and whatever else it has, are its attributes.
 *
 * A level that isn't given is inferred from the text, and the attributes say
 * so: {"level_inferred": true}.
 *
 * Pure: all of it lives in the arena.
 */
#include <stdint.h>

#include "core/arena.h"
#include "core/error.h"
#include "core/uuid.h"

enum {
	LINES_BODY_MAX = 1048576,
	LINES_MAX = 20000,      /* of one body */
	LINE_BYTES_MAX = 65536, /* message and attributes */
	LINE_ID_MAX = 200,
	LINE_NAME_MAX = 128, /* of a resource */
	LINE_SERVICE_MAX = 64,
};

/* Where lines go. resource "": the service as a whole. */
struct line_channel {
	struct uuid project;
	struct str service, resource;
};

/* A set of channels: each has an index from 0. All zero: empty. */
struct line_channels {
	struct line_channel *at;
	uint32_t n, room;
	uint32_t *slots, n_slots; /* index + 1; 0: free */
	uint32_t seed;            /* so that nobody can aim at one slot */
};
uint32_t line_channels_add(
    struct arena *a, struct line_channels *set, const struct line_channel *c);

struct line {
	uint32_t channel;
	int16_t level;
	int64_t client_ms;             /* LINE_NO_TIME: not given */
	struct str message, attrs, id; /* attrs: JSON; s NULL: none */
};
#define LINE_NO_TIME INT64_MIN

struct lines {
	struct line *at;
	uint32_t n, room;
	uint32_t n_ids;
	size_t bytes; /* of messages and attributes */
	struct line_channels channels;
};

/* What the writer may write to. */
struct lines_scope {
	struct uuid project;
	struct str slug, service;
	int64_t now_ms;
	uint32_t seed;
};

/*
 * -1 and why: FAULT_INPUT with code "JSON" (no JSON), "LARGE" (a line is over
 * 64 KiB, or too many) or "LINE" (an entry is wrong), FAULT_AUTH with code
 * "SCOPE" (another service or project). The text begins with which: "line 3: ".
 */
int lines_parse(struct arena *a, struct str body, int ndjson,
    const struct lines_scope *scope, struct lines *out, struct error *err);

/* As OpenTelemetry counts: 1 trace, 5 debug, 9 info, 13 warn, 17 error, 21
 * fatal. 0: no such name. */
int16_t line_level(struct str name);
const char *line_level_name(int64_t level);
