#pragma once
/*
 * Runs as text. A flow is written as its edges:
 *
 *	a(max=2) -> b, branch:r(hot) -hot-> c, a -error-> d, delay:w, end:x(failed)
 *
 * A step is an http_call unless a type stands before its name where it is
 * first named; max=N gives it N attempts, 1 s apart, doubling, no jitter. A
 * trigger "hook" leads to every step that no edge leads to.
 *
 * A trace is a line an event, "[ time] what step#attempt ...", in virtual ms:
 * run_started, done a#1 (of a branch: done r#1 hot), failed a#1 HTTP503 (or
 * CONN, or FATAL; after=MS is Retry-After, by=MS the deadline), waiting
 * w#1 until=MS, tick (timers due fire), fired a#2, skipped j, cancel,
 * abandoned. Behind each, the commands that it led to, which are acknowledged.
 */
#include "worker/flow/replay.h"
#include "worker/flow/test-flow.h"

struct trace {
	struct arena *a;
	const struct flow *flow;
	struct run *run;
	struct event *events;
	uint32_t n_events;
	struct command timers[64];
	uint32_t n_timers;
	char out[8192];
	size_t n_out;
};

static inline struct json *
word(struct arena *a, const char *s, size_t n)
{
	return json_string(a, (struct str){ s, n });
}

static inline struct json *
flow_attrs(struct arena *a, struct json *node, const char *s, size_t n)
{
	const char *type = json_str(json_get(node, "type")).s;
	struct json *o, *cases = json_array(a);
	int max = 0;

	if (strcmp(type, "branch") == 0) {
		while (n > 0) {
			size_t len = 0;

			while (len < n && s[len] != ' ')
				len++;
			o = json_object(a);
			json_set(a, o, "name", word(a, s, len));
			json_set(a, o, "when", json_cstring(a, "input.x"));
			json_push(a, cases, o);
			s += len + (len < n);
			n -= len + (len < n);
		}
		json_set(a, node, "cases", cases);
	} else if (strcmp(type, "terminate") == 0) {
		json_set(a, node, "status",
		    n > 0 ? word(a, s, n) : json_cstring(a, "succeeded"));
	} else if (strcmp(type, "delay") == 0) {
		json_set(a, node, "for", json_cstring(a, "1s"));
	} else if (strcmp(type, "transform") == 0) {
		json_set(a, node, "expression", json_cstring(a, "input"));
	} else {
		json_set(a, node, "url", json_cstring(a, "http://h/"));
		if (n > 0 && sscanf(s, "max=%d", &max) == 1) {
			o = json_object(a);
			json_set(a, o, "attempts", json_int(a, max));
			json_set(a, o, "jitter", json_bool(0));
			json_set(a, node, "retry", o);
		}
	}
	return node;
}

/* "branch:r(hot)": the step's name; it is added when it is new. */
static inline struct json *
flow_node(struct arena *a, struct json *nodes, const char **at)
{
	const char *s = *at, *type = "http_call", *attrs = "";
	size_t len = strcspn(s, " (,:"), n_attrs = 0;
	struct json *id, *node;

	if (s[len] == ':') {
		type = strncmp(s, "end", len) == 0 ? "terminate"
						   : arena_strndup(a, s, len);
		s += len + 1;
		len = strcspn(s, " (,");
	}
	id = word(a, s, len);
	s += len;
	if (*s == '(') {
		attrs = s + 1;
		n_attrs = strcspn(attrs, ")");
		s = attrs + n_attrs + 1;
	}
	*at = s;
	for (uint32_t i = 0; i < nodes->n; i++)
		if (json_equal(json_get(nodes->items[i], "id"), id))
			return id;
	node = json_object(a);
	json_set(a, node, "id", id);
	json_set(a, node, "type", json_cstring(a, type));
	json_push(a, nodes, flow_attrs(a, node, attrs, n_attrs));
	return id;
}

static inline void
flow_edge(struct arena *a, struct json *edges, struct json *from,
    struct json *to, const char *on, size_t n)
{
	struct json *e = json_object(a);

	json_set(a, e, "from", from);
	json_set(a, e, "to", to);
	if (n > 0)
		json_set(a, e, "on", word(a, on, n));
	json_push(a, edges, e);
}

