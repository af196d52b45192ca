#include "worker/flow/run-impl.h"
#include "core/hex.h"

#include <string.h>

struct command *
run_ask(struct run *run, enum command_type type, uint32_t node)
{
	struct command *cmd;

	if (run->n_todo == run->room_todo) {
		uint32_t room = run->room_todo != 0 ? run->room_todo * 2 : 8;

		run->todo = arena_grow(run->arena, run->todo, run->n_todo, room,
		    sizeof(*run->todo));
		run->room_todo = room;
	}
	cmd = &run->todo[run->n_todo++];
	*cmd = (struct command){ .type = type, .node = node };
	return cmd;
}

int
run_decide(struct arena *a, const struct run *run, struct commands *out)
{
	out->n = run->n_todo - run->head;
	out->items = arena_array(a, out->n, sizeof(*out->items));
	if (out->n > 0)
		memcpy(out->items, run->todo + run->head,
		    out->n * sizeof(*out->items));
	return run->blind ? RUN_OUT_NOT_LOADED : 0;
}

int64_t
retry_due(const struct node *node, const struct json *failed)
{
	struct retry_try try = { .retry_after_ms = RETRY_NO_AFTER };
	struct str random = json_str(json_get(failed, "random"));
	int64_t at, v, wait;

	if (node->retry == NULL || random.n != 16 ||
	    json_integer(json_get(failed, "attempt"), &v) < 0 || v < 1 ||
	    v > INT32_MAX || json_integer(json_get(failed, "at"), &at) < 0)
		return -1;
	try.attempt = (uint32_t)v;
	for (size_t i = 0; i < random.n; i++) {
		int digit = hex_digit(random.s[i]);

		if (digit < 0)
			return -1;
		try.random = try.random << 4 | (uint64_t)digit;
	}
	if (json_integer(json_get(failed, "retry_after_ms"), &v) == 0 && v >= 0)
		try.retry_after_ms = v;
	try.cause = json_is(json_get(failed, "retryable"), JSON_TRUE)
	    ? RETRY_CONNECTION
	    : RETRY_NEVER;
	if (try.cause == RETRY_NEVER &&
	    json_integer(json_get(failed, "status"), &v) == 0 && v > 0 &&
	    v < 1000) {
		try.cause = RETRY_STATUS;
		try.status = (int)v;
	}
	wait = retry_next(node->retry, &try);
	if (wait == RETRY_GIVE_UP || __builtin_add_overflow(at, wait, &wait))
		return -1;
	if (json_integer(json_get(failed, "deadline_at"), &v) == 0 && wait > v)
		return -1;
	return wait;
}
