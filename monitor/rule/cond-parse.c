#include "core/suggest.h"
#include "core/time.h"
#include "core/utf8.h"
#include "monitor/rule/cond-impl.h"

#include <stdio.h>
#include <string.h>

enum { NUMBER_TEXT = 64 };

struct parser {
	struct arena *arena;
	const char *begin, *at, *end;
	int64_t max_range_ms;
	unsigned depth;
	struct error *err;
};

static const struct function {
	const char *name;
	enum cond_op op;
	enum { OF_RANGE, OF_VECTOR, OF_EACH } kind;
} functions[] = {
	{ "rate", COND_RATE, OF_RANGE },
	{ "increase", COND_INCREASE, OF_RANGE },
	{ "delta", COND_DELTA, OF_RANGE },
	{ "avg_over", COND_AVG_OVER, OF_RANGE },
	{ "min_over", COND_MIN_OVER, OF_RANGE },
	{ "max_over", COND_MAX_OVER, OF_RANGE },
	{ "absent", COND_ABSENT, OF_RANGE },
	{ "sum", COND_SUM, OF_VECTOR },
	{ "avg", COND_AVG, OF_VECTOR },
	{ "min", COND_MIN, OF_VECTOR },
	{ "max", COND_MAX, OF_VECTOR },
	{ "count", COND_COUNT, OF_VECTOR },
	{ "abs", COND_ABS, OF_EACH },
	{ "ceil", COND_CEIL, OF_EACH },
	{ "floor", COND_FLOOR, OF_EACH },
	{ "round", COND_ROUND, OF_EACH },
};

/* Longer spellings before their own prefixes. */
static const struct binary {
	const char *text;
	enum cond_op op;
	int binds;
} binaries[] = {
	{ "or", COND_OR, 1 },
	{ "and", COND_AND, 2 },
	{ "unless", COND_UNLESS, 2 },
	{ ">=", COND_GE, 3 },
	{ "<=", COND_LE, 3 },
	{ "==", COND_EQ, 3 },
	{ "!=", COND_NE, 3 },
	{ ">", COND_GT, 3 },
	{ "<", COND_LT, 3 },
	{ "+", COND_ADD, 4 },
	{ "-", COND_SUBTRACT, 4 },
	{ "*", COND_MULTIPLY, 5 },
	{ "/", COND_DIVIDE, 5 },
};

static const struct unit {
	const char *text;
	double factor;
} units[] = {
	{ "%", 0.01 },
	{ "ms", 0.001 },
	{ "s", 1 },
	{ "m", 60 },
	{ "h", 3600 },
	{ "d", 86400 },
	{ "kB", 1e3 },
	{ "MB", 1e6 },
	{ "GB", 1e9 },
	{ "TB", 1e12 },
	{ "KiB", 1024.0 },
	{ "MiB", 1048576.0 },
	{ "GiB", 1073741824.0 },
	{ "TiB", 1099511627776.0 },
};

static struct cond *parse_binary(struct parser *p, int binds);

static void *
wrong(struct parser *p, const char *at, const char *what)
{
	fail(p->err, FAULT_INPUT, "condition", "column %td: %s",
	    at - p->begin + 1, what);
	return NULL;
}

static void *
expected(struct parser *p, const char *want)
{
	char text[160];
	struct str found = { p->at, (size_t)(p->end - p->at) };

	found = utf8_cut(found, 20);
	if (found.n == 0)
		snprintf(
		    text, sizeof(text), "expected %s, found the end", want);
	else
		snprintf(text, sizeof(text), "expected %s, found \"%.*s\"",
		    want, STR_FMT(found));
	return wrong(p, p->at, text);
}

static int
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static int
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static void
space(struct parser *p)
{
	while (p->at < p->end && strchr(" \t\r\n", *p->at) != NULL)
		p->at++;
}

static int
take(struct parser *p, char c)
{
	space(p);
	if (p->at == p->end || *p->at != c)
		return 0;
	p->at++;
	return 1;
}

