/*
 * The parser: one pass over a copy of the text in the arena. Strings are
 * decoded in place and number lexemes stay where they are, so a tree costs the
 * text and its nodes. The copy ends with NUL bytes, which no value contains
 * raw: scanning needs no other bound.
 *
 * The children of open containers wait on one stack and move into one block of
 * exact size when theirs closes. Recursion is as deep as the nesting, which is
 * capped.
 *
 * Scanners take a position and return the one after what they read, or NULL
 * when the error is set.
 */
#include "core/json-impl.h"
#include "core/hex.h"
#include "core/utf8.h"

#include <stdio.h>

enum { PAD = 16, STACK = 64, DEPTH = 128, DEPTH_MAX = 1024 };
#define BYTES ((size_t)64 << 20)
#define BYTES_MAX ((size_t)2 << 30)

struct child {
	struct str key; /* of a member */
	struct json v;
};

struct parser {
	struct arena *arena;
	struct str source; /* as given; for positions in errors */
	char *text;        /* the copy */
	uint32_t depth, depth_max;
	struct child *stack;
	size_t n, room;
	struct arena spill; /* of a stack beyond first */
	struct error *err;
	struct child first[STACK];
};

static char *parse_value(struct parser *ps, char *p, struct json *out);

/* "line 3, column 14: what"; columns count characters. */
static char *
fail_at(struct parser *ps, const char *p, const char *what)
{
	size_t at = (size_t)(p - ps->text), line = 1, column = 1;

	for (size_t i = 0; i < at; i++) {
		if (ps->source.s[i] == '\n') {
			line++;
			column = 1;
		} else if (((unsigned char)ps->source.s[i] & 0xc0) != 0x80) {
			column++;
		}
	}
	fail(ps->err, FAULT_INPUT, "JSON", "line %zu, column %zu: %s", line,
	    column, what);
	return NULL;
}

/* "expected X, found Y" */
static char *
fail_expected(struct parser *ps, const char *p, const char *want)
{
	unsigned char c = (unsigned char)*p;
	unsigned n = utf8_len(p, PAD);
	char what[128];

	if (p == ps->text + ps->source.n)
		snprintf(what, sizeof(what),
		    "expected %s, found the end of the text", want);
	else if (c < 0x20 || c == 0x7f || n == 0)
		snprintf(what, sizeof(what), "expected %s, found byte 0x%02x",
		    want, c);
	else
		snprintf(what, sizeof(what), "expected %s, found '%.*s'", want,
		    (int)n, p);
	return fail_at(ps, p, what);
}

static void *
fail_memory(struct parser *ps)
{
	fail(ps->err, FAULT_INPUT, "JSON",
	    "too large: needs more than %zu bytes of memory", ps->arena->cap);
	return NULL;
}

