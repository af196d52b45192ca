#include "realtime/wire/phoenix.h"
#include "core/utf8.h"

#include <string.h>

enum { PART_MAX = 255, PUSH_HEAD = 7, BROADCAST_HEAD = 5 };

static int
no_frame(struct error *err, const char *why)
{
	return fail(err, FAULT_INPUT, "PHOENIX", "%s", why);
}

/* [0-9]+, taken from *s; -1: none there. */
static int
number(struct str *s)
{
	int n = -1;

	while (s->n > 0 && *s->s >= '0' && *s->s <= '9' && n < 1000) {
		n = (n < 0 ? 0 : n * 10) + *s->s - '0';
		*s = (struct str){ s->s + 1, s->n - 1 };
	}
	return n;
}

int
phoenix_version(struct str vsn, enum phoenix_version *out)
{
	int parts[3], n = 0;

	*out = PHOENIX_V1;
	if (vsn.n == 0)
		return 0;
	for (; n < 3; n++) {
		parts[n] = number(&vsn);
		if (parts[n] < 0 || (n < 2 && (vsn.n == 0 || *vsn.s != '.')))
			return -1;
		if (n < 2)
			vsn = (struct str){ vsn.s + 1, vsn.n - 1 };
	}
	/* "~> 1.0.0" and "~> 2.0.0" */
	if (vsn.n > 0 || parts[1] != 0 || parts[0] < 1 || parts[0] > 2)
		return -1;
	*out = (enum phoenix_version)parts[0];
	return 0;
}

static struct str
ref_of(struct arena *a, const struct json *v)
{
	if (v == NULL || v->type == JSON_NULL)
		return (struct str){ 0 };
	return json_text(a, v);
}

/* A ref of a binary form, which is bytes there and a string everywhere else. */
static struct str
ref_of_bytes(struct arena *a, struct str s)
{
	return s.n > 0 ? json_text(a, json_string(a, s)) : (struct str){ 0 };
}

static int
take_parts(struct arena *a, const struct json *const v[5],
    struct phoenix_frame *out, struct error *err)
{
	if (!json_is(v[2], JSON_STRING) || !json_is(v[3], JSON_STRING))
		return no_frame(err, "topic and event are strings");
	*out = (struct phoenix_frame){ .join_ref = ref_of(a, v[0]),
		.ref = ref_of(a, v[1]),
		.topic = json_str(v[2]),
		.event = json_str(v[3]),
		.payload = v[4] };
	return a->over ? no_frame(err, "too large") : 0;
}

static int
read_text(struct arena *a, enum phoenix_version version, struct str text,
    struct phoenix_frame *out, struct error *err)
{
	static const char *const keys[5] = { "join_ref", "ref", "topic",
		"event", "payload" };
	const struct json *parts[5];
	struct json *v;

	if (json_parse(a, text, NULL, &v, err) < 0)
		return -1;
	if (version == PHOENIX_V1 && v->type != JSON_OBJECT)
		return no_frame(err, "an object is due");
	if (version == PHOENIX_V2 && (v->type != JSON_ARRAY || v->n != 5))
		return no_frame(err, "an array of five is due");
	for (size_t i = 0; i < 5; i++) {
		parts[i] = version == PHOENIX_V1 ? json_get(v, keys[i])
						 : json_at(v, i);
		if (parts[i] == NULL && i > 0)
			return no_frame(err, "a member is missing");
	}
	return take_parts(a, parts, out, err);
}

static int
bytes_of(struct str *bytes, unsigned n, struct str *out)
{
	if (bytes->n < n)
		return -1;
	*out = (struct str){ bytes->s, n };
	*bytes = (struct str){ bytes->s + n, bytes->n - n };
	return 0;
}

static int
read_binary(struct arena *a, struct str bytes, struct phoenix_frame *out,
    struct error *err)
{
	const unsigned char *head = (const unsigned char *)bytes.s;
	int kind = bytes.n > 0 ? head[0] : -1;
	size_t n = kind == PHOENIX_PUSH ? PUSH_HEAD : BROADCAST_HEAD;
	struct str join_ref = { 0 }, ref = { 0 };
	struct json *v = NULL;

	*out = (struct phoenix_frame){ .kind = (enum phoenix_kind)kind };
	if ((kind != PHOENIX_PUSH && kind != PHOENIX_BROADCAST) || bytes.n < n)
		return no_frame(err, "a binary form of another kind");
	bytes = (struct str){ bytes.s + n, bytes.n - n };
	if ((kind == PHOENIX_PUSH &&
		(bytes_of(&bytes, head[1], &join_ref) < 0 ||
		    bytes_of(&bytes, head[2], &ref) < 0)) ||
	    bytes_of(&bytes, head[n - 4], &out->topic) < 0 ||
	    bytes_of(&bytes, head[n - 3], &out->event) < 0 ||
	    bytes_of(&bytes, head[n - 2], &out->meta) < 0)
		return no_frame(err, "shorter than it says");
	if (!utf8_valid(out->topic) || !utf8_valid(out->event) ||
	    !utf8_valid(join_ref) || !utf8_valid(ref))
		return no_frame(err, "not UTF-8");
	if (out->meta.n > 0 && json_parse(a, out->meta, NULL, &v, err) < 0)
		return -1;
	out->body = bytes;
	out->json = head[n - 1] == 1;
	if (out->json && json_parse(a, bytes, NULL, &v, err) < 0)
		return -1;
	out->payload = out->json ? v : NULL;
	out->join_ref = ref_of_bytes(a, join_ref);
	out->ref = ref_of_bytes(a, ref);
	return a->over ? no_frame(err, "too large") : 0;
}

