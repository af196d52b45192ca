/* The frames are those that a real server and its own client exchanged. */
#include "realtime/wire/phoenix.h"
#include "core/test-values.h"

#define BYTES(lit) ((struct str){ (lit), sizeof(lit) - 1 })

static struct phoenix_frame
read_it(enum phoenix_version version, struct str bytes, int binary)
{
	struct phoenix_frame f;
	struct error err;

	if (phoenix_read(&arena, version, bytes, binary, &f, &err) < 0)
		fail_msg("%s", err.text);
	return f;
}

static void
assert_str(struct str s, const char *want)
{
	if (want == NULL) {
		assert_null(s.s);
		return;
	}
	assert_int_equal(s.n, strlen(want));
	assert_memory_equal(s.s, want, s.n);
}

/* Read, then written again by the same end, it is what it was. */
static void
test_text_frames_both_ways(void **state)
{
	static const struct {
		enum phoenix_version version;
		int server;
		const char *text, *join_ref, *ref, *topic, *event, *payload;
	} frames[] = {
		{ PHOENIX_V1, 1,
		    "{\"event\":\"phx_reply\",\"payload\":{\"response\":{},"
		    "\"status\":\"ok\"},\"ref\":2,\"topic\":\"phoenix\"}",
		    NULL, "2", "phoenix", "phx_reply",
		    "{\"response\":{},\"status\":\"ok\"}" },
		{ PHOENIX_V1, 1,
		    "{\"event\":\"phx_close\",\"payload\":{},\"ref\":\"1\","
		    "\"topic\":\"realtime:room\"}",
		    NULL, "\"1\"", "realtime:room", "phx_close", "{}" },
		{ PHOENIX_V1, 1,
		    "{\"event\":\"broadcast\",\"payload\":{\"event\":"
		    "\"cursor\","
		    "\"payload\":{\"x\":1,\"y\":\"\xc3\xbc\"},\"type\":"
		    "\"broadcast\"},\"ref\":null,\"topic\":\"realtime:room\"}",
		    NULL, NULL, "realtime:room", "broadcast",
		    "{\"event\":\"cursor\",\"payload\":{\"x\":1,\"y\":"
		    "\"\xc3\xbc\"},\"type\":\"broadcast\"}" },
		{ PHOENIX_V1, 0,
		    "{\"event\":\"phx_leave\",\"payload\":{},\"ref\":\"8\","
		    "\"topic\":\"realtime:pres\",\"join_ref\":\"1\"}",
		    "\"1\"", "\"8\"", "realtime:pres", "phx_leave", "{}" },
		{ PHOENIX_V2, 0, "[null,\"1\",\"phoenix\",\"heartbeat\",{}]",
		    NULL, "\"1\"", "phoenix", "heartbeat", "{}" },
		{ PHOENIX_V2, 1,
		    "[\"3\",\"3\",\"realtime:room\",\"phx_error\","
		    "{\"reason\":\"channel_crash\"}]",
		    "\"3\"", "\"3\"", "realtime:room", "phx_error",
		    "{\"reason\":\"channel_crash\"}" },
		{ PHOENIX_V2, 0,
		    "[\"3\",\"60\",\"realtime:room\",\"broadcast\",\"str\"]",
		    "\"3\"", "\"60\"", "realtime:room", "broadcast",
		    "\"str\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
		struct phoenix_frame f =
		    read_it(frames[i].version, str_of(frames[i].text), 0);

		assert_int_equal(f.kind, PHOENIX_TEXT);
		assert_str(f.join_ref, frames[i].join_ref);
		assert_str(f.ref, frames[i].ref);
		assert_str(f.topic, frames[i].topic);
		assert_str(f.event, frames[i].event);
		f.body = json_text(&arena, f.payload);
		assert_str(f.body, frames[i].payload);
		assert_str(phoenix_write(
			       &arena, frames[i].version, frames[i].server, &f),
		    frames[i].text);
	}
}

/* Keys in another order, and more of them than needed: as the clients do. */
static void
test_an_object_has_no_order(void **state)
{
	struct phoenix_frame f = read_it(PHOENIX_V1,
	    STR("{\"topic\":\"a\",\"ref\":null,\"more\":[],\"event\":\"b\","
		"\"payload\":null}"),
	    0);

	(void)state;
	assert_str(f.topic, "a");
	assert_str(f.ref, NULL);
	assert_int_equal(f.payload->type, JSON_NULL);
}

static void
test_what_is_no_frame(void **state)
{
	static const struct {
		enum phoenix_version version;
		int binary;
		struct str bytes;
	} bad[] = {
		{ PHOENIX_V1, 0, BYTES("not json") },
		{ PHOENIX_V1, 0, BYTES("") },
		{ PHOENIX_V1, 0, BYTES("42") },
		{ PHOENIX_V1, 0, BYTES("{\"topic\":\"phoenix\"}") },
		{ PHOENIX_V1, 0,
		    BYTES("[\"1\",\"1\",\"phoenix\",\"heartbeat\",{}]") },
		{ PHOENIX_V1, 0,
		    BYTES("{\"topic\":5,\"event\":\"e\",\"payload\":{},"
			  "\"ref\":1}") },
		{ PHOENIX_V1, 1, BYTES("\1\2\3") },
		/* a server's own, to version 1 clients */
		{ PHOENIX_V1, 0,
		    BYTES("{\"event\":\"broadcast\",\"payload\":{\"event\":"
			  "\"badjson\",\"payload\":{oops,\"type\":"
			  "\"broadcast\"},\"ref\":null,\"topic\":\"t\"}") },
		{ PHOENIX_V2, 0,
		    BYTES("{\"topic\":\"phoenix\",\"event\":\"heartbeat\","
			  "\"payload\":{},\"ref\":\"1\"}") },
		{ PHOENIX_V2, 0, BYTES("[\"1\",\"1\",\"phoenix\"]") },
		{ PHOENIX_V2, 0, BYTES("[1,1,null,\"e\",{}]") },
		{ PHOENIX_V2, 1, BYTES("") },
		{ PHOENIX_V2, 1, BYTES("\t\t\t") },
		{ PHOENIX_V2, 1, BYTES("\3\1\1\15\2\0") },
		{ PHOENIX_V2, 1,
		    BYTES("\3\1\1\15\2\0\1"
			  "35realtime:roome") },
		{ PHOENIX_V2, 1, BYTES("\4\1\1\0\1tb{oops") },
		{ PHOENIX_V2, 1, BYTES("\4\1\1\1\0tb{\xff") },
		{ PHOENIX_V2, 1,
		    BYTES("\4\1\1\0\0\xff"
			  "b") },
	};
	struct phoenix_frame f;
	struct error err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err = (struct error){ 0 };
		if (phoenix_read(&arena, bad[i].version, bad[i].bytes,
			bad[i].binary, &f, &err) == 0)
			fail_msg("%zu was read", i);
		assert_int_equal(err.fault, FAULT_INPUT);
	}
}

