#include "realtime/stream/tally.h"
#include "core/test.h"

#include <stdlib.h>

static struct uuid
id(uint32_t n)
{
	struct uuid out = { { 0 } };

	memcpy(out.bytes + 12, &n, sizeof(n));
	return out;
}

static void
test_counts(void **state)
{
	struct uuid a = id(1), b = id(2), none = id(0);
	struct tally_entry *e;
	struct tally t;

	(void)state;
	tally_init(&t);
	assert_int_equal(tally_count(&t, &a, &none), 0);
	e = tally_take(&t, &a, &none);
	assert_ptr_equal(tally_take(&t, &a, &none), e);
	tally_take(&t, &a, &b);
	tally_take(&t, &b, &a);
	assert_int_equal(tally_count(&t, &a, &none), 2);
	assert_int_equal(tally_count(&t, &a, &b), 1);
	tally_give(&t, e);
	assert_int_equal(tally_count(&t, &a, &none), 1);
	tally_give(&t, e);
	assert_null(tally_find(&t, &a, &none));
	assert_int_equal(t.n, 2);
	tally_deinit(&t);
}

/* Many, so that it grows; every one is met once on a walk. */
static void
test_walks(void **state)
{
	static uint8_t met[5000];
	struct uuid none = id(0);
	struct tally t;

	(void)state;
	tally_init(&t);
	assert_null(tally_next(&t, NULL));
	for (uint32_t i = 0; i < 5000; i++) {
		struct uuid a = id(i);

		tally_take(&t, &a, &none);
	}
	for (struct tally_entry *e = NULL; (e = tally_next(&t, e)) != NULL;) {
		uint32_t n;

		memcpy(&n, e->a.bytes + 12, sizeof(n));
		met[n]++;
	}
	for (uint32_t i = 0; i < 5000; i++)
		assert_int_equal(met[i], 1);
	for (uint32_t i = 0; i < 5000; i += 2) {
		struct uuid a = id(i);

		tally_give(&t, tally_find(&t, &a, &none));
	}
	for (uint32_t i = 0; i < 5000; i++) {
		struct uuid a = id(i);

		assert_int_equal(tally_count(&t, &a, &none), i % 2);
	}
	tally_deinit(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_walks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
