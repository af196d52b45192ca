/*
 * Tokens to a tree, by operator precedence (Pratt). A projection takes all that
 * binds tighter than PROJECTION_STOP as what each of its items becomes.
 */
#include "core/utf8.h"
#include "worker/flow/expr-impl.h"

#include <stdarg.h>
#include <stdio.h>

struct parser {
	struct arena *arena;
	struct str text;
	const struct expr_token *t; /* the current one */
	unsigned nesting;           /* of parse_expression */
	struct error *err;
};

enum {
	BIND_PIPE = 1,
	BIND_OR = 2,
	BIND_AND = 3,
	BIND_COMPARE = 5,
	BIND_FLATTEN = 9,
	PROJECTION_STOP = 10,
	BIND_STAR = 20,
	BIND_FILTER = 21,
	BIND_DOT = 40,
	BIND_NOT = 45,
	BIND_LBRACKET = 55,
	BIND_LPAREN = 60,
};

/* How tightly a token binds what is to its left; 0: it ends an expression. */
static const unsigned char binding[] = {
	[TK_PIPE] = BIND_PIPE,
	[TK_OR] = BIND_OR,
	[TK_AND] = BIND_AND,
	[TK_EQ] = BIND_COMPARE,
	[TK_NE] = BIND_COMPARE,
	[TK_LT] = BIND_COMPARE,
	[TK_LE] = BIND_COMPARE,
	[TK_GT] = BIND_COMPARE,
	[TK_GE] = BIND_COMPARE,
	[TK_FLATTEN] = BIND_FLATTEN,
	[TK_FILTER] = BIND_FILTER,
	[TK_DOT] = BIND_DOT,
	[TK_LBRACKET] = BIND_LBRACKET,
	[TK_LPAREN] = BIND_LPAREN,
};

static struct expr_node *parse_expression(struct parser *ps, unsigned bind);

int
expr_fail(struct error *err, struct str text, size_t at, const char *code,
    const char *fmt, ...)
{
	char what[400];
	size_t column = 1;
	va_list ap;

	for (size_t i = 0; i < at && i < text.n; i++)
		column += ((unsigned char)text.s[i] & 0xc0) != 0x80;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return fail(err, FAULT_INPUT, code, "column %zu: %s", column, what);
}

static void *
unexpected(struct parser *ps, const char *want)
{
	struct str found = { ps->text.s + ps->t->at, ps->t->n };

	found = utf8_cut(found, 40);
	if (ps->t->type == TK_END)
		expr_fail(ps->err, ps->text, ps->t->at, "syntax",
		    "expected %s, found the end", want);
	else
		expr_fail(ps->err, ps->text, ps->t->at, "syntax",
		    "expected %s, found '%.*s'", want, STR_FMT(found));
	return NULL;
}

static int
match(struct parser *ps, enum expr_token_type type, const char *want)
{
	if (ps->t->type != type) {
		unexpected(ps, want);
		return -1;
	}
	ps->t++;
	return 0;
}

static void *
too_deep(struct parser *ps, size_t at)
{
	expr_fail(ps->err, ps->text, at, "limit", "nested deeper than %d",
	    EXPR_DEPTH);
	return NULL;
}

static void *
no_memory(struct parser *ps)
{
	fail(ps->err, FAULT_INPUT, "limit", "too large an expression");
	return NULL;
}

static struct expr_node *
new_node(struct parser *ps, enum expr_type type, uint32_t at)
{
	struct expr_node *node = arena_zalloc(ps->arena, sizeof(*node));

	if (node == NULL)
		return no_memory(ps);
	node->type = type;
	node->at = at;
	node->depth = 1;
	return node;
}

/* The node, with one kid more; NULL when the kid (its error set) is. */
static struct expr_node *
add_kid(struct parser *ps, struct expr_node *node, struct expr_node *kid)
{
	uint32_t room;

	if (node == NULL || kid == NULL)
		return NULL;
	if (kid->depth >= EXPR_DEPTH)
		return too_deep(ps, kid->at);
	if (kid->depth >= node->depth)
		node->depth = kid->depth + 1;
	if (node->n == node->room) {
		room = node->room > 0 ? node->room * 2 : 2;
		node->kids = arena_grow(ps->arena, node->kids, node->n, room,
		    sizeof(struct expr_node *));
		node->room = room;
	}
	if (node->kids == NULL)
		return no_memory(ps);
	node->kids[node->n++] = kid;
	return node;
}

/* A node of two kids. */
static struct expr_node *
new_pair(struct parser *ps, enum expr_type type, struct expr_node *left,
    struct expr_node *right)
{
	if (left == NULL || right == NULL)
		return NULL;
	return add_kid(
	    ps, add_kid(ps, new_node(ps, type, left->at), left), right);
}

