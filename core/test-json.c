#include "core/json.h"
#include "core/mem.h"
#include "core/test-values.h"

#include <stdio.h>
#include <time.h>

static void
refused(const char *text, const char *why)
{
	struct error err = { 0 };
	struct json *v;

	if (json_parse(&arena, str_of(text), NULL, &v, &err) == 0)
		fail_msg("accepted: %s", text);
	assert_int_equal(err.fault, FAULT_INPUT);
	assert_string_equal(err.code, "JSON");
	assert_string_equal(err.text, why);
}

static void
test_round_trip(void **state)
{
	static const char *const texts[] = { "null", "true", "false", "0", "-0",
		"1.50", "1E+2", "123456789012345678901234567890", "1e999999",
		"\"\"", "\"a\"", "\"\xc3\xa9\xe2\x9c\x93\"", "[]", "{}",
		"[[],{},[1,2,[3]]]",
		"{\"a\":1,\"b\":{\"c\":[true,null]},\"\":\"\"}",
		"\"\\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001f\x7f\"",
		"\"eight by eight: \\\"then more plain text\\\" and on\"" };

	(void)state;
	for (size_t i = 0; i < NELEM(texts); i++)
		assert_string_equal(
		    json_text(&arena, parse(texts[i])).s, texts[i]);
	assert_string_equal(
	    json_text(&arena, parse(" [ 1 , \"\\u00e9\\/\" ]\n")).s,
	    "[1,\"\xc3\xa9/\"]");
	assert_string_equal(
	    json_text(&arena, parse("\"\\uD83D\\uDE00 \\u2713\"")).s,
	    "\"\xf0\x9f\x98\x80 \xe2\x9c\x93\"");
	assert_string_equal(json_text(&arena, NULL).s, "null");
}

static void
test_styles(void **state)
{
	struct json *v = parse("{\"b\":[1,{}],\"a\":{\"z\":1,\"y\":[]}}");

	(void)state;
	assert_string_equal(json_canonical(&arena, v).s,
	    "{\"a\":{\"y\":[],\"z\":1},\"b\":[1,{}]}");
	assert_string_equal(json_pretty(&arena, v).s,
	    "{\n  \"b\": [\n    1,\n    {}\n  ],\n  \"a\": {\n    \"z\": 1,\n"
	    "    \"y\": []\n  }\n}");
	assert_int_equal(
	    json_pretty(&arena, v).n, strlen(json_pretty(&arena, v).s));
}

static void
test_errors_say_where(void **state)
{
	char deep[10001];

	(void)state;
	refused("",
	    "line 1, column 1: expected a value, "
	    "found the end of the text");
	refused("{\"a\": 1,\n \"b\" 2}",
	    "line 2, column 6: expected ':', found '2'");
	refused("{\"a\":1 \"b\":2}",
	    "line 1, column 8: expected ',' or '}', found '\"'");
	refused("[1,]", "line 1, column 4: expected a value, found ']'");
	refused("[1 2]", "line 1, column 4: expected ',' or ']', found '2'");
	refused("\"\xc3\xa9\" x",
	    "line 1, column 5: expected the end of the text, found 'x'");
	refused("[\"a\tb\"]",
	    "line 1, column 4: expected a character or '\"', found byte 0x09");
	refused("\"\\ud800x\"",
	    "line 1, column 2: a lone surrogate is no character");
	refused("\"\\udc00\"",
	    "line 1, column 2: a lone surrogate is no character");
	refused("\"\\ud800\\ud800\"",
	    "line 1, column 2: a lone surrogate is no character");
	refused("\"\xed\xa0\x80\"", "line 1, column 2: invalid UTF-8");
	refused("-",
	    "line 1, column 2: expected a digit, "
	    "found the end of the text");
	memset(deep, '[', 10000);
	deep[10000] = '\0';
	refused(deep, "line 1, column 129: nested deeper than 128");
}

