#include "worker/flow/mask.h"
#include "core/test-values.h"

#include <stdio.h>

static const struct mask *
one(const char *value)
{
	struct mask_value v = { STR("K"), str_of(value) };

	return mask_new(&arena, &v, 1, 0);
}

static const char *
masked(const struct mask *m, const char *text, int cut, uint32_t hits)
{
	uint32_t n = 0;
	struct str out = mask_text(&arena, m, str_of(text), cut, &n);

	assert_int_equal(n, hits);
	return arena_strndup(&arena, out.s, out.n);
}

static void
test_a_value_is_found_where_it_is(void **state)
{
	const struct mask *m = one("s3cr3t/value");

	(void)state;
	assert_string_equal(masked(m, "s3cr3t/value", 0, 1), "[secret K]");
	assert_string_equal(masked(m, "a s3cr3t/value, s3cr3t/value!", 0, 2),
	    "a [secret K], [secret K]!");
	assert_string_equal(masked(m, "s3cr3t/valu", 0, 0), "s3cr3t/valu");
	assert_string_equal(masked(m, "", 0, 0), "");
	assert_null(one("seven77"));
}

/* By other programs: python3's urllib, json and base64. */
static void
test_shapes(void **state)
{
	const struct mask *m = one("pa\"ss w\xc3\xb6rd/+\\&?");
	static const char *const shapes[] = {
		"pa\"ss w\xc3\xb6rd/+\\&?",
		"pa%22ss%20w%C3%B6rd%2F%2B%5C%26%3F",
		"pa%22ss%20w%c3%b6rd%2f%2b%5c%26%3f",
		"pa%22ss+w%C3%B6rd%2F%2B%5C%26%3F",
		"pa\\\"ss w\xc3\xb6rd/+\\\\&?",
		"pa\\\"ss w\xc3\xb6rd\\/+\\\\&?",
		"pa\\\"ss w\\u00f6rd/+\\\\&?",
		"pa\\\"ss w\\u00f6rd\\/+\\\\&?",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		char text[100];

		snprintf(text, sizeof(text), "<%s>", shapes[i]);
		assert_string_equal(masked(m, text, 0, 1), "<[secret K]>");
	}
}

static void
base64(const char *s, size_t n, char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmno"
				     "pqrstuvwxyz0123456789+/";

	for (size_t bit = 0; bit < 8 * n; bit += 6) {
		unsigned six = 0;

		for (size_t b = bit; b < bit + 6; b++) {
			unsigned c = b < 8 * n ? (unsigned char)s[b / 8] : 0;

			six = six << 1 | (c >> (7 - b % 8) & 1u);
		}
		*out++ = digits[six];
	}
	*out = '\0';
}

/* "user:PASSWORD" and the like: at each alignment only what the neighbours
 * share is left. */
static void
test_base64_at_each_alignment(void **state)
{
	static const char *const before[] = { "", "u", "us", "use", "user:" };
	const struct mask *m = one("correct horse battery");
	char plain[100], text[200];

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		const char *out;

		snprintf(plain, sizeof(plain), "%scorrect horse battery%s",
		    before[i], before[4 - i]);
		base64(plain, strlen(plain), text);
		out = masked(m, text, 0, 1);
		assert_non_null(strstr(out, "[secret K]"));
		assert_true(strlen(out) < 10 + 20);
	}
}

static void
test_overlaps_leave_nothing(void **state)
{
	struct mask_value v[] = { { STR("A"), STR("abcdefgh") },
		{ STR("B"), STR("efghijkl") },
		{ STR("C"), STR("abcdefghij") } };
	struct mask *m = mask_new(&arena, v, 3, 0);

	(void)state;
	assert_string_equal(masked(m, "abcdefghijkl", 0, 1), "[secret C]");
	assert_string_equal(masked(m, "xabcdefghx", 0, 1), "x[secret A]x");
	assert_string_equal(
	    masked(one("aaaaaaaa"), "aaaaaaaaaaaab", 0, 1), "[secret K]b");
}

static void
test_a_cut_end(void **state)
{
	const struct mask *m = one("0123456789abcdef");

	(void)state;
	assert_string_equal(masked(m, "x 0123456789", 1, 1), "x [secret K]");
	assert_string_equal(masked(m, "x 01234567", 1, 1), "x [secret K]");
	assert_string_equal(masked(m, "x 0123456", 1, 0), "x 0123456");
	assert_string_equal(masked(m, "x 0123456789", 0, 0), "x 0123456789");
}

static void
test_documents(void **state)
{
	struct mask_value v[] = { { STR("N"), STR("12345678") },
		{ STR("T"), STR("tttttttt") } };
	struct mask *m = mask_new(&arena, v, 2, 0);
	struct json *doc, *out;
	struct error err;
	uint32_t hits = 0;

	(void)state;
	json_parse(&arena,
	    STR("{\"a\":[\"tttttttt\",12345678,1],\"tttttttt\":null,"
		"\"b\":{\"c\":\"x\"}}"),
	    NULL, &doc, &err);
	out = mask_json(&arena, m, doc, 0, &hits);
	assert_int_equal(hits, 3);
	assert_string_equal(json_text(&arena, out).s,
	    "{\"a\":[\"[secret T]\",\"[secret N]\",1],\"[secret T]\":null,"
	    "\"b\":{\"c\":\"x\"}}");
	assert_ptr_equal(json_get(out, "b"), json_get(doc, "b"));
	hits = 0;
	assert_ptr_equal(
	    mask_json(&arena, one("nowhere!"), doc, 0, &hits), doc);
}

