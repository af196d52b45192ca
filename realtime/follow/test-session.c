/*
 * What a client says, by traces in virtual time. The server's frames are those
 * that a real one sent; see also test-phoenix.c.
 */
#include "core/buf.h"
#include "realtime/follow/session.h"

#include <stdio.h>
#include <string.h>
/* last: cmocka has a macro named fail */
#include "core/test.h"

static void
print(struct buf *b, int64_t now, const struct session_outputs *out)
{
	static const char *const acts[] = {
		[SESSION_CONNECT] = "connect",
		[SESSION_DISCONNECT] = "disconnect",
		[SESSION_SEND] = "send",
		[SESSION_JOINED] = "joined",
		[SESSION_PARTED] = "parted",
		[SESSION_BROADCAST] = "broadcast",
	};
	struct arena a;

	arena_init(&a);
	for (uint32_t i = 0; i < out->n; i++) {
		const struct session_output *o = &out->at[i];

		buf_addf(b, "[%5lld] %s", (long long)now, acts[o->act]);
		if (o->text.n > 0)
			buf_addf(b, " %.*s", STR_FMT(o->text));
		if (o->payload != NULL)
			buf_addf(
			    b, " %.*s", STR_FMT(json_text(&a, o->payload)));
		buf_addc(b, '\n');
	}
	arena_deinit(&a);
}

/*
 *     [   0] tick          [   0] opened       [   0] closed WHY
 *     [   0] topic T       [   0] token T      (each with its tick)
 *     [   0] < FRAME
 */
static void
apply(struct realtime_session *s, const char *line, struct buf *got)
{
	struct session_input in = { .event = SESSION_TICK, .random = 250 };
	struct session_outputs out;
	char word[16], text[1024] = "";
	long long now;
	int n = 0;

	assert_int_equal(sscanf(line, "[%lld] %15[^ \n]%n", &now, word, &n), 2);
	snprintf(text, sizeof(text), "%.*s",
	    (int)strcspn(line + n + (line[n] == ' '), "\n"),
	    line + n + (line[n] == ' '));
	in.now_ms = now;
	in.text = str_of(text);
	if (strcmp(word, "opened") == 0)
		in.event = SESSION_OPENED;
	else if (strcmp(word, "closed") == 0)
		in.event = SESSION_CLOSED;
	else if (strcmp(word, "<") == 0)
		in.event = SESSION_MESSAGE;
	else if (strcmp(word, "topic") == 0)
		realtime_session_topic(s, text);
	else if (strcmp(word, "token") == 0)
		realtime_session_token(s, text);
	else
		assert_string_equal(word, "tick");
	realtime_session_step(s, &in, &out);
	print(got, now, &out);
}

static void
trace(const char *inputs, const char *expected)
{
	struct realtime_session s;
	struct buf got;

	buf_init(&got);
	realtime_session_init(&s);
	realtime_session_topic(&s, "t");
	realtime_session_token(&s, "jwt");
	while (*inputs != '\0') {
		apply(&s, inputs, &got);
		inputs += strcspn(inputs, "\n");
		inputs += *inputs == '\n';
	}
	buf_addc(&got, '\0');
	assert_string_equal(got.bytes, expected);
	buf_deinit(&got);
	realtime_session_deinit(&s);
}

#define JOIN(ref, token)                                                       \
	"send [\"" ref "\",\"" ref "\",\"realtime:t\",\"phx_join\","           \
	"{\"config\":{\"broadcast\":{\"ack\":false,\"self\":false},"           \
	"\"presence\":{\"key\":\"\",\"enabled\":false},"                       \
	"\"postgres_changes\":[],\"private\":true},\"access_token\":\"" token  \
	"\"}]\n"
#define JOINED(ref)                                                            \
	"< [\"" ref "\",\"" ref "\",\"realtime:t\",\"phx_reply\","             \
	"{\"response\":{\"postgres_changes\":[]},\"status\":\"ok\"}]\n"
