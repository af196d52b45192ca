/*
 * Text from a tree, twice over: first its exact size, then the bytes into one
 * block of that size, without a bound to check.
 */
#include "core/json-impl.h"
#include "core/sort.h"
#include "core/utf8.h"

#include <stdio.h>

enum style { COMPACT, CANONICAL, PRETTY };

struct writer {
	struct arena *arena;
	enum style style;
	size_t depth;
	char *p;
};

/* How a byte is escaped: 0 not, 'u' as \u00XX, else by that letter. */
static const char escapes[256] = {
	[0x00 ... 0x07] = 'u',
	['\b'] = 'b',
	['\t'] = 't',
	['\n'] = 'n',
	[0x0b] = 'u',
	['\f'] = 'f',
	['\r'] = 'r',
	[0x0e ... 0x1f] = 'u',
	['"'] = '"',
	['\\'] = '\\',
};

/* Bytes at s that are written as they are. */
static size_t
plain_run(const char *s, size_t n)
{
	size_t i = 0;
	unsigned at;

	for (; n - i >= 8; i += 8)
		if ((at = json_special(s + i, 0)) < 8)
			return i + at;
	while (i < n && escapes[(unsigned char)s[i]] == 0)
		i++;
	return i;
}

static size_t
string_size(struct str s)
{
	size_t size = s.n + 2, run;

	for (; (run = plain_run(s.s, s.n)) < s.n; s.n -= run + 1) {
		s.s += run;
		size += escapes[(unsigned char)*s.s++] == 'u' ? 5 : 1;
	}
	return size;
}

static char *
write_string(char *p, struct str s)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char c;
	size_t run;

	*p++ = '"';
	for (; (run = plain_run(s.s, s.n)) < s.n; s.n -= run + 1) {
		memcpy(p, s.s, run);
		p += run;
		s.s += run;
		c = (unsigned char)*s.s++;
		*p++ = '\\';
		*p++ = escapes[c];
		if (escapes[c] == 'u') {
			memcpy(p, "00", 2);
			p[2] = hex[c >> 4];
			p[3] = hex[c & 15];
			p += 4;
		}
	}
	if (run > 0)
		memcpy(p, s.s, run);
	p += run;
	*p++ = '"';
	return p;
}

static const char *
word(enum json_type type)
{
	return type == JSON_TRUE ? "true"
	    : type == JSON_FALSE ? "false"
				 : "null";
}

/* Of the line breaks of a container with n > 0 children, when pretty. */
static size_t
breaks_size(const struct writer *w, size_t n)
{
	return w->style == PRETTY ? (n + 1) * (1 + 2 * w->depth) + 2 * n : 0;
}

static size_t
value_size(struct writer *w, const struct json *v)
{
	size_t size = 2;

	if (v->type == JSON_NUMBER)
		return v->n;
	if (v->type == JSON_STRING)
		return string_size((struct str){ v->s, v->n });
	if (v->type != JSON_ARRAY && v->type != JSON_OBJECT)
		return strlen(word(v->type));
	if (v->n > 0)
		size += v->n - 1 + breaks_size(w, v->n);
	w->depth++;
	for (uint32_t i = 0; i < v->n; i++) {
		if (v->type == JSON_ARRAY) {
			size += value_size(w, v->items[i]);
			continue;
		}
		size += string_size(v->of[i].key) + 1 + (w->style == PRETTY);
		size += value_size(w, v->of[i].value);
	}
	w->depth--;
	return size;
}

static void
break_line(struct writer *w)
{
	if (w->style != PRETTY)
		return;
	*w->p++ = '\n';
	memset(w->p, ' ', 2 * w->depth);
	w->p += 2 * w->depth;
}

static int write_value(struct writer *w, const struct json *v);

static int
by_key(const void *x, const void *y, void *arg)
{
	const struct json_member *a = x, *b = y;

	(void)arg;
	return str_cmp(a->key, b->key);
}

static int
write_member(struct writer *w, const struct json_member *m)
{
	w->p = write_string(w->p, m->key);
	*w->p++ = ':';
	if (w->style == PRETTY)
		*w->p++ = ' ';
	return write_value(w, m->value);
}

