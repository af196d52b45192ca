#include <string.h>

#include "worker/flow/run.h"

static void
put_row(struct arena *a, struct json *rows, const struct step_row *row)
{
	struct json *o = json_object(a);

	json_set(a, o, "step", json_string(a, row->step));
	json_set(
	    a, o, "status", json_cstring(a, step_status_name(row->status)));
	json_set(a, o, "attempt", json_int(a, row->attempt));
	json_set(a, o, "waits", json_int(a, row->waits));
	json_set(a, o, "live", json_int(a, row->live));
	json_push(a, rows, o);
}

static void
put_event(struct arena *a, struct json *events, const struct event *event)
{
	struct json *o = json_object(a);

	json_set(a, o, "type", json_cstring(a, event->type));
	json_set(a, o, "payload", (struct json *)event->payload);
	json_push(a, events, o);
}

/* What follows from run.started alone. */
static int
plan_trigger(struct arena *a, const struct flow *flow, uint32_t trigger,
    struct json *plan, struct error *err)
{
	struct json *events = json_array(a), *messages = json_array(a);
	struct json *rows = json_array(a), *ends = json_null(), *o;
	struct run *run = run_new(a, flow);
	struct event event = { .type = "run.started" };
	struct commands cmds;
	struct step_row *changed;
	uint32_t n;

	o = json_object(a);
	json_set(a, o, "trigger", json_string(a, flow->nodes[trigger].id));
	event.payload = o;
	if (run_append(run, &event, err) < 0)
		return -1;
	run_decide(a, run, &cmds);
	for (uint32_t i = 0; i < cmds.n; i++) {
		struct command *cmd = &cmds.items[i];

		command_event(a, flow, cmd, &event);
		if (run_append(run, &event, err) < 0)
			return -1;
		put_event(a, events, &event);
		if (cmd->type == CMD_START_STEP)
			json_push(a, messages, message_make(a, flow, cmd));
		if (cmd->type == CMD_END_RUN) {
			ends = json_object(a);
			json_set(a, ends, "status",
			    json_cstring(a, run_status_name(cmd->status)));
		}
	}
	n = run_changed(a, run, &changed);
	for (uint32_t i = 0; i < n; i++)
		put_row(a, rows, &changed[i]);
	json_set(a, plan, "events", events);
	json_set(a, plan, "steps", rows);
	json_set(a, plan, "messages", messages);
	json_set(a, plan, "ends", ends);
	return 0;
}

int
flow_plan(struct arena *a, const struct flow *flow, struct json **out,
    struct error *err)
{
	*out = json_object(a);
	for (uint32_t i = 0; i < flow->n_nodes; i++) {
		struct json *plan;

		if (!node_is_trigger(&flow->nodes[i]))
			continue;
		plan = json_object(a);
		if (plan_trigger(a, flow, i, plan, err) < 0)
			return fail_in(err, "plan");
		json_set_str(a, *out, flow->nodes[i].id, plan);
	}
	return 0;
}
