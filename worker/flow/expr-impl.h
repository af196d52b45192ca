#pragma once
/*
 * The tree of an expression, shared by expr-*.c alone. Every node is evaluated
 * against a current value; kids are described where they differ.
 */
#include "worker/flow/expr.h"

enum expr_type {
	EX_CURRENT,
	EX_LITERAL,
	EX_FIELD,   /* the member `name` */
	EX_INDEX,   /* item slice[0] */
	EX_SLICE,   /* slice: start, stop, step; bits of `set` say which */
	EX_CHAIN,   /* each kid against the result of the one before it */
	EX_LIST,    /* [a, b] */
	EX_HASH,    /* {k: a, l: b} with keys */
	EX_PROJECT, /* kids: the array, what each item becomes */
	EX_VALUES,  /* kids: the object, what each value becomes */
	EX_FILTER, /* kids: the array, what becomes of an item, the condition */
	EX_FLATTEN, /* kid: the array */
	EX_OR,
	EX_AND,
	EX_NOT,
	EX_COMPARE, /* two kids, by `op` */
	EX_CALL,    /* fn over kids */
	EX_REF,     /* &kid, an argument of some functions */
};

enum expr_op { OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE };

struct expr_node {
	enum expr_type type;
	enum expr_op op;
	uint32_t at;    /* offset in the text */
	uint32_t depth; /* of the tree below, itself included */
	uint32_t n, room;
	struct expr_node **kids;
	struct str *keys;
	struct str name;
	struct json *literal;
	const struct expr_fn *fn;
	int64_t slice[3];
	unsigned set;
};

struct expr {
	struct str text;
	struct expr_node *root;
};

struct expr_eval {
	struct arena *arena;
	const struct expr *expr;
	struct expr_limits limits; /* as given, or the defaults */
	uint64_t steps;            /* left */
	size_t bytes;              /* left for new strings */
	struct error *err;
};

/* Types of arguments, as bits. */
enum {
	T_NULL = 1 << 0,
	T_BOOLEAN = 1 << 1,
	T_NUMBER = 1 << 2,
	T_STRING = 1 << 3,
	T_ARRAY = 1 << 4,
	T_OBJECT = 1 << 5,
	T_REF = 1 << 6,     /* &expression */
	T_NUMBERS = 1 << 7, /* an array of numbers only */
	T_STRINGS = 1 << 8, /* an array of strings only */
	T_ANY = 0x3f,
};

/*
 * A function: args[i] is the value of the i-th argument, NULL for a reference,
 * which call->kids[i] holds. NULL when the error is set.
 */
typedef struct json *expr_call_fn(struct expr_eval *e,
    const struct expr_node *call, struct json *const *args);

struct expr_fn {
	const char *name;
	expr_call_fn *fn;
	uint32_t least, most; /* arguments; beyond 2, all are like the last */
	uint16_t types[2];
};

const struct expr_fn *expr_fn_find(struct str name);
const char *expr_fn_nearest(struct str name); /* NULL: none is near */

/* What is expected there, by bits. */
const char *expr_types_text(unsigned types, char *out, size_t n);
uint16_t expr_fn_type(const struct expr_fn *fn, uint32_t arg);

/* "column N: ..." for an offset into text; -1. */
int expr_fail(struct error *err, struct str text, size_t at, const char *code,
    const char *fmt, ...) __attribute__((format(printf, 5, 6)));

void expr_eval_init(struct expr_eval *e, struct arena *a,
    const struct expr_limits *limits, struct error *err);

/* NULL when the error is set, in all of these. */
struct json *expr_run(
    struct expr_eval *e, const struct expr *expr, const struct json *data);
struct json *expr_visit(
    struct expr_eval *e, const struct expr_node *node, struct json *v);
struct json *expr_call(
    struct expr_eval *e, const struct expr_node *call, struct json *v);

/* Pay for n steps or for bytes of a new string; -1 when the limit is hit. */
int expr_pay_steps(struct expr_eval *e, const struct expr_node *at, size_t n);
int expr_pay_bytes(struct expr_eval *e, const struct expr_node *at, size_t n);
/* The steps of looking at all of a string or number: one for 64 bytes. */
static inline size_t
expr_steps_of(const struct json *v)
{
	return v->type == JSON_STRING || v->type == JSON_NUMBER ? v->n / 64 : 0;
}
struct json *expr_no_memory(struct expr_eval *e);

/* 1 equal, 0 not, -1 when the error is set. */
int expr_equal(struct expr_eval *e, const struct expr_node *at,
    const struct json *x, const struct json *y);
/* About the bytes of the value as text; stops counting soon after max. */
size_t expr_text_size(const struct json *v, size_t max);
/* By the reference's value of each item; by == NULL: by the items themselves. */
struct json *expr_sort(struct expr_eval *e, const struct expr_node *call,
    struct json *array, const struct expr_node *by);
/* The first of the least (sign -1) or of the greatest (1); null of none. */
struct json *expr_pick(struct expr_eval *e, const struct expr_node *call,
    struct json *array, const struct expr_node *by, int sign);
/* An array of known size without items yet; NULL when the error is set. */
struct json *expr_array(struct expr_eval *e, size_t room);

enum expr_token_type {
	TK_END,
	TK_NAME,
	TK_QUOTED,
	TK_LITERAL,
	TK_NUMBER,
	TK_DOT,
	TK_STAR,
	TK_RBRACKET,
	TK_COMMA,
	TK_COLON,
	TK_CURRENT,
	TK_LPAREN,
	TK_RPAREN,
	TK_LBRACE,
	TK_RBRACE,
	TK_LBRACKET,
	TK_FLATTEN,
	TK_FILTER,
	TK_REF,
	TK_NOT,
	TK_AND,
	TK_OR,
	TK_PIPE,
	TK_EQ,
	TK_NE,
	TK_LT,
	TK_LE,
	TK_GT,
	TK_GE,
};

struct expr_token {
	enum expr_token_type type;
	uint32_t at, n;       /* in the text */
	struct str name;      /* NAME, QUOTED */
	struct json *literal; /* LITERAL */
	int64_t number;       /* NUMBER, saturated */
};

/* All tokens of a text from an offset on, TK_END last. */
int expr_lex(struct arena *a, struct str text, size_t from,
    struct expr_token **out, struct error *err);

/* As expr_compile, but of the text from an offset on, which is not copied. */
int expr_compile_from(struct arena *a, struct str text, size_t from,
    struct expr **out, struct error *err);