/* From a client: with JSON, with bytes, with metadata. */
static void
test_binary_pushes(void **state)
{
	static const struct str json = BYTES("\3\1\1\15\2\0\1"
					     "35realtime:roomev{\"x\": 2}");
	static const struct str bytes = BYTES("\3\1\2\15\3\0\0"
					      "311realtime:roombin\0\xff\1");
	static const struct str meta =
	    BYTES("\3\1\1\15\3\21\1"
		  "37realtime:roomevm{\"replayed\":true}{\"x\":3}");
	struct phoenix_frame f = read_it(PHOENIX_V2, json, 1);
	struct str again;

	(void)state;
	assert_int_equal(f.kind, PHOENIX_PUSH);
	assert_str(f.join_ref, "\"3\"");
	assert_str(f.ref, "\"5\"");
	assert_str(f.topic, "realtime:room");
	assert_str(f.event, "ev");
	assert_str(f.body, "{\"x\": 2}");
	assert_true(f.json);
	assert_int_equal(phoenix_write_binary(&arena, &f, &again, NULL), 0);
	assert_true(str_eq(again, json));

	f = read_it(PHOENIX_V2, bytes, 1);
	assert_false(f.json);
	assert_null(f.payload);
	assert_str(f.ref, "\"11\"");
	assert_true(str_eq(f.body, BYTES("\0\xff\1")));
	assert_int_equal(phoenix_write_binary(&arena, &f, &again, NULL), 0);
	assert_true(str_eq(again, bytes));

	f = read_it(PHOENIX_V2, meta, 1);
	assert_str(f.meta, "{\"replayed\":true}");
	assert_int_equal(phoenix_write_binary(&arena, &f, &again, NULL), 0);
	assert_true(str_eq(again, meta));
}