static inline void
flow_entries(struct arena *a, struct json *nodes, struct json *edges)
{
	uint32_t n = edges->n;

	for (uint32_t i = 1; i < nodes->n; i++) {
		struct json *id = json_get(nodes->items[i], "id");
		int entry = 1;

		for (uint32_t j = 0; j < n; j++)
			entry &=
			    !json_equal(json_get(edges->items[j], "to"), id);
		if (entry)
			flow_edge(a, edges, json_cstring(a, "hook"), id, "", 0);
	}
}

static inline struct flow *
flow_short(struct arena *a, const char *text)
{
	struct json *def = json_object(a), *nodes = json_array(a);
	struct json *edges = json_array(a), *hook = json_object(a), *from;

	json_set(a, hook, "id", json_cstring(a, "hook"));
	json_set(a, hook, "type", json_cstring(a, "webhook"));
	json_push(a, nodes, hook);
	for (const char *s = text; *s != '\0'; s += strspn(s, ", ")) {
		from = flow_node(a, nodes, &s);
		while (strncmp(s, " -", 2) == 0) {
			const char *on = s + 2;
			size_t n = strcspn(on, "->");
			struct json *to;

			s = on + n + (n > 0 ? 3 : 2);
			to = flow_node(a, nodes, &s);
			flow_edge(a, edges, from, to, on, n);
			from = to;
		}
	}
	flow_entries(a, nodes, edges);
	json_set(a, def, "name", json_cstring(a, "test"));
	json_set(a, def, "nodes", nodes);
	json_set(a, def, "edges", edges);
	return flow_of(a, json_text(a, def).s);
}

static inline void __attribute__((format(printf, 3, 4)))
trace_put(struct trace *t, long at, const char *fmt, ...)
{
	va_list args;
	int n;

	n = snprintf(
	    t->out + t->n_out, sizeof(t->out) - t->n_out, "[%5ld] ", at);
	t->n_out += (size_t)n;
	va_start(args, fmt);
	n = vsnprintf(t->out + t->n_out, sizeof(t->out) - t->n_out, fmt, args);
	va_end(args);
	t->n_out += (size_t)n;
	assert_true(t->n_out + 200 < sizeof(t->out));
	t->out[t->n_out++] = '\n';
	t->out[t->n_out] = '\0';
}

static inline void
trace_command(struct trace *t, long at, const struct command *cmd)
{
	const char *id =
	    arena_printf(t->a, "%.*s", STR_FMT(t->flow->nodes[cmd->node].id));

	switch (cmd->type) {
	case CMD_START_STEP:
		trace_put(t, at, "%s %s#%d",
		    cmd->kind == MESSAGE_SKIP ? "start_skip" : "start", id,
		    cmd->attempt);
		break;
	case CMD_SET_TIMER:
		trace_put(t, at, "wake_at %ld %s#%d", (long)cmd->due_ms, id,
		    cmd->attempt);
		assert_true(t->n_timers < 64);
		t->timers[t->n_timers++] = *cmd;
		break;
	case CMD_SKIP_STEP:
		trace_put(t, at, "skip %s", id);
		break;
	case CMD_END_RUN:
		trace_put(t, at, "end %s%s%s", run_status_name(cmd->status),
		    cmd->result->n > 0 ? " " : "",
		    cmd->result->n > 0 ? json_text(t->a, cmd->result).s : "");
		t->n_timers = 0; /* they go with the run */
		break;
	}
}

/* Fold a fact, print what follows, acknowledge it; deciding again is silent. */
static inline void
trace_fact(struct trace *t, long at, struct event *fact)
{
	struct commands cmds;
	struct error err;

	if (run_append(t->run, fact, &err) < 0) {
		trace_put(t, at, "refused");
		return;
	}
	t->events[t->n_events++] = *fact;
	assert_int_equal(run_decide(t->a, t->run, &cmds), 0);
	for (uint32_t i = 0; i < cmds.n; i++) {
		struct event ack;

		trace_command(t, at, &cmds.items[i]);
		command_event(t->a, t->flow, &cmds.items[i], &ack);
		if (run_append(t->run, &ack, &err) < 0)
			fail_msg("%s", err.text);
		t->events[t->n_events++] = ack;
	}
	run_decide(t->a, t->run, &cmds);
	assert_int_equal(cmds.n, 0);
}

static inline void
trace_tick(struct trace *t, long at)
{
	for (uint32_t i = 0; i < t->n_timers; i++) {
		struct command c = t->timers[i];
		struct message m = { c.node, c.attempt, c.kind, 0 };
		struct event fact;

		if (c.due_ms > at)
			continue;
		t->timers[i--] = t->timers[--t->n_timers];
		event_timer_fired(t->a, t->flow, &m, &fact);
		trace_fact(t, at, &fact);
	}
}

