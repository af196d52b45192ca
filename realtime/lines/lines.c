#include "realtime/lines/lines.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/time.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
	DEPTH_MAX = 64,
	INFER_WITHIN = 256, /* bytes of a text */
	DAY_MS = 86400000,
};
static const int64_t earliest_ms = 946684800000; /* 2000 */

/* What a reading is about. */
struct reading {
	struct arena *a;
	const struct lines_scope *scope;
	struct lines *out;
	struct error *err;
	uint32_t entry; /* from 1 */
};

static const struct {
	const char *name;
	int16_t level;
} levels[] = {
	{ "trace", 1 },
	{ "debug", 5 },
	{ "info", 9 },
	{ "notice", 10 },
	{ "warn", 13 },
	{ "warning", 13 },
	{ "error", 17 },
	{ "err", 17 },
	{ "fatal", 21 },
	{ "critical", 21 },
	{ "panic", 21 },
	{ "emergency", 21 },
};

/* In a text without a level; the worst of them counts. */
static const struct {
	const char *word;
	int16_t level;
} hints[] = {
	{ "fatal", 21 },
	{ "panic", 21 },
	{ "critical", 21 },
	{ "error", 17 },
	{ "exception", 17 },
	{ "traceback", 17 },
	{ "warn", 13 },
	{ "warning", 13 },
	{ "debug", 5 },
	{ "trace", 1 },
};

int16_t
line_level(struct str name)
{
	for (size_t i = 0; i < NELEM(levels); i++)
		if (name.n == strlen(levels[i].name) &&
		    strncasecmp(name.s, levels[i].name, name.n) == 0)
			return levels[i].level;
	return 0;
}

const char *
line_level_name(int64_t level)
{
	static const char *const names[] = { "trace", "debug", "info", "warn",
		"error", "fatal" };

	return names[level < 1 ? 0 : level > 24 ? 5 : (level - 1) / 4];
}

/* Channels ------------------------------------------------------------------ */

static uint32_t
channel_hash(const struct line_channels *set, const struct line_channel *c)
{
	uint32_t h = 2166136261u ^ set->seed;

	for (size_t i = 0; i < sizeof(c->project.bytes); i++)
		h = (h ^ c->project.bytes[i]) * 16777619u;
	for (size_t i = 0; i < c->service.n; i++)
		h = (h ^ (unsigned char)c->service.s[i]) * 16777619u;
	h = (h ^ ':') * 16777619u;
	for (size_t i = 0; i < c->resource.n; i++)
		h = (h ^ (unsigned char)c->resource.s[i]) * 16777619u;
	return h ^ (h >> 15);
}

static int
channel_eq(const struct line_channel *x, const struct line_channel *y)
{
	return uuid_cmp(&x->project, &y->project) == 0 &&
	    str_eq(x->service, y->service) && str_eq(x->resource, y->resource);
}

/* Where it is, or the free slot where it would be. */
static uint32_t *
channel_slot(const struct line_channels *set, const struct line_channel *c)
{
	uint32_t i = channel_hash(set, c) & (set->n_slots - 1);

	while (
	    set->slots[i] != 0 && !channel_eq(&set->at[set->slots[i] - 1], c))
		i = (i + 1) & (set->n_slots - 1);
	return &set->slots[i];
}

static void
channels_grow(struct arena *a, struct line_channels *set)
{
	uint32_t room = set->room > 0 ? set->room * 2 : 16;

	set->at = arena_grow(a, set->at, set->n, room, sizeof(*set->at));
	set->room = room;
	set->n_slots = room * 2;
	set->slots = arena_zalloc(a, set->n_slots * sizeof(*set->slots));
	for (uint32_t i = 0; i < set->n; i++)
		*channel_slot(set, &set->at[i]) = i + 1;
}

uint32_t
line_channels_add(
    struct arena *a, struct line_channels *set, const struct line_channel *c)
{
	uint32_t *slot;

	if (set->n == set->room)
		channels_grow(a, set);
	slot = channel_slot(set, c);
	if (*slot == 0) {
		set->at[set->n++] = *c;
		*slot = set->n;
	}
	return *slot - 1;
}

