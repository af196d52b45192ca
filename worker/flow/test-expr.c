#include "worker/flow/expr.h"
#include "core/mem.h"
#include "core/test-values.h"
#include "core/utf8.h"

#include <stdio.h>

static int
run(struct str text, const struct json *data, struct json **out,
    struct error *err)
{
	struct expr *expr;

	if (expr_compile(&arena, text, &expr, err) < 0)
		return -1;
	return expr_eval(&arena, expr, data, NULL, out, err);
}

static void
gives(const char *data, const char *text, const char *want)
{
	struct error err = { 0 };
	struct json *v = NULL;

	if (run(str_of(text), parse(data), &v, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	assert_string_equal(json_text(&arena, v).s, want);
}

static void
fails(const char *data, const char *text, const char *code, const char *why)
{
	struct error err = { 0 };
	struct json *v = NULL;

	if (run(str_of(text), parse(data), &v, &err) == 0)
		fail_msg("%s: gives %s", text, json_text(&arena, v).s);
	assert_int_equal(err.fault, FAULT_INPUT);
	assert_string_equal(err.code, code);
	assert_string_equal(err.text, why);
}

static void
test_values_pass_unchanged(void **state)
{
	static const char data[] =
	    "{\"big\":12345678901234567890123,\"f\":1.50,\"s\":[3,1,2.0],"
	    "\"o\":{\"b\":1,\"a\":[null]}}";

	(void)state;
	gives(data, "big", "12345678901234567890123");
	gives(data, "abs(f)", "1.50");
	gives(data, "sort(s)", "[1,2.0,3]");
	gives(data, "[big, f][1]", "1.50");
	gives(data, "o", "{\"b\":1,\"a\":[null]}");
	gives(data, "big == `12345678901234567890124`", "false");
	gives(data, "big < `12345678901234567890124`", "true");
	gives(data, "`-12345678901234567890.0` | abs(@)",
	    "12345678901234567890.0");
}

static void
test_arithmetic(void **state)
{
	(void)state;
	gives("[1,2,3]", "sum(@)", "6");
	gives("[9007199254740993,1]", "sum(@)", "9007199254740994");
	gives("[0.1,0.2]", "sum(@)", "0.30000000000000004");
	gives("[1,2]", "avg(@)", "1.5");
	gives("[1,3]", "avg(@)", "2");
	gives("[1.2,-1.2]", "[ceil([0]),floor([0]),ceil([1]),floor([1])]",
	    "[2,1,-1,-2]");
	gives("-0.5", "ceil(@)", "0");
	gives("\"12.50\"", "to_number(@)", "12.50");
	gives("[\" 1\",\"1 \",\"+1\",\"1_0\",\"inf\",\"\",true,null]",
	    "map(&to_number(@), @)",
	    "[null,null,null,null,null,null,null,null]");
	fails("[1e308,1e308]", "sum(@)", "invalid-value",
	    "column 1: sum() gives a number too large");
}

static void
test_text(void **state)
{
	(void)state;
	gives("\"a\xc3\xa9\xf0\x9f\x98\x80\"", "[length(@), reverse(@)]",
	    "[3,\"\xf0\x9f\x98\x80\xc3\xa9"
	    "a\"]");
	gives("[\"b\",\"\xef\xbf\xbd\",\"\xf0\x9f\x98\x80\",\"a\"]", "sort(@)",
	    "[\"a\",\"b\",\"\xef\xbf\xbd\",\"\xf0\x9f\x98\x80\"]");
	gives("{}", "'it\\'s \\n'", "\"it's \\\\n\"");
	gives("{}", "`\"\\u0000\\`\"`", "\"\\u0000`\"");
	gives("[\"a\",1]", "contains([0], [1])", "false");
	gives("{\"a\":[1.0,{\"x\":\"\xe2\x82\xac\"}]}", "to_string(a)",
	    "\"[1.0,{\\\"x\\\":\\\"\xe2\x82\xac\\\"}]\"");
}

static void
test_errors_help(void **state)
{
	(void)state;
	fails("{}", "lenght(@)", "unknown-function",
	    "column 1: unknown function lenght(); did you mean length()?");
	fails("{}", "zzzzzzzz(@)", "unknown-function",
	    "column 1: unknown function zzzzzzzz()");
	fails("{}", "a.b[?c = 'x']", "syntax",
	    "column 8: '=' compares nothing; did you mean '=='?");
	fails("{}", "'\xc3\xa9' b", "syntax",
	    "column 5: expected an operator or the end, found 'b'");
	fails("{}", "a.", "syntax",
	    "column 3: expected a name, '*', '[' or '{' after '.', "
	    "found the end");
	fails("{}", "", "syntax",
	    "column 1: expected an expression, found the end");
	fails("{}", "a['", "syntax", "column 3: ' is never closed");
	fails("{}", "length()", "invalid-arity",
	    "column 1: length() takes 1 argument, not 0");
	fails("{}", "merge()", "invalid-arity",
	    "column 1: merge() takes at least 1 argument, not 0");
	fails("{}", "a | length(&b)", "invalid-type",
	    "column 12: length() takes a string or an array or an object here");
	fails("{}", "sort_by(a, b)", "invalid-type",
	    "column 12: sort_by() takes an &expression here");
	fails("{}", "a[::0]", "invalid-value",
	    "column 3: a slice can't go by steps of 0");
	fails("{\"a\":{}}", "abs(a)", "invalid-type",
	    "column 5: abs() takes a number here, got object");
	fails("[[1,\"a\"]]", "sort([0])", "invalid-type",
	    "column 7: sort() takes an array of numbers or an array of strings "
	    "here, got array");
	fails("{}", "{a: a b: b}", "syntax",
	    "column 7: expected ',' or '}', found 'b'");
	fails("{}", "not_null(a b)", "syntax",
	    "column 12: expected ',' or ')', found 'b'");
	fails("{}", "\xff", "syntax", "invalid UTF-8");
}

/* Errors are stored, so a cut may not go through a character. */
static void
test_errors_are_utf8(void **state)
{
	char text[200] = "a '";
	struct error err;
	struct expr *expr;

	(void)state;
	for (int shift = 0; shift < 4; shift++) {
		memset(text + 3, 'x', 4);
		for (int i = 0; i < 20; i++)
			memcpy(text + 3 + shift + 4 * i, "\xf0\x9f\x98\x80", 4);
		memcpy(text + 83 + shift, "'", 2);
		assert_int_equal(
		    expr_compile(&arena, str_of(text), &expr, &err), -1);
		assert_true(utf8_valid(str_of(err.text)));
	}
	for (int i = 0; i < 600; i++)
		fail_in(&err, "\xf0\x9f\x98\x80");
	for (int i = 0; i < 4; i++, fail_in(&err, ""))
		assert_true(utf8_valid(str_of(err.text)));
}

static void
nested(const char *open, const char *middle, const char *close, size_t depth,
    int want)
{
	char text[2000], *p = text;
	struct error err;
	struct json *v;

	for (size_t i = 0; i < depth; i++)
		p = stpcpy(p, open);
	p = stpcpy(p, middle);
	for (size_t i = 0; i < depth; i++)
		p = stpcpy(p, close);
	assert_int_equal(run(str_of(text), parse("{}"), &v, &err), want);
	if (want < 0)
		assert_string_equal(err.code, "limit");
}

static void
test_nesting_is_capped(void **state)
{
	static const char *const forms[][3] = { { "(", "a", ")" },
		{ "!", "a", "" }, { "[", "a", "]" }, { "{a:", "b", "}" },
		{ "a.[", "b", "]" }, { "not_null(", "a", ")" },
		{ "a||", "b", "" }, { "", "a", "[*].b" }, { "", "a", "[?b]" } };

	(void)state;
	for (size_t i = 0; i < NELEM(forms); i++) {
		nested(forms[i][0], forms[i][1], forms[i][2], 20, 0);
		nested(forms[i][0], forms[i][1], forms[i][2], 150, -1);
	}
	nested("a.", "b", "", 300, 0);
	nested("", "a", "[0]", 300, 0);
}

/* Of long strings and numbers each look costs what it takes, so a list of the
 * same one many times is no way around. */
static void
test_cost_counts_bytes(void **state)
{
	static const char *const costly[] = { "[?s == t]", "[?s < t]",
		"[?n == o]", "[?n < o]", "[?contains(s, 'y')]",
		"[?starts_with(s, t)]", "[*].length(s)", "[*].abs(n)",
		"sum([*].n)", "sort([*].n)", "max([*].s)",
		"[?contains(l, t)]" };
	struct error err = { 0 };
	struct json *doc, *v;
	char *text = malloc(2500000), *ys, *ones;

	(void)state;
	ys = malloc(300001);
	ones = malloc(100001);
	memset(ys, 'x', 300000);
	memset(ones, '1', 100000);
	ys[300000] = ones[100000] = '\0';
	snprintf(text, 2500000,
	    "{\"s\": \"%s\", \"t\": \"%s\", \"n\": 1.%s, \"o\": 1.%s, \"l\": "
	    "[\"%s\"]}",
	    ys, ys, ones, ones, ys);
	doc = parse(text);
	for (size_t i = 0; i < NELEM(costly); i++) {
		static const char ten[] = "[@,@,@,@,@,@,@,@,@,@]";
		char e[200];

		snprintf(e, sizeof(e), "%s[].%s[].%s[] | length(%s)", ten, ten,
		    ten, costly[i]);
		if (strncmp(costly[i], "sum", 3) == 0 ||
		    strncmp(costly[i], "max", 3) == 0)
			snprintf(e, sizeof(e), "%s[].%s[].%s[] | %s", ten, ten,
			    ten, costly[i]);
		if (run(str_of(e), doc, &v, &err) != -1)
			fail_msg("%s was carried out", e);
		assert_string_equal(err.code, "limit");
		snprintf(e, sizeof(e), "[@] | %s", costly[i]);
		if (run(str_of(e), doc, &v, &err) != 0)
			fail_msg("%s: %s", e, err.text);
	}
	free(text);
	free(ys);
	free(ones);
}

static void
test_cost_is_capped(void **state)
{
	struct expr_limits few = { .steps = 100, .bytes = 30 };
	struct error err = { 0 };
	struct expr *expr;
	struct json *v;
	char text[1000] = "@";

	(void)state;
	/* doubles 30 times: a gigabyte if it were written */
	for (int i = 0; i < 30; i++)
		strncpy(text + strlen(text), " | [@, @]", 20);
	assert_int_equal(run(str_of(text), parse("1"), &v, &err), -1);
	assert_string_equal(err.code, "limit");
	strncpy(text + strlen(text), " | to_string(@)", 20);
	assert_int_equal(run(str_of(text), parse("1"), &v, &err), -1);
	assert_string_equal(
	    err.text, "column 275: makes more than 8388608 bytes");
	expr_compile(&arena, STR("[*].[*].[*]"), &expr, &err);
	expr_compile(
	    &arena, STR("map(&join('', ['aaaaaaaaaa', 'b']), @)"), &expr, &err);
	assert_int_equal(
	    expr_eval(&arena, expr, parse("[1,1,1,1]"), &few, &v, &err), -1);
	assert_string_equal(err.text, "column 6: makes more than 30 bytes");
	expr_compile(&arena, STR("length([?@ == `1`])"), &expr, &err);
	few.steps = 10;
	assert_int_equal(
	    expr_eval(&arena, expr, parse("[1,1,1,1]"), &few, &v, &err), -1);
	assert_string_equal(err.text, "column 15: takes more than 10 steps");
}

static void
note_ref(void *arg, struct str root, struct str name)
{
	char *text = arg;
	size_t at = strlen(text);

	snprintf(text + at, 200 - at, "%s%.*s.%.*s", at > 0 ? " " : "",
	    root.s != NULL ? (int)root.n : 1, root.s != NULL ? root.s : "*",
	    name.s != NULL ? (int)name.n : 1, name.s != NULL ? name.s : "*");
}

static void
refs(const char *text, const char *want)
{
	char got[200] = "";
	struct error err;
	struct expr *expr;

	assert_int_equal(expr_compile(&arena, str_of(text), &expr, &err), 0);
	expr_refs(expr, note_ref, got);
	assert_string_equal(got, want);
}

static void
test_refs(void **state)
{
	(void)state;
	refs("input.name", "input.name");
	refs("input", "input.*");
	refs("steps.a.output.x", "steps.a");
	refs("steps.\"a b\".output[0]", "steps.a b");
	refs("steps.*.output", "steps.*");
	refs("@", "*.*");
	refs("keys(@)", "*.*");
	refs("steps | a.output", "steps.a");
	refs("steps.[a, b.output]", "steps.a steps.b");
	refs("{a: steps.a, b: secrets.KEY, c: 'x'}", "steps.a secrets.KEY");
	refs("input.items[?price > `1`].name", "input.items");
	refs("sort_by(steps.list.output, &steps.x)", "steps.list");
	refs("steps.a.output || steps.b.output", "steps.a steps.b");
	refs("(steps || input).a", "steps.* input.*");
	refs("`1`", "");
	refs("[0]", "*.*");
}

static void
suite_case(const char *file, const struct json *given, const struct json *c)
{
	struct str text = json_str(json_get(c, "expression"));
	struct json *want = json_get(c, "result"), *v;
	struct str code = json_str(json_get(c, "error"));
	struct error err = { 0 };
	int r = run(text, given, &v, &err);

	if (code.n > 0 && (r == 0 || !str_is(code, err.code)))
		fail_msg("%s: %.*s: %s, not %s", file, STR_FMT(text),
		    r == 0 ? json_text(&arena, v).s : err.code, code.s);
	if (code.n == 0 && r < 0)
		fail_msg("%s: %.*s: %s", file, STR_FMT(text), err.text);
	if (want != NULL && !json_equal(v, want))
		fail_msg("%s: %.*s: gives %s, not %s", file, STR_FMT(text),
		    json_text(&arena, v).s, json_text(&arena, want).s);
}

static int
suite_file(const char *name, struct str text)
{
	struct json *groups = parse(text.s);
	int n = 0;

	for (uint32_t i = 0; i < groups->n; i++) {
		struct json *cases = json_get(groups->items[i], "cases");

		for (uint32_t c = 0; c < cases->n; c++, n++)
			suite_case(name, json_get(groups->items[i], "given"),
			    cases->items[c]);
	}
	return n;
}

static void
test_suite(void **state)
{
	(void)state;
	assert_int_equal(conformance_run("jmespath", suite_file), 908);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_pass_unchanged),
		cmocka_unit_test(test_arithmetic),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_errors_help),
		cmocka_unit_test(test_errors_are_utf8),
		cmocka_unit_test(test_nesting_is_capped),
		cmocka_unit_test(test_cost_counts_bytes),
		cmocka_unit_test(test_cost_is_capped),
		cmocka_unit_test(test_refs),
		cmocka_unit_test(test_suite),
	};

	return run_with_arena(tests);
}
