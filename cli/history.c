#include "cli/history.h"

#include <string.h>

int
history_parse(struct arena *a, const struct json *json, struct history *out,
    struct error *err)
{
	const struct json *list = json_get(json, "events");

	*out = (struct history){
		.definition = json_get(json, "definition"),
		.steps = json_get(json, "steps"),
	};
	if (!json_is(out->definition, JSON_OBJECT) ||
	    !json_is(list, JSON_ARRAY))
		return fail(err, FAULT_INPUT, "HISTORY",
		    "not a history: "
		    "{\"definition\": {...}, \"events\": [...]}\n"
		    "write one: meshhook replay RUN --save FILE");
	out->events = arena_array(a, list->n, sizeof(*out->events));
	for (uint32_t i = 0; i < list->n; i++) {
		const struct json *item = json_at(list, i);
		const struct json *type = json_get(item, "type");
		const struct json *number = json_get(item, "seq");
		int64_t seq = (int64_t)i + 1;

		if (!json_is(type, JSON_STRING) ||
		    (number != NULL && json_integer(number, &seq) < 0))
			return fail(err, FAULT_INPUT, "HISTORY",
			    "/events/%u: not {\"type\", \"payload\"}, with "
			    "\"seq\" or without",
			    i);
		out->events[i] = (struct event){
			.seq = (int32_t)seq,
			.type = arena_str(a, json_str(type)).s,
			.payload = json_get(item, "payload"),
		};
	}
	out->n = list->n;
	return 0;
}

static const struct json *
row_of(const struct json *steps, struct str step)
{
	for (uint32_t i = 0; i < steps->n; i++) {
		const struct json *row = json_at(steps, i);

		if (str_eq(json_str(json_get(row, "step")), step))
			return row;
	}
	return NULL;
}

static int
same_row(const struct step_row *want, const struct json *got)
{
	const char *names[] = { "attempt", "waits", "live", "seq" };
	int32_t values[] = { want->attempt, want->waits, want->live,
		want->seq };

	for (size_t i = 0; i < 4; i++) {
		const struct json *v = json_get(got, names[i]);
		int64_t n = 0;

		if (!json_is(v, JSON_NULL) && json_integer(v, &n) < 0)
			return 0;
		if (n != values[i])
			return 0;
	}
	return str_is(
	    json_str(json_get(got, "status")), step_status_name(want->status));
}

const char *
history_differs(
    struct arena *a, const struct history *h, const struct replay *replay)
{
	if (!json_is(h->steps, JSON_ARRAY))
		return NULL;
	for (uint32_t i = 0; i < replay->n_rows; i++) {
		const struct step_row *row = &replay->rows[i];
		const struct json *got = row_of(h->steps, row->step);

		if (got == NULL || !same_row(row, got))
			return arena_printf(a,
			    "step %.*s: by the events it is %s, attempt %d, "
			    "waits %d, live %d, seq %d; the table says %s",
			    STR_FMT(row->step), step_status_name(row->status),
			    row->attempt, row->waits, row->live, row->seq,
			    got != NULL ? json_text(a, got).s : "nothing");
	}
	if (h->steps->n != replay->n_rows)
		return arena_printf(a,
		    "the table has %u rows of steps, by the events there are "
		    "%u",
		    h->steps->n, replay->n_rows);
	return NULL;
}