static struct str
word(struct parser *p)
{
	const char *from;

	space(p);
	from = p->at;
	if (p->at < p->end && is_letter(*p->at))
		while (
		    p->at < p->end && (is_letter(*p->at) || is_digit(*p->at)))
			p->at++;
	return (struct str){ from, (size_t)(p->at - from) };
}

static struct cond *
node(struct parser *p, enum cond_op op)
{
	struct cond *c = arena_zalloc(p->arena, sizeof(*c));

	c->op = op;
	return c;
}

/* Digits, a fraction, an exponent: as a decimal, without the locale's help. */
static int
decimal(struct parser *p, double *out)
{
	double value = 0, scale = 1;
	int digits = 0, exponent = 0, negative = 0;

	for (; p->at < p->end && is_digit(*p->at); p->at++, digits++)
		value = value * 10 + (*p->at - '0');
	if (p->at < p->end && *p->at == '.')
		for (p->at++; p->at < p->end && is_digit(*p->at);
		     p->at++, digits++)
			value += (*p->at - '0') * (scale /= 10);
	if (digits == 0 || digits > 30)
		return -1;
	if (p->at + 1 < p->end && (*p->at == 'e' || *p->at == 'E') &&
	    (is_digit(p->at[1]) || p->at[1] == '-' || p->at[1] == '+')) {
		p->at++;
		negative = *p->at == '-';
		if (!is_digit(*p->at))
			p->at++;
		for (; p->at < p->end && is_digit(*p->at) && exponent < 400;
		     p->at++)
			exponent = exponent * 10 + (*p->at - '0');
	}
	for (; exponent > 0; exponent--)
		value = negative ? value / 10 : value * 10;
	*out = value;
	return 0;
}

static struct cond *
parse_number(struct parser *p)
{
	struct cond *c = node(p, COND_NUMBER);
	const char *from = p->at;
	struct str unit;

	if (decimal(p, &c->number) < 0)
		return wrong(p, from, "a number has 1 to 30 digits");
	from = p->at;
	while (p->at < p->end && (is_letter(*p->at) || *p->at == '%'))
		p->at++;
	unit = (struct str){ from, (size_t)(p->at - from) };
	if (unit.n == 0)
		return c;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (str_is(unit, units[i].text)) {
			c->number *= units[i].factor;
			return c;
		}
	return wrong(p, from,
	    "units are %, ms, s, m, h, d, kB, MB, GB, TB, KiB, MiB, GiB, TiB");
}

static int
parse_quoted(struct parser *p, struct str *out)
{
	const char *close;

	if (!take(p, '"')) {
		expected(p, "a value in double quotes");
		return -1;
	}
	close = memchr(p->at, '"', (size_t)(p->end - p->at));
	if (close == NULL) {
		wrong(p, p->at, "this quote is not closed");
		return -1;
	}
	*out = (struct str){ p->at, (size_t)(close - p->at) };
	p->at = close + 1;
	return 0;
}

/* {queue="work", status!="ok"} */
static int
parse_matches(struct parser *p, struct cond *c)
{
	do {
		struct match m = { 0 };

		if (c->n_matches == SERIES_LABELS) {
			wrong(p, p->at, "more labels than a series can have");
			return -1;
		}
		m.label.name = arena_str(p->arena, word(p));
		if (m.label.name.n == 0) {
			expected(p, "a label");
			return -1;
		}
		m.not_equal = take(p, '!');
		if (!take(p, '=')) {
			expected(p, "= or !=");
			return -1;
		}
		if (parse_quoted(p, &m.label.value) < 0)
			return -1;
		m.label.value = arena_str(p->arena, m.label.value);
		c->matches =
		    arena_more(p->arena, c->matches, c->n_matches, sizeof(m));
		c->matches[c->n_matches++] = m;
	} while (take(p, ','));
	if (take(p, '}'))
		return 0;
	expected(p, ", or }");
	return -1;
}

