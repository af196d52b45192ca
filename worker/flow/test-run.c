#include "worker/flow/test-trace.h"

static void
test_chain(void **state)
{
	(void)state;
	replay_is("a -> b",
	    "[    0] run_started\n"
	    "[    5] done a#1\n"
	    "[    9] done b#1\n",

	    "[    0] start a#1\n"
	    "[    5] start b#1\n"
	    "[    9] end succeeded\n");
}

/* A failed call is retried after its backoff, and only once per attempt. */
static void
test_retry_waits_for_backoff(void **state)
{
	(void)state;
	replay_is("a(max=2) -> b",
	    "[    0] run_started\n"
	    "[    5] failed a#1 HTTP503\n"
	    "[  500] tick\n"
	    "[ 1005] tick\n"
	    "[ 1010] done a#2\n"
	    "[ 1020] done b#1\n",

	    "[    0] start a#1\n"
	    "[    5] wake_at 1005 a#2\n"
	    "[ 1005] start a#2\n"
	    "[ 1010] start b#1\n"
	    "[ 1020] end succeeded\n");
}

static void
test_backoff_doubles_then_gives_up(void **state)
{
	(void)state;
	replay_is("a(max=3)",
	    "[    0] run_started\n"
	    "[    0] failed a#1 CONN\n"
	    "[ 1000] tick\n"
	    "[ 1000] failed a#2 HTTP500\n"
	    "[ 3000] tick\n"
	    "[ 3001] failed a#3 HTTP503\n",

	    "[    0] start a#1\n"
	    "[    0] wake_at 1000 a#2\n"
	    "[ 1000] start a#2\n"
	    "[ 1000] wake_at 3000 a#3\n"
	    "[ 3000] start a#3\n"
	    "[ 3001] end failed {\"code\":\"HTTP503\",\"step\":\"a\"}\n");
}

static void
test_what_is_not_retried(void **state)
{
	(void)state;
	replay_is("a(max=3)",
	    "[    0] run_started\n"
	    "[    1] failed a#1 HTTP404\n",

	    "[    0] start a#1\n"
	    "[    1] end failed {\"code\":\"HTTP404\",\"step\":\"a\"}\n");
	replay_is("a(max=3)",
	    "[    0] run_started\n"
	    "[    1] failed a#1 FATAL\n",

	    "[    0] start a#1\n"
	    "[    1] end failed {\"code\":\"FATAL\",\"step\":\"a\"}\n");
	replay_is("a",
	    "[    0] run_started\n"
	    "[    1] failed a#1 CONN\n",

	    "[    0] start a#1\n"
	    "[    1] end failed {\"code\":\"CONN\",\"step\":\"a\"}\n");
}

static void
test_retry_after_and_deadline(void **state)
{
	(void)state;
	replay_is("a(max=9)",
	    "[    0] run_started\n"
	    "[   10] failed a#1 HTTP429 after=7000 by=20000\n"
	    "[ 7010] tick\n"
	    "[ 7020] failed a#2 HTTP429 after=13000 by=20000\n",

	    "[    0] start a#1\n"
	    "[   10] wake_at 7010 a#2\n"
	    "[ 7010] start a#2\n"
	    "[ 7020] end failed {\"code\":\"HTTP429\",\"step\":\"a\"}\n");
}

static void
test_diamond(void **state)
{
	(void)state;
	replay_is("a -> b -> d, a -> c -> d",
	    "[    0] run_started\n"
	    "[    1] done a#1\n"
	    "[    2] done c#1\n"
	    "[    3] done b#1\n"
	    "[    4] done d#1\n",

	    "[    0] start a#1\n"
	    "[    1] start b#1\n"
	    "[    1] start c#1\n"
	    "[    3] start d#1\n"
	    "[    4] end succeeded\n");
}