/* right of left's result. */
static struct expr_node *
chain(struct parser *ps, struct expr_node *left, struct expr_node *right)
{
	if (left != NULL && left->type == EX_CHAIN)
		return add_kid(ps, left, right);
	if (left != NULL && left->type == EX_CURRENT)
		return right;
	return new_pair(ps, EX_CHAIN, left, right);
}

static struct expr_node *
parse_list(struct parser *ps, uint32_t at)
{
	struct expr_node *list = new_node(ps, EX_LIST, at);

	for (;;) {
		list = add_kid(ps, list, parse_expression(ps, 0));
		if (list == NULL)
			return NULL;
		if (ps->t->type != TK_COMMA)
			break;
		ps->t++;
	}
	return match(ps, TK_RBRACKET, "',' or ']'") < 0 ? NULL : list;
}

static struct expr_node *
parse_pair(struct parser *ps, struct expr_node *hash)
{
	struct str key = ps->t->name;

	if (ps->t->type != TK_NAME && ps->t->type != TK_QUOTED)
		return unexpected(ps, "a key");
	ps->t++;
	if (match(ps, TK_COLON, "':'") < 0)
		return NULL;
	/* as add_kid will do for the value */
	if (hash->n == hash->room)
		hash->keys = arena_grow(ps->arena, hash->keys, hash->n,
		    hash->room > 0 ? hash->room * 2 : 2, sizeof(key));
	if (hash->keys == NULL)
		return no_memory(ps);
	hash->keys[hash->n] = key;
	return add_kid(ps, hash, parse_expression(ps, 0));
}

static struct expr_node *
parse_hash(struct parser *ps, uint32_t at)
{
	struct expr_node *hash = new_node(ps, EX_HASH, at);

	while (hash != NULL) {
		hash = parse_pair(ps, hash);
		if (hash == NULL || ps->t->type != TK_COMMA)
			break;
		ps->t++;
	}
	if (hash == NULL || match(ps, TK_RBRACE, "',' or '}'") < 0)
		return NULL;
	return hash;
}

/* What may stand behind a dot. */
static struct expr_node *
parse_dotted(struct parser *ps, unsigned bind)
{
	uint32_t at = ps->t->at;

	switch ((int)ps->t->type) {
	case TK_NAME:
	case TK_QUOTED:
	case TK_STAR:
		return parse_expression(ps, bind);
	case TK_LBRACKET:
		ps->t++;
		return parse_list(ps, at);
	case TK_LBRACE:
		ps->t++;
		return parse_hash(ps, at);
	default:
		return unexpected(ps, "a name, '*', '[' or '{' after '.'");
	}
}

/* What each item of a projection becomes. */
static struct expr_node *
parse_projected(struct parser *ps, unsigned bind)
{
	if (binding[ps->t->type] < PROJECTION_STOP)
		return new_node(ps, EX_CURRENT, ps->t->at);
	if (ps->t->type == TK_LBRACKET || ps->t->type == TK_FILTER)
		return parse_expression(ps, bind);
	if (ps->t->type != TK_DOT)
		return unexpected(ps, "'.', '[' or an operator");
	ps->t++;
	return parse_dotted(ps, bind);
}

static struct expr_node *
project(struct parser *ps, enum expr_type type, struct expr_node *left,
    unsigned bind)
{
	return left != NULL
	    ? new_pair(ps, type, left, parse_projected(ps, bind))
	    : NULL;
}

/* start:stop:step], behind the '['. */
static struct expr_node *
parse_slice(struct parser *ps, uint32_t at)
{
	struct expr_node *node = new_node(ps, EX_SLICE, at);
	unsigned part = 0;

	for (; node != NULL && ps->t->type != TK_RBRACKET; ps->t++) {
		if (ps->t->type == TK_COLON && part < 2) {
			part++;
		} else if (ps->t->type == TK_NUMBER &&
		    (node->set & 1U << part) == 0) {
			node->slice[part] = ps->t->number;
			node->set |= 1U << part;
		} else {
			return unexpected(ps, "a slice: [start:stop:step]");
		}
	}
	if (node != NULL && (node->set & 4) && node->slice[2] == 0) {
		expr_fail(ps->err, ps->text, at, "invalid-value",
		    "a slice can't go by steps of 0");
		return NULL;
	}
	ps->t++;
	return node;
}

/* The number or slice behind a '[', of left. */
static struct expr_node *
parse_index(struct parser *ps, struct expr_node *left)
{
	uint32_t at = ps->t->at;
	struct expr_node *node;

	if (ps->t->type == TK_COLON || ps->t[1].type == TK_COLON) {
		node = chain(ps, left, parse_slice(ps, at));
		return project(ps, EX_PROJECT, node, BIND_STAR);
	}
	node = new_node(ps, EX_INDEX, at);
	if (node == NULL)
		return NULL;
	node->slice[0] = ps->t->number;
	ps->t++;
	if (match(ps, TK_RBRACKET, "']'") < 0)
		return NULL;
	return chain(ps, left, node);
}

