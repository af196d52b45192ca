#include "monitor/rule/test-rule.h"

struct trace {
	struct arena arena;
	struct samples samples;
	struct alert_rule rule;
	struct alerts alerts;
	char got[2048];
	size_t n;
};

static void
told(struct trace *t, const struct alert_change *c)
{
	static const char *const names[] = { "pending", "firing", "resolved" };

	t->n += (size_t)snprintf(t->got + t->n, sizeof(t->got) - t->n,
	    "[%4lld] %s", (long long)samples_now(&t->samples) / 1000,
	    c->gone ? "forgotten" : names[c->alert.state]);
	for (uint32_t i = 0; i < c->alert.n_labels; i++)
		t->n += (size_t)snprintf(t->got + t->n, sizeof(t->got) - t->n,
		    " %.*s", STR_FMT(c->alert.labels[i].value));
	t->n += (size_t)snprintf(
	    t->got + t->n, sizeof(t->got) - t->n, " %.6g\n", c->alert.value);
}

/* hold and keep in seconds */
static void
replay_is(
    const char *cond, int hold, int keep, const char *in, const char *want)
{
	struct trace t = { .rule = { .hold_ms = hold * 1000,
			       .keep_ms = keep * 1000 } };
	struct alert_changes changes;
	struct cond_metric *reads = NULL;
	struct cond *c;
	struct error err;
	size_t n;

	arena_init(&t.arena);
	samples_init(&t.samples, &t.arena, TEST_TICKS, 1000, 25000);
	assert_int_equal(
	    cond_parse(&t.arena, str_of(cond), 3600000, &c, &err), 0);
	t.rule.cond = c;
	n = cond_metrics(&t.arena, c, &reads, 0);
	for (size_t i = 0; i < n; i++)
		if (reads[i].range_ms > t.rule.range_ms)
			t.rule.range_ms = reads[i].range_ms;
	for (; *in != '\0'; in = test_next(in)) {
		if (test_tick(&t.samples, in) != 0)
			continue;
		assert_int_equal(alert_step(&t.arena, &t.rule, &t.samples,
				     &t.alerts, &changes, &err),
		    0);
		for (uint32_t i = 0; i < changes.n; i++)
			told(&t, &changes.items[i]);
	}
	assert_string_equal(t.got, want);
	arena_deinit(&t.arena);
}

static void
test_at_once(void **state)
{
	(void)state;
	replay_is("x > 5", 0, 0,
	    "[   0] x=1\n"
	    "[   5] x=6\n"
	    "[  10] x=7\n"
	    "[  15] x=5\n",

	    "[   5] firing 6\n"
	    "[  15] resolved 7\n");
}

static void
test_holds_first(void **state)
{
	(void)state;
	replay_is("x > 5", 10, 0,
	    "[   0] x=6\n"
	    "[   5] x=1\n"
	    "[  10] x=7\n"
	    "[  15] x=8\n"
	    "[  20] x=9\n"
	    "[  25] x=0\n",

	    "[   0] pending 6\n"
	    "[   5] forgotten 6\n"
	    "[  10] pending 7\n"
	    "[  20] firing 9\n"
	    "[  25] resolved 9\n");
}

/* A flapping condition is one alert. */
static void
test_keeps_firing(void **state)
{
	(void)state;
	replay_is("x > 5", 0, 20,
	    "[   0] x=6\n"
	    "[   5] x=1\n"
	    "[  15] x=1\n"
	    "[  20] x=9\n"
	    "[  25] x=1\n"
	    "[  35] x=1\n"
	    "[  40] x=1\n",

	    "[   0] firing 6\n"
	    "[  40] resolved 9\n");
}

static void
test_each_label_alone(void **state)
{
	(void)state;
	replay_is("x > 5", 10, 0,
	    "[   0] x{q=a}=6 x{q=b}=1\n"
	    "[   5] x{q=a}=6 x{q=b}=9\n"
	    "[  10] x{q=a}=6 x{q=b}=9\n"
	    "[  15] x{q=a}=1 x{q=b}=9\n",

	    "[   0] pending a 6\n"
	    "[   5] pending b 9\n"
	    "[  10] firing a 6\n"
	    "[  15] resolved a 6\n"
	    "[  15] firing b 9\n");
}