static void
test_branch_skips_the_others(void **state)
{
	(void)state;
	replay_is("branch:r(hot warm) -hot-> a -> x, r -warm-> b, r -else-> c",
	    "[    0] run_started\n"
	    "[    1] done r#1 warm\n"
	    "[    2] done b#1\n",

	    "[    0] start r#1\n"
	    "[    1] skip a\n"
	    "[    1] start b#1\n"
	    "[    1] skip c\n"
	    "[    1] skip x\n"
	    "[    2] end succeeded\n");
	replay_is("branch:r(hot) -hot-> a",
	    "[    0] run_started\n"
	    "[    1] done r#1 else\n",

	    "[    0] start r#1\n"
	    "[    1] skip a\n"
	    "[    1] end succeeded\n");
}

/* One live edge is enough, in whichever order they are resolved. */
static void
test_join_behind_branch(void **state)
{
	(void)state;
	replay_is("branch:r(x) -x-> a -> j, r -else-> b -> j, j -> k",
	    "[    0] run_started\n"
	    "[    1] done r#1 x\n"
	    "[    2] done a#1\n"
	    "[    3] done j#1\n"
	    "[    4] done k#1\n",

	    "[    0] start r#1\n"
	    "[    1] start a#1\n"
	    "[    1] skip b\n"
	    "[    2] start j#1\n"
	    "[    3] start k#1\n"
	    "[    4] end succeeded\n");
}

/* A join none of whose edges is alive is skipped by its own message, and what
 * lies behind it with it. */
static void
test_dead_join(void **state)
{
	(void)state;
	replay_is("branch:r(x y) -x-> a -> j -> k, r -x-> b -> j, r -y-> c",
	    "[    0] run_started\n"
	    "[    1] done r#1 y\n"
	    "[    2] skipped j\n"
	    "[    3] skipped j\n"
	    "[    4] done c#1\n",

	    "[    0] start r#1\n"
	    "[    1] skip a\n"
	    "[    1] skip b\n"
	    "[    1] start c#1\n"
	    "[    1] start_skip j#1\n"
	    "[    2] skip k\n"
	    "[    3] refused\n"
	    "[    4] end succeeded\n");
}

/* Both edges of a branch to one step: it is no join, and starts once. */
static void
test_two_cases_one_step(void **state)
{
	(void)state;
	replay_is("branch:r(x y) -x-> a, r -y-> a, r -else-> b",
	    "[    0] run_started\n"
	    "[    1] done r#1 y\n"
	    "[    2] done a#1\n",

	    "[    0] start r#1\n"
	    "[    1] start a#1\n"
	    "[    1] skip b\n"
	    "[    2] end succeeded\n");
}

static void
test_error_edge(void **state)
{
	(void)state;
	replay_is("a(max=2) -> b, a -error-> c",
	    "[    0] run_started\n"
	    "[    1] failed a#1 CONN\n"
	    "[ 1001] tick\n"
	    "[ 1002] failed a#2 HTTP400\n"
	    "[ 1003] done c#1\n",

	    "[    0] start a#1\n"
	    "[    1] wake_at 1001 a#2\n"
	    "[ 1001] start a#2\n"
	    "[ 1002] skip b\n"
	    "[ 1002] start c#1\n"
	    "[ 1003] end succeeded\n");
	replay_is("a -> b, a -error-> c",
	    "[    0] run_started\n"
	    "[    1] done a#1\n"
	    "[    2] done b#1\n",

	    "[    0] start a#1\n"
	    "[    1] start b#1\n"
	    "[    1] skip c\n"
	    "[    2] end succeeded\n");
}

static void
test_failure_ends_what_is_in_flight(void **state)
{
	(void)state;
	replay_is("a, b -> c",
	    "[    0] run_started\n"
	    "[    1] failed a#1 FATAL\n"
	    "[    2] done b#1\n",

	    "[    0] start a#1\n"
	    "[    0] start b#1\n"
	    "[    1] end failed {\"code\":\"FATAL\",\"step\":\"a\"}\n"
	    "[    2] refused\n");
}

