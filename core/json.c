/* Building, reading and comparing values. */
#include "core/json.h"
#include "core/json-impl.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t
mix(uint64_t x, uint64_t y)
{
	unsigned __int128 m = (unsigned __int128)x * y;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t
hash(const void *seed, struct str key)
{
	const uint64_t k = 0x9e3779b97f4a7c15;
	uint64_t h = mix((uintptr_t)seed ^ k, key.n + k), w;

	while (key.n >= sizeof(w)) {
		memcpy(&w, key.s, sizeof(w));
		h = mix(h ^ w, k);
		key.s += sizeof(w);
		key.n -= sizeof(w);
	}
	w = 0;
	if (key.n > 0)
		memcpy(&w, key.s, key.n);
	return mix(h ^ w, k ^ 0xff);
}

/* The slot that holds key's member, or the free one where it belongs. */
static uint32_t *
find_slot(const struct json *o, struct str key)
{
	uint32_t *slots = (uint32_t *)(o->of + o->room);
	uint32_t mask = json_slots(o->room) - 1;
	uint32_t i = (uint32_t)hash(o->of, key) & mask;

	while (slots[i] != 0 && !str_eq(o->of[slots[i] - 1].key, key))
		i = (i + 1) & mask;
	return &slots[i];
}

void
json_index(struct json *o)
{
	memset(o->of + o->room, 0, json_slots(o->room) * sizeof(uint32_t));
	o->flags |= JSON_INDEXED;
	for (uint32_t i = 0; i < o->n; i++)
		*find_slot(o, o->of[i].key) = i + 1;
}

static struct json_member *
find(const struct json *o, struct str key)
{
	uint32_t slot;

	if (o->flags & JSON_INDEXED) {
		slot = *find_slot(o, key);
		return slot != 0 ? &o->of[slot - 1] : NULL;
	}
	for (uint32_t i = 0; i < o->n; i++)
		if (str_eq(o->of[i].key, key))
			return &o->of[i];
	return NULL;
}

void
json_put(struct json *o, struct str key, struct json *value)
{
	struct json_member *m = find(o, key);

	if (m != NULL) {
		m->value = value;
		return;
	}
	o->of[o->n++] = (struct json_member){ key, value };
	if (o->flags & JSON_INDEXED)
		*find_slot(o, key) = o->n;
}

struct json *
json_null(void)
{
	static struct json v = { .type = JSON_NULL };

	return &v;
}

struct json *
json_bool(int yes)
{
	static struct json f = { .type = JSON_FALSE },
			   t = { .type = JSON_TRUE };

	return yes ? &t : &f;
}

/* A scalar with a copy of its bytes. */
static struct json *
scalar(struct arena *a, enum json_type type, struct str s)
{
	struct json *v = arena_alloc(a, sizeof(*v) + s.n + 1);
	char *bytes;

	if (v == NULL)
		return NULL;
	bytes = (char *)(v + 1);
	if (s.n > 0)
		memcpy(bytes, s.s, s.n);
	bytes[s.n] = '\0';
	*v = (struct json){ .type = type, .n = (uint32_t)s.n, .s = bytes };
	return v;
}

struct json *
json_int(struct arena *a, int64_t i)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%lld", (long long)i);

	return scalar(a, JSON_NUMBER, (struct str){ text, (size_t)n });
}

/* The fewest digits that read back as the same double. */
struct json *
json_double(struct arena *a, double d)
{
	char text[32];
	int digits = fabs(d) < DBL_MIN ? 1 : 15, n = 0;

	if (!isfinite(d))
		return json_null();
	if (d == floor(d) && fabs(d) <= 0x1p53)
		return json_int(a, (int64_t)d);
	for (; digits <= 17; digits++) {
		n = snprintf(text, sizeof(text), "%.*g", digits, d);
		if (strtod(text, NULL) == d)
			break;
	}
	return scalar(a, JSON_NUMBER, (struct str){ text, (size_t)n });
}

struct json *
json_number(struct arena *a, struct str lexeme)
{
	return scalar(a, JSON_NUMBER, lexeme);
}

struct json *
json_string(struct arena *a, struct str s)
{
	return scalar(a, JSON_STRING, s);
}