#define IS_IN "[    0] tick\n[    1] opened\n[    2] " JOINED("1")
#define WAS_IN "[    0] connect\n[    1] " JOIN("1", "jwt") "[    2] joined\n"

static void
test_join_and_broadcasts(void **state)
{
	(void)state;
	trace(IS_IN
	    "[   10] < [null,null,\"realtime:t\",\"broadcast\",{\"event\":"
	    "\"log\",\"payload\":{\"to\":1},\"type\":\"broadcast\"}]\n"
	    "[   11] < [null,null,\"realtime:other\",\"broadcast\",{\"event\":"
	    "\"log\",\"payload\":{\"to\":1},\"type\":\"broadcast\"}]\n"
	    "[   12] < {\"invalid\n"
	    "[   13] < [\"1\",null,\"realtime:t\",\"system\",{\"status\":"
	    "\"ok\",\"message\":\"x\"}]\n",

	    WAS_IN "[   10] broadcast log {\"to\":1}\n");
}

static void
test_heartbeats(void **state)
{
	(void)state;
	trace(IS_IN
	    "[25000] tick\n"
	    "[25001] tick\n"
	    "[25002] < [null,\"2\",\"phoenix\",\"phx_reply\",{\"response\":{},"
	    "\"status\":\"ok\"}]\n"
	    "[50001] tick\n"
	    "[75001] tick\n"
	    "[75500] tick\n"
	    "[75501] opened\n",

	    WAS_IN "[25001] send [null,\"2\",\"phoenix\",\"heartbeat\",{}]\n"
		   "[50001] send [null,\"3\",\"phoenix\",\"heartbeat\",{}]\n"
		   "[75001] disconnect\n"
		   "[75001] parted no heartbeat comes back\n"
		   "[75501] connect\n");
}

/* A join that is refused is tried again on its socket, ever later. */
static void
test_refused(void **state)
{
	(void)state;
	trace(
	    "[    0] tick\n"
	    "[    1] opened\n"
	    "[ 5001] < [\"1\",\"1\",\"realtime:t\",\"phx_reply\",{\"response\":"
	    "{\"reason\":\"Unauthorized: no\"},\"status\":\"error\"}]\n"
	    "[ 5500] tick\n"
	    "[ 5501] tick\n"
	    "[10501] < [\"2\",\"2\",\"realtime:t\",\"phx_reply\",{\"response\":"
	    "{\"reason\":\"Unauthorized: no\"},\"status\":\"error\"}]\n"
	    "[11250] tick\n"
	    "[11251] tick\n"
	    "[31251] tick\n",

	    "[    0] connect\n"
	    "[    1] " JOIN(
		"1", "jwt") "[ 5001] parted Unauthorized: no\n"
			    "[ 5501] " JOIN(
				"2", "jwt") "[10501] parted Unauthorized: no\n"
					    "[11251] " JOIN("3", "jwt")
	    /* a join without any answer costs the socket */
	    "[31251] disconnect\n"
	    "[31251] parted the join is not answered\n");
}

static void
test_token_expires(void **state)
{
	(void)state;
	trace(IS_IN
	    "[20000] token jwt2\n"
	    "[30000] < [\"1\",null,\"realtime:t\",\"system\",{\"status\":"
	    "\"error\",\"message\":\"Token has expired 0 seconds ago\"}]\n"
	    "[30001] < [\"1\",\"1\",\"realtime:t\",\"phx_close\",{}]\n"
	    "[30100] token jwt3\n"
	    "[30501] tick\n"
	    "[30502] " JOINED("4")
	    /* the close of the join before comes late */
	    "[30503] < [\"1\",\"1\",\"realtime:t\",\"phx_close\",{}]\n"
	    "[30504] < [null,null,\"realtime:t\",\"broadcast\",{\"event\":"
	    "\"log\",\"payload\":{}}]\n",

	    WAS_IN "[20000] send [\"1\",\"2\",\"realtime:t\",\"access_token\","
		   "{\"access_token\":\"jwt2\"}]\n"
		   "[30000] send [null,\"3\",\"phoenix\",\"heartbeat\",{}]\n"
		   "[30001] parted Token has expired 0 seconds ago\n"
		   "[30501] " JOIN("4", "jwt3") "[30502] joined\n"
						"[30504] broadcast log {}\n");
}

