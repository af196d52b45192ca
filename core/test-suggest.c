#include "core/suggest.h"
#include "core/test.h"

static const char *
nearest(const char *word)
{
	static const char *const names[] = { "run", "replay", "workflow",
		"worker", "MESHHOOK_DB_URL", "MESHHOOK_PROJECT", "transform" };
	struct suggest s;

	suggest_init(&s, str_of(word));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		suggest_add(&s, str_of(names[i]));
	return s.best.s != NULL ? s.best.s : "none";
}

static void
test_nearest(void **state)
{
	(void)state;
	assert_string_equal(nearest("rnu"), "run");
	assert_string_equal(nearest("wrokflow"), "workflow");
	assert_string_equal(nearest("worke"), "worker");
	assert_string_equal(nearest("reply"), "replay");
	assert_string_equal(nearest("MESHOOK_DB_URL"), "MESHHOOK_DB_URL");
	assert_string_equal(nearest("trasnfrom"), "transform");
}

static void
test_far_is_none(void **state)
{
	(void)state;
	assert_string_equal(nearest(""), "none");
	assert_string_equal(nearest("x"), "none");
	assert_string_equal(nearest("banana"), "none");
	assert_string_equal(nearest("a word of more than sixty-three letters "
				    "is not compared with anything at all"),
	    "none");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nearest),
		cmocka_unit_test(test_far_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