struct json *
json_cstring(struct arena *a, const char *s)
{
	return scalar(a, JSON_STRING, str_of(s));
}

static struct json *
container(struct arena *a, enum json_type type)
{
	struct json *v = arena_zalloc(a, sizeof(*v));

	if (v != NULL)
		v->type = type;
	return v;
}

struct json *
json_array(struct arena *a)
{
	return container(a, JSON_ARRAY);
}

struct json *
json_object(struct arena *a)
{
	return container(a, JSON_OBJECT);
}

int
json_push(struct arena *a, struct json *array, struct json *v)
{
	struct json **items;
	uint32_t room;

	if (array == NULL)
		return -1;
	if (array->n == array->room) {
		room = array->room > 0 ? array->room * 2 : 4;
		items =
		    arena_grow(a, array->items, array->n, room, sizeof(*items));
		if (items == NULL)
			return -1;
		array->items = items;
		array->room = room;
	}
	array->items[array->n++] = v != NULL ? v : json_null();
	return 0;
}

static int
grow_object(struct arena *a, struct json *o)
{
	uint32_t room = o->room > 0 ? o->room * 2 : 4;
	struct json_member *of = arena_alloc(a, json_object_bytes(room));

	if (of == NULL)
		return -1;
	if (o->n > 0)
		memcpy(of, o->of, o->n * sizeof(*of));
	o->of = of;
	o->room = room;
	if (room > JSON_LINEAR)
		json_index(o);
	return 0;
}

int
json_set_str(
    struct arena *a, struct json *object, struct str key, struct json *v)
{
	struct json_member *m;

	if (object == NULL)
		return -1;
	if (v == NULL)
		v = json_null();
	m = find(object, key);
	if (m != NULL) {
		m->value = v;
		return 0;
	}
	key = arena_str(a, key);
	if (key.s == NULL ||
	    (object->n == object->room && grow_object(a, object) < 0))
		return -1;
	json_put(object, key, v);
	return 0;
}

int
json_set(struct arena *a, struct json *object, const char *key, struct json *v)
{
	return json_set_str(a, object, str_of(key), v);
}

int
json_is(const struct json *v, enum json_type type)
{
	return v != NULL && v->type == type;
}

struct json *
json_get_str(const struct json *v, struct str key)
{
	struct json_member *m = json_is(v, JSON_OBJECT) ? find(v, key) : NULL;

	return m != NULL ? m->value : NULL;
}

struct json *
json_get(const struct json *v, const char *key)
{
	return json_get_str(v, str_of(key));
}

struct json *
json_at(const struct json *v, size_t i)
{
	return json_is(v, JSON_ARRAY) && i < v->n ? v->items[i] : NULL;
}

struct str
json_str(const struct json *v)
{
	return json_is(v, JSON_STRING) ? (struct str){ v->s, v->n } : STR("");
}

static int
objects_equal(const struct json *x, const struct json *y)
{
	for (uint32_t i = 0; i < x->n; i++) {
		struct json_member *m = find(y, x->of[i].key);

		if (m == NULL || !json_equal(x->of[i].value, m->value))
			return 0;
	}
	return 1;
}

int
json_equal(const struct json *x, const struct json *y)
{
	if (x == y)
		return 1;
	if (x == NULL || y == NULL || x->type != y->type)
		return 0;
	if (x->type == JSON_NUMBER)
		return json_number_cmp(x, y) == 0;
	if (x->n != y->n)
		return 0;
	if (x->type == JSON_STRING)
		return memcmp(x->s, y->s, x->n) == 0;
	if (x->type == JSON_OBJECT)
		return objects_equal(x, y);
	for (uint32_t i = 0; x->type == JSON_ARRAY && i < x->n; i++)
		if (!json_equal(x->items[i], y->items[i]))
			return 0;
	return 1;
}

const char *
json_type_name(enum json_type type)
{
	static const char *const names[] = {
		[JSON_NULL] = "null",
		[JSON_FALSE] = "boolean",
		[JSON_TRUE] = "boolean",
		[JSON_NUMBER] = "number",
		[JSON_STRING] = "string",
		[JSON_ARRAY] = "array",
		[JSON_OBJECT] = "object",
	};

	return names[type];
}