/* Behind a '[' that begins an expression. */
static struct expr_node *
parse_bracket(struct parser *ps, uint32_t at)
{
	struct expr_node *here = new_node(ps, EX_CURRENT, at);

	if (ps->t->type == TK_NUMBER || ps->t->type == TK_COLON)
		return parse_index(ps, here);
	if (ps->t->type == TK_STAR && ps->t[1].type == TK_RBRACKET) {
		ps->t += 2;
		return project(ps, EX_PROJECT, here, BIND_STAR);
	}
	return parse_list(ps, at);
}

/* Behind a '[' that follows left. */
static struct expr_node *
parse_bracket_of(struct parser *ps, struct expr_node *left)
{
	if (ps->t->type == TK_NUMBER || ps->t->type == TK_COLON)
		return parse_index(ps, left);
	if (match(ps, TK_STAR, "a number, ':' or '*'") < 0 ||
	    match(ps, TK_RBRACKET, "']'") < 0)
		return NULL;
	return project(ps, EX_PROJECT, left, BIND_STAR);
}

/* Behind a '[?'. */
static struct expr_node *
parse_filter(struct parser *ps, struct expr_node *left)
{
	struct expr_node *condition = parse_expression(ps, 0), *node;

	if (condition == NULL || match(ps, TK_RBRACKET, "']'") < 0)
		return NULL;
	node = project(ps, EX_FILTER, left, BIND_FILTER);
	return add_kid(ps, node, condition);
}

/* Behind a '[]'. */
static struct expr_node *
parse_flatten(struct parser *ps, struct expr_node *left)
{
	struct expr_node *node;

	if (left == NULL)
		return NULL;
	node = add_kid(ps, new_node(ps, EX_FLATTEN, left->at), left);
	return project(ps, EX_PROJECT, node, BIND_FLATTEN);
}

static struct expr_node *
parse_argument(struct parser *ps)
{
	uint32_t at = ps->t->at;

	if (ps->t->type != TK_REF)
		return parse_expression(ps, 0);
	ps->t++;
	return add_kid(ps, new_node(ps, EX_REF, at), parse_expression(ps, 0));
}

/* Arguments are as many and, of what is a reference, such as they should be. */
static struct expr_node *
check_call(struct parser *ps, struct expr_node *call)
{
	const struct expr_fn *fn = call->fn;
	char types[80];

	if (call->n < fn->least || call->n > fn->most) {
		expr_fail(ps->err, ps->text, call->at, "invalid-arity",
		    "%s() takes %s%u argument%s, not %u", fn->name,
		    fn->most > fn->least ? "at least " : "", fn->least,
		    fn->least == 1 ? "" : "s", call->n);
		return NULL;
	}
	for (uint32_t i = 0; i < call->n; i++) {
		unsigned want = expr_fn_type(fn, i);

		if ((call->kids[i]->type == EX_REF) == (want == T_REF))
			continue;
		expr_fail(ps->err, ps->text, call->kids[i]->at, "invalid-type",
		    "%s() takes %s here", fn->name,
		    expr_types_text(want, types, sizeof(types)));
		return NULL;
	}
	return call;
}

/* name(, of which the current token is the '('. */
static struct expr_node *
parse_call(struct parser *ps, const struct expr_token *name)
{
	struct expr_node *call = new_node(ps, EX_CALL, name->at);
	const char *near = expr_fn_nearest(name->name);

	if (call == NULL)
		return NULL;
	call->fn = expr_fn_find(name->name);
	if (call->fn == NULL) {
		expr_fail(ps->err, ps->text, name->at, "unknown-function",
		    near != NULL ? "unknown function %.*s(); did you mean %s()?"
				 : "unknown function %.*s()",
		    STR_FMT(name->name), near);
		return NULL;
	}
	ps->t++;
	while (ps->t->type != TK_RPAREN || call->n > 0) {
		call = add_kid(ps, call, parse_argument(ps));
		if (call == NULL)
			return NULL;
		if (ps->t->type != TK_COMMA)
			break;
		ps->t++;
	}
	return match(ps, TK_RPAREN, "',' or ')'") < 0 ? NULL
						      : check_call(ps, call);
}

static struct expr_node *
parse_name(struct parser *ps, const struct expr_token *t)
{
	struct expr_node *node;

	if (ps->t->type == TK_LPAREN && t->type == TK_NAME)
		return parse_call(ps, t);
	node = new_node(ps, EX_FIELD, t->at);
	if (node != NULL)
		node->name = t->name;
	return node;
}

