#include "realtime/stream/filter.h"
#include "core/test.h"

#include <stdlib.h>

/* Does it fit? attrs NULL: none. */
static int
fits(const struct filter *what, int level, const char *message,
    const char *attrs)
{
	struct sse_line line = { .level = level, .message = str_of(message) };
	struct filter *f = filter_new(what);
	struct arena scratch;
	int yes;

	if (attrs != NULL)
		line.attrs = str_of(attrs);
	arena_init(&scratch);
	yes = f == NULL || filter_fits(f, &scratch, &line);
	arena_deinit(&scratch);
	filter_unref(f);
	return yes;
}

static void
test_levels(void **state)
{
	(void)state;
	assert_null(filter_new(&(struct filter){ .level = 1 }));
	assert_true(fits(&(struct filter){ .level = 13 }, 13, "", NULL));
	assert_true(fits(&(struct filter){ .level = 13 }, 21, "", NULL));
	assert_false(fits(&(struct filter){ .level = 13 }, 12, "", NULL));
}

static void
test_texts(void **state)
{
	static const struct {
		const char *q, *message;
		int fits;
	} cases[] = { { "abc", "xABCx", 1 }, { "ABC", "abc", 1 },
		{ "abc", "ab", 0 }, { "abc", "ab abc", 1 },
		{ "aab", "aaab", 1 }, { "n", "a\nb", 0 }, { "00", "\x01", 0 },
		{ "\n", "a\nb", 1 }, { "\"", "say \"hi\"", 1 }, { "ä", "Ä", 0 },
		{ "ä", "xä", 1 }, { "@", "`", 0 }, { "[", "{", 0 },
		{ "a", "", 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (fits(&(struct filter){ .q = str_of(cases[i].q) }, 9,
			cases[i].message, NULL) != cases[i].fits)
			fail_msg(
			    "\"%s\" in \"%s\"", cases[i].q, cases[i].message);
}

static void
test_attributes(void **state)
{
	static const char attrs[] = "{\"id\": 7, \"on\": true, \"s\": \"x y\", "
				    "\"no\": null, \"o\": {\"a\": 1}}";
	static const struct {
		const char *name, *value;
		int fits;
	} cases[] = { { "id", "7", 1 }, { "id", "07", 0 }, { "id", "7.0", 0 },
		{ "on", "true", 1 }, { "s", "x y", 1 }, { "s", "\"x y\"", 0 },
		{ "no", "null", 0 }, { "no", "", 0 }, { "a", "1", 0 },
		{ "gone", "", 0 } };
	struct filter f = { .n_attrs = 1 };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		f.attrs[0].name = str_of(cases[i].name);
		f.attrs[0].value = str_of(cases[i].value);
		if (fits(&f, 9, "m", attrs) != cases[i].fits)
			fail_msg("%s=%s", cases[i].name, cases[i].value);
		assert_false(fits(&f, 9, "m", NULL));
	}
	/* all of them must */
	f = (struct filter){ .level = 9,
		.q = STR("m"),
		.n_attrs = 2,
		.attrs = {
		    { STR("id"), STR("7") }, { STR("on"), STR("true") } } };
	assert_true(fits(&f, 9, "m", attrs));
	assert_false(fits(&f, 8, "m", attrs));
	assert_false(fits(&f, 9, "n", attrs));
	f.attrs[1].value = STR("false");
	assert_false(fits(&f, 9, "m", attrs));
}

static void
test_copies(void **state)
{
	char text[] = "abc";
	struct filter what = { .q = { text, 3 },
		.n_attrs = 1,
		.attrs = { { STR("n"), STR("v") } } };
	struct filter *f = filter_new(&what), *g = filter_new(&what);

	(void)state;
	text[0] = 'x';
	assert_true(str_is(f->q, "abc"));
	assert_true(filter_equal(f, g));
	assert_ptr_equal(filter_ref(f), f);
	assert_null(filter_unref(f));
	assert_true(str_is(f->attrs[0].value, "v"));
	what.attrs[0].value = STR("w");
	what.q = STR("abc");
	filter_unref(g);
	g = filter_new(&what);
	assert_false(filter_equal(f, g));
	filter_unref(f);
	filter_unref(g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_attributes),
		cmocka_unit_test(test_copies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
