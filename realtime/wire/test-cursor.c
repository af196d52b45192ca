#include "realtime/wire/cursor.h"
#include "core/test.h"

#include <stdio.h>
#include <stdlib.h>

static const char *
written(const struct cursor *c)
{
	static char text[CURSOR_TEXT];

	assert_true(cursor_write(c, text) < sizeof(text));
	return text;
}

static void
set(struct cursor *c, const char *channel, uint32_t epoch, int64_t seq)
{
	struct cursor_entry e = { cursor_key(str_of(channel)), epoch, seq };

	assert_int_equal(cursor_set(c, &e), 0);
}

static void
test_what_is_written_is_read(void **state)
{
	struct cursor c = { 0 }, back;
	const struct cursor_entry *e;

	(void)state;
	set(&c, "logs:run:p:r", 7, 300);
	set(&c, "logs:etl:p:*", CURSOR_PATTERN, 1795252709123);
	set(&c, "logs:etl:p", CURSOR_ABSENT, 0);
	set(&c, "logs:run:p:r", INT32_MAX, INT64_MAX); /* anew */
	assert_int_equal(cursor_read(str_of(written(&c)), &back, NULL), 0);
	assert_int_equal(back.n, 3);
	for (int i = 0; i < 3; i++) {
		assert_true(c.entries[i].key == back.entries[i].key);
		assert_true(c.entries[i].epoch == back.entries[i].epoch);
		assert_true(c.entries[i].seq == back.entries[i].seq);
	}
	e = cursor_get(&back, cursor_key(STR("logs:run:p:r")));
	assert_true(e->epoch == INT32_MAX && e->seq == INT64_MAX);
	assert_null(cursor_get(&back, cursor_key(STR("logs:run:p:s"))));
}

/* Cursors outlive an upgrade: this text may never be read differently. */
static void
test_the_text_stays(void **state)
{
	struct cursor c = { 0 };

	(void)state;
	assert_string_equal(written(&c), "AQA");
	set(&c, "logs:etl:p:a", 5, 129);
	assert_string_equal(written(&c), "AQGm2HIKnLAFAAAAgQE");
}

static void
test_the_longest(void **state)
{
	struct cursor c = { 0 }, back;
	struct cursor_entry e = { 1, 1, 1 };
	char name[16];

	(void)state;
	for (int i = 0; i < CURSOR_MAX; i++) {
		snprintf(name, sizeof(name), "c%d", i);
		set(&c, name, INT32_MAX, INT64_MAX);
	}
	assert_int_equal(cursor_set(&c, &e), -1);
	assert_int_equal(cursor_read(str_of(written(&c)), &back, NULL), 0);
	assert_int_equal(back.n, CURSOR_MAX);
}

static void
test_nothing_else_is_read(void **state)
{
	static const char *const bad[] = {
		"", "A", "AQ", "AgA", "AQB", "AQE", "AQA=", "AQAA", "AQ A",
		"AQC/", "AQAB", "AQEBAAAAAAAFAAAAgA", /* a number cut off */
		"AQEBAAAAAAAFAAAAgAA", /* one longer than it need be */
		"AQEBAAAAAAAFAACAAQ",  /* an epoch below 0 */
		"AQEBAAAAAAD_____AQ",  /* absent, with a seq */
		"AQIBAAAAAAAFAAAAAQEAAAAAAAUAAAAB", /* a key twice */
	};
	struct cursor c;
	struct error err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err.fault = FAULT_NONE;
		if (cursor_read(str_of(bad[i]), &c, &err) != -1)
			fail_msg("\"%s\" was read", bad[i]);
		assert_int_equal(err.fault, FAULT_INPUT);
		assert_int_equal(c.n, 0);
	}
	/* and the neighbours of these are */
	assert_int_equal(cursor_read(STR("AQEBAAAAAAAFAAAAAQ"), &c, NULL), 0);
	assert_int_equal(cursor_read(STR("AQEBAAAAAAD_____AA"), &c, NULL), 0);
}

/* None that is longer than the longest, whatever is in it. */
static void
test_too_long(void **state)
{
	char text[2000];
	struct cursor c;

	(void)state;
	memset(text, 'g', sizeof(text));
	memcpy(text, "ATI", 3); /* version 1, 50 entries */
	for (size_t n = 0; n < sizeof(text); n++)
		assert_int_equal(
		    cursor_read((struct str){ text, n }, &c, NULL), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_written_is_read),
		cmocka_unit_test(test_the_text_stays),
		cmocka_unit_test(test_the_longest),
		cmocka_unit_test(test_nothing_else_is_read),
		cmocka_unit_test(test_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