static void
test_limits(void **state)
{
	struct json_limits limits = { .bytes = 4, .depth = 2 };
	struct arena small;
	struct error err;
	struct json *v;

	(void)state;
	assert_int_equal(json_parse(&arena, STR("[[]]"), &limits, &v, &err), 0);
	assert_int_equal(
	    json_parse(&arena, STR("[[]] "), &limits, &v, &err), -1);
	assert_string_equal(err.text, "too large: 5 bytes, at most 4");
	limits.bytes = 0;
	assert_int_equal(
	    json_parse(&arena, STR("[[[]]]"), &limits, &v, &err), -1);
	arena_init_cap(&small, 2000);
	assert_int_equal(json_parse(&small, STR("[1,2,3]"), NULL, &v, &err), 0);
	arena_reset(&small);
	assert_int_equal(
	    json_parse(&small,
		STR("[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"
		    "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"
		    "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]"),
		NULL, &v, &err),
	    -1);
	assert_string_equal(
	    err.text, "too large: needs more than 2000 bytes of memory");
	arena_deinit(&small);
}

static void
test_objects_small_and_large(void **state)
{
	static const uint32_t sizes[] = { 1, 16, 17, 32, 33, 1000, 100000 };
	struct json *built, *parsed;
	char key[16];

	(void)state;
	for (size_t s = 0; s < NELEM(sizes); s++) {
		built = json_object(&arena);
		for (uint32_t i = 0; i < 2 * sizes[s]; i++) {
			snprintf(key, sizeof(key), "k%u", i % sizes[s]);
			assert_int_equal(
			    json_set(&arena, built, key, json_int(&arena, i)),
			    0);
		}
		assert_int_equal(built->n, sizes[s]);
		parsed = parse(json_text(&arena, built).s);
		assert_true(json_equal(parsed, built));
		for (uint32_t i = 0; i < sizes[s]; i++) {
			snprintf(key, sizeof(key), "k%u", i);
			assert_true(
			    json_num(json_get(parsed, key)) == i + sizes[s]);
		}
		assert_null(json_get(parsed, "k"));
		json_set(&arena, built, "k0", NULL);
		assert_false(json_equal(parsed, built));
	}
}

/* The same 50,000 keys twice over, and again: linear, not quadratic. */
static void
test_duplicates_last_wins(void **state)
{
	enum { KEYS = 50000, ITEM = 16 };
	char *text = xmalloc(2 * KEYS * ITEM + 3), *p = text;
	clock_t start = clock();
	struct json *v;

	(void)state;
	v = parse("{\"a\":1,\"b\":2,\"a\":3}");
	assert_string_equal(json_text(&arena, v).s, "{\"a\":3,\"b\":2}");
	*p++ = '{';
	for (int i = 0; i < 2 * KEYS; i++)
		p += snprintf(p, ITEM, "\"%d\":%d,", i % KEYS, i / KEYS);
	p[-1] = '}';
	*p = '\0';
	v = parse(text);
	assert_int_equal(v->n, KEYS);
	assert_string_equal(json_get(v, "49999")->s[0] == '1' ? "1" : "0", "1");
	assert_true(clock() - start < 2 * CLOCKS_PER_SEC);
	free(text);
}

static void
storable(const char *text, const char *why)
{
	struct error err = { 0 };
	struct json *v = parse(text);

	if (json_storable(v, &err) == 0)
		assert_null(why);
	else
		assert_string_equal(err.text, why == NULL ? "" : why);
}

static void
test_storable(void **state)
{
	static const char number[] =
	    "at \"/a/1\": a number beyond the range of numeric, "
	    "which can't be stored";

	(void)state;
	storable("{\"a\":[0,1e131071,-9.9e131071,1e-16383]}", NULL);
	storable("{\"a\":[0,1e131072]}", number);
	storable("{\"a\":[0,0.01e131074]}", number);
	storable("{\"a\":[0,1e999999]}", number);
	storable("{\"a\":[0,1e99999999999999999999]}", number);
	storable("{\"a\":[0,1e-16384]}", number);
	storable("{\"a\":[0,1.0e-16383]}", number);
	storable("{\"a\":[0e999999,0.001e131074]}", NULL);
	storable("{\"x/y\":{\"~\":\"a\\u0000b\"}}",
	    "at \"/x~1y/~0\": a string with \\u0000, which can't be stored");
	storable("[{\"k\\u0000\":1}]",
	    "at \"/0/k\\u0000\": a key with \\u0000, which can't be stored");
}

