/* What a command line may mean, and what a cursor file keeps of it. */
#include "cli/channel.h"
#include "cli/cursor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* last: cmocka has a macro named fail */
#include "core/test-values.h"

#define ID "01a1fd24-7056-74c0-9d6f-29e1df35ebbe"
#define OTHER "01a1fd24-7056-74c0-9d6f-29e1df35ebbf"

static struct channel
parsed(const char *text)
{
	struct channel c;
	struct error err;

	if (channel_parse(&arena, text, &c, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return c;
}

static void
test_names(void **state)
{
	struct channel c = parsed("logs:etl:acme:nightly");

	(void)state;
	assert_string_equal(c.service, "etl");
	assert_string_equal(c.project, "acme");
	assert_string_equal(c.resource, "nightly");
	assert_false(c.is_run);
	c = parsed("logs:etl:acme");
	assert_string_equal(c.resource, "");
	channel_name(&arena, &c, ID);
	assert_string_equal(c.name, "logs:etl:" ID);
	c = parsed(ID);
	assert_true(c.is_run);
	assert_null(c.name);
	channel_name(&arena, &c, "acme");
	assert_string_equal(c.name, "logs:run:acme:" ID);
	assert_true(parsed("logs:run:acme:" ID).is_run);
	assert_string_equal(parsed("latest").resource, "latest");
}

static void
test_what_is_no_name(void **state)
{
	static const char *const texts[] = { "", "logs:", "logs:etl",
		"logs:etl:", "logs::acme",
		"logs:etl:acme:", "logs:etl:acme:a:b", "logs:etl:a b",
		"logs:run:acme", "logs:run:acme:nightly",
		"logs:run:acme:latest", "runs:acme", "nightly",
		"logs:etl:acme:*" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct channel c;
		struct error err;

		assert_int_equal(channel_parse(&arena, texts[i], &c, &err), -1);
		assert_string_equal(err.code, "USAGE");
	}
}

/* A slug may be any project's; an id, and a slug, is one's own. */
static void
test_may_be_one(void **state)
{
	static const struct {
		const char *x, *y;
		int may;
	} pairs[] = {
		{ "logs:etl:acme:a", "logs:etl:acme:a", 1 },
		{ "logs:etl:acme:a", "logs:etl:" ID ":a", 1 },
		{ "logs:etl:acme:a", "logs:etl:beta:a", 0 },
		{ "logs:etl:acme:a", "logs:etl:acme:b", 0 },
		{ "logs:etl:acme:a", "logs:elt:acme:a", 0 },
		{ "logs:etl:acme", "logs:etl:acme:a", 0 },
		{ "logs:etl:" ID, "logs:etl:" OTHER, 0 },
		{ ID, "logs:run:acme:" ID, 1 },
		{ ID, "logs:run:acme:" OTHER, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		struct channel x = parsed(pairs[i].x), y = parsed(pairs[i].y);

		assert_int_equal(channel_may_be(&x, &y), pairs[i].may);
		assert_int_equal(channel_may_be(&y, &x), pairs[i].may);
	}
}

static void
test_cursor_file(void **state)
{
	char path[] = "/tmp/meshhook-cursor-XXXXXX";
	struct channel c = parsed("logs:etl:acme:a"),
		       kept = parsed("logs:etl:" ID ":a");
	int64_t epoch, seq;
	struct error err;
	int fd = mkstemp(path);

	(void)state;
	close(fd);
	unlink(path);
	assert_int_equal(
	    cursor_load(&arena, path, &c, &epoch, &seq, &err), CURSOR_OUT_NONE);
	assert_int_equal(cursor_save(path, &kept, 7, INT64_MAX, &err), 0);
	assert_int_equal(cursor_save(path, &kept, 2147483647, 42, &err), 0);
	assert_int_equal(cursor_load(&arena, path, &c, &epoch, &seq, &err), 0);
	assert_int_equal(epoch, 2147483647);
	assert_int_equal(seq, 42);
	assert_string_equal(c.name, "logs:etl:" ID ":a");
	c = parsed("logs:etl:acme:b");
	assert_int_equal(cursor_load(&arena, path, &c, &epoch, &seq, &err), -1);
	assert_string_equal(err.code, "USAGE");
	unlink(path);
	assert_int_equal(cursor_save("/nowhere/at/all", &kept, 1, 1, &err), -1);
}

static void
test_broken_cursor_file(void **state)
{
	static const char *const texts[] = { "", "{", "[]", "{\"epoch\":1}",
		"{\"channel\":\"logs:etl:acme:a\",\"epoch\":-1,\"seq\":1}",
		"{\"channel\":\"logs:etl:acme:a\",\"epoch\":1,\"seq\":1.5}",
		"{\"channel\":\"nightly\",\"epoch\":1,\"seq\":1}" };
	char path[] = "/tmp/meshhook-cursor-XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct channel c = parsed("logs:etl:acme:a");
		int64_t epoch, seq;
		struct error err;

		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, texts[i], strlen(texts[i]), 0),
		    (ssize_t)strlen(texts[i]));
		assert_int_equal(
		    cursor_load(&arena, path, &c, &epoch, &seq, &err), -1);
		assert_string_equal(err.code, "CURSOR");
	}
	close(fd);
	unlink(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_what_is_no_name),
		cmocka_unit_test(test_may_be_one),
		cmocka_unit_test(test_cursor_file),
		cmocka_unit_test(test_broken_cursor_file),
	};

	return run_with_arena(tests);
}