static void
test_terminate(void **state)
{
	(void)state;
	replay_is("end:x, b",
	    "[    0] run_started\n"
	    "[    1] done x#1\n"
	    "[    2] done b#1\n",

	    "[    0] start x#1\n"
	    "[    0] start b#1\n"
	    "[    1] end succeeded\n"
	    "[    2] refused\n");
	replay_is("a -> end:x(failed)",
	    "[    0] run_started\n"
	    "[    1] done a#1\n"
	    "[    2] done x#1\n",

	    "[    0] start a#1\n"
	    "[    1] start x#1\n"
	    "[    2] end failed {\"code\":\"terminated\",\"step\":\"x\"}\n");
}

static void
test_cancel(void **state)
{
	(void)state;
	replay_is("a(max=2) -> b",
	    "[    0] run_started\n"
	    "[    1] failed a#1 CONN\n"
	    "[    2] cancel\n"
	    "[    3] cancel\n"
	    "[ 1001] tick\n",

	    "[    0] start a#1\n"
	    "[    1] wake_at 1001 a#2\n"
	    "[    2] end cancelled {\"reason\":\"enough\"}\n"
	    "[    3] refused\n");
}

static void
test_abandoned(void **state)
{
	(void)state;
	replay_is("delay:w -> b",
	    "[    0] run_started\n"
	    "[    1] waiting w#1 until=50\n"
	    "[   50] abandoned w\n",

	    "[    0] start w#1\n"
	    "[    1] wake_at 50 w#1\n"
	    "[   50] end failed {\"code\":\"poison\",\"message\":\"it kills "
	    "its "
	    "worker\",\"step\":\"w\"}\n");
}

static void
test_delay(void **state)
{
	(void)state;
	replay_is("delay:w -> b",
	    "[    0] run_started\n"
	    "[    1] waiting w#1 until=2001\n"
	    "[    2] waiting w#1 until=2001\n"
	    "[ 2000] tick\n"
	    "[ 2001] tick\n"
	    "[ 2002] fired w#1 delay\n"
	    "[ 2003] done b#1\n",

	    "[    0] start w#1\n"
	    "[    1] wake_at 2001 w#1\n"
	    "[    2] refused\n"
	    "[ 2001] start b#1\n"
	    "[ 2002] refused\n"
	    "[ 2003] end succeeded\n");
}

static void
test_what_does_not_fit_is_refused(void **state)
{
	(void)state;
	replay_is("a(max=3) -> b",
	    "[    0] done a#1\n"
	    "[    0] run_started nobody\n"
	    "[    0] run_started\n"
	    "[    1] run_started\n"
	    "[    2] done a#2\n"
	    "[    2] done b#1\n"
	    "[    2] done hook#1\n"
	    "[    2] done zz#1\n"
	    "[    2] waiting a#1 until=5\n"
	    "[    2] fired a#2 retry\n"
	    "[    2] skipped b\n"
	    "[    3] failed a#1 CONN\n"
	    "[    4] done a#1\n"
	    "[    4] done a#2\n"
	    "[    4] fired a#1 retry\n"
	    "[    4] fired a#2 delay\n"
	    "[ 1003] tick\n"
	    "[ 1004] fired a#2 retry\n"
	    "[ 1005] done a#2\n"
	    "[ 1006] done a#2\n",

	    "[    0] refused\n"
	    "[    0] refused\n"
	    "[    0] start a#1\n"
	    "[    1] refused\n"
	    "[    2] refused\n"
	    "[    2] refused\n"
	    "[    2] refused\n"
	    "[    2] refused\n"
	    "[    2] refused\n"
	    "[    2] refused\n"
	    "[    2] refused\n"
	    "[    3] wake_at 1003 a#2\n"
	    "[    4] refused\n"
	    "[    4] refused\n"
	    "[    4] refused\n"
	    "[    4] refused\n"
	    "[ 1003] start a#2\n"
	    "[ 1004] refused\n"
	    "[ 1005] start b#1\n"
	    "[ 1006] refused\n");
}

