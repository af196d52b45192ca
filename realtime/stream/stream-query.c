/* What is asked for: the parameters of GET /api/logs/stream. */
#include "core/time.h"
#include "realtime/stream/stream-impl.h"
#include "realtime/wire/query.h"

#include <string.h>

/* One more, unless it is among those from `from` on. -1: too many. */
static int
add_name(struct stream_query *q, size_t from, struct str name)
{
	for (size_t i = from; i < q->n_names; i++)
		if (str_eq(q->names[i], name))
			return 0;
	if (q->n_names - from == STREAM_CHANNELS)
		return -1;
	q->names[q->n_names++] = name;
	return 0;
}

/* By commas. -1: none, or too many. */
static int
read_names(struct stream_query *q, struct str text)
{
	while (text.n > 0) {
		const char *comma = memchr(text.s, ',', text.n);
		size_t n = comma != NULL ? (size_t)(comma - text.s) : text.n;

		if (n > 0 && add_name(q, 0, (struct str){ text.s, n }) < 0)
			return -1;
		n += comma != NULL;
		text = (struct str){ text.s + n, text.n - n };
	}
	q->n_add = q->n_names;
	return q->n_names > 0 ? 0 : -1;
}

/* attr.NAME=value, each. */
static int
read_attrs(struct arena *m, struct stream_query *q, struct str query)
{
	struct filter *f = &q->filter;

	while (query.n > 0) {
		const char *amp = memchr(query.s, '&', query.n);
		size_t n = amp != NULL ? (size_t)(amp - query.s) : query.n;
		struct str pair = { query.s, n };
		const char *eq = memchr(pair.s, '=', pair.n);
		size_t name = eq != NULL ? (size_t)(eq - pair.s) : 0;

		if (name > 5 && memcmp(pair.s, "attr.", 5) == 0) {
			struct filter_attr *at = &f->attrs[f->n_attrs];
			char *key = arena_strndup(m, pair.s, name);

			if (f->n_attrs == FILTER_ATTRS || name > 128 ||
			    query_get(m, pair, key, &at->value) < 0 ||
			    at->value.n > FILTER_TEXT)
				return -1;
			at->name = (struct str){ key + 5, name - 5 };
			f->n_attrs++;
		}
		n += amp != NULL;
		query = (struct str){ query.s + n, query.n - n };
	}
	return 0;
}

static int
read_since(struct str text, int64_t *out)
{
	int64_t ms;

	if (time_parse(text, &ms) == 0)
		*out = ms;
	else if (duration_parse(text, &ms) == 0)
		*out = time_wall_ms() - ms;
	else
		return -1;
	return 0;
}

static int
read_number(struct str text, int64_t most, int64_t *out)
{
	*out = 0;
	if (text.n < 1 || text.n > 9)
		return -1;
	for (size_t i = 0; i < text.n; i++) {
		if (text.s[i] < '0' || text.s[i] > '9')
			return -1;
		*out = *out * 10 + text.s[i] - '0';
	}
	return *out <= most ? 0 : -1;
}

/* NULL, or what is wrong with a parameter. */
static const char *
read_all(struct arena *m, struct str query, struct stream_query *q)
{
	struct str v;

	if (query_get(m, query, "channels", &v) < 0 || v.s == NULL ||
	    read_names(q, v) < 0)
		return "channels: 1 to 50 channels, separated by commas";
	if (query_get(m, query, "level", &v) < 0 ||
	    (v.s != NULL && (q->filter.level = sse_level(v)) < 0))
		return "level: trace, debug, info, warn, error, fatal, or a "
		       "number of 1 to 24";
	if (query_get(m, query, "q", &q->filter.q) < 0 ||
	    q->filter.q.n > FILTER_TEXT)
		return "q: at most 512 bytes";
	if (query_get(m, query, "since", &v) < 0 ||
	    (v.s != NULL && read_since(v, &q->since_ms) < 0))
		return "since: a time (RFC 3339), or how long ago (\"10m\")";
	if (query_get(m, query, "tail", &v) < 0 ||
	    (v.s != NULL && read_number(v, STREAM_TAIL, &q->tail) < 0))
		return "tail: a number up to 10,000";
	if (read_attrs(m, q, query) < 0)
		return "attr.NAME: at most 8 of them, 512 bytes each";
	return NULL;
}

int
stream_query_read(struct arena *a, const struct http1_head *head,
    struct stream_query *out, struct error *err)
{
	struct str query = arena_str(a, head->query);
	struct str id = http1_get(head, "last-event-id");
	const char *wrong;

	out->since_ms = INT64_MIN;
	out->tail = -1;
	wrong = read_all(a, query, out);
	if (wrong == NULL && id.n == 0 &&
	    query_get(a, query, "lastEventId", &id) < 0)
		wrong = "lastEventId: its encoding is broken";
	if (wrong != NULL)
		return fail(err, FAULT_INPUT, "parameter", "%s", wrong);
	out->resumed = id.n > 0;
	if (id.n > 0 && cursor_read(id, &out->cursor, err) < 0)
		return fail(err, FAULT_INPUT, "cursor",
		    "the last event id is not one that this service gave");
	return 0;
}

int
stream_query_names(
    struct arena *a, struct stream_query *q, const struct json *list)
{
	if (list != NULL && !json_is(list, JSON_ARRAY))
		return -1;
	for (size_t i = 0; list != NULL && i < list->n; i++)
		if (!json_is(list->items[i], JSON_STRING) ||
		    add_name(q, q->n_add,
			arena_str(a, json_str(list->items[i]))) < 0)
			return -1;
	return 0;
}