/* The i-th child: of an object in key order where sorted is given. */
static int
write_child(struct writer *w, const struct json *v, void **sorted, uint32_t i)
{
	if (i > 0)
		*w->p++ = ',';
	break_line(w);
	if (v->type == JSON_ARRAY)
		return write_value(w, v->items[i]);
	return write_member(w, sorted != NULL ? sorted[i] : &v->of[i]);
}

static int
write_container(struct writer *w, const struct json *v)
{
	void **sorted = NULL;

	if (w->style == CANONICAL && v->type == JSON_OBJECT && v->n > 1) {
		sorted = arena_array(w->arena, v->n, 2 * sizeof(*sorted));
		if (sorted == NULL)
			return -1;
		for (uint32_t i = 0; i < v->n; i++)
			sorted[i] = &v->of[i];
		sort_stable(sorted, sorted + v->n, v->n, by_key, NULL);
	}
	*w->p++ = v->type == JSON_ARRAY ? '[' : '{';
	w->depth++;
	for (uint32_t i = 0; i < v->n; i++)
		if (write_child(w, v, sorted, i) < 0)
			return -1;
	w->depth--;
	if (v->n > 0)
		break_line(w);
	*w->p++ = v->type == JSON_ARRAY ? ']' : '}';
	return 0;
}

static int
write_value(struct writer *w, const struct json *v)
{
	size_t n;

	if (v->type == JSON_ARRAY || v->type == JSON_OBJECT)
		return write_container(w, v);
	if (v->type == JSON_STRING) {
		w->p = write_string(w->p, (struct str){ v->s, v->n });
		return 0;
	}
	n = v->type == JSON_NUMBER ? v->n : strlen(word(v->type));
	memcpy(w->p, v->type == JSON_NUMBER ? v->s : word(v->type), n);
	w->p += n;
	return 0;
}

static struct str
text_of(struct arena *a, const struct json *v, enum style style)
{
	struct writer w = { .arena = a, .style = style };
	struct str text;
	char *bytes;

	if (v == NULL)
		v = json_null();
	text.n = value_size(&w, v);
	text.s = bytes = arena_alloc(a, text.n + 1);
	w.p = bytes;
	if (bytes == NULL || write_value(&w, v) < 0)
		return (struct str){ NULL, 0 };
	bytes[text.n] = '\0';
	return text;
}

struct str
json_text(struct arena *a, const struct json *v)
{
	return text_of(a, v, COMPACT);
}

struct str
json_canonical(struct arena *a, const struct json *v)
{
	return text_of(a, v, CANONICAL);
}

struct str
json_pretty(struct arena *a, const struct json *v)
{
	return text_of(a, v, PRETTY);
}

/* Append a reference token while it fits; RFC 6901, section 3. */
static size_t
put_token(char *out, size_t at, struct str key)
{
	char one[8];

	for (size_t i = 0; i < key.n; i++) {
		unsigned char c = (unsigned char)key.s[i];
		int n;

		if (c == '~' || c == '/')
			n = snprintf(one, sizeof(one), "~%d", c == '/');
		else
			n = snprintf(
			    one, sizeof(one), c < 0x20 ? "\\u%04x" : "%c", c);
		if (at + (size_t)n >= JSON_POINTER)
			break;
		memcpy(out + at, one, (size_t)n);
		at += (size_t)n;
	}
	return at;
}

static size_t
put_path(char *out, const struct json_path *path)
{
	char index[24];
	size_t at;

	if (path == NULL)
		return 0;
	at = put_path(out, path->up);
	if (at + 1 < JSON_POINTER)
		out[at++] = '/';
	if (path->key.s != NULL)
		return put_token(out, at, path->key);
	snprintf(index, sizeof(index), "%zu", path->index);
	return put_token(out, at, str_of(index));
}

const char *
json_pointer(const struct json_path *at, char out[JSON_POINTER])
{
	struct str text = { out, put_path(out, at) };

	/* the cut may have gone through a character */
	while (text.n > 0 && !utf8_valid(text))
		text.n--;
	out[text.n] = '\0';
	return out;
}
