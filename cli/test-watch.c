#include "cli/watch.h"
#include "core/test.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { T0 = 1000000000, STEP = 5000 }; /* 1970-01-12 13:46:40 UTC */

static void
add(struct watch *w, int64_t at, const char *project, const char *text)
{
	struct json *v;
	struct arena a;

	arena_init(&a);
	assert_int_equal(json_parse(&a, str_of(text), NULL, &v, NULL), 0);
	watch_add(w, at, project, v);
	arena_deinit(&a);
}

static void
fires(struct watch *w, const char *text)
{
	struct json *v;
	struct arena a;

	arena_init(&a);
	assert_int_equal(json_parse(&a, str_of(text), NULL, &v, NULL), 0);
	watch_fires(w, v);
	watch_settle(w);
	arena_deinit(&a);
}

/* A minute of two projects: acme gets faster and then fails, beta has a
 * backlog and does nothing. */
static void
fill(struct watch *w)
{
	watch_init(w);
	for (int i = 0; i <= 12; i++) {
		int64_t at = T0 + i * STEP;
		struct buf b;

		buf_init(&b);
		buf_addf(&b,
		    "{\"queue_visible\":%d,\"queue_in_flight\":84,"
		    "\"queue_delayed\":33,\"dead_letters\":0,"
		    "\"worker_load\":90,\"oldest_age\":{\"work\":2.14,"
		    "\"timers\":0},\"workers_alive\":{\"worker\":3},"
		    "\"step_wait_seconds\":{\"p95\":0.18}}",
		    i * 2);
		add(w, at, "", b.bytes);
		buf_clear(&b);
		buf_addf(&b,
		    "{\"queue_length\":50,\"queue_backlog\":0,"
		    "\"runs_running\":12,\"steps_total\":%d,"
		    "\"step_failures_total\":%d}",
		    100 * i * i, i > 10 ? 2000 * (i - 10) : 0);
		add(w, at, "acme", b.bytes);
		add(w, at, "beta-of-a-very-long-name",
		    "{\"queue_length\":1000,\"queue_backlog\":123456,"
		    "\"oldest_age\":{\"backlog\":4000},\"steps_total\":7}");
		buf_deinit(&b);
	}
	fires(w, "{\"beta-of-a-very-long-name\":2,\"\":1}");
}

static char *
drawn(const struct watch *w, struct watch_look look, int width, int height)
{
	struct out out = { 0 };
	struct buf b;
	size_t lines = 1;

	look.out = &out;
	look.width = width;
	look.height = height;
	look.where = "127.0.0.1:54322";
	buf_init(&b);
	watch_draw(w, &look, &b);
	for (const char *p = b.bytes, *end; *p != '\0'; p = end) {
		end = strchrnul(p, '\n');
		assert_true(out_columns((struct str){ p, (size_t)(end - p) }) <=
		    (size_t)width);
		lines += *end == '\n';
		end += *end == '\n';
	}
	if (height > 0)
		assert_int_equal(lines, height);
	return b.bytes;
}

static void
is_drawn(const struct watch *w, struct watch_look look, int width, int height,
    const char *want)
{
	char *got = drawn(w, look, width, height);

	assert_string_equal(got, want);
	free(got);
}

static void
has_from(
    const struct watch *w, struct watch_look look, int width, const char *text)
{
	for (; width <= 200; width += 7) {
		char *got = drawn(w, look, width, 24);

		assert_non_null(strstr(got, text));
		free(got);
	}
}

static void
test_frame(void **state)
{
	struct watch_look look = { .now_ms = T0 + 12 * STEP + 2300,
		.keys = "q quits" };
	struct watch w;

	(void)state;
	fill(&w);
	is_drawn(&w, look, 80, 16,
	    "MeshHook queue  127.0.0.1:54322                                   "
	    "  13:47:42 UTC\n"
	    "measured 2 s ago, every 5 s                                      "
	    "3 alerts firing\n"
	    "\n"
	    "ready            24  ▁▂▃▃▃▄▄▄▅▆▆▆▇▇▇██   steps/s       460.0   "
	    "▂▂▂▃▄▄▄▅▅▅▆▇▇▇██\n"
	    "in flight        84  ▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄   failures        28%   "
	    "▁▁▁▁▁▁▁▁▁▁▁▁▁▁██\n"
	    "backlog        123k  ▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄   wait p95     180 ms  "
	    "▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄\n"
	    "delayed          33  ▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄   oldest       67 min  "
	    "▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄\n"
	    "workers           3  ▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄   held             90  "
	    "▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄\n"
	    "\n"
	    "PROJECT         QUEUED  BACKLOG  OLDEST  STEPS/S  FAILED  ALERTS  "
	    "LAST MINUTE\n"
	    "beta-of-a-ver…    1000     123k  67 min      0.0       -       2  "
	    " ▁▁▁▁▁▁▁▁▁▁▁▁▁\n"
	    "acme                50        0       -    460.0     28%       0  "
	    " ▂▂▃▄▄▅▅▅▆▇▇██\n"
	    "\n"
	    "\n"
	    "\n"
	    "q quits");
	watch_deinit(&w);
}

