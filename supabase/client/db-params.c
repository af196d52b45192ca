#include "supabase/client/db.h"

#include <endian.h>
#include <string.h>

/* An array on the wire: dimensions, has-null, element type, then for the one
 * dimension its size and lower bound; then length and bytes of each element. */
enum { ARRAY_HEADER = 20 };

static const uint32_t array_types[][2] = {
	{ DB_BOOL, 1000 },
	{ DB_INT2, 1005 },
	{ DB_INT4, 1007 },
	{ DB_TEXT, 1009 },
	{ DB_INT8, 1016 },
	{ DB_TIMESTAMPTZ, 1185 },
	{ DB_BYTEA, 1001 },
	{ DB_UUID, 2951 },
	{ DB_JSONB, 3807 },
};

static struct db_param
word_param(enum db_type type, int32_t n, uint64_t word)
{
	return (struct db_param){ .type = type, .n = n, .word = word };
}

struct db_param
db_null(enum db_type type)
{
	return word_param(type, -1, 0);
}

struct db_param
db_bool(int v)
{
	struct db_param p = word_param(DB_BOOL, 1, 0);

	*(unsigned char *)&p.word = v != 0;
	return p;
}

struct db_param
db_int4(int32_t v)
{
	struct db_param p = word_param(DB_INT4, 4, 0);
	uint32_t be = htobe32((uint32_t)v);

	memcpy(&p.word, &be, sizeof(be));
	return p;
}

struct db_param
db_int8(int64_t v)
{
	return word_param(DB_INT8, 8, htobe64((uint64_t)v));
}

struct db_param
db_time(int64_t us)
{
	return word_param(DB_TIMESTAMPTZ, 8, htobe64((uint64_t)us));
}

static struct db_param
bytes_param(enum db_type type, const void *bytes, size_t n)
{
	if (bytes == NULL)
		return db_null(type);
	return (
	    struct db_param){ .type = type, .n = (int32_t)n, .bytes = bytes };
}

struct db_param
db_text(const char *s)
{
	return bytes_param(DB_TEXT, s, s != NULL ? strlen(s) : 0);
}

struct db_param
db_str(struct str s)
{
	return bytes_param(DB_TEXT, s.s, s.n);
}

struct db_param
db_jsonb(struct str s)
{
	return bytes_param(DB_JSONB, s.s, s.n);
}

struct db_param
db_uuid(const struct uuid *id)
{
	return bytes_param(DB_UUID, id, sizeof(id->bytes));
}

static void
put32(char *at, uint32_t v)
{
	v = htobe32(v);
	memcpy(at, &v, sizeof(v));
}

static uint32_t
array_type(enum db_type element)
{
	for (size_t i = 0; i < sizeof(array_types) / sizeof(*array_types); i++)
		if (array_types[i][0] == element)
			return array_types[i][1];
	return 0;
}

struct db_param
db_array(struct db_array *a)
{
	char *at = a->buf.bytes;

	put32(at, a->n > 0);
	put32(at + 4, (uint32_t)a->has_null);
	put32(at + 8, a->type);
	put32(at + 12, a->n);
	put32(at + 16, 1);
	/* an empty array has no dimension */
	return bytes_param(array_type(a->type), at, a->n > 0 ? a->buf.len : 12);
}

void
db_array_init(struct db_array *a, enum db_type type)
{
	*a = (struct db_array){ .type = type };
	db_array_reset(a);
}

void
db_array_deinit(struct db_array *a)
{
	buf_deinit(&a->buf);
}

void
db_array_reset(struct db_array *a)
{
	static const char header[ARRAY_HEADER];

	buf_clear(&a->buf);
	buf_add(&a->buf, header, sizeof(header));
	a->n = 0;
	a->has_null = 0;
}

/* Room for one element of n bytes behind its length. */
static char *
element(struct db_array *a, size_t n)
{
	char *at;

	buf_reserve(&a->buf, n + 4);
	at = a->buf.bytes + a->buf.len;
	put32(at, (uint32_t)n);
	a->buf.len += n + 4;
	a->n++;
	return at + 4;
}

void
db_array_null(struct db_array *a)
{
	char *at = element(a, 0);

	put32(at - 4, UINT32_MAX);
	a->has_null = 1;
}

void
db_array_bool(struct db_array *a, int v)
{
	*element(a, 1) = v != 0;
}

void
db_array_int2(struct db_array *a, int16_t v)
{
	uint16_t be = htobe16((uint16_t)v);

	memcpy(element(a, 2), &be, 2);
}

void
db_array_int4(struct db_array *a, int32_t v)
{
	put32(element(a, 4), (uint32_t)v);
}

void
db_array_int8(struct db_array *a, int64_t v)
{
	uint64_t be = htobe64((uint64_t)v);

	memcpy(element(a, 8), &be, 8);
}

void
db_array_time(struct db_array *a, int64_t us)
{
	db_array_int8(a, us);
}

void
db_array_uuid(struct db_array *a, const struct uuid *id)
{
	memcpy(element(a, sizeof(id->bytes)), id->bytes, sizeof(id->bytes));
}

void
db_array_str(struct db_array *a, struct str s)
{
	if (s.s == NULL)
		db_array_null(a);
	else
		memcpy(element(a, s.n), s.s, s.n);
}

void
db_array_jsonb(struct db_array *a, struct str json)
{
	char *at;

	if (json.s == NULL) {
		db_array_null(a);
		return;
	}
	at = element(a, json.n + 1);
	at[0] = 1;
	memcpy(at + 1, json.s, json.n);
}