static int
parse_range(struct parser *p, struct cond *c)
{
	const char *from = p->at, *close;
	char text[TIME_TEXT], what[128];

	close = memchr(p->at, ']', (size_t)(p->end - p->at));
	if (close == NULL ||
	    duration_parse((struct str){ from, (size_t)(close - from) },
		&c->range_ms) < 0 ||
	    c->range_ms <= 0) {
		wrong(p, from, "a range is a duration, such as [5m]");
		return -1;
	}
	p->at = close + 1;
	if (c->range_ms <= p->max_range_ms)
		return 0;
	snprintf(what, sizeof(what), "a range is at most %s",
	    duration_format(p->max_range_ms, text));
	wrong(p, from, what);
	return -1;
}

static struct cond *
parse_metric(struct parser *p, struct str name)
{
	struct cond *c = node(p, COND_METRIC);

	c->metric = arena_str(p->arena, name);
	if (take(p, '{') && parse_matches(p, c) < 0)
		return NULL;
	if (take(p, '[') && parse_range(p, c) < 0)
		return NULL;
	return c;
}

static struct cond *
parse_range_call(struct parser *p, struct cond *c)
{
	struct str name;

	if (!take(p, '('))
		return expected(p, "(");
	name = word(p);
	if (name.n == 0)
		return expected(p, "a metric");
	c->left = parse_metric(p, name);
	if (c->left == NULL)
		return NULL;
	if (c->left->range_ms == 0)
		return expected(p, "a range, such as [5m]");
	return take(p, ')') ? c : expected(p, ")");
}

static int
parse_by(struct parser *p, struct cond *c)
{
	const char *from = p->at;

	if (!str_is(word(p), "by")) {
		p->at = from;
		return 0;
	}
	c->has_by = 1;
	if (!take(p, '(')) {
		expected(p, "(");
		return -1;
	}
	do {
		if (c->n_by == SERIES_LABELS) {
			wrong(p, p->at, "more labels than a series can have");
			return -1;
		}
		c->by = arena_more(p->arena, c->by, c->n_by, sizeof(*c->by));
		c->by[c->n_by] = arena_str(p->arena, word(p));
		if (c->by[c->n_by++].n == 0) {
			expected(p, "a label");
			return -1;
		}
	} while (take(p, ','));
	if (take(p, ')'))
		return 0;
	expected(p, ", or )");
	return -1;
}

static int
range_alone(struct parser *p, const struct cond *c)
{
	if (c->op != COND_METRIC || c->range_ms == 0)
		return 0;
	wrong(p, p->at,
	    "a range stands only in rate, increase, delta, avg_over, "
	    "min_over, max_over and absent");
	return 1;
}

static struct cond *
parse_call(struct parser *p, const struct function *f)
{
	struct cond *c = node(p, f->op);

	if (f->kind == OF_RANGE)
		return parse_range_call(p, c);
	if (f->kind == OF_VECTOR && parse_by(p, c) < 0)
		return NULL;
	if (!take(p, '('))
		return expected(p, "(");
	c->left = parse_binary(p, 1);
	if (c->left == NULL || range_alone(p, c->left))
		return NULL;
	if (!take(p, ')'))
		return expected(p, ")");
	if (f->kind == OF_VECTOR && !c->has_by && parse_by(p, c) < 0)
		return NULL;
	return c;
}

static struct cond *
unknown_function(struct parser *p, struct str name)
{
	struct suggest s;
	char text[160];

	suggest_init(&s, name);
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		suggest_add(&s, str_of(functions[i].name));
	if (s.best.n > 0)
		snprintf(text, sizeof(text),
		    "no function \"%.*s\"; did you mean \"%.*s\"?",
		    (int)(name.n < 40 ? name.n : 40), name.s, STR_FMT(s.best));
	else
		snprintf(text, sizeof(text), "no function \"%.*s\"",
		    (int)(name.n < 40 ? name.n : 40), name.s);
	return wrong(p, name.s, text);
}

