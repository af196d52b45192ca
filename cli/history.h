#pragma once
/*
 * A run's history as a document:
 *	{"definition": {...}, "events": [{"seq", "type", "payload"}, ...],
 *	 "steps": [rows of meshhook.steps]}
 * seq may be absent (events count from 1). So may steps: then only the events
 * are held against the rules.
 */
#include "core/json.h"
#include "worker/flow/replay.h"

struct history {
	const struct json *definition, *steps; /* steps NULL: not known */
	struct event *events;
	uint32_t n;
};

/* FAULT_INPUT when it is of another shape. */
int history_parse(struct arena *a, const struct json *json, struct history *out,
    struct error *err);
/* Does the table of steps say what the events say? NULL, or the difference. */
const char *history_differs(
    struct arena *a, const struct history *h, const struct replay *replay);