/* Entries ------------------------------------------------------------------- */

static int bad(struct reading *r, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int
bad(struct reading *r, const char *code, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return fail(r->err,
	    strcmp(code, "SCOPE") == 0 ? FAULT_AUTH : FAULT_INPUT, code,
	    "line %u: %s", r->entry, text);
}

static int
name_valid(struct str s, size_t max)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.s[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
		    !(c >= '0' && c <= '9') && c != '_' && c != '.' && c != '-')
			return 0;
	}
	return s.n > 0 && s.n <= max;
}

/* A name; a whole number reads as its digits. s NULL: absent. */
static int
name_get(struct reading *r, const struct json *entry, const char *key,
    struct str *out)
{
	const struct json *v = json_get(entry, key);

	*out = (struct str){ 0 };
	if (v == NULL || json_is(v, JSON_NULL))
		return 0;
	*out =
	    json_is(v, JSON_NUMBER) ? (struct str){ v->s, v->n } : json_str(v);
	if (!name_valid(*out, LINE_NAME_MAX))
		return bad(r, "LINE",
		    "%s is made of 1 to %d letters, digits, \"_\", \".\" and "
		    "\"-\"",
		    key, LINE_NAME_MAX);
	return 0;
}

static int
project_check(struct reading *r, const struct json *entry)
{
	struct str name;
	struct uuid id;

	if (name_get(r, entry, "workspace_id", &name) < 0)
		return -1;
	if (name.s == NULL || str_eq(name, r->scope->slug) ||
	    (uuid_parse(name, &id) == 0 &&
		uuid_cmp(&id, &r->scope->project) == 0))
		return 0;
	return bad(r, "SCOPE", "the token is for another workspace_id");
}

/* What the lines are about. *run: by run_id. */
static int
resource_get(
    struct reading *r, const struct json *entry, struct str *out, int *run)
{
	static const char *const keys[] = { "workflow_id", "function_id",
		"pipeline_id", "resource_id", "run_id" };
	struct str name;

	*out = STR("");
	*run = 0;
	for (size_t i = 0; i < NELEM(keys); i++) {
		if (name_get(r, entry, keys[i], &name) < 0)
			return -1;
		if (name.s == NULL)
			continue;
		if (out->n > 0)
			return bad(r, "LINE",
			    "it has several of workflow_id, function_id, "
			    "pipeline_id, resource_id, run_id");
		*out = name;
		*run = i == NELEM(keys) - 1;
	}
	return 0;
}

static int
channel_get(struct reading *r, const struct json *entry, uint32_t *out)
{
	struct line_channel c = { .project = r->scope->project };
	struct uuid id;
	int run;

	if (project_check(r, entry) < 0 ||
	    name_get(r, entry, "service", &c.service) < 0 ||
	    resource_get(r, entry, &c.resource, &run) < 0)
		return -1;
	if (c.service.s == NULL ||
	    (run && str_eq(c.service, r->scope->service)))
		c.service = run ? STR("run") : r->scope->service;
	if (str_is(c.service, "run")) {
		char text[UUID_TEXT];

		if (uuid_parse(c.resource, &id) < 0)
			return bad(r, "LINE", "run_id is no run's id");
		c.resource = str_of(arena_strdup(r->a, uuid_format(&id, text)));
	} else if (run || !str_eq(c.service, r->scope->service)) {
		return bad(r, "SCOPE", "the token is for another service");
	}
	*out = line_channels_add(r->a, &r->out->channels, &c);
	return 0;
}

/* Lines --------------------------------------------------------------------- */

static int
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int16_t
hint_of(struct str word)
{
	for (size_t i = 0; i < NELEM(hints); i++)
		if (word.n == strlen(hints[i].word) &&
		    strncasecmp(word.s, hints[i].word, word.n) == 0)
			return hints[i].level;
	return 0;
}

static int16_t
level_infer(struct str text)
{
	size_t n = text.n < INFER_WITHIN ? text.n : INFER_WITHIN;
	int16_t worst = 0;

	for (size_t i = 0; i < n;) {
		struct str word = { text.s + i, 0 };
		int16_t level;

		while (i < n && is_letter(text.s[i])) {
			word.n++;
			i++;
		}
		level = hint_of(word);
		if (level > worst)
			worst = level;
		i += word.n == 0;
	}
	return worst > 0 ? worst : 9;
}