static void
test_kinds(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "mail ada@example.co.uk.", "mail [email]." },
		{ "a@b, @x.com, me@localhost", "a@b, @x.com, me@localhost" },
		{ "4111 1111 1111 1111", "[card]" },
		{ "card=5500-0055-5555-5559;", "card=[card];" },
		{ "4111111111111112", "4111111111111112" },
		{ "id 12345678901234567890123", "id 12345678901234567890123" },
		{ "DE89 3704 0044 0532 0130 00", "[iban]" },
		{ "GB82WEST12345698765432", "[iban]" },
		{ "GB82WEST12345698765433", "GB82WEST12345698765433" },
		{ "ssn 078-05-1120", "ssn [ssn]" },
		{ "078-05-11201", "078-05-11201" },
		{ "call +49 (30) 1234567 now", "call [phone] now" },
		{ "1+2 +3", "1+2 +3" },
	};
	struct mask *m = mask_new(&arena, NULL, 0, 31);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t n = 0;
		struct str out =
		    mask_text(&arena, m, str_of(rows[i].in), 0, &n);

		assert_string_equal(
		    arena_strndup(&arena, out.s, out.n), rows[i].out);
	}
	assert_int_equal(mask_kind(STR("iban")), MASK_IBAN);
	assert_int_equal(mask_kind(STR("name")), 0);
}

static void
test_paths(void **state)
{
	static const char *const bad[] = { "", ".", "a.", ".a", "a..b", "a[",
		"a[]", "a[x]", "a[-1]" };
	static const struct {
		const char *path, *out;
	} rows[] = {
		{ "a", "{\"a\":\"[redacted]\",\"c\":[{\"d\":2},{\"d\":3}]}" },
		{ "a.b",
		    "{\"a\":{\"b\":\"[redacted]\"},\"c\":[{\"d\":2},{\"d\":3}]"
		    "}" },
		{ "c[1].d",
		    "{\"a\":{\"b\":1},\"c\":[{\"d\":2},{\"d\":\"[redacted]\"}]"
		    "}" },
		{ "c[*].d",
		    "{\"a\":{\"b\":1},\"c\":[{\"d\":\"[redacted]\"},"
		    "{\"d\":\"[redacted]\"}]}" },
		{ "*.b",
		    "{\"a\":{\"b\":\"[redacted]\"},\"c\":[{\"d\":2},{\"d\":3}]"
		    "}" },
		{ "x.y", "{\"a\":{\"b\":1},\"c\":[{\"d\":2},{\"d\":3}]}" },
	};
	struct json *doc;
	struct error err;

	(void)state;
	json_parse(&arena, STR("{\"a\":{\"b\":1},\"c\":[{\"d\":2},{\"d\":3}]}"),
	    NULL, &doc, &err);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t hits = 0;

		assert_int_equal(mask_path_check(str_of(rows[i].path)), 0);
		assert_string_equal(
		    json_text(&arena,
			mask_path(&arena, doc, str_of(rows[i].path), &hits))
			.s,
		    rows[i].out);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(mask_path_check(str_of(bad[i])), -1);
}

static uint32_t seed = 1;

static uint32_t
rnd(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

static size_t
random_text(char *out, size_t n, const char *letters)
{
	for (size_t i = 0; i < n; i++)
		out[i] = letters[rnd((uint32_t)strlen(letters))];
	out[n] = '\0';
	return n;
}

/* The text without what values cover, and without marks: both must be one. */
static void
compare_rest(
    const char *text, size_t len, const unsigned char *covered, const char *out)
{
	char want[500], got[1000];
	size_t n = 0, k = 0;

	for (size_t i = 0; i < len; i++)
		if (!covered[i])
			want[n++] = text[i];
	want[n] = '\0';
	while (*out != '\0')
		if (strncmp(out, "[secret K]", 10) == 0)
			out += 10;
		else
			got[k++] = *out++;
	got[k] = '\0';
	assert_string_equal(got, want);
}

static void
round_of(const char *letters, int exact)
{
	char values[4][24], text[400];
	struct mask_value v[4];
	unsigned char covered[400] = { 0 };
	uint32_t n = 1 + rnd(4), hits = 0;
	size_t len = 0;
	struct str out;

	for (uint32_t i = 0; i < n; i++)
		v[i] = (struct mask_value){ STR("K"),
			{ values[i],
			    random_text(
				values[i], MASK_LEAST + rnd(8), letters) } };
	while (len < 300) {
		size_t i = rnd(n);

		if (rnd(2)) {
			len += random_text(text + len, rnd(20), letters);
			continue;
		}
		memcpy(text + len, values[i], v[i].value.n);
		len += v[i].value.n;
	}
	out = mask_text(&arena, mask_new(&arena, v, n, 0),
	    (struct str){ text, len }, 0, &hits);
	for (uint32_t i = 0; i < n; i++) {
		assert_null(memmem(out.s, out.n, values[i], v[i].value.n));
		for (size_t j = 0; j + v[i].value.n <= len; j++)
			if (memcmp(text + j, values[i], v[i].value.n) == 0)
				memset(covered + j, 1, v[i].value.n);
	}
	if (exact)
		compare_rest(text, len, covered, out.s);
}

/* Values of few letters, so that they overlap themselves and each other: what
 * is left holds none of them, and all that was none. */
static void
test_nothing_is_left_and_nothing_else_taken(void **state)
{
	(void)state;
	for (int i = 0; i < 2000; i++) {
		arena_reset(&arena);
		round_of("abc", 1);
		round_of("ab\"/ \\", 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_value_is_found_where_it_is),
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_base64_at_each_alignment),
		cmocka_unit_test(test_overlaps_leave_nothing),
		cmocka_unit_test(test_a_cut_end),
		cmocka_unit_test(test_documents),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_nothing_is_left_and_nothing_else_taken),
	};

	return run_with_arena(tests);
}
