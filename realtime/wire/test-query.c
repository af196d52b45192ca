#include "realtime/wire/query.h"
/* last: cmocka has a macro named fail */
#include "core/test.h"

static void
test_get(void **state)
{
	static const struct {
		const char *query, *value; /* NULL: absent; "!": refused */
	} cases[] = {
		{ "", NULL },
		{ "since=", NULL },
		{ "since=5m", "5m" },
		{ "q=a&since=a+b%2Bc&since=2", "a b+c" },
		{ "sinces=1&since", NULL },
		{ "since=%C3%A9%00", "\xc3\xa9" },
		{ "since=%4", "!" },
		{ "since=%zz", "!" },
	};
	struct arena a;
	struct str out;

	(void)state;
	arena_init(&a);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *value = cases[i].value;
		int r = query_get(&a, str_of(cases[i].query), "since", &out);

		assert_int_equal(r, value != NULL && value[0] == '!' ? -1 : 0);
		if (r < 0)
			continue;
		if (value == NULL)
			assert_true(out.s == NULL || out.n == 0);
		else
			assert_string_equal(out.s, value);
	}
	arena_deinit(&a);
}

static void
test_form(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a);
	assert_true(str_is(form_decode(&a, STR("a+b%20c%2")), "a b c%2"));
	assert_true(str_is(form_decode(&a, STR("100%&%zz%41")), "100%&%zzA"));
	arena_deinit(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_get),
		cmocka_unit_test(test_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
