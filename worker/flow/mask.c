#include "worker/flow/mask.h"
#include "worker/flow/mask-impl.h"

#include <string.h>

enum { BUCKETS = 4096, WINDOW_MOST = 64, PATH_DEPTH = 32 };

struct shape {
	struct str text, mark;
	int next; /* in its bucket; -1: the last */
};

/* shift[b]: how far the window may move when it ends by a block of hash b. */
struct mask {
	struct arena *a;
	unsigned kinds;
	struct str mark; /* of the value whose shapes are being added */
	struct shape *shapes;
	uint32_t n, room;
	uint32_t window; /* bytes: of the shortest shape */
	uint8_t shift[BUCKETS];
	int first[BUCKETS];
};

static uint32_t
block(const char *end)
{
	unsigned char y = (unsigned char)end[0], x = (unsigned char)end[-1];

	return ((uint32_t)x << 4 ^ y) % BUCKETS;
}

static void
shape_add(void *arg, struct str text)
{
	struct mask *m = arg;

	if (text.n < MASK_LEAST)
		return;
	for (uint32_t i = 0; i < m->n; i++)
		if (str_eq(m->shapes[i].text, text))
			return;
	if (m->n == m->room) {
		m->room = m->room > 0 ? 2 * m->room : 16;
		m->shapes = arena_grow(
		    m->a, m->shapes, m->n, m->room, sizeof(*m->shapes));
	}
	m->shapes[m->n++] = (struct shape){ text, m->mark, -1 };
}

static void
tables_make(struct mask *m)
{
	m->window = WINDOW_MOST;
	for (uint32_t i = 0; i < m->n; i++)
		if (m->shapes[i].text.n < m->window)
			m->window = (uint32_t)m->shapes[i].text.n;
	memset(m->shift, (int)(m->window - 1), sizeof(m->shift));
	for (uint32_t i = 0; i < BUCKETS; i++)
		m->first[i] = -1;
	for (uint32_t i = 0; i < m->n; i++) {
		const char *s = m->shapes[i].text.s;
		uint32_t b = block(s + m->window - 1);

		for (uint32_t at = 1; at < m->window; at++) {
			uint8_t *shift = &m->shift[block(s + at)];

			if (*shift > m->window - 1 - at)
				*shift = (uint8_t)(m->window - 1 - at);
		}
		m->shapes[i].next = m->first[b];
		m->first[b] = (int)i;
	}
}

struct mask *
mask_new(struct arena *a, const struct mask_value *values, uint32_t n,
    unsigned kinds)
{
	struct mask *m = arena_zalloc(a, sizeof(*m));

	m->a = a;
	m->kinds = kinds;
	for (uint32_t i = 0; i < n; i++) {
		if (values[i].value.n < MASK_LEAST)
			continue;
		m->mark = str_of(
		    arena_printf(a, "[secret %.*s]", STR_FMT(values[i].name)));
		mask_shapes(a, values[i].value, shape_add, m);
	}
	if (m->n > 0)
		tables_make(m);
	return m->n > 0 || kinds != 0 ? m : NULL;
}

void
spans_add(struct spans *s, struct span span)
{
	while (s->n > 0 && span.from < s->items[s->n - 1].to) {
		const struct span *last = &s->items[--s->n];

		if (last->from <= span.from)
			span.mark = last->mark;
		if (last->from < span.from)
			span.from = last->from;
		if (last->to > span.to)
			span.to = last->to;
	}
	if (s->n == s->room) {
		s->room = s->room > 0 ? 2 * s->room : 4;
		s->items = arena_grow(
		    s->a, s->items, s->n, s->room, sizeof(*s->items));
	}
	s->items[s->n++] = span;
}

/* The longest shape at this place, whose window ends by this block. */
static void
match(const struct mask *m, struct str text, size_t from, int shape,
    struct spans *out)
{
	struct span span = { from, from, { NULL, 0 } };

	for (; shape >= 0; shape = m->shapes[shape].next) {
		const struct shape *s = &m->shapes[shape];

		if (s->text.n <= text.n - from && from + s->text.n > span.to &&
		    memcmp(text.s + from, s->text.s, s->text.n) == 0) {
			span.to = from + s->text.n;
			span.mark = s->mark;
		}
	}
	if (span.to > from)
		spans_add(out, span);
}

static void
values_find(const struct mask *m, struct str text, struct spans *out)
{
	size_t at = m->window - 1;

	while (m->n > 0 && at < text.n) {
		uint32_t b = block(text.s + at);

		if (m->shift[b] > 0) {
			at += m->shift[b];
			continue;
		}
		match(m, text, at - (m->window - 1), m->first[b], out);
		at++;
	}
}

/* A text that was cut may end with the beginning of a value: the longest. */
static void
tail_find(const struct mask *m, struct str text, struct spans *out)
{
	struct span span = { text.n, text.n, { NULL, 0 } };

	for (uint32_t i = 0; i < m->n; i++) {
		const struct shape *s = &m->shapes[i];
		size_t most = s->text.n - 1 < text.n ? s->text.n - 1 : text.n;

		for (size_t n = most; n >= MASK_LEAST; n--) {
			if (text.n - n < span.from &&
			    memcmp(text.s + text.n - n, s->text.s, n) == 0) {
				span.from = text.n - n;
				span.mark = s->mark;
			}
		}
	}
	if (span.from < span.to)
		spans_add(out, span);
}

