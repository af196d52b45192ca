/* A condition over a few samples: any outcome, but within the bounds. */
#include "monitor/rule/alert.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>

static void
samples(struct samples *m, struct arena *a)
{
	static const char *const projects[] = { "", "p", "q" };

	samples_init(m, a, 8, 100, 15000);
	for (int tick = 1; tick <= 12; tick++) {
		samples_tick(m, tick * 5000);
		for (int i = 0; i < 9; i++) {
			struct label l = { STR("l"), { i % 2 ? "x" : "y", 1 } };
			struct str project = str_of(projects[i % 3]);

			samples_set(m, i < 5 ? STR("a") : STR("b"), project, &l,
			    i % 4 > 0, tick % (i + 2) * 1e3 - 500);
		}
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = { (const char *)data, size };
	struct alert_changes changes;
	struct alerts alerts = { 0 };
	struct alert_rule rule = { 0 };
	struct samples m;
	struct arena a;
	struct cond *c;
	struct error err;

	arena_init(&a);
	samples(&m, &a);
	if (cond_parse(&a, text, 30000, &c, &err) < 0) {
		fuzz_check_error(&err);
		arena_deinit(&a);
		return 0;
	}
	rule.cond = c;
	for (int i = 0; i < 2; i++) {
		uint32_t before = alerts.n;

		if (alert_step(&a, &rule, &m, &alerts, &changes, &err) < 0) {
			fuzz_check_error(&err);
			break;
		}
		FUZZ_CHECK(alerts.n <= COND_ELEMENTS);
		/* the same samples: what fires goes on firing */
		FUZZ_CHECK(i == 0 || (alerts.n == before && changes.n == 0));
	}
	arena_deinit(&a);
	return 0;
}
