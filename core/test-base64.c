#include "core/base64.h"
/* last: cmocka has a macro named fail */
#include "core/test.h"

static void
test_base64(void **state)
{
	static const char *const pairs[][2] = { { "", "" }, { "f", "Zg==" },
		{ "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" } };
	static const char *const bad[] = { "Z",
		"Zh==", "Zg=", "Zm9=", "Z g=", "====", "Zg==Zg==" };
	struct arena a;
	struct str out;

	(void)state;
	arena_init(&a);
	for (size_t i = 0; i < 7; i++) {
		assert_string_equal(
		    base64_encode(&a, str_of(pairs[i][0])).s, pairs[i][1]);
		assert_int_equal(
		    base64_decode(&a, str_of(pairs[i][1]), &out), 0);
		assert_true(str_is(out, pairs[i][0]));
	}
	for (size_t i = 0; i < 7; i++)
		assert_int_equal(base64_decode(&a, str_of(bad[i]), &out), -1);
	assert_int_equal(base64_decode(&a, STR("-_8"), &out), 0);
	assert_memory_equal(out.s, "\xfb\xff", 2);
	arena_deinit(&a);
}

/* One text for some bytes, and no other. */
static void
test_base64url(void **state)
{
	static const char *const bad[] = { "+_8", "-/8", "-_8=", "-_9", "-" };
	unsigned char all[256], back[BASE64_BYTES(342)];
	char text[BASE64_SIZE(256)];

	(void)state;
	for (int i = 0; i < 256; i++)
		all[i] = (unsigned char)(7 * i);
	for (size_t n = 0; n <= 256; n++) {
		size_t len = base64url_put(text, all, n);

		assert_int_equal(len, (4 * n + 2) / 3);
		assert_int_equal(
		    base64url_get(back, (struct str){ text, len }), n);
		assert_memory_equal(back, all, n);
	}
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(base64url_get(back, str_of(bad[i])), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_base64url),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