static void
test_numbers(void **state)
{
	/* ascending; two of one row are equal */
	static const char *const rows[][2] = { { "-1e400", "-10e399" },
		{ "-12345678901234567890.5", "-12345678901234567890.50" },
		{ "-1", "-1.0" }, { "-1e-400", "-0.1e-399" }, { "0", "-0.00" },
		{ "0.1", "1e-1" }, { "0.10000000000000000000001", "0.1e0" },
		{ "9", "9.0" }, { "10", "1e1" },
		{ "9007199254740993", "9007199254740993e0" } };
	int64_t i;

	(void)state;
	for (size_t r = 0; r < NELEM(rows); r++) {
		struct json *x = parse(rows[r][0]), *y = parse(rows[r][1]);

		if (r != 6)
			assert_int_equal(json_number_cmp(x, y), 0);
		for (size_t s = 0; s < r; s++) {
			struct json *z = parse(rows[s][0]);

			assert_true(json_number_cmp(z, x) < 0);
			assert_true(json_number_cmp(x, z) > 0);
		}
	}
	assert_int_equal(json_integer(parse("9223372036854775807"), &i), 0);
	assert_true(i == INT64_MAX);
	assert_int_equal(json_integer(parse("-9223372036854775808"), &i), 0);
	assert_true(i == INT64_MIN);
	assert_int_equal(json_integer(parse("9223372036854775808"), &i), -1);
	assert_int_equal(json_integer(parse("1.50e1"), &i), 0);
	assert_int_equal(i, 15);
	assert_int_equal(json_integer(parse("-12e2"), &i), 0);
	assert_int_equal(i, -1200);
	assert_int_equal(json_integer(parse("0.5"), &i), -1);
	assert_int_equal(json_integer(parse("1e999999999"), &i), -1);
	assert_int_equal(json_integer(parse("\"1\""), &i), -1);
	assert_true(json_num(parse("[2.5]")->items[0]) == 2.5);
	assert_true(
	    json_equal(parse("[1.0,{\"a\":2}]"), parse("[1,{\"a\":2e0}]")));
	assert_false(json_equal(parse("[1]"), parse("[true]")));
}

static void
test_doubles(void **state)
{
	static const struct {
		double d;
		const char *text;
	} cases[] = { { 0.1, "0.1" }, { 0.1 + 0.2, "0.30000000000000004" },
		{ 3, "3" }, { -0.0, "0" }, { 1e15, "1000000000000000" },
		{ 1e17, "1e+17" }, { 1.0 / 3, "0.3333333333333333" },
		{ 1e300, "1e+300" }, { 5e-324, "5e-324" }, { -2.5, "-2.5" } };

	(void)state;
	for (size_t i = 0; i < NELEM(cases); i++)
		assert_string_equal(
		    json_text(&arena, json_double(&arena, cases[i].d)).s,
		    cases[i].text);
	assert_int_equal(json_double(&arena, 1e308 * 10)->type, JSON_NULL);
}

static void
test_readers_forgive(void **state)
{
	struct json *v = parse("{\"a\":[1,\"x\"]}");

	(void)state;
	assert_null(json_get(NULL, "a"));
	assert_null(json_get(json_get(v, "a"), "b"));
	assert_null(json_at(json_get(v, "a"), 2));
	assert_null(json_at(v, 0));
	assert_true(str_is(json_str(json_at(json_get(v, "a"), 1)), "x"));
	assert_true(str_is(json_str(v), ""));
	assert_int_equal(json_push(&arena, NULL, v), -1);
	assert_int_equal(json_set(&arena, NULL, "a", v), -1);
}

/* However little memory there is: an error, or the right text. */
static int
write_within(size_t cap, const char *text)
{
	struct error err = { 0 };
	struct json *v, *o;
	struct str out = { NULL, 0 };
	struct arena a;

	arena_init_cap(&a, cap);
	if (json_parse(&a, str_of(text), NULL, &v, &err) < 0) {
		assert_int_equal(err.fault, FAULT_INPUT);
	} else {
		o = json_object(&a);
		for (uint32_t i = 0; i < v->n; i++)
			if (json_set_str(&a, o, v->of[i].key, v->of[i].value) <
			    0)
				break;
		if (!a.over)
			out = json_canonical(&a, o);
	}
	assert_int_equal(a.over, out.s == NULL);
	arena_deinit(&a);
	return out.s != NULL ? 0 : -1;
}