/* One message of the database, as both versions of a client get it. */
static void
test_a_broadcast_in_both_forms(void **state)
{
	static const struct str v2 =
	    BYTES("\4\20\3\15\1realtime:run:R1xlog{\"id\":\"b5b0\"}"
		  "{\"a\": 1, \"id\": \"b5b0\"}");
	static const char v1[] =
	    "{\"event\":\"log\",\"meta\":{\"id\":\"b5b0\"},\"payload\":"
	    "{\"a\": 1, \"id\": \"b5b0\"},\"type\":\"broadcast\"}";
	struct phoenix_frame f = read_it(PHOENIX_V2, v2, 1), text;
	struct phoenix_broadcast b;
	struct str again;

	(void)state;
	assert_int_equal(f.kind, PHOENIX_BROADCAST);
	assert_str(f.topic, "realtime:run:R1x");
	assert_int_equal(phoenix_write_binary(&arena, &f, &again, NULL), 0);
	assert_true(str_eq(again, v2));
	assert_str(phoenix_broadcast_text(&arena, &f), v1);
	assert_int_equal(phoenix_broadcast(&arena, &f, &b), 0);
	assert_str(b.event, "log");
	assert_str(json_str(json_get(b.meta, "id")), "b5b0");
	assert_str(json_str(json_get(b.payload, "id")), "b5b0");

	text = (struct phoenix_frame){ .topic = f.topic,
		.event = STR("broadcast"),
		.body = phoenix_broadcast_text(&arena, &f) };
	text =
	    read_it(PHOENIX_V1, phoenix_write(&arena, PHOENIX_V1, 1, &text), 0);
	assert_int_equal(phoenix_broadcast(&arena, &text, &b), 0);
	assert_str(b.event, "log");
	assert_str(json_str(json_get(b.meta, "id")), "b5b0");
	assert_str(json_str(json_get(b.payload, "id")), "b5b0");

	f = read_it(PHOENIX_V2, BYTES("\4\1\3\0\0tbin\0\xff\1"), 1);
	assert_int_equal(phoenix_broadcast(&arena, &f, &b), 0);
	assert_null(b.payload);
	assert_null(b.meta);
	assert_int_equal(b.bytes.n, 3);
}

static void
test_what_is_no_broadcast(void **state)
{
	static const char *const frames[] = {
		"[null,\"1\",\"phoenix\",\"phx_reply\",{\"event\":\"e\"}]",
		"[null,null,\"t\",\"broadcast\",\"str\"]",
		"[null,null,\"t\",\"broadcast\",{\"foo\":\"bar\"}]",
		"[null,null,\"t\",\"broadcast\",{\"event\":5}]",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
		struct phoenix_frame f =
		    read_it(PHOENIX_V2, str_of(frames[i]), 0);
		struct phoenix_broadcast b;

		assert_int_equal(
		    phoenix_broadcast(&arena, &f, &b), PHOENIX_NO_BROADCAST);
	}
}

/* Lengths are a byte each. */
static void
test_parts_that_do_not_fit(void **state)
{
	char topic[256];
	struct phoenix_frame f = { .kind = PHOENIX_BROADCAST,
		.topic = { topic, sizeof(topic) },
		.event = STR("e"),
		.body = STR("{}"),
		.json = 1 };
	struct str out;
	struct error err;

	(void)state;
	memset(topic, 'x', sizeof(topic));
	assert_int_equal(phoenix_write_binary(&arena, &f, &out, &err), -1);
	assert_string_equal(err.code, "PHOENIX");
	f.topic.n = 255;
	assert_int_equal(phoenix_write_binary(&arena, &f, &out, &err), 0);
	f = read_it(PHOENIX_V2, out, 1);
	assert_int_equal(f.topic.n, 255);
}

static void
test_versions(void **state)
{
	static const struct {
		const char *vsn;
		int version;
	} cases[] = { { "", 1 }, { "1.0.0", 1 }, { "2.0.0", 2 }, { "2.0.1", 2 },
		{ "1.0.17", 1 }, { "3.0.0", -1 }, { "2.1.0", -1 }, { "2", -1 },
		{ "2.0", -1 }, { "2.0.0 ", -1 }, { "x", -1 }, { "2.0.", -1 },
		{ "99999999999.0.0", -1 }, { "0.0.0", -1 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum phoenix_version v;
		int r = phoenix_version(str_of(cases[i].vsn), &v);

		if ((r < 0 ? -1 : (int)v) != cases[i].version)
			fail_msg("%s", cases[i].vsn);
	}
}

static void
test_replies(void **state)
{
	(void)state;
	assert_str(phoenix_reply(&arena, 1, STR("{}")),
	    "{\"response\":{},\"status\":\"ok\"}");
	assert_str(phoenix_reply(&arena, 0, STR("\"payload_size_exceeded\"")),
	    "{\"response\":\"payload_size_exceeded\",\"status\":\"error\"}");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_frames_both_ways),
		cmocka_unit_test(test_an_object_has_no_order),
		cmocka_unit_test(test_what_is_no_frame),
		cmocka_unit_test(test_binary_pushes),
		cmocka_unit_test(test_a_broadcast_in_both_forms),
		cmocka_unit_test(test_what_is_no_broadcast),
		cmocka_unit_test(test_parts_that_do_not_fit),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_replies),
	};

	return run_with_arena(tests);
}
