#include "core/time.h"
#include "worker/flow/parse-impl.h"

#include <string.h>

/* "an object", "a string": for sentences. */
static const char *
a_type(enum json_type type)
{
	switch (type) {
	case JSON_NULL:
		return "null";
	case JSON_FALSE:
	case JSON_TRUE:
		return "a boolean";
	case JSON_NUMBER:
		return "a number";
	case JSON_STRING:
		return "a string";
	case JSON_ARRAY:
		return "an array";
	case JSON_OBJECT:
		return "an object";
	}
	return "";
}

int
want(struct parser *p, const struct json_path *at, const struct json *v,
    enum json_type type)
{
	int boolean = type == JSON_TRUE && json_is(v, JSON_FALSE);

	if (json_is(v, type) || boolean)
		return 0;
	problem(
	    p, at, NULL, "must be %s, is %s", a_type(type), a_type(v->type));
	return -1;
}

static const struct field *
field_find(const struct field *fields, struct str name)
{
	for (; fields->name != NULL; fields++)
		if (str_is(name, fields->name))
			return fields;
	return NULL;
}

static void
field_unknown(struct parser *p, const struct json_path *at, struct str name,
    const struct field *fields)
{
	struct suggest s;

	suggest_init(&s, name);
	for (; fields->name != NULL; fields++)
		suggest_add(&s, str_of(fields->name));
	problem(p, at, hint_of(p, &s), "unknown field \"%.*s\"",
	    (int)(name.n < 100 ? name.n : 100), name.s);
}

int
fields_parse(struct parser *p, const struct json_path *at, const struct json *v,
    const struct field *fields, void *into)
{
	if (want(p, at, v, JSON_OBJECT) < 0)
		return -1;
	for (uint32_t i = 0; i < v->n; i++) {
		struct json_path here = { .up = at, .key = v->of[i].key };
		const struct field *f = field_find(fields, v->of[i].key);

		if (f == NULL)
			field_unknown(p, &here, v->of[i].key, fields);
		else if (f->parse != NULL)
			f->parse(p, &here, v->of[i].value, into);
	}
	for (; fields->name != NULL; fields++)
		if (fields->required && json_get(v, fields->name) == NULL)
			problem(p, at, NULL, "\"%s\" is missing", fields->name);
	return 0;
}

int
want_name(struct parser *p, const struct json_path *at, const struct json *v,
    struct str *out)
{
	struct str s = json_str(v);
	int good = s.n > 0 && s.n <= 63 && s.s[0] >= 'a' && s.s[0] <= 'z';

	if (want(p, at, v, JSON_STRING) < 0)
		return -1;
	for (size_t i = 0; good && i < s.n; i++)
		good = (s.s[i] >= 'a' && s.s[i] <= 'z') ||
		    (s.s[i] >= '0' && s.s[i] <= '9') || s.s[i] == '_';
	*out = s;
	if (good)
		return 0;
	problem(p, at,
	    "lower-case letters, digits and _, a letter first, at most 63",
	    "\"%.*s\" is not a name", (int)(s.n < 100 ? s.n : 100), s.s);
	return -1;
}

int
want_integer(struct parser *p, const struct json_path *at, const struct json *v,
    int64_t from, int64_t to, int64_t *out)
{
	int64_t n;

	if (want(p, at, v, JSON_NUMBER) < 0)
		return -1;
	if (json_integer(v, &n) < 0 || n < from || n > to) {
		problem(p, at, NULL, "must be an integer from %lld to %lld",
		    (long long)from, (long long)to);
		return -1;
	}
	*out = n;
	return 0;
}

int
want_duration(struct parser *p, const struct json_path *at,
    const struct json *v, int64_t most, int64_t *out)
{
	char text[TIME_TEXT];
	int64_t ms;

	if (want(p, at, v, JSON_STRING) < 0)
		return -1;
	if (duration_parse(json_str(v), &ms) < 0) {
		problem(p, at,
		    "such as \"250ms\", \"1.5s\", \"10m\", \"2h\", \"7d\"",
		    "\"%.*s\" is not a duration", STR_FMT(json_str(v)));
		return -1;
	}
	if (ms < 1 || ms > most) {
		problem(p, at, NULL, "must be from 1 ms to %s",
		    duration_format(most, text));
		return -1;
	}
	*out = ms;
	return 0;
}

int
want_word(struct parser *p, const struct json_path *at, const struct json *v,
    const char *const *words, int *out)
{
	struct str s = json_str(v);
	struct suggest near;
	char list[256] = "";
	size_t n = 0;

	if (want(p, at, v, JSON_STRING) < 0)
		return -1;
	suggest_init(&near, s);
	for (int i = 0; words[i] != NULL; i++) {
		size_t len = strlen(words[i]);

		if (str_is(s, words[i])) {
			*out = i;
			return 0;
		}
		suggest_add(&near, str_of(words[i]));
		if (n + len + 3 > sizeof(list))
			continue;
		if (n > 0) {
			memcpy(list + n, ", ", 2);
			n += 2;
		}
		memcpy(list + n, words[i], len + 1);
		n += len;
	}
	problem(p, at, hint_of(p, &near), "\"%.*s\" is none of %s",
	    (int)(s.n < 100 ? s.n : 100), s.s, list);
	return -1;
}

void
field_text(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	(void)into;
	if (want(p, at, v, JSON_STRING) == 0 && v->n > 1000)
		problem(p, at, NULL, "must be at most 1000 bytes long");
}
