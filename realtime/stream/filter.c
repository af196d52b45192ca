#include "realtime/stream/filter.h"
#include "core/json.h"
#include "core/mem.h"

#include <stdlib.h>
#include <string.h>

static struct str
copy(char **to, struct str s)
{
	struct str out = { *to, s.n };

	if (s.n > 0)
		memcpy(*to, s.s, s.n);
	*to += s.n;
	return out;
}

struct filter *
filter_new(const struct filter *what)
{
	size_t n = what->q.n;
	struct filter *f;
	char *text;

	if (what->level <= 1 && what->q.n == 0 && what->n_attrs == 0)
		return NULL;
	for (size_t i = 0; i < what->n_attrs; i++)
		n += what->attrs[i].name.n + what->attrs[i].value.n;
	f = xcalloc(1, sizeof(*f) + n);
	text = (char *)(f + 1);
	f->refs = 1;
	f->level = what->level;
	f->q = copy(&text, what->q);
	f->n_attrs = what->n_attrs;
	for (size_t i = 0; i < what->n_attrs; i++) {
		f->attrs[i].name = copy(&text, what->attrs[i].name);
		f->attrs[i].value = copy(&text, what->attrs[i].value);
	}
	return f;
}

struct filter *
filter_ref(struct filter *f)
{
	if (f != NULL)
		f->refs++;
	return f;
}

struct filter *
filter_unref(struct filter *f)
{
	if (f != NULL && --f->refs == 0)
		free(f);
	return NULL;
}

int
filter_equal(const struct filter *x, const struct filter *y)
{
	if (x->level != y->level || !str_eq(x->q, y->q) ||
	    x->n_attrs != y->n_attrs)
		return 0;
	for (size_t i = 0; i < x->n_attrs; i++)
		if (!str_eq(x->attrs[i].name, y->attrs[i].name) ||
		    !str_eq(x->attrs[i].value, y->attrs[i].value))
			return 0;
	return 1;
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

static int
contains(struct str text, struct str q)
{
	for (size_t at = 0; at + q.n <= text.n; at++) {
		size_t i = 0;

		while (i < q.n && lower(text.s[at + i]) == lower(q.s[i]))
			i++;
		if (i == q.n)
			return 1;
	}
	return 0;
}

/* As attrs ->> name = value. */
static int
attrs_fit(const struct filter *f, struct arena *scratch, struct str attrs)
{
	struct json *v;

	if (attrs.s == NULL)
		return 0;
	arena_reset(scratch);
	if (json_parse(scratch, attrs, NULL, &v, NULL) < 0)
		return 0;
	for (size_t i = 0; i < f->n_attrs; i++) {
		struct json *x = json_get_str(v, f->attrs[i].name);
		struct str text = json_is(x, JSON_STRING)
		    ? json_str(x)
		    : json_text(scratch, x);

		if (x == NULL || json_is(x, JSON_NULL) ||
		    !str_eq(text, f->attrs[i].value))
			return 0;
	}
	return 1;
}

int
filter_fits(
    const struct filter *f, struct arena *scratch, const struct sse_line *line)
{
	if (line->level < f->level)
		return 0;
	if (f->q.n > 0 && !contains(line->message, f->q))
		return 0;
	return f->n_attrs == 0 || attrs_fit(f, scratch, line->attrs);
}