static int
level_get(struct reading *r, const struct json *v, struct line *line)
{
	int64_t number;

	if (json_integer(v, &number) == 0 && number >= 1 && number <= 24)
		line->level = (int16_t)number;
	else
		line->level = line_level(json_str(v));
	if (line->level == 0)
		return bad(r, "LINE",
		    "level is none of trace, debug, info, warn, error, fatal, "
		    "nor 1 to 24");
	return 0;
}

/* RFC 3339, or a number: of seconds since 1970 or, when large, milliseconds. */
static int
time_get(struct reading *r, const struct json *v, struct line *line)
{
	double number = json_num(v);

	if (json_is(v, JSON_STRING)) {
		if (time_parse(json_str(v), &line->client_ms) < 0)
			return bad(r, "LINE",
			    "timestamp is neither RFC 3339 nor a number");
	} else if (json_is(v, JSON_NUMBER) && number > 0 && number < 1e14) {
		line->client_ms =
		    (int64_t)(number < 1e11 ? number * 1000 : number);
	} else {
		return bad(
		    r, "LINE", "timestamp is neither RFC 3339 nor a number");
	}
	if (line->client_ms < earliest_ms ||
	    line->client_ms > r->scope->now_ms + DAY_MS)
		return bad(r, "LINE",
		    "timestamp is before 2000 or more than a day ahead");
	return 0;
}

static int
key_is(struct str key, const char *one, const char *other)
{
	return str_is(key, one) || str_is(key, other);
}

/* Sort an object's members out: those that are known, and attributes. */
static int
members_get(struct reading *r, const struct json *log, struct line *line,
    struct json *attrs)
{
	for (uint32_t i = 0; i < log->n; i++) {
		struct str key = log->of[i].key;
		struct json *v = log->of[i].value;
		int null = json_is(v, JSON_NULL), bad_one = 0;

		if (key_is(key, "message", "msg") && line->message.s == NULL)
			line->message = json_is(v, JSON_STRING)
			    ? json_str(v)
			    : json_text(r->a, v);
		else if (key_is(key, "level", "severity"))
			bad_one = !null && level_get(r, v, line) < 0;
		else if (key_is(key, "timestamp", "ts"))
			bad_one = !null && time_get(r, v, line) < 0;
		else if (key_is(key, "attrs", "attributes") &&
		    json_is(v, JSON_OBJECT))
			for (uint32_t j = 0; j < v->n; j++)
				json_set_str(
				    r->a, attrs, v->of[j].key, v->of[j].value);
		else
			json_set_str(r->a, attrs, key, v);
		if (bad_one)
			return -1;
	}
	return 0;
}

static struct line *
line_push(struct reading *r)
{
	struct lines *out = r->out;

	if (out->n == out->room) {
		uint32_t room = out->room > 0 ? out->room * 2 : 64;

		out->at =
		    arena_grow(r->a, out->at, out->n, room, sizeof(*out->at));
		out->room = room;
	}
	return &out->at[out->n++];
}

static int
line_get(
    struct reading *r, const struct json *log, uint32_t channel, struct str id)
{
	struct line line = {
		.channel = channel, .client_ms = LINE_NO_TIME, .id = id
	};
	struct json *attrs = json_object(r->a);