static void
test_channel_crash(void **state)
{
	(void)state;
	trace(IS_IN
	    "[15000] < [\"1\",\"1\",\"realtime:t\",\"phx_error\",{\"reason\":"
	    "\"channel_crash\"}]\n"
	    "[15500] tick\n"
	    "[15501] " JOINED("2"),

	    WAS_IN "[15000] parted the server closed the channel\n"
		   "[15500] " JOIN("2", "jwt") "[15501] joined\n");
}

/* Close 1012, 1006, a refused connection: all the same, ever later. */
static void
test_connection_lost(void **state)
{
	(void)state;
	trace(IS_IN "[20000] closed 1012\n"
		    "[20500] tick\n"
		    "[20501] closed refused\n"
		    "[21250] tick\n"
		    "[21251] tick\n"
		    "[36250] tick\n"
		    "[36251] tick\n",

	    WAS_IN "[20000] parted 1012\n"
		   "[20500] connect\n"
		   "[20501] parted refused\n"
		   "[21251] connect\n"
		   "[36251] disconnect\n"
		   "[36251] parted no connection in time\n");
}

static void
test_another_topic(void **state)
{
	(void)state;
	trace(IS_IN
	    "[   10] topic u\n"
	    "[   11] < [\"1\",\"1\",\"realtime:t\",\"phx_close\",{}]\n"
	    "[   12] < [\"3\",\"3\",\"realtime:u\",\"phx_reply\",{\"response\":"
	    "{},\"status\":\"ok\"}]\n",

	    WAS_IN
	    "[   10] send [\"1\",\"2\",\"realtime:t\",\"phx_leave\",{}]\n"
	    "[   10] send [\"3\",\"3\",\"realtime:u\",\"phx_join\","
	    "{\"config\":{\"broadcast\":{\"ack\":false,\"self\":false},"
	    "\"presence\":{\"key\":\"\",\"enabled\":false},"
	    "\"postgres_changes\":[],\"private\":true},\"access_token\":"
	    "\"jwt\"}]\n"
	    "[   12] joined\n");
}

/* Version 2 carries what the database sends as bytes. */
static void
test_binary_broadcast(void **state)
{
	static const char frame[] = "\x04\x0a\x03\x00\x01"
				    "realtime:tlog{\"to\": 2}";
	struct realtime_session s;
	struct session_outputs out;
	struct session_input in = { .event = SESSION_MESSAGE,
		.now_ms = 3,
		.text = { frame, sizeof(frame) - 1 },
		.binary = 1 };
	struct buf got;

	(void)state;
	buf_init(&got);
	realtime_session_init(&s);
	realtime_session_topic(&s, "t");
	realtime_session_token(&s, "jwt");
	apply(&s, "[    0] tick\n", &got);
	apply(&s, "[    1] opened\n", &got);
	apply(&s, "[    2] " JOINED("1"), &got);
	buf_clear(&got);
	realtime_session_step(&s, &in, &out);
	print(&got, 3, &out);
	assert_string_equal(got.bytes, "[    3] broadcast log {\"to\":2}\n");
	buf_deinit(&got);
	realtime_session_deinit(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_join_and_broadcasts),
		cmocka_unit_test(test_heartbeats),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_token_expires),
		cmocka_unit_test(test_channel_crash),
		cmocka_unit_test(test_connection_lost),
		cmocka_unit_test(test_another_topic),
		cmocka_unit_test(test_binary_broadcast),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