int
phoenix_read(struct arena *a, enum phoenix_version version, struct str bytes,
    int binary, struct phoenix_frame *out, struct error *err)
{
	if (!binary)
		return read_text(a, version, bytes, out, err);
	if (version == PHOENIX_V1)
		return no_frame(err, "version 1.0.0 has no binary forms");
	return read_binary(a, bytes, out, err);
}

/* All of them, one behind the other, NUL-terminated. */
static struct str
join(struct arena *a, const struct str *parts, size_t n_parts)
{
	size_t n = 0;
	char *text, *at;

	for (size_t i = 0; i < n_parts; i++)
		n += parts[i].n;
	text = at = arena_alloc(a, n + 1);
	if (text == NULL)
		return (struct str){ 0 };
	for (size_t i = 0; i < n_parts; i++) {
		if (parts[i].n > 0)
			memcpy(at, parts[i].s, parts[i].n);
		at += parts[i].n;
	}
	*at = '\0';
	return (struct str){ text, n };
}
#define JOIN(a, ...)                                                           \
	join(a, (const struct str[]){ __VA_ARGS__ },                           \
	    sizeof((const struct str[]){ __VA_ARGS__ }) / sizeof(struct str))

static struct str
quoted(struct arena *a, struct str s)
{
	return json_text(a, json_string(a, s));
}

static struct str
or_null(struct str s)
{
	return s.s != NULL ? s : STR("null");
}

struct str
phoenix_write(struct arena *a, enum phoenix_version version, int server,
    const struct phoenix_frame *f)
{
	struct str topic = quoted(a, f->topic), event = quoted(a, f->event);
	struct str ref = or_null(f->ref), join_ref = or_null(f->join_ref);

	if (a->over)
		return (struct str){ 0 };
	if (version == PHOENIX_V2)
		return JOIN(a, STR("["), join_ref, STR(","), ref, STR(","),
		    topic, STR(","), event, STR(","), f->body, STR("]"));
	return JOIN(a, STR("{\"event\":"), event, STR(",\"payload\":"), f->body,
	    STR(",\"ref\":"), ref, STR(",\"topic\":"), topic,
	    server ? STR("") : STR(",\"join_ref\":"),
	    server ? STR("") : join_ref, STR("}"));
}

/* A ref's bytes: a string's own, of anything else its JSON text. */
static struct str
ref_bytes(struct arena *a, struct str ref)
{
	struct json *v = NULL;

	if (ref.n == 0 || ref.s[0] != '"')
		return ref;
	return json_parse(a, ref, NULL, &v, NULL) < 0 ? ref : json_str(v);
}

int
phoenix_write_binary(struct arena *a, const struct phoenix_frame *f,
    struct str *out, struct error *err)
{
	struct str join_ref = ref_bytes(a, f->join_ref);
	struct str ref = ref_bytes(a, f->ref);
	char head[PUSH_HEAD] = { (char)f->kind, (char)join_ref.n, (char)ref.n };
	int push = f->kind == PHOENIX_PUSH;
	char *at = head + (push ? 3 : 1);

	if (f->topic.n > PART_MAX || f->event.n > PART_MAX ||
	    f->meta.n > PART_MAX || join_ref.n > PART_MAX || ref.n > PART_MAX)
		return no_frame(err, "a part is over 255 bytes");
	*at++ = (char)f->topic.n;
	*at++ = (char)f->event.n;
	*at++ = (char)f->meta.n;
	*at++ = f->json ? 1 : 0;
	if (!push)
		join_ref = ref = (struct str){ 0 };
	*out = JOIN(a, { head, (size_t)(at - head) }, join_ref, ref, f->topic,
	    f->event, f->meta, f->body);
	return out->s == NULL ? no_frame(err, "too large") : 0;
}

int
phoenix_broadcast(struct arena *a, const struct phoenix_frame *f,
    struct phoenix_broadcast *out)
{
	const struct json *event;
	struct json *meta = NULL;

	if (f->kind != PHOENIX_TEXT) {
		if (f->meta.n > 0)
			json_parse(a, f->meta, NULL, &meta, NULL);
		*out = (struct phoenix_broadcast){ .event = f->event,
			.meta = meta,
			.payload = f->payload,
			.bytes = f->body };
		if (f->json)
			out->bytes = (struct str){ 0 };
		return 0;
	}
	event = json_get(f->payload, "event");
	if (!str_is(f->event, "broadcast") || !json_is(event, JSON_STRING))
		return PHOENIX_NO_BROADCAST;
	*out = (struct phoenix_broadcast){ .event = json_str(event),
		.meta = json_get(f->payload, "meta"),
		.payload = json_get(f->payload, "payload") };
	return 0;
}

struct str
phoenix_broadcast_text(struct arena *a, const struct phoenix_frame *f)
{
	struct str event = quoted(a, f->event);

	if (a->over)
		return (struct str){ 0 };
	return JOIN(a, STR("{\"event\":"), event,
	    f->meta.n > 0 ? STR(",\"meta\":") : STR(""), f->meta,
	    STR(",\"payload\":"), f->body, STR(",\"type\":\"broadcast\"}"));
}

struct str
phoenix_reply(struct arena *a, int ok, struct str response)
{
	struct str status = str_of(ok ? "ok" : "error");

	return JOIN(a, STR("{\"response\":"), response, STR(",\"status\":\""),
	    status, STR("\"}"));
}
