/* Text to tokens. */
#include "core/utf8.h"
#include "worker/flow/expr-impl.h"

#include <string.h>

struct lexer {
	struct arena *arena;
	struct str text;
	size_t at;
	struct error *err;
};

static int
is_name(char c, int first)
{
	char lower = (char)(c | 0x20);

	return (lower >= 'a' && lower <= 'z') || c == '_' ||
	    (!first && c >= '0' && c <= '9');
}

static int
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The byte i further, NUL at the end. */
static char
peek(const struct lexer *lx, size_t i)
{
	return lx->at + i < lx->text.n ? lx->text.s[lx->at + i] : '\0';
}

static int
no_memory(struct lexer *lx)
{
	return fail(lx->err, FAULT_INPUT, "limit", "too large an expression");
}

/*
 * The bytes between the delimiter here and the next one that no backslash
 * escapes. *out keeps all but, where `unescape`, the backslashes in front of
 * delimiters.
 */
static int
lex_delimited(struct lexer *lx, int unescape, struct str *out)
{
	char delimiter = peek(lx, 0), *w;
	size_t start = lx->at, end = start + 1;

	while (end < lx->text.n && lx->text.s[end] != delimiter)
		end += lx->text.s[end] == '\\' ? 2 : 1;
	if (end >= lx->text.n)
		return expr_fail(lx->err, lx->text, start, "syntax",
		    "%c is never closed", delimiter);
	w = arena_alloc(lx->arena, end - start);
	if (w == NULL)
		return no_memory(lx);
	*out = (struct str){ w, 0 };
	for (size_t i = start + 1; i < end; i++) {
		char c = lx->text.s[i];

		if (c == '\\' && unescape && lx->text.s[i + 1] == delimiter)
			continue;
		*w++ = c;
		if (c == '\\')
			*w++ = lx->text.s[++i];
	}
	out->n = (size_t)(w - out->s);
	lx->at = end + 1;
	return 0;
}

/* Bytes as JSON text; where they are none and may be bare, as a string's. */
static int
lex_json(struct lexer *lx, size_t start, struct str text, int bare,
    struct json **out)
{
	struct error why;
	char *quoted;

	if (json_parse(lx->arena, text, NULL, out, &why) == 0)
		return 0;
	while (bare && text.n > 0 && strchr(" \t\n\r", *text.s) != NULL) {
		text.s++;
		text.n--;
	}
	if (bare) {
		quoted = arena_printf(lx->arena, "\"%.*s\"", STR_FMT(text));
		if (quoted == NULL)
			return no_memory(lx);
		if (json_parse(lx->arena, str_of(quoted), NULL, out, NULL) == 0)
			return 0;
	}
	return expr_fail(lx->err, lx->text, start, "syntax",
	    "not a JSON value: %s", why.text);
}

static int
lex_literal(struct lexer *lx, struct expr_token *t)
{
	struct str text;

	t->type = TK_LITERAL;
	if (lex_delimited(lx, 1, &text) < 0)
		return -1;
	return lex_json(lx, t->at, text, 1, &t->literal);
}

static int
lex_raw_string(struct lexer *lx, struct expr_token *t)
{
	struct str text;

	t->type = TK_LITERAL;
	if (lex_delimited(lx, 1, &text) < 0)
		return -1;
	t->literal = json_string(lx->arena, text);
	return t->literal != NULL ? 0 : no_memory(lx);
}

static int
lex_quoted(struct lexer *lx, struct expr_token *t)
{
	struct json *v;
	struct str text;

	t->type = TK_QUOTED;
	if (lex_delimited(lx, 0, &text) < 0)
		return -1;
	text = (struct str){ lx->text.s + t->at, lx->at - t->at };
	if (lex_json(lx, t->at, text, 0, &v) < 0)
		return -1;
	t->name = json_str(v);
	return 0;
}

static int
lex_number(struct lexer *lx, struct expr_token *t)
{
	int negative = peek(lx, 0) == '-';
	int64_t v = 0;

	t->type = TK_NUMBER;
	lx->at += (size_t)negative;
	if (!is_digit(peek(lx, 0)))
		return expr_fail(lx->err, lx->text, t->at, "syntax",
		    "'-' needs a number behind it");
	for (; is_digit(peek(lx, 0)); lx->at++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, peek(lx, 0) - '0', &v))
			v = INT64_MAX;
	t->number = negative ? -v : v;
	return 0;
}

