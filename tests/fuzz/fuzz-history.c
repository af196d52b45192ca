/*
 * Events, good and bad, on a workflow that the first eight bytes make. Then
 * four bytes an event: its type, step, attempt, and what else it says. What is
 * refused changes nothing; what is folded is acknowledged, and then there is
 * nothing to decide; the rows are sound; and the history decides itself again.
 */
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "worker/flow/replay.h"
#include "worker/flow/test-random.h"

enum { EVENTS = 4096 };

struct fuzz {
	struct arena *a;
	struct flow *flow;
	struct run *run;
	struct event events[EVENTS];
	uint32_t n;
};

static void
event_make(struct fuzz *f, const uint8_t *b, struct event *e)
{
	static const char *const types[] = { "step.succeeded", "step.failed",
		"timer.fired", "step.waiting", "step.skipped", "step.scheduled",
		"run.started", "run.cancel_requested", "run.succeeded", "x" };
	static const char *const cases[] = { "c0", "c1", "else", "no" };
	const char *step = f->flow->nodes[b[1] % (f->flow->n_nodes + 1)].id.s;
	struct json *o = json_object(f->a), *output = json_object(f->a);
	uint32_t type = b[0] % 16U;

	if (type > 9) /* results are what matters most */
		type %= 3;
	json_set(f->a, o, "step", json_cstring(f->a, step));
	json_set(f->a, o, "attempt", json_int(f->a, b[2] % 5));
	json_set(f->a, o, "trigger", json_cstring(f->a, step));
	json_set(f->a, o, "at", json_int(f->a, b[3]));
	json_set(f->a, o, "until", json_int(f->a, b[3]));
	json_set(f->a, o, "random", json_cstring(f->a, "00ff00ff00ff00ff"));
	json_set(f->a, o, "retryable", json_bool(b[3] & 1));
	json_set(
	    f->a, o, "kind", json_cstring(f->a, b[3] & 1 ? "retry" : "delay"));
	json_set(f->a, output, "case", json_cstring(f->a, cases[b[3] % 4]));
	json_set(f->a, o, "output", output);
	*e = (struct event){ .type = types[type], .payload = o };
}

static void
acknowledge(struct fuzz *f)
{
	struct commands cmds;
	struct event ack;

	FUZZ_CHECK(run_decide(f->a, f->run, &cmds) == 0);
	for (uint32_t i = 0; i < cmds.n; i++) {
		command_event(f->a, f->flow, &cmds.items[i], &ack);
		FUZZ_CHECK(run_append(f->run, &ack, NULL) == 0);
		FUZZ_CHECK(f->n < EVENTS);
		f->events[f->n++] = ack;
	}
	run_decide(f->a, f->run, &cmds);
	FUZZ_CHECK(cmds.n == 0);
}

static void
append(struct fuzz *f, struct event *e)
{
	int32_t before = run_last_seq(f->run);

	if (run_append(f->run, e, NULL) < 0) {
		FUZZ_CHECK(run_last_seq(f->run) == before);
		return;
	}
	FUZZ_CHECK(f->n < EVENTS);
	f->events[f->n++] = *e;
	acknowledge(f);
}

static void
check_rows(struct fuzz *f)
{
	struct step_row *rows;
	uint32_t n = run_changed(f->a, f->run, &rows);

	for (uint32_t i = 0; i < n; i++) {
		int32_t node = flow_find(f->flow, rows[i].step);

		FUZZ_CHECK(node >= 0 && rows[i].waits >= 0 &&
		    rows[i].live >= 0 &&
		    (uint32_t)(rows[i].waits + rows[i].live) <=
			f->flow->nodes[node].n_in);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz *f;
	struct replay replay;
	struct event e = { .type = "run.started" };
	struct arena a;
	uint64_t seed;

	if (size < sizeof(seed) || size > 1000)
		return 0;
	memcpy(&seed, data, sizeof(seed));
	arena_init(&a);
	f = arena_zalloc(&a, sizeof(*f));
	f->a = &a;
	f->flow = flow_of(&a, json_text(&a, random_definition(&a, &seed)).s);
	f->run = run_new(&a, f->flow);
	e.payload = flow_json(&a, "{'trigger':'n0'}");
	append(f, &e);
	for (size_t i = sizeof(seed); i + 4 <= size; i += 4) {
		event_make(f, data + i, &e);
		append(f, &e);
	}
	check_rows(f);
	FUZZ_CHECK(replay_check(&a, f->flow, f->events, f->n, &replay) == 0);
	FUZZ_CHECK(replay.last_seq == run_last_seq(f->run));
	arena_deinit(&a);
	return 0;
}
