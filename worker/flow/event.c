#include "worker/flow/run-impl.h"

#include <string.h>

static const char *const step_names[] = {
	[STEP_PENDING] = "pending",
	[STEP_SCHEDULED] = "scheduled",
	[STEP_WAITING] = "waiting",
	[STEP_SUCCEEDED] = "succeeded",
	[STEP_FAILED] = "failed",
	[STEP_SKIPPED] = "skipped",
};
static const char *const run_names[] = {
	[RUN_RUNNING] = "running",
	[RUN_SUCCEEDED] = "succeeded",
	[RUN_FAILED] = "failed",
	[RUN_CANCELLED] = "cancelled",
};
static const char *const end_types[] = {
	[RUN_SUCCEEDED] = "run.succeeded",
	[RUN_FAILED] = "run.failed",
	[RUN_CANCELLED] = "run.cancelled",
};
static const char *const kinds[] = {
	[MESSAGE_STEP] = "step",
	[MESSAGE_RETRY] = "retry",
	[MESSAGE_DELAY] = "delay",
	[MESSAGE_SKIP] = "skip",
};

const char *
step_status_name(enum step_status status)
{
	return step_names[status];
}

const char *
run_status_name(enum run_status status)
{
	return run_names[status];
}

const char *
message_kind_name(enum message_kind kind)
{
	return kinds[kind];
}

int
step_status_parse(struct str name, enum step_status *out)
{
	for (int i = STEP_PENDING; i <= STEP_SKIPPED; i++)
		if (str_is(name, step_names[i])) {
			*out = (enum step_status)i;
			return 0;
		}
	return -1;
}

static struct json *
payload_of(
    struct arena *a, const struct flow *flow, uint32_t node, int32_t attempt)
{
	struct json *o = json_object(a);

	json_set(a, o, "step", json_string(a, flow->nodes[node].id));
	if (attempt > 0)
		json_set(a, o, "attempt", json_int(a, attempt));
	return o;
}

void
command_event(struct arena *a, const struct flow *flow,
    const struct command *cmd, struct event *out)
{
	struct json *o;

	*out = (struct event){ 0 };
	switch (cmd->type) {
	case CMD_START_STEP:
		out->type = "step.scheduled";
		o = payload_of(a, flow, cmd->node, cmd->attempt);
		if (cmd->kind == MESSAGE_SKIP)
			json_set(a, o, "skip", json_bool(1));
		out->payload = o;
		break;
	case CMD_SET_TIMER:
		out->type = "timer.set";
		o = payload_of(a, flow, cmd->node, cmd->attempt);
		json_set(a, o, "kind", json_cstring(a, kinds[cmd->kind]));
		json_set(a, o, "due_at", json_int(a, cmd->due_ms));
		out->payload = o;
		break;
	case CMD_SKIP_STEP:
		out->type = "step.skipped";
		out->payload = payload_of(a, flow, cmd->node, 0);
		break;
	case CMD_END_RUN:
		out->type = end_types[cmd->status];
		out->payload = cmd->result;
		break;
	}
}

static int
integer_is(const struct json *v, int64_t want)
{
	int64_t is;

	return json_integer(v, &is) == 0 && is == want;
}

static int
names(const struct flow *flow, const struct command *cmd, const struct json *p)
{
	return str_eq(
		   json_str(json_get(p, "step")), flow->nodes[cmd->node].id) &&
	    (cmd->attempt == 0 ||
		integer_is(json_get(p, "attempt"), cmd->attempt));
}

int
command_acked_by(
    const struct flow *flow, const struct command *cmd, const struct event *e)
{
	const struct json *p = e->payload;

	switch (cmd->type) {
	case CMD_START_STEP:
		return strcmp(e->type, "step.scheduled") == 0 &&
		    names(flow, cmd, p) &&
		    json_is(json_get(p, "skip"), JSON_TRUE) ==
		    (cmd->kind == MESSAGE_SKIP);
	case CMD_SET_TIMER:
		return strcmp(e->type, "timer.set") == 0 &&
		    names(flow, cmd, p) &&
		    str_is(json_str(json_get(p, "kind")), kinds[cmd->kind]) &&
		    integer_is(json_get(p, "due_at"), cmd->due_ms);
	case CMD_SKIP_STEP:
		return strcmp(e->type, "step.skipped") == 0 &&
		    names(flow, cmd, p);
	case CMD_END_RUN:
		return strcmp(e->type, end_types[cmd->status]) == 0 &&
		    json_equal(p, cmd->result);
	}
	return 0;
}

void
event_skipped(
    struct arena *a, const struct flow *flow, uint32_t node, struct event *out)
{
	*out = (struct event){
		.type = "step.skipped",
		.payload = payload_of(a, flow, node, 0),
	};
}

void
event_timer_fired(struct arena *a, const struct flow *flow,
    const struct message *message, struct event *out)
{
	struct json *o = payload_of(a, flow, message->node, message->attempt);

	json_set(a, o, "kind", json_cstring(a, kinds[message->kind]));
	*out = (struct event){ .type = "timer.fired", .payload = o };
}

void
event_cancel_requested(struct arena *a, const char *reason, struct event *out)
{
	struct json *o = json_object(a);

	if (reason != NULL)
		json_set(a, o, "reason", json_cstring(a, reason));
	*out = (struct event){ .type = "run.cancel_requested", .payload = o };
}

void
event_abandoned(struct arena *a, const char *code, const char *message,
    struct str step, struct event *out)
{
	struct json *o = json_object(a);

	json_set(a, o, "code", json_cstring(a, code));
	json_set(a, o, "message", json_cstring(a, message));
	if (step.n > 0)
		json_set(a, o, "step", json_string(a, step));
	*out = (struct event){ .type = "run.abandoned", .payload = o };
}