static void
has(const struct watch *w, struct watch_look look, const char *text)
{
	has_from(w, look, 60, text);
}

/* What doesn't fit is counted, on any screen; no line is ever too long. */
static void
test_sizes(void **state)
{
	struct watch_look look = { .now_ms = T0 + 12 * STEP, .keys = "q" };
	struct watch w;

	(void)state;
	fill(&w);
	for (int i = 0; i < 30; i++) {
		char name[16];

		snprintf(name, sizeof(name), "p%d", i);
		add(&w, T0 + 12 * STEP, name, "{\"steps_total\":1}");
	}
	watch_settle(&w);
	for (int width = 60; width < 220; width++)
		for (int height = 12; height < 50; height += 3) {
			char *got = drawn(&w, look, width, height);

			if (height < 11 + 32)
				assert_non_null(strstr(got, " more"));
			else
				assert_null(strstr(got, " more"));
			free(got);
		}
	watch_deinit(&w);
}

static void
test_states(void **state)
{
	struct watch_look look = { .now_ms = T0, .keys = "q" };
	struct watch w;

	(void)state;
	watch_init(&w);
	has(&w, look, "no monitor has measured anything yet");
	has(&w, look, "no alerts");
	watch_measured(&w, T0 - 3600000);
	has(&w, look, "no monitor has measured for 60 min");
	look.problem = "connection \033[31mrefused";
	has(&w, look, "the database is away: conn");
	watch_deinit(&w);
	look.problem = NULL;
	fill(&w);
	look.now_ms = T0 + 12 * STEP + 15000;
	has(&w, look, "measured 15 s ago, every 5 s");
	look.now_ms += 1;
	has(&w, look, "no monitor has measured for 15 s");
	has(&w, look, "3 alerts firing");
	look.now_ms = T0 + 13 * STEP;
	add(&w, T0 + 13 * STEP, "",
	    "{\"dead_letters\":2,\"log_lag_seconds\":7.25}");
	has_from(&w, look, 66, "2 dead letters");
	has_from(&w, look, 80, "logs lag 7.2 s");
	has(&w, look, "3 alerts firing");
	watch_deinit(&w);
}

static void
test_numbers(void **state)
{
	struct watch w;
	const struct watch_series *all, *acme;
	struct json *o;
	struct arena a;

	(void)state;
	arena_init(&a);
	fill(&w);
	all = w.series[0];
	assert_string_equal(w.series[1]->name, "beta-of-a-very-long-name");
	acme = w.series[2];
	assert_int_equal(w.interval_ms, STEP);
	assert_true(watch_now(acme, WATCH_STEPS) == 460); /* 2300 in 5 s */
	assert_true(watch_now(all, WATCH_STEPS) == 460);
	assert_true(watch_now(all, WATCH_BACKLOG) == 123456);
	assert_true(watch_now(all, WATCH_OLDEST) == 4000);
	assert_true(watch_now(all, WATCH_QUEUED) == 24 + 84);
	/* 4000 of 14400 in the minute */
	assert_true(fabs(watch_share(acme) - 4000.0 / 14400) < 1e-9);
	assert_true(isnan(watch_share(w.series[1])));
	o = watch_json(&a, &w, T0 + 12 * STEP + 500);
	assert_true(json_num(json_get(o, "age_s")) == 0.5);
	assert_int_equal(json_num(json_get(o, "alerts_firing")), 3);
	assert_true(json_is(json_get(o, "load"), JSON_NUMBER));
	o = json_at(json_get(o, "projects"), 0);
	assert_true(json_is(json_get(o, "ready"), JSON_NULL));
	assert_int_equal(json_num(json_get(o, "alerts_firing")), 2);
	/* a counter that falls was reset: nothing is known of that interval */
	add(&w, T0 + 13 * STEP, "acme", "{\"steps_total\":5}");
	assert_true(isnan(watch_now(acme, WATCH_STEPS)));
	add(&w, T0 + 14 * STEP, "acme", "{\"steps_total\":10}");
	assert_true(watch_now(acme, WATCH_STEPS) == 1);
	/* beta says nothing more; its alerts keep it */
	add(&w, T0 + 26 * STEP, "", "{}");
	fires(&w, "{\"beta-of-a-very-long-name\":2}");
	assert_int_equal(w.n, 3);
	fires(&w, "{}");
	assert_int_equal(w.n, 2);
	watch_deinit(&w);
	arena_deinit(&a);
}

/* However fast the monitor is, a minute is kept. */
static void
test_many_ticks(void **state)
{
	struct watch w;

	(void)state;
	watch_init(&w);
	for (int i = 0; i < 2000; i++)
		add(&w, T0 + i * 200, "", "{\"queue_visible\":1}");
	watch_settle(&w);
	assert_int_equal(w.interval_ms, 200);
	assert_true(w.series[0]->n <= WATCH_TICKS);
	assert_true(w.newest_ms - w.series[0]->ticks[0].at_ms >= 55000);
	assert_int_equal(
	    w.series[0]->ticks[w.series[0]->n - 1].at_ms, w.newest_ms);
	watch_deinit(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_many_ticks),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
