/*
 * One step of 10,000 alert rules of 100 projects, over an hour of samples at
 * 5 s: thresholds, rates over 5 minutes, and a share of two rates. CPU time,
 * the median of 21 steps.
 */
#include "core/mem.h"
#include "monitor/rule/alert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RULES = 10000, PROJECTS = 100, TICKS = 721, STEPS = 21, STEP_MS = 5000 };

static const char *const conditions[] = {
	"queue_backlog > 10000",
	"oldest_age{queue=\"backlog\"} > 5m",
	"rate(step_failures_total[5m]) > 100",
	"rate(step_failures_total[5m]) / rate(steps_total[5m]) > 20%",
	"increase(runs_abandoned_total[10m]) > 0",
};

static void
tick(struct samples *m, int t)
{
	struct label queue = { STR("queue"), STR("backlog") };
	char id[16];

	samples_tick(m, 1000000 + (int64_t)t * STEP_MS);
	for (int p = 0; p < PROJECTS; p++) {
		struct str of;

		snprintf(id, sizeof(id), "project-%d", p);
		of = str_of(id);
		samples_set(m, STR("queue_backlog"), of, NULL, 0, p + t % 7);
		samples_set(m, STR("oldest_age"), of, &queue, 1, t % 11);
		samples_set(
		    m, STR("step_failures_total"), of, NULL, 0, t * p / 50);
		samples_set(m, STR("steps_total"), of, NULL, 0, t * 10 + p);
		samples_set(m, STR("runs_abandoned_total"), of, NULL, 0, 1);
	}
}

static int
by_value(const void *x, const void *y)
{
	double a = *(const double *)x, b = *(const double *)y;

	return a < b ? -1 : a > b;
}

static double
cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void
rules_make(struct arena *a, struct alert_rule *rules)
{
	for (int i = 0; i < RULES; i++) {
		const char *text = conditions[i % (int)NELEM(conditions)];
		struct cond *cond;

		if (cond_parse(a, str_of(text), 3600000, &cond, NULL) < 0)
			abort();
		rules[i] = (struct alert_rule){ .id = STR("rule"),
			.project = str_of(
			    arena_printf(a, "project-%d", i / 5 % PROJECTS)),
			.cond = cond,
			.hold_ms = 60000 };
	}
}

static double
step(struct arena *a, const struct alert_rule *rules, const struct samples *m,
    struct alerts *now)
{
	double begun = cpu_ms();

	arena_reset(a);
	for (int i = 0; i < RULES; i++) {
		struct alert_changes changes = { 0 };

		if (alert_step(a, &rules[i], m, &now[i], &changes, NULL) < 0)
			abort();
	}
	return cpu_ms() - begun;
}

int
main(int argc, char **argv)
{
	int json = argc == 3 && strcmp(argv[1], "-o") == 0 &&
	    strcmp(argv[2], "json") == 0;
	struct alert_rule *rules = xcalloc(RULES, sizeof(*rules));
	struct alerts *now = xcalloc(RULES, sizeof(*now));
	struct arena store, steps[2];
	struct samples m;
	double took[STEPS];

	arena_init(&store);
	arena_init(&steps[0]);
	arena_init(&steps[1]);
	samples_init(&m, &store, TICKS, 20000, 3 * STEP_MS + STEP_MS / 2);
	rules_make(&store, rules);
	for (int t = 1; t <= TICKS; t++)
		tick(&m, t);
	for (int s = 0; s < STEPS; s++) {
		tick(&m, TICKS + 1 + s);
		took[s] = step(&steps[s % 2], rules, &m, now);
	}
	qsort(took, STEPS, sizeof(*took), by_value);
	printf(json ? "{\"name\":\"rules_ms\",\"value\":%.2f,\"unit\":\"ms\"}\n"
		    : "rules_ms             %10.2f ms\n",
	    took[STEPS / 2]);
	arena_deinit(&steps[0]);
	arena_deinit(&steps[1]);
	arena_deinit(&store);
	free(rules);
	free(now);
	return 0;
}
