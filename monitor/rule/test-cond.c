#include "monitor/rule/test-rule.h"

static const char *const samples =
    "[ 0] x=1 jobs{q=a}=10 jobs{q=b}=0 e{project=p}=1 e{project=q}=5 "
    "n{project=p}=100 n{project=q}=10\n"
    "[10] x=2 jobs{q=a}=30 jobs{q=b}=4 e{project=p}=1 e{project=q}=9 "
    "n{project=p}=200 n{project=q}=20\n"
    "[20] x=4 jobs{q=a}=5 jobs{q=b}=8 e{project=p}=3 e{project=q}=11 "
    "n{project=p}=300 n{project=q}=30\n"
    "[30] x=-1 jobs{q=a}=25 jobs{q=b}=12 e{project=p}=4 e{project=q}=15 "
    "n{project=p}=400 n{project=q}=40\n";

static void
store(struct arena *a, struct samples *m, const char *text)
{
	arena_init(a);
	samples_init(m, a, TEST_TICKS, 1000, 25000);
	for (; *text != '\0'; text = test_next(text))
		test_tick(m, text);
}

/* "p/q=a:25 ..." : project, labels, value */
static void
vector_text(const struct vector *v, char out[512])
{
	size_t n = 0;

	out[0] = '\0';
	for (uint32_t i = 0; i < v->n; i++) {
		const struct element *e = &v->items[i];

		n += (size_t)snprintf(out + n, 512 - n, "%s%.*s",
		    i > 0 ? " " : "", STR_FMT(e->project));
		for (uint32_t j = 0; j < e->n_labels; j++)
			n += (size_t)snprintf(out + n, 512 - n, "/%.*s=%.*s",
			    STR_FMT(e->labels[j].name),
			    STR_FMT(e->labels[j].value));
		n += (size_t)snprintf(out + n, 512 - n, ":%.6g", e->value);
	}
}