/* A branch, and n steps in a row behind a case of it. */
static struct flow *
long_flow(struct arena *a, uint32_t n)
{
	struct json *def, *nodes, *edges;

	def = flow_json(a,
	    "{'name':'long','nodes':[{'id':'hook','type':'webhook'},"
	    "{'id':'r','type':'branch','cases':[{'name':'x','when':'input'}]}],"
	    "'edges':[{'from':'hook','to':'r'},"
	    "{'from':'r','to':'s0','on':'x'}]}");
	nodes = json_get(def, "nodes");
	edges = json_get(def, "edges");
	for (uint32_t i = 0; i < n; i++) {
		json_push(a, nodes,
		    flow_json(a,
			arena_printf(a,
			    "{'id':'s%u','type':'http_call','url':'http://h/'}",
			    i)));
		if (i > 0)
			json_push(a, edges,
			    flow_json(a,
				arena_printf(
				    a, "{'from':'s%u','to':'s%u'}", i - 1, i)));
	}
	return flow_of(a, json_text(a, def).s);
}

/* 10,000 steps behind a branch not taken: no stack, and one pass. */
static void
test_long_dead_path(void **state)
{
	const uint32_t n = 10000;
	struct arena a;
	struct flow *flow;
	struct run *run;
	struct commands cmds;
	struct event e = { .type = "run.started" };
	struct error err;

	(void)state;
	arena_init(&a);
	flow = long_flow(&a, n);
	run = run_new(&a, flow);
	e.payload = flow_json(&a, "{'trigger':'hook'}");
	assert_int_equal(run_append(run, &e, &err), 0);
	run_decide(&a, run, &cmds);
	command_event(&a, flow, &cmds.items[0], &e);
	assert_int_equal(run_append(run, &e, &err), 0);
	e.type = "step.succeeded";
	e.payload =
	    flow_json(&a, "{'step':'r','attempt':1,'output':{'case':'else'}}");
	assert_int_equal(run_append(run, &e, &err), 0);
	run_decide(&a, run, &cmds);
	assert_int_equal(cmds.n, n + 1);
	assert_int_equal(cmds.items[n].type, CMD_END_RUN);
	arena_deinit(&a);
}

/* All the joins behind a step are in its message, however many. */
static void
test_wide_message(void **state)
{
	struct arena a;
	struct flow *flow;
	struct command cmd = { .attempt = 1 };
	struct json *message;
	char *text, *s;
	const uint32_t n = 500;

	(void)state;
	arena_init(&a);
	s = text = arena_alloc(&a, n * 40);
	for (uint32_t i = 0; i < n; i++)
		s += snprintf(s, 40, "a -> j%u, b -> j%u, ", i, i);
	flow = flow_short(&a, text);
	cmd.node = (uint32_t)flow_find(flow, STR("a"));
	message = message_make(&a, flow, &cmd);
	assert_int_equal(json_get(message, "j")->n, n);
	arena_deinit(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_retry_waits_for_backoff),
		cmocka_unit_test(test_backoff_doubles_then_gives_up),
		cmocka_unit_test(test_what_is_not_retried),
		cmocka_unit_test(test_retry_after_and_deadline),
		cmocka_unit_test(test_diamond),
		cmocka_unit_test(test_branch_skips_the_others),
		cmocka_unit_test(test_join_behind_branch),
		cmocka_unit_test(test_dead_join),
		cmocka_unit_test(test_two_cases_one_step),
		cmocka_unit_test(test_error_edge),
		cmocka_unit_test(test_failure_ends_what_is_in_flight),
		cmocka_unit_test(test_terminate),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_abandoned),
		cmocka_unit_test(test_delay),
		cmocka_unit_test(test_what_does_not_fit_is_refused),
		cmocka_unit_test(test_long_dead_path),
		cmocka_unit_test(test_wide_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