	if (json_is(log, JSON_STRING))
		line.message = json_str(log);
	else if (!json_is(log, JSON_OBJECT))
		return bad(
		    r, "LINE", "logData is neither a text nor an object");
	else if (members_get(r, log, &line, attrs) < 0)
		return -1;
	if (line.message.s == NULL)
		return bad(r, "LINE", "logData has no message");
	if (memchr(line.message.s, '\0', line.message.n) != NULL)
		return bad(r, "LINE", "its message has a NUL character");
	if (line.level == 0) {
		line.level = level_infer(line.message);
		json_set(r->a, attrs, "level_inferred", json_bool(1));
	}
	if (attrs->n > 0) {
		if (json_storable(attrs, NULL) < 0)
			return bad(r, "LINE", "its attributes can't be stored");
		line.attrs = json_text(r->a, attrs);
	}
	if (line.message.n + line.attrs.n > LINE_BYTES_MAX)
		return bad(r, "LARGE", "it has over %d bytes", LINE_BYTES_MAX);
	if (r->out->n == LINES_MAX)
		return bad(r, "LARGE", "more than %d lines", LINES_MAX);
	r->out->bytes += line.message.n + line.attrs.n;
	r->out->n_ids += id.s != NULL;
	*line_push(r) = line;
	return 0;
}

static int
id_get(struct reading *r, const struct json *entry, struct str *out)
{
	const struct json *v = json_get(entry, "id");

	*out = (struct str){ 0 };
	if (v == NULL || json_is(v, JSON_NULL))
		return 0;
	*out = json_str(v);
	if (out->n == 0 || out->n > LINE_ID_MAX ||
	    memchr(out->s, '\0', out->n) != NULL)
		return bad(
		    r, "LINE", "id is a text of 1 to %d bytes", LINE_ID_MAX);
	return 0;
}

static int
entry_get(struct reading *r, const struct json *entry)
{
	const struct json *log = json_get(entry, "logData");
	uint32_t channel = 0;
	struct str id;

	r->entry++;
	if (!json_is(entry, JSON_OBJECT))
		return bad(r, "LINE", "it is no object");
	if (log == NULL)
		return bad(r, "LINE", "it has no logData");
	if (channel_get(r, entry, &channel) < 0 || id_get(r, entry, &id) < 0)
		return -1;
	if (!json_is(log, JSON_ARRAY))
		return line_get(r, log, channel, id);
	if (id.s != NULL)
		return bad(r, "LINE", "an id is of one line");
	for (uint32_t i = 0; i < log->n; i++)
		if (line_get(r, json_at(log, i), channel, id) < 0)
			return -1;
	return 0;
}

/* Bodies -------------------------------------------------------------------- */

static int
blank(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.s[i] != ' ' && s.s[i] != '\t' && s.s[i] != '\r')
			return 0;
	return 1;
}

static int
ndjson_get(struct reading *r, struct str body)
{
	struct json_limits limits = { .bytes = LINES_BODY_MAX,
		.depth = DEPTH_MAX };
	uint32_t n = 0;

	while (body.n > 0) {
		const char *end = memchr(body.s, '\n', body.n);
		struct str text = { body.s,
			end != NULL ? (size_t)(end - body.s) : body.n };
		size_t skip = text.n + (end != NULL);
		char where[32];
		struct json *v;

		body = (struct str){ body.s + skip, body.n - skip };
		n++;
		if (blank(text))
			continue;
		if (json_parse(r->a, text, &limits, &v, r->err) < 0) {
			snprintf(where, sizeof(where), "line %u", n);
			return fail_in(r->err, where);
		}
		r->entry = n - 1;
		if (entry_get(r, v) < 0)
			return -1;
	}
	return 0;
}

static int
json_get_all(struct reading *r, struct str body)
{
	struct json_limits limits = { .bytes = LINES_BODY_MAX,
		.depth = DEPTH_MAX };
	struct json *v;

	if (json_parse(r->a, body, &limits, &v, r->err) < 0)
		return -1;
	if (!json_is(v, JSON_ARRAY))
		return entry_get(r, v);
	for (uint32_t i = 0; i < v->n; i++)
		if (entry_get(r, json_at(v, i)) < 0)
			return -1;
	return 0;
}

int
lines_parse(struct arena *a, struct str body, int ndjson,
    const struct lines_scope *scope, struct lines *out, struct error *err)
{
	struct reading r = { .a = a, .scope = scope, .out = out, .err = err };

	*out = (struct lines){ .channels.seed = scope->seed };
	if ((ndjson ? ndjson_get(&r, body) : json_get_all(&r, body)) < 0)
		return -1;
	if (out->n == 0)
		return fail(err, FAULT_INPUT, "LINE", "there is no line in it");
	return 0;
}
