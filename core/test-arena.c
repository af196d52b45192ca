#include "core/arena.h"
#include "core/test.h"

static void
test_alignment_and_growth(void **state)
{
	struct arena a;
	char *text;
	int *v;

	(void)state;
	arena_init(&a);
	for (size_t n = 1; n < 100000; n = n * 3 + 1)
		assert_int_equal((uintptr_t)arena_alloc(&a, n) % 16, 0);
	v = arena_array(&a, 4, sizeof(*v));
	v[0] = 7;
	v[3] = 9;
	v = arena_grow(&a, v, 4, 4000, sizeof(*v));
	assert_int_equal(v[0], 7);
	assert_int_equal(v[3], 9);
	text = arena_printf(&a, "%s-%d", "x", 42);
	assert_string_equal(text, "x-42");
	arena_deinit(&a);
	arena_deinit(&a);
}

static void
test_grow_in_place_when_last(void **state)
{
	struct arena a;
	char *p;

	(void)state;
	arena_init(&a);
	p = arena_array(&a, 16, 1);
	assert_ptr_equal(arena_grow(&a, p, 16, 64, 1), p);
	arena_deinit(&a);
}

static void
test_cap_and_overflow(void **state)
{
	struct arena a;

	(void)state;
	arena_init_cap(&a, 10000);
	assert_non_null(arena_alloc(&a, 4000));
	assert_null(arena_alloc(&a, 20000));
	assert_null(arena_array(&a, SIZE_MAX / 2, 3));
	arena_reset(&a);
	assert_non_null(arena_alloc(&a, 5000));
	arena_deinit(&a);
}

static void
test_wiped_memory_is_zero(void **state)
{
	struct arena a;
	char *p;

	(void)state;
	arena_init(&a);
	p = arena_strdup(&a, "a secret");
	arena_wipe(&a);
	for (size_t i = 0; i < 9; i++)
		assert_int_equal(p[i], 0);
	assert_ptr_equal(arena_alloc(&a, 9), p);
	arena_deinit(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alignment_and_growth),
		cmocka_unit_test(test_wiped_memory_is_zero),
		cmocka_unit_test(test_grow_in_place_when_last),
		cmocka_unit_test(test_cap_and_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
