#include "cli/out.h"
#include "core/test.h"

#include <locale.h>
#include <stdlib.h>

static const struct column columns[] = {
	{ "name", "NAME", COLUMN_TEXT },
	{ "n", "N", COLUMN_NUMBER },
	{ "at", "AT", COLUMN_TIME },
	{ "error.text", "ERROR", COLUMN_TEXT },
};

static const char *const rows[] = {
	"{\"name\":\"a\",\"n\":1,\"at\":\"2026-11-21T04:05:06.789+00:00\"}",
	"{\"name\":\"caf\xc3\xa9 \xe6\x97\xa5\",\"n\":1234.50,"
	"\"error\":{\"text\":\"a,\\\"b\\\"\\n\"},\"more\":[1]}",
};

/* What a list prints; the caller frees it. */
static char *
list(enum out_format format, int width, int terminal)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	struct out out;
	struct arena a;

	arena_init(&a);
	out = (struct out){ .file = f,
		.format = format,
		.width = width,
		.terminal = terminal };
	OUT_BEGIN(&out, columns);
	for (size_t i = 0; i < NELEM(rows); i++) {
		struct json *row;

		assert_int_equal(
		    json_parse(&a, str_of(rows[i]), NULL, &row, NULL), 0);
		out_row(&out, &a, row);
	}
	out_end(&out);
	out_deinit(&out);
	fclose(f);
	arena_deinit(&a);
	return text;
}

static void
prints(enum out_format format, int width, const char *want)
{
	char *text = list(format, width, 0);

	assert_string_equal(text, want);
	free(text);
}

static void
test_formats(void **state)
{
	(void)state;
	prints(OUT_TABLE, 0,
	    "NAME           N  AT                   ERROR\n"
	    "a              1  2026-11-21 04:05:06\n"
	    "caf\xc3\xa9 \xe6\x97\xa5  1234.50                       "
	    "a,\"b\"\\n\n");
	prints(OUT_TEXT, 0,
	    "a\t1\t2026-11-21 04:05:06\t\n"
	    "caf\xc3\xa9 \xe6\x97\xa5\t1234.50\t\ta,\"b\"\\n\n");
	prints(OUT_CSV, 0,
	    "name,n,at,error.text\r\n"
	    "a,1,2026-11-21T04:05:06.789+00:00,\r\n"
	    "caf\xc3\xa9 \xe6\x97\xa5,1234.50,,\"a,\"\"b\"\"\n\"\r\n");
	prints(OUT_JSON, 0,
	    "{\"name\":\"a\",\"n\":1,"
	    "\"at\":\"2026-11-21T04:05:06.789+00:00\"}\n"
	    "{\"name\":\"caf\xc3\xa9 \xe6\x97\xa5\",\"n\":1234.50,"
	    "\"error\":{\"text\":\"a,\\\"b\\\"\\n\"},\"more\":[1]}\n");
}

static void
escapes(const char *text, size_t n, const char *want)
{
	struct buf b;

	buf_init(&b);
	out_escape(&b, (struct str){ text, n });
	assert_string_equal(buf_str(&b).s, want);
	buf_deinit(&b);
}

#define ESCAPES(lit, want) escapes(lit, sizeof(lit) - 1, want)

static void
test_escape(void **state)
{
	(void)state;
	ESCAPES("plain caf\xc3\xa9 \xf0\x9f\x8e\x89",
	    "plain caf\xc3\xa9 \xf0\x9f\x8e\x89");
	ESCAPES("\033[31mred\033[0m", "\\x1b[31mred\\x1b[0m");
	ESCAPES("a\nb\tc\rd\0e\x7f", "a\\nb\\tc\\rd\\x00e\\x7f");
	ESCAPES("\xc2\x9b"
		"31m",
	    "\\x9b31m"); /* C1: a one-byte CSI */
	ESCAPES("\xe2\x80\xae"
		"evil",
	    "\\u202eevil");
	/* not UTF-8: a lone byte, overlong, a surrogate, cut off, too large */
	ESCAPES("\xff", "\\xff");
	ESCAPES("\xc0\x8a", "\\xc0\\x8a");
	ESCAPES("\xed\xa0\x80", "\\xed\\xa0\\x80");
	ESCAPES("a\xe2\x82", "a\\xe2\\x82");
	ESCAPES("\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80");
}

static void
test_columns(void **state)
{
	(void)state;
	assert_int_equal(out_columns(STR("abc")), 3);
	assert_int_equal(out_columns(STR("\xc3\xa9")), 1);
	assert_int_equal(out_columns(STR("\xe6\x97\xa5")), 2);
	assert_int_equal(out_columns(STR("e\xcc\x81")), 1); /* combining */
}

/* What a table of one row looks like on a narrow terminal. */
static void
narrow_is(const struct column *shown, size_t n, const char *record, int width,
    const char *want)
{
	char *text = NULL;
	size_t size = 0;
	struct out out = { .file = open_memstream(&text, &size),
		.format = OUT_TABLE,
		.width = width,
		.terminal = 1 };
	struct json *row;
	struct arena a;

	arena_init(&a);
	assert_int_equal(json_parse(&a, str_of(record), NULL, &row, NULL), 0);
	out_begin(&out, shown, n);
	out_row(&out, &a, row);
	out_end(&out);
	fclose(out.file);
	assert_string_equal(text, want);
	free(text);
	out_deinit(&out);
	arena_deinit(&a);
}

/* It cuts the last column, never less than 8 of it, but a long one first. */
static void
test_narrow(void **state)
{
	static const struct column two[] = {
		{ "a", "A", COLUMN_TEXT },
		{ "b", "B", COLUMN_TEXT },
	};
	static const struct column three[] = {
		{ "a", "A", COLUMN_TEXT },
		{ "b", "B", COLUMN_LONG },
		{ "c", "C", COLUMN_TEXT },
	};

	(void)state;
	narrow_is(two, NELEM(two),
	    "{\"a\":\"0123456789\",\"b\":\"0123456789\"}", 20,
	    "A           B\n"
	    "0123456789  0123456\xe2\x80\xa6\n");
	narrow_is(three, NELEM(three),
	    "{\"a\":\"x\",\"b\":\"0123456789012345678901234\",\"c\":\"end\"}",
	    30,
	    "A  B                       C\n"
	    "x  012345678901234567890…  end\n");
	narrow_is(three, NELEM(three),
	    "{\"a\":\"x\",\"b\":\"0123456789012345678901234\",\"c\":\"end\"}",
	    10,
	    "A  B                 C\n"
	    "x  012345678901234…  end\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_escape),
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_narrow),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