static void
comes_to(const char *text, const char *project, const char *want)
{
	struct samples m;
	struct arena a;
	struct cond *c;
	struct vector v;
	struct error err;
	char got[512];

	store(&a, &m, samples);
	if (cond_parse(&a, str_of(text), 60000, &c, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	assert_int_equal(cond_eval(&a, c, &m, str_of(project), &v, &err), 0);
	vector_text(&v, got);
	if (strcmp(got, want) != 0)
		fail_msg("%s\n came to %s\n not    %s", text, got, want);
	arena_deinit(&a);
}

static void
test_values(void **state)
{
	(void)state;
	comes_to("x", "", ":-1");
	comes_to("x > 0", "", "");
	comes_to("x < 0", "", ":-1");
	comes_to("jobs", "", "/q=a:25 /q=b:12");
	comes_to("jobs{q=\"a\"}", "", "/q=a:25");
	comes_to("jobs{q!=\"a\"} >= 12", "", "/q=b:12");
	comes_to("jobs > 12", "", "/q=a:25");
	comes_to("jobs * 2 + 1 == 25", "", "/q=b:25");
	comes_to("100 < jobs", "", "");
	comes_to("20 < jobs", "", "/q=a:20");
	comes_to("nothing > 0", "", "");
	comes_to("1", "", ":1");
	comes_to("1 > 2", "", "");
	comes_to("2 > 1 and x", "", ":1");
}

/* So its alerts are the project's: told to its channels, seen by its members,
 * and speaking for no other's. */
static void
test_a_projects_rule_stays_in_it(void **state)
{
	(void)state;
	comes_to("sum(e)", "p", "p:4");
	comes_to("sum(e) by (project)", "p", "p:4");
	comes_to("count(1) > 0", "p", "p:1");
	comes_to("max(e) > 0 and sum(n)", "p", "p:4");
	comes_to("sum(e)", "", ":19");
}

/* Beyond a double there is no value to tell. */
static void
test_overflow_is_no_value(void **state)
{
	(void)state;
	comes_to("1e308 * 10", "", "");
	comes_to("e * 1e308 * 1e308 > 1", "p", "");
	comes_to("sum(e * 1e308)", "", "");
	comes_to("-(1e308 * 10)", "", "");
}

static void
test_units_and_order(void **state)
{
	(void)state;
	comes_to("5%", "", ":0.05");
	comes_to("1.5m + 10s", "", ":100");
	comes_to("1KiB + 1kB", "", ":2024");
	comes_to("2e2 / 1E-1", "", ":2000");
	comes_to("1 + 2 * 3 - 4 / 2", "", ":5");
	comes_to("-(1 - 3)", "", ":2");
	comes_to("8 - 4 - 2", "", ":2");
	comes_to("1 / 0", "", "");
	comes_to("jobs / 0", "", "");
	comes_to("orders_total", "", ""); /* begins with a word, is none */
}

static void
test_ranges(void **state)
{
	(void)state;
	comes_to("increase(n[20s])", "p", "p:200");
	comes_to("rate(n[20s])", "", "p:10 q:1");
	comes_to("increase(jobs{q=\"a\"}[1m])", "", "/q=a:45"); /* a reset */
	comes_to("delta(jobs{q=\"a\"}[1m])", "", "/q=a:15");
	comes_to("max_over(x[15s])", "", ":4");
	comes_to("min_over(x[1m])", "", ":-1");
	comes_to("avg_over(x[1m])", "", ":1.5");
	comes_to("absent(x[1m])", "", "");
	comes_to("absent(gone{q=\"a\"}[50s])", "p", "p/q=a:1");
	comes_to("absent(gone[1m])", "p", ""); /* nobody looked for so long */
}

static void
test_vectors(void **state)
{
	(void)state;
	comes_to("e / n > 5%", "", "q:0.375");
	comes_to("e / n", "p", "p:0.01");
	comes_to("sum(jobs)", "", ":37");
	comes_to("max(jobs)", "", ":25");
	comes_to("count by (project) (e)", "", "p:1 q:1");
	comes_to("avg(e) by (project)", "", "p:4 q:15");
	comes_to("sum(e) / sum(n)", "", ":0.0431818");
	comes_to("e > 10 and n < 50", "", "q:15");
	comes_to("e unless n < 50", "", "p:4");
	comes_to("e > 10 or n > 100", "", "q:15 p:400");
	comes_to("abs(x)", "", ":1");
	comes_to("round(e / 10)", "", "p:0 q:2");
	/* a label that only one side has doesn't matter */
	comes_to("jobs / x", "", "/q=a:-25 /q=b:-12");
}

static void
refused(const char *text, const char *want)
{
	struct arena a;
	struct cond *c;
	struct error err;

	arena_init(&a);
	assert_int_equal(cond_parse(&a, str_of(text), 3600000, &c, &err), -1);
	assert_int_equal(err.fault, FAULT_INPUT);
	assert_string_equal(err.text, want);
	arena_deinit(&a);
}

static void
test_refusals(void **state)
{
	char deep[200];

	(void)state;
	refused("",
	    "column 1: expected a metric, a number or (, found the "
	    "end");
	refused("x >",
	    "column 4: expected a metric, a number or (, found the "
	    "end");
	refused("x ! 3",
	    "column 3: expected an operator or the end, found "
	    "\"! 3\"");
	refused("rat(x[5m])",
	    "column 1: no function \"rat\"; did you mean \"rate\"?");
	refused("rate(x)",
	    "column 7: expected a range, such as [5m], found "
	    "\")\"");
	refused("rate(x[2h])", "column 8: a range is at most 1 h 0 min");
	refused(
	    "rate(x[soon])", "column 8: a range is a duration, such as [5m]");
	refused("x{q=a}",
	    "column 5: expected a value in double quotes, found "
	    "\"a}\"");
	refused("x{q=\"a}", "column 6: this quote is not closed");
	refused("5 parsecs",
	    "column 3: expected an operator or the end, found "
	    "\"parsecs\"");
	refused("5parsecs > x",
	    "column 2: units are %, ms, s, m, h, d, kB, "
	    "MB, GB, TB, KiB, MiB, GiB, TiB");
	refused("sum(x[5m])",
	    "column 10: a range stands only in rate, increase, delta, "
	    "avg_over, min_over, max_over and absent");
	memset(deep, '(', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	refused(deep, "column 33: nested too deeply");
}

/* A lost sample is no absence; a longer silence is. */
static void
test_gaps(void **state)
{
	struct samples m;
	struct arena a;
	struct series *s;

	(void)state;
	store(&a, &m, "[ 0] x=1\n[10] x=2\n[20] y=1\n");
	s = series_first(&m, STR("x"), STR(""));
	assert_true(series_now(&m, s) == 2);
	test_tick(&m, "[40] y=1\n");
	assert_true(isnan(series_now(&m, s)));
	test_tick(&m, "[50] x=7\n");
	assert_true(series_now(&m, s) == 7);
	assert_true(isnan(series_at(&m, s, m.tick - 1)));
	assert_true(isnan(series_at(&m, s, m.tick - 2)));
	assert_true(series_at(&m, s, m.tick - 3) == 2);
	arena_deinit(&a);
}

static void
test_clock(void **state)
{
	struct samples m;
	struct arena a;
	struct series *s;

	(void)state;
	store(&a, &m, "[1000] x=1\n[1010] x=2\n");
	s = series_first(&m, STR("x"), STR(""));
	assert_int_equal(test_tick(&m, "[1005] x=9\n"), SAMPLES_STALE);
	assert_int_equal(test_tick(&m, "[1010] x=9\n"), SAMPLES_STALE);
	assert_true(series_now(&m, s) == 2);
	assert_int_equal(test_tick(&m, "[500] x=3\n"), 0); /* set back */
	assert_true(series_now(&m, s) == 3);
	assert_true(isnan(series_at(&m, s, m.tick - 1)));
	arena_deinit(&a);
}

static void
test_bounds(void **state)
{
	struct samples m;
	struct arena a;
	char line[64];

	(void)state;
	arena_init(&a);
	samples_init(&m, &a, 4, 10, 25000);
	for (int i = 1; i <= 20; i++) {
		snprintf(line, sizeof(line), "[%d] x{q=%d}=1 y=%d\n", i, i, i);
		test_tick(&m, line);
	}
	assert_int_equal(m.n_series, 10);
	assert_int_equal(m.refused, 11);
	assert_true(
	    series_at(&m, series_first(&m, STR("y"), STR("")), 17) == 17);
	assert_true(
	    isnan(series_at(&m, series_first(&m, STR("y"), STR("")), 16)));
	arena_deinit(&a);
}

/* What is wanted is kept as far back as it is wanted, and nothing else. */
static void
test_wanted(void **state)
{
	struct samples m;
	struct arena a;
	struct series *s;

	(void)state;
	arena_init(&a);
	samples_init(&m, &a, 8, 10, 25000);
	assert_false(samples_keep(&m, STR("x"), 1));
	samples_want(&m, STR("x"), 2);
	samples_want(&m, STR("x"), 3);
	samples_want(&m, STR("y"), 99);
	assert_true(samples_keep(&m, STR("x"), 3));
	assert_false(samples_keep(&m, STR("x"), 4));
	assert_true(samples_keep(&m, STR("y"), 1000));
	assert_false(samples_keep(&m, STR("z"), 1));
	for (int i = 1; i <= 5; i++) {
		char line[64];

		snprintf(line, sizeof(line), "[%d] x{q=a}=%d y=%d z{k=b}=3\n",
		    i, i, i);
		test_tick(&m, line);
	}
	s = series_first(&m, STR("x"), STR(""));
	assert_true(
	    series_now(&m, s) == 5 && series_at(&m, s, m.tick - 2) == 3);
	assert_true(isnan(series_at(&m, s, m.tick - 3)));
	s = series_first(&m, STR("y"), STR(""));
	assert_true(series_at(&m, s, m.tick - 4) == 1);
	assert_null(series_first(&m, STR("z"), STR("")));
	assert_int_equal(m.refused, 0);
	assert_true(str_is(samples_label(&m, STR("x"), STR("a")), "q"));
	assert_true(str_is(samples_label(&m, STR("z"), STR("b")), "k"));
	assert_null(samples_label(&m, STR("y"), STR("b")).s);
	arena_deinit(&a);
}

static void
test_metrics_of(void **state)
{
	struct cond_metric *reads = NULL;
	struct arena a;
	struct cond *c;
	size_t n;

	(void)state;
	arena_init(&a);
	assert_int_equal(cond_parse(&a, STR("rate(a[1m]) / b > 1 or a > b"),
			     60000, &c, NULL),
	    0);
	n = cond_metrics(&a, c, &reads, 0);
	assert_int_equal(n, 2);
	assert_int_equal(cond_parse(&a, STR("rate(b[30s]) > d or delta(a[2s])"),
			     60000, &c, NULL),
	    0);
	assert_int_equal(cond_metrics(&a, c, &reads, n), 3);
	assert_true(str_is(reads[0].name, "a") && reads[0].range_ms == 60000);
	assert_true(str_is(reads[1].name, "b") && reads[1].range_ms == 30000);
	assert_true(str_is(reads[2].name, "d") && reads[2].range_ms == 0);
	arena_deinit(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_a_projects_rule_stays_in_it),
		cmocka_unit_test(test_overflow_is_no_value),
		cmocka_unit_test(test_units_and_order),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_gaps),
		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_wanted),
		cmocka_unit_test(test_metrics_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