static struct expr_node *
parse_parenthesised(struct parser *ps)
{
	struct expr_node *node = parse_expression(ps, 0);

	if (node == NULL || match(ps, TK_RPAREN, "')'") < 0)
		return NULL;
	return node;
}

/* An expression's first token, already behind us. */
static struct expr_node *
parse_first(struct parser *ps, const struct expr_token *t)
{
	struct expr_node *node;

	switch ((int)t->type) {
	case TK_NAME:
	case TK_QUOTED:
		return parse_name(ps, t);
	case TK_LITERAL:
		node = new_node(ps, EX_LITERAL, t->at);
		if (node != NULL)
			node->literal = t->literal;
		return node;
	case TK_CURRENT:
		return new_node(ps, EX_CURRENT, t->at);
	case TK_STAR:
		return project(
		    ps, EX_VALUES, new_node(ps, EX_CURRENT, t->at), BIND_STAR);
	case TK_LBRACKET:
		return parse_bracket(ps, t->at);
	case TK_LBRACE:
		return parse_hash(ps, t->at);
	case TK_FILTER:
		return parse_filter(ps, new_node(ps, EX_CURRENT, t->at));
	case TK_FLATTEN:
		return parse_flatten(ps, new_node(ps, EX_CURRENT, t->at));
	case TK_NOT:
		return add_kid(ps, new_node(ps, EX_NOT, t->at),
		    parse_expression(ps, BIND_NOT));
	case TK_LPAREN:
		return parse_parenthesised(ps);
	default:
		ps->t = t;
		return unexpected(ps, "an expression");
	}
}

static struct expr_node *
parse_compare(struct parser *ps, struct expr_node *left, enum expr_op op)
{
	struct expr_node *node =
	    new_pair(ps, EX_COMPARE, left, parse_expression(ps, BIND_COMPARE));

	if (node != NULL)
		node->op = op;
	return node;
}

/* An operator, already behind us, and what is to its right. */
static struct expr_node *
parse_next(
    struct parser *ps, const struct expr_token *t, struct expr_node *left)
{
	switch ((int)t->type) {
	case TK_DOT:
		if (ps->t->type != TK_STAR)
			return chain(ps, left, parse_dotted(ps, BIND_DOT));
		ps->t++;
		return project(ps, EX_VALUES, left, BIND_DOT);
	case TK_LBRACKET:
		return parse_bracket_of(ps, left);
	case TK_FILTER:
		return parse_filter(ps, left);
	case TK_FLATTEN:
		return parse_flatten(ps, left);
	case TK_PIPE:
		return chain(ps, left, parse_expression(ps, BIND_PIPE));
	case TK_OR:
		return new_pair(ps, EX_OR, left, parse_expression(ps, BIND_OR));
	case TK_AND:
		return new_pair(
		    ps, EX_AND, left, parse_expression(ps, BIND_AND));
	case TK_LPAREN:
		ps->t = t;
		return unexpected(ps, "an operator");
	default:
		return parse_compare(
		    ps, left, (enum expr_op)(t->type - TK_EQ + OP_EQ));
	}
}

/* All that binds tighter than `bind`. */
static struct expr_node *
parse_expression(struct parser *ps, unsigned bind)
{
	struct expr_node *node;

	if (ps->nesting == EXPR_DEPTH)
		return too_deep(ps, ps->t->at);
	ps->nesting++;
	node = parse_first(ps, ps->t++);
	while (node != NULL && binding[ps->t->type] > bind)
		node = parse_next(ps, ps->t++, node);
	ps->nesting--;
	return node;
}

int
expr_compile_from(struct arena *a, struct str text, size_t from,
    struct expr **out, struct error *err)
{
	struct expr *expr = arena_alloc(a, sizeof(*expr));
	struct parser ps = { .arena = a, .text = text, .err = err };
	struct expr_token *tokens;

	if (expr == NULL)
		return no_memory(&ps), -1;
	if (expr_lex(a, text, from, &tokens, err) < 0)
		return -1;
	ps.t = tokens;
	expr->text = text;
	expr->root = parse_expression(&ps, 0);
	if (expr->root == NULL)
		return -1;
	if (ps.t->type != TK_END) {
		unexpected(&ps, "an operator or the end");
		return -1;
	}
	*out = expr;
	return 0;
}

int
expr_compile(
    struct arena *a, struct str text, struct expr **out, struct error *err)
{
	struct str copy = arena_str(a, text);

	if (copy.s == NULL)
		return fail(
		    err, FAULT_INPUT, "limit", "too large an expression");
	return expr_compile_from(a, copy, 0, out, err);
}
