#pragma once
/* The tree of a template, shared by template*.c. */
#include "worker/flow/expr-impl.h"
#include "worker/flow/template.h"

enum template_type {
	TP_CONST, /* the value, in which nothing is to be rendered */
	TP_TEXT,  /* a string: literal and expression in turn, in parts */
	TP_TREE,  /* an array or object, of which kids are items or values */
};

/* A run of literal text and the expression behind it (NULL: the end). */
struct template_part {
	struct str literal;
	struct expr *expr;
};

struct template
{
	enum template_type type;
	const struct json *value;
	uint32_t n, room;
	struct template **kids;
	struct template_part *parts;
};

/* Rendering the text of one string. */
struct template_text {
	struct arena *arena;
	enum template_mode mode;
	char *s;
	size_t n, room;
	size_t most;         /* bytes it may have */
	size_t limit;        /* of which it is what was left */
	int authority_ended; /* of a URL */
	struct error *err;
};

/* Append what a value is as text; -1 when the error is set. */
int template_put_value(struct template_text *text, const struct json *v);
int template_put(struct template_text *text, struct str s);
/* Of the whole text, when it is complete. */
int template_text_check(const struct template_text *text);
/* Scheme and authority end within the literal that begins a URL. */
int template_url_fixed(struct str literal);
/* -1 for a control byte. */
int template_header_check(struct str s, struct error *err);
