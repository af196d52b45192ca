#pragma once
/*
 * What a command prints on stdout: records, in the format that -o names.
 *
 *   text   for people and for cut(1): a list is a line a record, fields by
 *          tabs, no header; one object is "title: value" lines
 *   table  aligned columns under a header; in a narrow terminal the last one
 *          is cut
 *   json   the whole record, one a line
 *   csv    RFC 4180 with a header
 *
 * A record is a JSON object; columns choose what of it the other three show.
 * In text and table, control characters (and what reorders text) are escaped,
 * so that data never steers a terminal; csv is escaped so on a terminal only.
 */
#include <stdio.h>

#include "core/buf.h"
#include "core/json.h"
#include "core/mem.h"

enum out_format { OUT_TEXT, OUT_TABLE, OUT_JSON, OUT_CSV, N_OUT_FORMATS };
#define OUT_BIT(f) (1U << (f))
enum {
	OUT_RECORDS = OUT_BIT(OUT_TEXT) | OUT_BIT(OUT_TABLE) |
	    OUT_BIT(OUT_JSON) | OUT_BIT(OUT_CSV),
};

enum colour {
	COLOUR_NONE,
	COLOUR_BOLD,
	COLOUR_DIM,
	COLOUR_RED,
	COLOUR_GREEN,
	COLOUR_YELLOW,
	COLOUR_CYAN,
};

enum column_kind {
	COLUMN_TEXT,
	COLUMN_LONG,   /* text; of a table on a terminal what fits */
	COLUMN_NUMBER, /* aligned to the right */
	COLUMN_TIME,   /* an ISO timestamp: shown to the second */
	COLUMN_STATUS, /* green, red or yellow by its word */
};

struct column {
	const char *key, *title; /* key "a.b": of the object within */
	enum column_kind kind;
};

struct out {
	FILE *file;
	enum out_format format;
	int colour, terminal;
	int width; /* of the terminal; 0: unknown */
	const struct column *columns;
	size_t n_columns;
	struct buf cells; /* a table's, NUL-terminated, row by row */
	size_t n_rows;
	int due; /* blanks of a table's line not yet written */
};

void out_init(struct out *out, FILE *file);
void out_deinit(struct out *out);
int out_format_parse(const char *name, enum out_format *format);
const char *out_format_name(enum out_format format);

/* A list: begin, rows, end. A table is printed by end, the others at once. */
void out_begin(struct out *out, const struct column *columns, size_t n);
void out_row(struct out *out, struct arena *a, const struct json *row);
void out_end(struct out *out);
#define OUT_BEGIN(out, columns) out_begin(out, columns, NELEM(columns))

/* One object. */
void out_object(struct out *out, struct arena *a, const struct column *columns,
    size_t n, const struct json *object);
#define OUT_OBJECT(out, a, columns, object)                                    \
	out_object(out, a, columns, NELEM(columns), object)

/* Behind an object, for people: what it holds, as a table; nothing where it
 * holds none, nor in the formats that show the object whole. */
void out_below(struct out *out, struct arena *a, const struct column *columns,
    size_t n, const struct json *list);
#define OUT_BELOW(out, a, columns, list)                                       \
	out_below(out, a, columns, NELEM(columns), list)

/* Pieces, for what is no record. */
const char *out_on(const struct out *out, enum colour colour);
const char *out_off(const struct out *out);
/* s with control characters as \n, \t, \x1b or \u202e; invalid UTF-8 as \xff. */
void out_escape(struct buf *b, struct str s);
/* A CSV field, quoted where it must be. */
void out_csv(struct buf *b, struct str s);
/* Columns of a terminal that s takes; s is printable UTF-8. */
size_t out_columns(struct str s);
