#include "core/lookup.h"
#include "core/test.h"

enum { MANY = 10000, DIFFERENT = 3000 };

static void
test_empty(void **state)
{
	struct lookup l;
	struct arena a;

	(void)state;
	arena_init(&a);
	lookup_init(&l, &a);
	assert_true(lookup_first(&l, 0) == LOOKUP_NONE);
	lookup_add(&l, 7);
	assert_true(lookup_first(&l, 0) == LOOKUP_NONE);
	assert_int_equal(lookup_first(&l, 7), 0);
	assert_true(lookup_next(&l, 0) == LOOKUP_NONE);
	arena_deinit(&a);
}

/* All places of a hash, the newest first, and none else; hashes that share a
 * head, too. */
static void
test_all_are_found(void **state)
{
	struct lookup l;
	struct arena a;

	(void)state;
	arena_init(&a);
	lookup_init(&l, &a);
	for (uint32_t i = 0; i < MANY; i++)
		lookup_add(&l, i % DIFFERENT << 12);
	for (uint32_t h = 0; h < DIFFERENT; h++) {
		uint32_t want = MANY - 1 - (MANY - 1 - h) % DIFFERENT, n = 0;
		uint32_t at = lookup_first(&l, h << 12);

		for (; at != LOOKUP_NONE; at = lookup_next(&l, at)) {
			assert_int_equal(at, want - n * DIFFERENT);
			n++;
		}
		assert_int_equal(n, (MANY - 1 - h) / DIFFERENT + 1);
	}
	assert_true(lookup_first(&l, DIFFERENT << 12) == LOOKUP_NONE);
	arena_deinit(&a);
}

static void
test_hash(void **state)
{
	uint32_t h = lookup_hash(LOOKUP_BASIS, STR("ab"));

	(void)state;
	assert_int_equal(h, lookup_hash(LOOKUP_BASIS, STR("ab")));
	assert_int_not_equal(h, lookup_hash(LOOKUP_BASIS, STR("ba")));
	/* where one ends counts */
	assert_int_not_equal(
	    lookup_hash(lookup_hash(LOOKUP_BASIS, STR("a")), STR("b")), h);
	assert_int_not_equal(
	    lookup_hash(lookup_hash(LOOKUP_BASIS, STR("ab")), STR("")), h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_all_are_found),
		cmocka_unit_test(test_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