static int
lex_name(struct lexer *lx, struct expr_token *t)
{
	size_t start = lx->at;

	t->type = TK_NAME;
	while (is_name(peek(lx, 0), 0))
		lx->at++;
	t->name = (struct str){ lx->text.s + start, lx->at - start };
	return 0;
}

/* Longer spellings come before those that begin them. */
static const struct symbol {
	char text[3];
	enum expr_token_type type;
} symbols[] = {
	{ "||", TK_OR },
	{ "|", TK_PIPE },
	{ "&&", TK_AND },
	{ "&", TK_REF },
	{ "==", TK_EQ },
	{ "!=", TK_NE },
	{ "!", TK_NOT },
	{ "<=", TK_LE },
	{ "<", TK_LT },
	{ ">=", TK_GE },
	{ ">", TK_GT },
	{ "[]", TK_FLATTEN },
	{ "[?", TK_FILTER },
	{ "[", TK_LBRACKET },
	{ "]", TK_RBRACKET },
	{ "{", TK_LBRACE },
	{ "}", TK_RBRACE },
	{ "(", TK_LPAREN },
	{ ")", TK_RPAREN },
	{ ".", TK_DOT },
	{ ",", TK_COMMA },
	{ ":", TK_COLON },
	{ "*", TK_STAR },
	{ "@", TK_CURRENT },
};

static int
lex_symbol(struct lexer *lx, struct expr_token *t)
{
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		size_t n = strlen(symbols[i].text);

		if (lx->text.n - lx->at >= n &&
		    memcmp(lx->text.s + lx->at, symbols[i].text, n) == 0) {
			t->type = symbols[i].type;
			lx->at += n;
			return 0;
		}
	}
	if (peek(lx, 0) == '=')
		return expr_fail(lx->err, lx->text, lx->at, "syntax",
		    "'=' compares nothing; did you mean '=='?");
	return expr_fail(lx->err, lx->text, lx->at, "syntax",
	    "unexpected '%.*s'",
	    (int)utf8_len(lx->text.s + lx->at, lx->text.n - lx->at),
	    lx->text.s + lx->at);
}

static int
lex_one(struct lexer *lx, struct expr_token *t)
{
	char c;

	while ((c = peek(lx, 0)) != '\0' && strchr(" \t\n\r", c) != NULL)
		lx->at++;
	*t = (struct expr_token){ .at = (uint32_t)lx->at };
	if (lx->at == lx->text.n)
		return 0;
	if (is_name(c, 1))
		return lex_name(lx, t);
	if (is_digit(c) || c == '-')
		return lex_number(lx, t);
	if (c == '`')
		return lex_literal(lx, t);
	if (c == '\'')
		return lex_raw_string(lx, t);
	if (c == '"')
		return lex_quoted(lx, t);
	return lex_symbol(lx, t);
}

int
expr_lex(struct arena *a, struct str text, size_t from, struct expr_token **out,
    struct error *err)
{
	struct lexer lx = { .arena = a, .text = text, .at = from, .err = err };
	struct expr_token *tokens = NULL, t;
	size_t n = 0, room = 0, more;

	if (text.n - from > EXPR_TEXT)
		return fail(err, FAULT_INPUT, "limit", "longer than %d bytes",
		    EXPR_TEXT);
	if (!utf8_valid((struct str){ text.s + from, text.n - from }))
		return fail(err, FAULT_INPUT, "syntax", "invalid UTF-8");
	do {
		if (lex_one(&lx, &t) < 0)
			return -1;
		t.n = (uint32_t)lx.at - t.at;
		if (n == room) {
			more = room > 0 ? room * 2 : 16;
			tokens = arena_grow(a, tokens, n, more, sizeof(t));
			room = more;
		}
		if (tokens == NULL)
			return no_memory(&lx);
		tokens[n++] = t;
	} while (t.type != TK_END);
	*out = tokens;
	return 0;
}
