#include "realtime/wire/sse.h"
#include "core/json.h"
#include "core/test.h"

#include <stdlib.h>

static void
test_a_log_event(void **state)
{
	struct sse_line lines[] = {
		{ .seq = 41,
		    .ts_ms = 1795252709123,
		    .level = 9,
		    .message = STR("say \"hi\"\n\tto C:\\x \x01\x1f, ü") },
		{ .seq = 42,
		    .ts_ms = 0,
		    .level = 17,
		    .message = STR(""),
		    .attrs = STR("{\"a\": 1}"),
		    .source = STR("psql") },
	};
	struct buf b;

	(void)state;
	buf_init(&b);
	sse_log_head(&b, STR("logs:etl:p:\"r"), 7);
	sse_log_line(&b, &lines[0]);
	sse_log_line(&b, &lines[1]);
	b.len--;
	sse_log_tail(&b, STR("AQA"));
	assert_string_equal(b.bytes,
	    "event: log\n"
	    "data: {\"channel\":\"logs:etl:p:\\\"r\",\"epoch\":7,\"lines\":["
	    "{\"seq\":41,\"ts\":\"2026-11-21T09:18:29.123Z\",\"level\":"
	    "9,"
	    "\"message\":\"say \\\"hi\\\"\\n\\tto C:\\\\x \\u0001\\u001f, ü\"},"
	    "{\"seq\":42,\"ts\":\"1970-01-01T00:00:00.000Z\",\"level\":"
	    "17,"
	    "\"message\":\"\",\"attrs\":{\"a\": 1},\"source\":\"psql\"}]}\n"
	    "id: AQA\n"
	    "\n");
	buf_deinit(&b);
}

static void
test_other_events(void **state)
{
	struct sse_gap_event gap = {
		.channel = STR("logs:etl:p"), .epoch = 3, .from = 5, .to = 9
	};
	struct buf b;

	(void)state;
	buf_init(&b);
	sse_gap(&b, &gap, STR("AQA"));
	gap.to = 0;
	gap.reason = SSE_GAP_RESET;
	sse_gap(&b, &gap, (struct str){ 0 });
	sse_event(&b, "auth", STR("{\"expires_in\":60}"), (struct str){ 0 });
	sse_id(&b, STR("AQA"));
	sse_retry(&b, 1500);
	buf_adds(&b, SSE_HEARTBEAT);
	assert_string_equal(b.bytes,
	    "event: gap\ndata: {\"channel\":\"logs:etl:p\",\"epoch\":3,"
	    "\"from\":5,\"to\":9,\"reason\":\"expired\"}\nid: AQA\n\n"
	    "event: gap\ndata: {\"channel\":\"logs:etl:p\",\"epoch\":3,"
	    "\"from\":5,\"to\":null,\"reason\":\"reset\"}\n\n"
	    "event: auth\ndata: {\"expires_in\":60}\n\n"
	    "id: AQA\n\n"
	    "retry: 1500\n\n"
	    ":\n\n");
	buf_deinit(&b);
}

static void
test_levels(void **state)
{
	(void)state;
	assert_int_equal(sse_level(STR("warn")), 13);
	assert_int_equal(sse_level(STR("17")), 17);
	assert_int_equal(sse_level(STR("0")), -1);
	assert_int_equal(sse_level(STR("25")), -1);
	assert_int_equal(sse_level(STR("-1")), -1);
	assert_int_equal(sse_level(STR("WARN")), -1);
	assert_int_equal(sse_level(STR("")), -1);
}

/* Whatever is in a message, the JSON stays one line and gives it back. */
static void
test_every_byte(void **state)
{
	char text[128];
	struct arena a;
	struct json *v;
	struct buf b;

	(void)state;
	for (int i = 0; i < 128; i++)
		text[i] = (char)i;
	arena_init(&a);
	buf_init(&b);
	sse_json(&b, (struct str){ text, 128 });
	assert_null(strpbrk(b.bytes, "\n\r"));
	assert_int_equal(json_parse(&a, buf_str(&b), NULL, &v, NULL), 0);
	assert_true(str_eq(json_str(v), (struct str){ text, 128 }));
	buf_deinit(&b);
	arena_deinit(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_log_event),
		cmocka_unit_test(test_other_events),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_every_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