static struct str
spans_apply(struct arena *a, struct str text, const struct spans *spans)
{
	size_t n = text.n, at = 0;
	char *out;

	for (uint32_t i = 0; i < spans->n; i++)
		n += spans->items[i].mark.n;
	out = arena_alloc(a, n + 1);
	n = 0;
	for (uint32_t i = 0; i < spans->n; i++) {
		const struct span *s = &spans->items[i];

		memcpy(out + n, text.s + at, s->from - at);
		n += s->from - at;
		memcpy(out + n, s->mark.s, s->mark.n);
		n += s->mark.n;
		at = s->to;
	}
	memcpy(out + n, text.s + at, text.n - at);
	n += text.n - at;
	out[n] = '\0';
	return (struct str){ out, n };
}

struct str
mask_text(struct arena *a, const struct mask *m, struct str text, int cut,
    uint32_t *hits)
{
	struct spans spans = { .a = a };

	if (m == NULL || text.n == 0)
		return text;
	values_find(m, text, &spans);
	if (cut)
		tail_find(m, text, &spans);
	*hits += spans.n;
	if (spans.n > 0)
		text = spans_apply(a, text, &spans);
	if (m->kinds == 0)
		return text;
	spans = (struct spans){ .a = a };
	mask_kinds_find(m->kinds, text, &spans);
	*hits += spans.n;
	return spans.n > 0 ? spans_apply(a, text, &spans) : text;
}

static struct json *
mask_tree(struct arena *a, const struct mask *m, const struct json *v, int cut,
    uint32_t *hits)
{
	int is_object = v->type == JSON_OBJECT;
	struct json *out = is_object ? json_object(a) : json_array(a);
	uint32_t before = *hits;

	for (uint32_t i = 0; i < v->n; i++) {
		struct json *kid = mask_json(
		    a, m, is_object ? v->of[i].value : v->items[i], cut, hits);

		if (is_object)
			json_set_str(a, out,
			    mask_text(a, m, v->of[i].key, cut, hits), kid);
		else
			json_push(a, out, kid);
	}
	return *hits > before ? out : (struct json *)(uintptr_t)v;
}

struct json *
mask_json(struct arena *a, const struct mask *m, const struct json *v, int cut,
    uint32_t *hits)
{
	uint32_t before = *hits;
	struct str text;

	if (m == NULL || v == NULL)
		return (struct json *)(uintptr_t)v;
	switch (v->type) {
	case JSON_ARRAY:
	case JSON_OBJECT:
		return mask_tree(a, m, v, cut, hits);
	case JSON_NUMBER:
	case JSON_STRING:
		text = mask_text(a, m, (struct str){ v->s, v->n }, cut, hits);
		if (*hits > before)
			return json_string(a, text);
		break;
	case JSON_NULL:
	case JSON_TRUE:
	case JSON_FALSE:
		break;
	}
	return (struct json *)(uintptr_t)v;
}

/* The next step of a path: a name, "*", "[*]" or "[3]". -1: malformed. */
static int
path_next(struct str *path, struct str *step)
{
	size_t n = 0;

	if (path->n > 0 && path->s[0] == '[') {
		const char *close = memchr(path->s, ']', path->n);

		n = close != NULL ? (size_t)(close - path->s) + 1 : 0;
		if (n < 3 ||
		    (!(n == 3 && path->s[1] == '*') &&
			strspn(path->s + 1, "0123456789") != n - 2))
			return -1;
	} else {
		while (n < path->n && path->s[n] != '.' && path->s[n] != '[')
			n++;
		if (n == 0)
			return -1;
	}
	*step = (struct str){ path->s, n };
	path->s += n;
	path->n -= n;
	if (path->n > 0 && path->s[0] == '.') {
		path->s++;
		path->n--;
		return path->n > 0 ? 0 : -1;
	}
	return 0;
}

int
mask_path_check(struct str path)
{
	struct str step;
	int depth = 0;

	while (path.n > 0)
		if (path_next(&path, &step) < 0 || ++depth > PATH_DEPTH)
			return -1;
	return depth > 0 ? 0 : -1;
}

static int
step_fits(struct str step, const struct json *v, uint32_t i)
{
	size_t index = 0;

	if (v->type == JSON_OBJECT)
		return str_is(step, "*") || str_eq(step, v->of[i].key);
	if (str_is(step, "[*]") || str_is(step, "*"))
		return 1;
	if (step.s[0] != '[' || step.n > 9)
		return 0;
	for (size_t at = 1; at + 1 < step.n; at++)
		index = 10 * index + (size_t)(step.s[at] - '0');
	return index == i;
}

struct json *
mask_path(
    struct arena *a, const struct json *v, struct str path, uint32_t *hits)
{
	int is_object = json_is(v, JSON_OBJECT);
	uint32_t before = *hits;
	struct json *out;
	struct str step;

	if (path.n == 0 && v != NULL) {
		++*hits;
		return json_cstring(a, "[redacted]");
	}
	if (v == NULL || (!is_object && !json_is(v, JSON_ARRAY)) ||
	    path_next(&path, &step) < 0)
		return (struct json *)(uintptr_t)v;
	out = is_object ? json_object(a) : json_array(a);
	for (uint32_t i = 0; i < v->n; i++) {
		struct json *kid = is_object ? v->of[i].value : v->items[i];

		if (step_fits(step, v, i))
			kid = mask_path(a, kid, path, hits);
		if (is_object)
			json_set_str(a, out, v->of[i].key, kid);
		else
			json_push(a, out, kid);
	}
	return *hits > before ? out : (struct json *)(uintptr_t)v;
}