static struct cond *
parse_named(struct parser *p)
{
	struct str name = word(p);
	const char *after = p->at;

	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		if (str_is(name, functions[i].name)) {
			int call = take(p, '(');
			int by = !call && str_is(word(p), "by");

			p->at = after;
			if (call || by)
				return parse_call(p, &functions[i]);
		}
	if (take(p, '('))
		return unknown_function(p, name);
	return parse_metric(p, name);
}

static struct cond *
parse_operand(struct parser *p)
{
	struct cond *c;

	space(p);
	if (p->at == p->end)
		return expected(p, "a metric, a number or (");
	if (is_digit(*p->at) || *p->at == '.')
		return parse_number(p);
	if (is_letter(*p->at))
		return parse_named(p);
	if (take(p, '-')) {
		c = node(p, COND_NEGATE);
		if (++p->depth > COND_DEPTH)
			return wrong(p, p->at, "nested too deeply");
		c->left = parse_operand(p);
		p->depth--;
		return c->left != NULL && !range_alone(p, c->left) ? c : NULL;
	}
	if (!take(p, '('))
		return expected(p, "a metric, a number or (");
	c = parse_binary(p, 1);
	if (c == NULL)
		return NULL;
	return take(p, ')') ? c : expected(p, ")");
}

static const struct binary *
binary_at(struct parser *p)
{
	space(p);
	for (size_t i = 0; i < sizeof(binaries) / sizeof(binaries[0]); i++) {
		const struct binary *b = &binaries[i];
		size_t n = strlen(b->text);

		if ((size_t)(p->end - p->at) < n ||
		    memcmp(p->at, b->text, n) != 0)
			continue;
		if (is_letter(b->text[0]) && p->at + n < p->end &&
		    (is_letter(p->at[n]) || is_digit(p->at[n])))
			continue;
		return b;
	}
	return NULL;
}

/* By precedence; all of them associate to the left. */
static struct cond *
parse_binary(struct parser *p, int binds)
{
	const struct binary *b;
	struct cond *left;

	if (++p->depth > COND_DEPTH)
		return wrong(p, p->at, "nested too deeply");
	left = parse_operand(p);
	while (
	    left != NULL && (b = binary_at(p)) != NULL && b->binds >= binds) {
		struct cond *c = node(p, b->op);

		p->at += strlen(b->text);
		c->left = left;
		c->right = parse_binary(p, b->binds + 1);
		if (c->right == NULL)
			return NULL;
		if (range_alone(p, c->left) || range_alone(p, c->right))
			return NULL;
		left = c;
	}
	p->depth--;
	return left;
}

int
cond_parse(struct arena *a, struct str text, int64_t max_range_ms,
    struct cond **out, struct error *err)
{
	struct parser p = {
		.arena = a, .max_range_ms = max_range_ms, .err = err
	};

	if (text.n > COND_TEXT)
		return fail(err, FAULT_INPUT, "condition",
		    "a condition has at most %d bytes", COND_TEXT);
	if (!utf8_valid(text))
		return fail(err, FAULT_INPUT, "condition",
		    "a condition is text in UTF-8");
	text = arena_str(a, text); /* labels point into it */
	p.begin = p.at = text.s;
	p.end = text.s + text.n;
	*out = parse_binary(&p, 1);
	if (*out == NULL)
		return -1;
	space(&p);
	if (p.at < p.end)
		expected(&p, "an operator or the end");
	else if (!range_alone(&p, *out))
		return 0;
	return -1;
}

size_t
cond_metrics(
    struct arena *a, const struct cond *c, struct cond_metric **list, size_t n)
{
	size_t i = 0;

	if (c == NULL)
		return n;
	n = cond_metrics(a, c->left, list, n);
	n = cond_metrics(a, c->right, list, n);
	if (c->op != COND_METRIC)
		return n;
	while (i < n && !str_eq((*list)[i].name, c->metric))
		i++;
	if (i == n) {
		*list = arena_grow(a, *list, n, n + 1, sizeof(**list));
		(*list)[n++] = (struct cond_metric){ c->metric, 0 };
	}
	if ((*list)[i].range_ms < c->range_ms)
		(*list)[i].range_ms = c->range_ms;
	return n;
}