static void
test_every_refusal_of_memory(void **state)
{
	struct json *v = json_object(&arena);
	const char *text;
	size_t cap = 16;
	char key[8];

	(void)state;
	for (int i = 0; i < 40; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		json_set(&arena, v, key, parse("[\"a\",{\"b\":[1.5]}]"));
	}
	text = json_text(&arena, v).s;
	while (write_within(cap, text) < 0)
		cap += 16;
	assert_true(cap > 4096);
}

/* JSONTestSuite: what we do where the standard leaves it to us. */
static const char *const accepted[] = { "i_number_double_huge_neg_exp.json",
	"i_number_huge_exp.json", "i_number_neg_int_huge_exp.json",
	"i_number_pos_double_huge_exp.json", "i_number_real_neg_overflow.json",
	"i_number_real_pos_overflow.json", "i_number_real_underflow.json",
	"i_number_too_big_neg_int.json", "i_number_too_big_pos_int.json",
	"i_number_very_big_negative_int.json" };
static const char *const rejected[] = { "i_object_key_lone_2nd_surrogate.json",
	"i_string_1st_surrogate_but_2nd_missing.json",
	"i_string_1st_valid_surrogate_2nd_invalid.json",
	"i_string_UTF-16LE_with_BOM.json",
	"i_string_UTF-8_invalid_sequence.json",
	"i_string_UTF8_surrogate_U+D800.json",
	"i_string_incomplete_surrogate_and_escape_valid.json",
	"i_string_incomplete_surrogate_pair.json",
	"i_string_incomplete_surrogates_escape_valid.json",
	"i_string_invalid_lonely_surrogate.json",
	"i_string_invalid_surrogate.json", "i_string_invalid_utf-8.json",
	"i_string_inverted_surrogates_U+1D11E.json",
	"i_string_iso_latin_1.json", "i_string_lone_second_surrogate.json",
	"i_string_lone_utf8_continuation_byte.json",
	"i_string_not_in_unicode_range.json",
	"i_string_overlong_sequence_2_bytes.json",
	"i_string_overlong_sequence_6_bytes.json",
	"i_string_overlong_sequence_6_bytes_null.json",
	"i_string_truncated-utf-8.json", "i_string_utf16BE_no_BOM.json",
	"i_string_utf16LE_no_BOM.json", "i_structure_500_nested_arrays.json",
	"i_structure_UTF-8_BOM_empty_object.json" };

static int
listed(const char *name, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(name, list[i]) == 0)
			return 1;
	return 0;
}

static int
expected(const char *name)
{
	if (name[0] != 'i')
		return name[0] == 'y';
	if (listed(name, accepted, NELEM(accepted)))
		return 1;
	if (!listed(name, rejected, NELEM(rejected)))
		fail_msg("%s: no decision in the table", name);
	return 0;
}

static int
suite_file(const char *name, struct str text)
{
	struct error err;
	struct json *v;
	int r;

	if (name[1] != '_')
		return 0; /* the licence */
	r = json_parse(&arena, text, NULL, &v, &err);
	if ((r == 0) != expected(name))
		fail_msg("%s: %s", name, r == 0 ? "accepted" : err.text);
	if (r == 0)
		assert_true(json_equal(v, parse(json_text(&arena, v).s)));
	return 1;
}

static void
test_suite(void **state)
{
	(void)state;
	assert_true(conformance_run("json", suite_file) > 300);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_styles),
		cmocka_unit_test(test_errors_say_where),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_objects_small_and_large),
		cmocka_unit_test(test_duplicates_last_wins),
		cmocka_unit_test(test_storable),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_doubles),
		cmocka_unit_test(test_readers_forgive),
		cmocka_unit_test(test_every_refusal_of_memory),
		cmocka_unit_test(test_suite),
	};

	return run_with_arena(tests);
}
