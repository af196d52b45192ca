#pragma once
/*
 * JSON (RFC 8259) as a tree in an arena.
 *
 * - A number keeps the lexeme it came with: nothing is lost between what was
 *   sent and what Postgres' numeric stores. json_num() converts on demand.
 * - Strings are UTF-8, checked strictly; escapes are decoded. "\u0000" decodes
 *   to a NUL byte (strings have lengths); a lone surrogate is an error.
 * - Objects keep their order; of equal keys the last value counts (as in
 *   jsonb), at the place of the first.
 * - Finding a member is linear in small objects, by hash in large ones.
 * - Depth and size are capped by the caller's limits, so hostile text costs
 *   bounded stack and memory.
 *
 * Everything lives in the arena and the text is copied into it, so it may go
 * once parsed. Where the arena's cap refuses memory, a function that returns
 * a pointer returns NULL, one that returns a struct str has s == NULL, and the
 * arena is marked `over`.
 *
 * Values are immutable once shared; builders make new ones.
 */
#include <stddef.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/error.h"

enum json_type {
	JSON_NULL,
	JSON_FALSE,
	JSON_TRUE,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT,
};

struct json_member;

struct json {
	enum json_type type;
	uint32_t n;     /* bytes, items or members */
	uint32_t room;  /* builders: allocated items or members */
	uint32_t flags; /* private to json.c */
	union {
		const char *s; /* NUMBER: lexeme; STRING: decoded, then NUL */
		struct json **items;    /* ARRAY */
		struct json_member *of; /* OBJECT */
	};
};

struct json_member {
	struct str key;
	struct json *value;
};

struct json_limits {
	size_t bytes;   /* of text; 0: 64 MiB; at most 2 GiB */
	uint32_t depth; /* of nesting; 0: 128; at most 1024 */
};

/* A place in a document, kept on the stack while walking down. */
struct json_path {
	const struct json_path *up; /* NULL: the document */
	struct str key;             /* s == NULL: an item */
	size_t index;
};

enum { JSON_POINTER = 256 };

/*
 * Parse one value that fills the text. FAULT_INPUT with code "JSON" and a text
 * such as "line 3, column 14: expected ',' or '}', found 'x'".
 */
int json_parse(struct arena *a, struct str text,
    const struct json_limits *limits, struct json **out, struct error *err);

/*
 * What jsonb can't hold: NUL in a string or key, numbers beyond numeric
 * (more than 131072 digits before the point or 16383 after it once the
 * exponent is applied). 0 storable; -1 with the JSON pointer of the culprit in
 * err->text.
 */
int json_storable(const struct json *v, struct error *err);

/*
 * The place as a JSON pointer (RFC 6901), "/steps/0/url", control bytes as
 * \uXXXX; "" for the document, where at is NULL. What doesn't fit is cut.
 * Returns out.
 */
const char *json_pointer(const struct json_path *at, char out[JSON_POINTER]);

/* Compact text in member order; NUL-terminated, in the arena. */
struct str json_text(struct arena *a, const struct json *v);
/* The same with sorted keys: equal values have equal text (numbers by lexeme).*/
struct str json_canonical(struct arena *a, const struct json *v);
/* Two-space indented, for people. */
struct str json_pretty(struct arena *a, const struct json *v);

/*
 * Builders. A NULL value reads as null. Keys and strings are copied.
 * json_double of an infinity or NaN is null. json_push and json_set return -1
 * where the arena's cap is reached, or the container is NULL.
 */
struct json *json_null(void);
struct json *json_bool(int yes);
struct json *json_int(struct arena *a, int64_t v);
struct json *json_double(struct arena *a, double v); /* shortest round-trip */
struct json *json_number(struct arena *a, struct str lexeme); /* trusted */
struct json *json_string(struct arena *a, struct str s);
struct json *json_cstring(struct arena *a, const char *s);
struct json *json_array(struct arena *a);
struct json *json_object(struct arena *a);
int json_push(struct arena *a, struct json *array, struct json *v);
int json_set(
    struct arena *a, struct json *object, const char *key, struct json *v);
int json_set_str(
    struct arena *a, struct json *object, struct str key, struct json *v);

/* Readers; NULL when absent or v is of another type (or NULL). */
struct json *json_get(const struct json *v, const char *key);
struct json *json_get_str(const struct json *v, struct str key);
struct json *json_at(const struct json *v, size_t i);
struct str json_str(const struct json *v); /* {"",0} unless a string */
int json_is(const struct json *v, enum json_type type); /* 0 for NULL */
double json_num(const struct json *v);                  /* 0 unless a number */
/* 0 and the integer when v is a number that is one exactly; else -1. */
int json_integer(const struct json *v, int64_t *out);
/* <0, 0, >0: two numbers by their exact values, however long. */
int json_number_cmp(const struct json *x, const struct json *y);
/* Deep equality; numbers by value (1.0 equals 1). */
int json_equal(const struct json *x, const struct json *y);
const char *json_type_name(enum json_type type); /* "object", ... */