static inline struct json *
trace_result(struct trace *t, long at, const char *step, int attempt)
{
	struct json *o = json_object(t->a);

	json_set(t->a, o, "step", json_cstring(t->a, step));
	json_set(t->a, o, "attempt", json_int(t->a, attempt));
	json_set(t->a, o, "at", json_int(t->a, at));
	return o;
}

static inline void
trace_failed(struct trace *t, struct json *o, const char *rest)
{
	char code[32] = "";
	const char *opt;
	int status;

	sscanf(rest, "%31s", code);
	json_set(t->a, o, "code", json_cstring(t->a, code));
	json_set(t->a, o, "random", json_cstring(t->a, "0000000000000000"));
	if (sscanf(code, "HTTP%d", &status) == 1)
		json_set(t->a, o, "status", json_int(t->a, status));
	if (strcmp(code, "CONN") == 0)
		json_set(t->a, o, "retryable", json_bool(1));
	if ((opt = strstr(rest, "after=")) != NULL)
		json_set(t->a, o, "retry_after_ms",
		    json_int(t->a, strtoll(opt + 6, NULL, 10)));
	if ((opt = strstr(rest, "by=")) != NULL)
		json_set(t->a, o, "deadline_at",
		    json_int(t->a, strtoll(opt + 3, NULL, 10)));
}

static inline void
trace_line(struct trace *t, const char *line)
{
	char what[32] = "", step[64] = "", rest[128] = "";
	struct event e = { 0 };
	struct json *o;
	int attempt = 0;
	long at;

	assert_true(sscanf(line, "[ %ld] %31s %63[^# \n]#%d %127[^\n]", &at,
			what, step, &attempt, rest) >= 2);
	if (strcmp(what, "tick") == 0) {
		trace_tick(t, at);
		return;
	}
	o = trace_result(t, at, step, attempt);
	if (strcmp(what, "run_started") == 0) {
		o = json_object(t->a);
		json_set(t->a, o, "trigger",
		    json_cstring(t->a, step[0] != '\0' ? step : "hook"));
		e.type = "run.started";
	} else if (strcmp(what, "done") == 0) {
		struct json *out = json_object(t->a);

		json_set(t->a, out, "case", json_cstring(t->a, rest));
		json_set(t->a, o, "output", out);
		e.type = "step.succeeded";
	} else if (strcmp(what, "failed") == 0) {
		trace_failed(t, o, rest);
		e.type = "step.failed";
	} else if (strcmp(what, "waiting") == 0) {
		json_set(t->a, o, "until",
		    json_int(t->a, strtoll(strchr(rest, '=') + 1, NULL, 10)));
		e.type = "step.waiting";
	} else if (strcmp(what, "fired") == 0) {
		json_set(t->a, o, "kind", json_cstring(t->a, rest));
		e.type = "timer.fired";
	} else if (strcmp(what, "skipped") == 0) {
		e.type = "step.skipped";
	} else if (strcmp(what, "cancel") == 0) {
		event_cancel_requested(t->a, "enough", &e);
		o = (struct json *)e.payload;
	} else if (strcmp(what, "abandoned") == 0) {
		event_abandoned(
		    t->a, "poison", "it kills its worker", str_of(step), &e);
		o = (struct json *)e.payload;
	} else {
		fail_msg("what is \"%s\"?", what);
	}
	e.payload = o;
	trace_fact(t, at, &e);
}

static inline void
replay_is(const char *flow, const char *events, const char *commands)
{
	struct arena a;
	struct trace *t;
	struct replay replay;

	arena_init(&a);
	t = arena_zalloc(&a, sizeof(*t));
	t->a = &a;
	t->flow = flow_short(&a, flow);
	t->run = run_new(&a, t->flow);
	t->events = arena_array(&a, 1000, sizeof(*t->events));
	for (const char *s = events; *s != '\0'; s = strchr(s, '\n') + 1)
		trace_line(t, arena_strndup(&a, s, strcspn(s, "\n")));
	assert_string_equal(t->out, commands);
	if (replay_check(&a, t->flow, t->events, t->n_events, &replay) != 0)
		fail_msg("event %d %s", replay.seq, replay.text);
	arena_deinit(&a);
}