static inline char *
skip_space(char *p)
{
	while (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')
		p++;
	return p;
}

static char *
skip_plain(char *p)
{
	unsigned n;

	while ((n = json_special(p, 1)) == 8)
		p += 8;
	return p + n;
}

static char *
skip_digits(char *p)
{
	while (*p >= '0' && *p <= '9')
		p++;
	return p;
}

static char *
parse_number(struct parser *ps, char *p, struct json *out)
{
	char *start = p, *digits;

	digits = *p == '-' ? ++p : p;
	p = *p == '0' ? p + 1 : skip_digits(p);
	if (p == digits)
		return fail_expected(ps, p, "a digit");
	if (*p == '.') {
		digits = ++p;
		p = skip_digits(p);
		if (p == digits)
			return fail_expected(ps, p, "a digit");
	}
	if (*p == 'e' || *p == 'E') {
		p++;
		if (*p == '+' || *p == '-')
			p++;
		digits = p;
		p = skip_digits(p);
		if (p == digits)
			return fail_expected(ps, p, "a digit");
	}
	*out = (struct json){
		.type = JSON_NUMBER, .n = (uint32_t)(p - start), .s = start
	};
	return p;
}

/* Four hexadecimal digits, or -1. */
static int32_t
hex4(const char *p)
{
	int32_t v = 0;

	for (int i = 0; i < 4; i++) {
		int digit = hex_digit(p[i]);

		if (digit < 0)
			return -1;
		v = v << 4 | digit;
	}
	return v;
}

static char *
put_utf8(char *w, int32_t c)
{
	if (c < 0x80) {
		*w++ = (char)c;
		return w;
	}
	if (c < 0x800) {
		*w++ = (char)(0xc0 | c >> 6);
	} else if (c < 0x10000) {
		*w++ = (char)(0xe0 | c >> 12);
		*w++ = (char)(0x80 | (c >> 6 & 0x3f));
	} else {
		*w++ = (char)(0xf0 | c >> 18);
		*w++ = (char)(0x80 | (c >> 12 & 0x3f));
		*w++ = (char)(0x80 | (c >> 6 & 0x3f));
	}
	*w++ = (char)(0x80 | (c & 0x3f));
	return w;
}

/* p is at "uXXXX"; decoded to *w, which never overtakes p. */
static char *
unescape_unicode(struct parser *ps, char *p, char **w)
{
	int32_t c = hex4(p + 1), low = -1;

	if (c < 0)
		return fail_at(ps, p - 1, "\\u needs four hexadecimal digits");
	if (c < 0xd800 || c > 0xdfff) {
		*w = put_utf8(*w, c);
		return p + 5;
	}
	if (c < 0xdc00 && p[5] == '\\' && p[6] == 'u')
		low = hex4(p + 7);
	if (low < 0xdc00 || low > 0xdfff)
		return fail_at(ps, p - 1, "a lone surrogate is no character");
	*w = put_utf8(*w, 0x10000 + ((c & 0x3ff) << 10 | (low & 0x3ff)));
	return p + 11;
}

/* p is behind the backslash. */
static char *
unescape(struct parser *ps, char *p, char **w)
{
	static const char plain[256] = {
		['"'] = '"',
		['\\'] = '\\',
		['/'] = '/',
		['b'] = '\b',
		['f'] = '\f',
		['n'] = '\n',
		['r'] = '\r',
		['t'] = '\t',
	};
	char c = plain[(unsigned char)*p];

	if (*p == 'u')
		return unescape_unicode(ps, p, w);
	if (c == '\0')
		return fail_expected(
		    ps, p, "one of \"\\/bfnrtu after a backslash");
	*(*w)++ = c;
	return p + 1;
}

/* p is at the opening quote. The closing one becomes the string's NUL. */
static char *
parse_string(struct parser *ps, char *p, struct str *out)
{
	char *start = p + 1, *w, *plain;
	unsigned n;

	p = w = skip_plain(start);
	while (*p != '"') {
		if (*p == '\\') {
			p = unescape(ps, p + 1, &w);
			if (p == NULL)
				return NULL;
		} else if ((unsigned char)*p < 0x20) {
			return fail_expected(ps, p, "a character or '\"'");
		} else {
			n = utf8_len(p, PAD); /* there always are */
			if (n == 0)
				return fail_at(ps, p, "invalid UTF-8");
			memmove(w, p, n);
			w += n;
			p += n;
		}
		plain = p;
		p = skip_plain(p);
		if (w != plain)
			memmove(w, plain, (size_t)(p - plain));
		w += p - plain;
	}
	*w = '\0';
	*out = (struct str){ start, (size_t)(w - start) };
	return p + 1;
}

static int
push(struct parser *ps, struct str key, struct json v)
{
	struct child *grown;

	if (ps->n == ps->room) {
		grown = arena_array(&ps->spill, ps->room * 2, sizeof(*grown));
		if (grown == NULL) {
			fail_memory(ps);
			return -1;
		}
		memcpy(grown, ps->stack, ps->n * sizeof(*grown));
		ps->stack = grown;
		ps->room *= 2;
	}
	ps->stack[ps->n++] = (struct child){ key, v };
	return 0;
}

/* The children from base on become the items of an array. */
static int
close_array(struct parser *ps, size_t base, struct json *out)
{
	size_t n = ps->n - base;
	struct json *nodes;
	struct json **items;

	*out = (struct json){
		.type = JSON_ARRAY, .n = (uint32_t)n, .room = (uint32_t)n
	};
	if (n == 0)
		return 0;
	items = arena_alloc(ps->arena, n * (sizeof(*items) + sizeof(*nodes)));
	if (items == NULL) {
		fail_memory(ps);
		return -1;
	}
	nodes = (struct json *)(items + n);
	for (size_t i = 0; i < n; i++) {
		nodes[i] = ps->stack[base + i].v;
		items[i] = &nodes[i];
	}
	out->items = items;
	ps->n = base;
	return 0;
}

/* The children from base on become the members of an object. */
static int
close_object(struct parser *ps, size_t base, struct json *out)
{
	size_t n = ps->n - base, members;
	struct json *nodes;

	*out = (struct json){ .type = JSON_OBJECT, .room = (uint32_t)n };
	if (n == 0)
		return 0;
	members = json_object_bytes((uint32_t)n);
	out->of = arena_alloc(ps->arena, members + n * sizeof(*nodes));
	if (out->of == NULL) {
		fail_memory(ps);
		return -1;
	}
	nodes = (struct json *)((char *)out->of + members);
	if (n > JSON_LINEAR)
		json_index(out);
	for (size_t i = 0; i < n; i++) {
		nodes[i] = ps->stack[base + i].v;
		json_put(out, ps->stack[base + i].key, &nodes[i]);
	}
	ps->n = base;
	return 0;
}

static char *
parse_array(struct parser *ps, char *p, struct json *out)
{
	size_t base = ps->n;
	struct json v;

	p = skip_space(p + 1);
	if (*p == ']')
		return close_array(ps, base, out) < 0 ? NULL : p + 1;
	for (;;) {
		p = parse_value(ps, p, &v);
		if (p == NULL || push(ps, STR(""), v) < 0)
			return NULL;
		p = skip_space(p);
		if (*p != ',')
			break;
		p = skip_space(p + 1);
	}
	if (*p != ']')
		return fail_expected(ps, p, "',' or ']'");
	return close_array(ps, base, out) < 0 ? NULL : p + 1;
}

/* "key": value */
static char *
parse_member(struct parser *ps, char *p)
{
	struct str key;
	struct json v;

	if (*p != '"')
		return fail_expected(ps, p, "a key in double quotes");
	p = parse_string(ps, p, &key);
	if (p == NULL)
		return NULL;
	p = skip_space(p);
	if (*p != ':')
		return fail_expected(ps, p, "':'");
	p = parse_value(ps, skip_space(p + 1), &v);
	if (p == NULL || push(ps, key, v) < 0)
		return NULL;
	return skip_space(p);
}

static char *
parse_object(struct parser *ps, char *p, struct json *out)
{
	size_t base = ps->n;

	p = skip_space(p + 1);
	if (*p == '}')
		return close_object(ps, base, out) < 0 ? NULL : p + 1;
	for (;;) {
		p = parse_member(ps, p);
		if (p == NULL)
			return NULL;
		if (*p != ',')
			break;
		p = skip_space(p + 1);
	}
	if (*p != '}')
		return fail_expected(ps, p, "',' or '}'");
	return close_object(ps, base, out) < 0 ? NULL : p + 1;
}

static char *
parse_container(struct parser *ps, char *p, struct json *out)
{
	char what[48];

	if (ps->depth == ps->depth_max) {
		snprintf(
		    what, sizeof(what), "nested deeper than %u", ps->depth_max);
		return fail_at(ps, p, what);
	}
	ps->depth++;
	p = *p == '{' ? parse_object(ps, p, out) : parse_array(ps, p, out);
	ps->depth--;
	return p;
}

static char *
parse_word(struct parser *ps, char *p, struct json *out)
{
	if (memcmp(p, "true", 4) == 0)
		*out = (struct json){ .type = JSON_TRUE };
	else if (memcmp(p, "null", 4) == 0)
		*out = (struct json){ .type = JSON_NULL };
	else if (memcmp(p, "false", 5) == 0)
		*out = (struct json){ .type = JSON_FALSE };
	else
		return fail_expected(ps, p, "a value");
	return p + (*p == 'f' ? 5 : 4);
}

/* p is behind white space. */
static char *
parse_value(struct parser *ps, char *p, struct json *out)
{
	struct str s = { 0 };

	if (*p == '"') {
		p = parse_string(ps, p, &s);
		*out = (struct json){ .type = JSON_STRING };
		if (p != NULL) {
			out->n = (uint32_t)s.n;
			out->s = s.s;
		}
		return p;
	}
	if (*p == '-' || (*p >= '0' && *p <= '9'))
		return parse_number(ps, p, out);
	if (*p == '{' || *p == '[')
		return parse_container(ps, p, out);
	return parse_word(ps, p, out);
}

static int
parse_text(struct parser *ps, struct json *out)
{
	char *p = parse_value(ps, skip_space(ps->text), out);

	if (p == NULL)
		return -1;
	p = skip_space(p);
	if (p != ps->text + ps->source.n) {
		fail_expected(ps, p, "the end of the text");
		return -1;
	}
	return 0;
}

int
json_parse(struct arena *a, struct str text, const struct json_limits *limits,
    struct json **out, struct error *err)
{
	size_t bytes =
	    limits != NULL && limits->bytes > 0 ? limits->bytes : BYTES;
	uint32_t depth =
	    limits != NULL && limits->depth > 0 ? limits->depth : DEPTH;
	struct parser ps;
	int r;

	if (bytes > BYTES_MAX)
		bytes = BYTES_MAX;
	if (text.n > bytes)
		return fail(err, FAULT_INPUT, "JSON",
		    "too large: %zu bytes, at most %zu", text.n, bytes);
	ps.arena = a;
	ps.source = text;
	ps.depth = 0;
	ps.depth_max = depth < DEPTH_MAX ? depth : DEPTH_MAX;
	ps.stack = ps.first;
	ps.n = 0;
	ps.room = STACK;
	ps.err = err;
	ps.text = arena_alloc(a, text.n + PAD);
	*out = arena_alloc(a, sizeof(**out));
	if (ps.text == NULL || *out == NULL) {
		fail_memory(&ps);
		return -1;
	}
	if (text.n > 0)
		memcpy(ps.text, text.s, text.n);
	memset(ps.text + text.n, 0, PAD);
	arena_init_cap(&ps.spill, a->cap);
	r = parse_text(&ps, *out);
	arena_deinit(&ps.spill);
	return r;
}