/* One lost sample changes nothing; when nothing is known for long, nothing
 * is claimed. */
static void
test_gaps(void **state)
{
	(void)state;
	replay_is("x > 5", 0, 0,
	    "[   0] x=6\n"
	    "[  10] y=1\n"
	    "[  20] x=7\n"
	    "[  30] y=1\n"
	    "[  60] y=1\n",

	    "[   0] firing 6\n"
	    "[  60] resolved 7\n");
	replay_is("absent(x[30s])", 0, 0,
	    "[   0] x=6\n"
	    "[  20] y=1\n"
	    "[  40] y=1\n"
	    "[  50] x=1\n",

	    "[  40] firing 1\n"
	    "[  50] resolved 1\n");
	/* nobody measured meanwhile */
	replay_is("absent(x[1m])", 0, 0,
	    "[   0] x=6\n"
	    "[ 180] y=1\n"
	    "[ 200] y=1\n"
	    "[ 205] x=1\n",

	    "");
}

/* For two minutes nothing was measured: what fired goes on, what rose
 * meanwhile is seen, and nothing fires that didn't happen. */
static void
test_silence(void **state)
{
	(void)state;
	replay_is("increase(x[5m]) > 10", 0, 0,
	    "[   0] x=100\n"
	    "[   5] x=120\n"
	    "[ 125] x=120\n"
	    "[ 130] x=120\n",

	    "[   5] firing 20\n");
	replay_is("increase(x[5m]) > 10", 0, 0,
	    "[   0] x=100\n"
	    "[   5] x=100\n"
	    "[ 125] x=150\n",

	    "[ 125] firing 50\n");
	replay_is("rate(x[5m]) > 5", 0, 0,
	    "[   0] x=100\n"
	    "[   5] x=120\n"
	    "[ 125] x=600\n",

	    "");
	replay_is("x > 5", 10, 0,
	    "[   0] x=6\n"
	    "[ 120] x=6\n"
	    "[ 125] x=7\n"
	    "[ 130] x=8\n",

	    "[   0] pending 6\n"
	    "[ 130] firing 8\n");
}

/* A leader that knows only what it saw itself: nothing is over before that
 * reaches back as far as the rule looks. */
static void
test_short_memory(void **state)
{
	(void)state;
	replay_is("increase(x[1m]) > 10", 0, 0,
	    "[1000] x=100\n"
	    "[1005] x=120\n"
	    "[ 500] x=120\n" /* the clock is set back: nothing is known */
	    "[ 510] x=120\n"
	    "[ 530] x=120\n"
	    "[ 540] x=120\n",

	    "[1005] firing 20\n"
	    "[ 540] resolved 20\n");
}

/* A counter that begins anew is no negative rate, and no alert. */
static void
test_counter_reset(void **state)
{
	(void)state;
	replay_is("rate(x[20s]) < 0 or rate(x[20s]) > 50", 0, 0,
	    "[   0] x=1000000\n"
	    "[  10] x=1000100\n"
	    "[  20] x=5\n"
	    "[  30] x=105\n",

	    "");
}

/* Late and repeated samples are ignored; after a jump back the wait begins
 * again. */
static void
test_clock_jumps(void **state)
{
	(void)state;
	replay_is("x > 5", 20, 0,
	    "[1000] x=6\n"
	    "[1010] x=6\n"
	    "[1005] x=0\n"
	    "[ 500] x=6\n"
	    "[ 510] x=6\n"
	    "[ 520] x=6\n",

	    "[1000] pending 6\n"
	    "[ 520] firing 6\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_at_once),
		cmocka_unit_test(test_holds_first),
		cmocka_unit_test(test_keeps_firing),
		cmocka_unit_test(test_each_label_alone),
		cmocka_unit_test(test_gaps),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_short_memory),
		cmocka_unit_test(test_counter_reset),
		cmocka_unit_test(test_clock_jumps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
