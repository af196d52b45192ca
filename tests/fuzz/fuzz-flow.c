/*
 * A definition: whatever it is, parsing ends with a flow or with problems, each
 * of which says where; and of a flow everything can be planned and sent.
 */
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "worker/flow/node.h"

static void
check_problems(const struct problems *problems)
{
	FUZZ_CHECK(problems->n > 0);
	for (uint32_t i = 0; i < problems->n; i++) {
		const struct problem *p = &problems->items[i];

		FUZZ_CHECK(p->pointer[0] == '/' || p->pointer[0] == '\0');
		FUZZ_CHECK(p->text[0] != '\0');
	}
}

static void
check_node(struct arena *a, const struct flow *flow, uint32_t node)
{
	const struct node *n = &flow->nodes[node];
	struct command cmd = { .node = node, .attempt = 1 };
	struct context context = { .run = json_null() };
	struct message m;
	struct effect effect;
	struct error err;

	FUZZ_CHECK(flow_find(flow, n->id) == (int32_t)node);
	for (uint32_t i = 0; i < n->n_out; i++)
		FUZZ_CHECK(n->out[i].to < flow->n_nodes &&
		    flow->nodes[n->out[i].to].n_in > 0);
	if (node_is_trigger(n))
		return;
	FUZZ_CHECK(
	    message_parse(flow, message_make(a, flow, &cmd), &m, &err) == 0);
	FUZZ_CHECK(m.node == node && m.kind == MESSAGE_STEP);
	FUZZ_CHECK(node_begin(a, flow, node, &context, 0, &effect, &err) >= 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct json_limits limits = { .bytes = 64 << 10, .depth = 64 };
	struct problems problems = { 0 };
	struct flow *flow;
	struct json *json;
	struct error err;
	struct arena a;

	arena_init(&a);
	if (json_parse(&a, (struct str){ (const char *)data, size }, &limits,
		&json, NULL) == 0) {
		if (flow_parse(&a, json, &flow, &problems) < 0) {
			check_problems(&problems);
		} else {
			FUZZ_CHECK(problems.n == 0);
			FUZZ_CHECK(flow_plan(&a, flow, &json, &err) == 0);
			for (uint32_t i = 0; i < flow->n_nodes && i < 100; i++)
				check_node(&a, flow, i);
		}
	}
	arena_deinit(&a);
	return 0;
}
