/*
 * Messages. A message names what its step needs (decisions/0001), and what the
 * steps need that may be inlined behind it: a walk in breadth over those, cut
 * where it gets long; what is cut off gets a message of its own.
 */
#include "worker/flow/node.h"
#include "worker/flow/run-impl.h"

enum { WALK = 64, NEEDS = 64 };

struct needs {
	const struct flow *flow;
	uint32_t walk[WALK], n_walk;
	struct set {
		uint32_t *of, n, room;
	} reads, joins;
	int input;
};

static int
has(const uint32_t *set, uint32_t n, uint32_t x)
{
	for (uint32_t i = 0; i < n; i++)
		if (set[i] == x)
			return 1;
	return 0;
}

/* What the step itself needs, all of it, and room for some more. */
static void
set_init(struct arena *a, struct set *set, const uint32_t *own, uint32_t n)
{
	set->room = n + NEEDS;
	set->of = arena_array(a, set->room, sizeof(*set->of));
	for (set->n = 0; set->n < n; set->n++)
		set->of[set->n] = own[set->n];
}

/* Add those that are not in yet. 0 and nothing changed when they don't fit. */
static int
set_add(struct set *set, const uint32_t *more, uint32_t n_more)
{
	uint32_t at = set->n;

	for (uint32_t i = 0; i < n_more; i++) {
		if (has(set->of, at, more[i]))
			continue;
		if (at == set->room)
			return 0;
		set->of[at++] = more[i];
	}
	set->n = at;
	return 1;
}

/* Walk on to a step that the end of another one may start, if it is inlined
 * and what it needs fits in. */
static void
visit(struct needs *w, uint32_t node)
{
	const struct node *n = &w->flow->nodes[node];
	uint32_t n_reads = w->reads.n;

	if (node == w->flow->n_nodes || w->n_walk == WALK ||
	    !node_is_inline(n) || has(w->walk, w->n_walk, node))
		return;
	if (!set_add(&w->reads, n->reads, n->n_reads))
		return;
	if (!set_add(&w->joins, n->joins, n->n_joins)) {
		w->reads.n = n_reads;
		return;
	}
	w->input |= n->reads_input;
	w->walk[w->n_walk++] = node;
}

static void
walk(struct needs *w)
{
	for (uint32_t i = 0; i < w->n_walk; i++) {
		const struct node *n = &w->flow->nodes[w->walk[i]];

		if (n->type == NODE_DELAY && i > 0)
			continue; /* what follows has the timer's message */
		for (uint32_t j = 0; j < n->n_out; j++)
			if (!w->flow->nodes[n->out[j].to].is_join)
				visit(w, n->out[j].to);
		for (uint32_t j = 0; j < n->n_joins; j++)
			visit(w, n->joins[j]);
	}
}

static void
put_ids(struct arena *a, struct json *o, const char *key,
    const struct flow *flow, const struct set *set)
{
	struct json *ids = json_array(a);

	for (uint32_t i = 0; i < set->n; i++)
		json_push(a, ids, json_string(a, flow->nodes[set->of[i]].id));
	if (set->n > 0)
		json_set(a, o, key, ids);
}

struct json *
message_make(
    struct arena *a, const struct flow *flow, const struct command *cmd)
{
	const struct node *n = &flow->nodes[cmd->node];
	struct needs w = { .flow = flow, .walk = { cmd->node }, .n_walk = 1 };
	int runs = cmd->kind == MESSAGE_STEP || cmd->kind == MESSAGE_RETRY;
	struct json *o = json_object(a);

	set_init(a, &w.reads, n->reads, runs ? n->n_reads : 0);
	set_init(a, &w.joins, n->joins, n->n_joins);
	if (n->is_join) /* its own row, whose counters stay */
		set_add(&w.joins, &cmd->node, 1);
	w.input = runs && n->reads_input;
	walk(&w);
	json_set(a, o, "n", json_string(a, n->id));
	json_set(a, o, "a", json_int(a, cmd->attempt));
	json_set(a, o, "k", json_cstring(a, message_kind_name(cmd->kind)));
	if (w.input)
		json_set(a, o, "i", json_bool(1));
	put_ids(a, o, "o", flow, &w.reads);
	put_ids(a, o, "j", flow, &w.joins);
	if (cmd->deadline_ms != 0)
		json_set(a, o, "d", json_int(a, cmd->deadline_ms));
	return o;
}

static int
parse_kind(struct str name, enum message_kind *out)
{
	for (int i = MESSAGE_STEP; i <= MESSAGE_SKIP; i++)
		if (str_is(name, message_kind_name((enum message_kind)i))) {
			*out = (enum message_kind)i;
			return 0;
		}
	return -1;
}

int
message_parse(const struct flow *flow, const struct json *json,
    struct message *out, struct error *err)
{
	int32_t node = flow_find(flow, json_str(json_get(json, "n")));
	int64_t attempt = 0;

	*out = (struct message){ 0 };
	if (node < 0 || (uint32_t)node == flow->n_nodes ||
	    node_is_trigger(&flow->nodes[node]))
		return fail(err, FAULT_BUG, "MESSAGE", "no such step");
	if (json_integer(json_get(json, "a"), &attempt) < 0 || attempt < 1 ||
	    attempt > INT32_MAX ||
	    parse_kind(json_str(json_get(json, "k")), &out->kind) < 0)
		return fail(err, FAULT_BUG, "MESSAGE", "no attempt or kind");
	out->node = (uint32_t)node;
	out->attempt = (int32_t)attempt;
	if (json_integer(json_get(json, "d"), &out->deadline_ms) < 0)
		out->deadline_ms = 0;
	return 0;
}
