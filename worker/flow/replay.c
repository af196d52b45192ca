#include "worker/flow/replay.h"

#include <string.h>

static const char *
told(struct arena *a, const struct event *e)
{
	struct str payload = json_text(a, e->payload);
	int cut = payload.n > 200;

	return arena_printf(a, "%s %.*s%s", e->type, cut ? 200 : (int)payload.n,
	    payload.s, cut ? "..." : "");
}

static int
differs(struct replay *out, int32_t seq, const char *text)
{
	out->seq = seq;
	out->text = text;
	return REPLAY_OUT_DIFFERS;
}

/* The acknowledgements behind a fact; *at moves beyond them. */
static int
check_commands(struct arena *a, const struct flow *flow, struct run *run,
    const struct event *events, uint32_t n, uint32_t *at, struct replay *out)
{
	struct commands cmds;
	struct error err;

	run_decide(a, run, &cmds);
	for (uint32_t i = 0; i < cmds.n; i++, (*at)++) {
		struct event want;

		command_event(a, flow, &cmds.items[i], &want);
		want.seq = run_last_seq(run) + 1;
		if (*at == n)
			return differs(out, want.seq,
			    arena_printf(a,
				"the history ends where %s must follow",
				told(a, &want)));
		if (strcmp(want.type, events[*at].type) != 0 ||
		    !json_equal(want.payload, events[*at].payload))
			return differs(out, want.seq,
			    arena_printf(a, "is %s, must be %s",
				told(a, &events[*at]), told(a, &want)));
		if (run_evolve(run, &events[*at], &err) < 0)
			return differs(
			    out, want.seq, arena_strdup(a, err.text));
	}
	return 0;
}

int
replay_check(struct arena *a, const struct flow *flow,
    const struct event *events, uint32_t n, struct replay *out)
{
	struct run *run = run_new(a, flow);
	uint32_t at = 0;
	int r = 0;

	*out = (struct replay){ 0 };
	while (r == 0 && at < n) {
		struct error err;

		if (run_evolve(run, &events[at], &err) < 0) {
			r = differs(out, run_last_seq(run) + 1,
			    arena_strdup(a, err.text));
			break;
		}
		at++;
		r = check_commands(a, flow, run, events, n, &at, out);
		out->facts += r == 0;
	}
	out->status = run_status(run);
	out->last_seq = run_last_seq(run);
	out->n_rows = run_changed(a, run, &out->rows);
	return r;
}
