/* What becomes of one string: encoding and checks, by mode. */
#include "worker/flow/template-impl.h"

#include <string.h>

static int
fail_size(const struct template_text *text)
{
	return fail(text->err, FAULT_INPUT, "limit",
	    "makes more than %zu bytes", text->limit);
}

static int
reserve(struct template_text *text, size_t more)
{
	size_t room = text->room > 0 ? text->room : 64;
	char *s;

	if (more > text->most || text->n > text->most - more)
		return fail_size(text);
	while (room - text->n < more)
		room *= 2;
	if (room == text->room)
		return 0;
	s = arena_grow(text->arena, text->s, text->n, room, 1);
	if (s == NULL)
		return fail(text->err, FAULT_INPUT, "limit",
		    "takes more than %zu bytes of memory", text->arena->cap);
	text->s = s;
	text->room = room;
	return 0;
}

int
template_put(struct template_text *text, struct str s)
{
	if (reserve(text, s.n) < 0)
		return -1;
	if (s.n > 0)
		memcpy(text->s + text->n, s.s, s.n);
	text->n += s.n;
	return 0;
}

/* RFC 3986, 2.3 */
static int
is_unreserved(unsigned char c)
{
	unsigned char lower = (unsigned char)(c | 0x20);

	return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') ||
	    (c != '\0' && strchr("-._~", c) != NULL);
}

static int
put_encoded(struct template_text *text, struct str s)
{
	static const char hex[] = "0123456789ABCDEF";

	if (s.n > TEMPLATE_URL_BYTES)
		return fail(text->err, FAULT_INPUT, "url",
		    "a URL of more than %d bytes", TEMPLATE_URL_BYTES);
	if (reserve(text, 3 * s.n) < 0)
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.s[i];

		if (is_unreserved(c)) {
			text->s[text->n++] = (char)c;
			continue;
		}
		text->s[text->n++] = '%';
		text->s[text->n++] = hex[c >> 4];
		text->s[text->n++] = hex[c & 15];
	}
	return 0;
}

/* The end of scheme://authority; 0 when it has not come yet. */
static size_t
authority_end(struct str url)
{
	const char *scheme = memmem(url.s, url.n, "://", 3);
	size_t at = scheme != NULL ? (size_t)(scheme - url.s) + 3 : url.n;

	for (; at < url.n; at++)
		if (url.s[at] == '/' || url.s[at] == '?' || url.s[at] == '#')
			return at;
	return 0;
}

int
template_url_fixed(struct str literal)
{
	return authority_end(literal) > 0;
}

int
template_header_check(struct str s, struct error *err)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.s[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return fail(err, FAULT_INPUT, "header",
			    "a header can't hold the control byte 0x%02x", c);
	}
	return 0;
}

/* A path that lacks a segment means something else: /users//posts. */
static int
put_null(const struct template_text *text)
{
	if (text->mode == TEMPLATE_PLAIN || text->mode == TEMPLATE_HEADER ||
	    (text->n > 0 && memchr(text->s, '?', text->n) != NULL))
		return 0;
	return fail(text->err, FAULT_INPUT, "url", "null in the path of a URL");
}

int
template_put_value(struct template_text *text, const struct json *v)
{
	struct str s = json_str(v);

	if (v->type == JSON_NULL)
		return put_null(text);
	if (v->type != JSON_STRING) {
		if (expr_text_size(v, text->most) > text->most)
			return fail_size(text);
		s = json_text(text->arena, v);
		if (s.s == NULL)
			return fail(text->err, FAULT_INPUT, "limit",
			    "takes more than %zu bytes of memory",
			    text->arena->cap);
	}
	if (text->mode == TEMPLATE_PLAIN || text->mode == TEMPLATE_HEADER)
		return template_put(text, s);
	if (!text->authority_ended)
		text->authority_ended =
		    authority_end((struct str){ text->s, text->n }) > 0;
	return text->authority_ended ? put_encoded(text, s)
				     : template_put(text, s);
}

/* "." or "..", each dot perhaps as %2e, which clients take for a dot too. */
static int
is_dots(struct str segment)
{
	size_t dots = 0;

	while (segment.n > 0) {
		size_t one = *segment.s == '.' ? 1 : 3;

		if (one == 3 &&
		    (segment.n < 3 || strncasecmp(segment.s, "%2e", 3) != 0))
			return 0;
		dots++;
		segment.s += one;
		segment.n -= one;
	}
	return dots == 1 || dots == 2;
}

static int
check_url(const struct template_text *text)
{
	struct str url = { text->s, text->n };
	size_t start = authority_end(url), end;

	if (url.n > TEMPLATE_URL_BYTES)
		return fail(text->err, FAULT_INPUT, "url",
		    "a URL of more than %d bytes", TEMPLATE_URL_BYTES);
	for (size_t i = 0; i < url.n; i++)
		if ((unsigned char)url.s[i] <= 0x20 || url.s[i] == 0x7f)
			return fail(text->err, FAULT_INPUT, "url",
			    "a URL can't hold the byte 0x%02x",
			    (unsigned char)url.s[i]);
	for (; start > 0 && start < url.n; start = end) {
		if (url.s[start] == '?' || url.s[start] == '#')
			break;
		start++;
		for (end = start; end < url.n; end++)
			if (strchr("/?#\\", url.s[end]) != NULL)
				break;
		if (is_dots((struct str){ url.s + start, end - start }))
			return fail(text->err, FAULT_INPUT, "url",
			    "a URL can't have the path segment \"%.*s\"",
			    (int)(end - start), url.s + start);
	}
	return 0;
}

int
template_text_check(const struct template_text *text)
{
	switch (text->mode) {
	case TEMPLATE_URL:
	case TEMPLATE_URL_ANY_HOST:
		return check_url(text);
	case TEMPLATE_HEADER:
		return template_header_check(
		    (struct str){ text->s, text->n }, text->err);
	case TEMPLATE_PLAIN:
		break;
	}
	return 0;
}
