/*
 * Edges, and what takes all nodes. Everything here is linear in nodes and
 * edges, but for references: one linear pass for each 64 steps referred to.
 */
#include "worker/flow/parse-impl.h"

#include <string.h>

struct raw_edge {
	uint32_t from, to;
	uint16_t port;
	int good;
};

struct edge_text {
	struct str from, to, on;
};

static void
edge_from(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	if (want(p, at, v, JSON_STRING) == 0)
		((struct edge_text *)into)->from = json_str(v);
}

static void
edge_to(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	if (want(p, at, v, JSON_STRING) == 0)
		((struct edge_text *)into)->to = json_str(v);
}

static void
edge_on(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	if (want(p, at, v, JSON_STRING) == 0)
		((struct edge_text *)into)->on = json_str(v);
}

static const struct field edge_fields[] = {
	{ "from", edge_from, 1 },
	{ "to", edge_to, 1 },
	{ "on", edge_on, 0 },
	{ NULL, NULL, 0 },
};

const char *
hint_step(struct parser *p, struct str id)
{
	struct suggest s;

	if (p->problems->n > 10) /* whoever is that far off needs no hints */
		return NULL;
	suggest_init(&s, id);
	for (uint32_t i = 0; i < p->flow->n_nodes; i++)
		suggest_add(&s, p->nodes[i].id);
	return hint_of(p, &s);
}

static int
edge_end(
    struct parser *p, const struct json_path *at, struct str id, uint32_t *out)
{
	int32_t node = flow_find(p->flow, id);

	if (node < 0 || (uint32_t)node == p->flow->n_nodes) {
		problem(p, at, hint_step(p, id), "unknown step \"%.*s\"",
		    (int)(id.n < 100 ? id.n : 100), id.s);
		return -1;
	}
	*out = (uint32_t)node;
	return 0;
}

static const char *
hint_port(struct parser *p, const struct node *node, struct str on)
{
	struct suggest s;

	suggest_init(&s, on);
	if (!node_is_trigger(node))
		suggest_add(&s, STR("error"));
	if (node->type == NODE_BRANCH) {
		suggest_add(&s, STR("else"));
		for (uint32_t i = 0; i < node->config->branch.n; i++)
			suggest_add(&s, node->config->branch.cases[i].name);
	} else {
		suggest_add(&s, STR("success"));
	}
	return hint_of(p, &s);
}

/* The port that "on" means at this node; -1 when it has none such. */
static int
edge_port(struct parser *p, const struct json_path *at, const struct node *node,
    struct str on)
{
	int port = -1;

	if (node->type == NODE_TERMINATE) {
		problem(p, at, NULL, "nothing follows a terminate step");
		return -1;
	}
	if (node->type == NODE_BRANCH && on.s == NULL) {
		problem(p, at, "the name of a case, or \"else\"",
		    "\"on\" is missing: \"%.*s\" is a branch",
		    STR_FMT(node->id));
		return -1;
	}
	if (str_is(on, "error") && !node_is_trigger(node))
		port = PORT_ERROR;
	else if (node->type == NODE_BRANCH)
		port = branch_port(node, on);
	else if (on.s == NULL || str_is(on, "success"))
		port = PORT_SUCCESS;
	if (port < 0)
		problem(p, AT_KEY(at, "on"), hint_port(p, node, on),
		    "no edge leaves a %s by \"%.*s\"",
		    node_type_name(node->type), (int)(on.n < 100 ? on.n : 100),
		    on.s);
	return port;
}

static void
edge_parse(struct parser *p, const struct json_path *at, const struct json *v,
    struct raw_edge *e)
{
	struct edge_text text = { 0 };
	int port;

	if (fields_parse(p, at, v, edge_fields, &text) < 0 ||
	    text.from.s == NULL || text.to.s == NULL)
		return;
	e->good = (edge_end(p, AT_KEY(at, "from"), text.from, &e->from) |
		      edge_end(p, AT_KEY(at, "to"), text.to, &e->to)) == 0;
	if (!e->good)
		return;
	if (node_is_trigger(&p->nodes[e->to]))
		problem(p, AT_KEY(at, "to"), NULL,
		    "\"%.*s\" is a trigger: no edge leads there",
		    STR_FMT(text.to));
	port = edge_port(p, at, &p->nodes[e->from], text.on);
	e->good = port >= 0;
	e->port = (uint16_t)port;
}

/* The edges of each node, in the order of the definition. */
static void
edges_link(struct parser *p, const struct raw_edge *raw, uint32_t n)
{
	uint32_t n_nodes = p->flow->n_nodes;
	struct edge *all = arena_array(p->a, n + 1, sizeof(*all));
	struct edge **at = arena_array(p->a, n_nodes, sizeof(*at));

	for (uint32_t i = 0; i < n; i++)
		p->nodes[raw[i].from].n_out += (uint32_t)raw[i].good;
	for (uint32_t i = 0; i < n_nodes; i++) {
		at[i] = all;
		p->nodes[i].out = all;
		all += p->nodes[i].n_out;
	}
	for (uint32_t i = 0; i < n; i++) {
		struct node *from = &p->nodes[raw[i].from];

		if (!raw[i].good)
			continue;
		*at[raw[i].from]++ =
		    (struct edge){ .to = raw[i].to, .port = raw[i].port };
		p->nodes[raw[i].to].n_in++;
		if (raw[i].port == PORT_ERROR)
			from->on_error = 1;
	}
}

/* The same edge twice; stamp[to] is the last (node, port) that led there. */
static void
edges_twice(struct parser *p, const struct raw_edge *raw, uint32_t n)
{
	struct json_path edges = { .key = STR("edges") };
	struct json *seen = json_object(p->a);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t key[3] = { raw[i].from, raw[i].to, raw[i].port };
		struct str s = { (const char *)key, sizeof(key) };

		if (!raw[i].good)
			continue;
		if (json_get_str(seen, s) != NULL)
			problem(p, AT_ITEM(&edges, i), NULL,
			    "this edge is there already");
		json_set_str(p->a, seen, s, json_null());
	}
}

/* A cycle among the nodes that have no place in the order, named. */
static void
cycle_report(struct parser *p, const uint32_t *left)
{
	uint32_t n = p->flow->n_nodes, node = 0, next = 0;
	uint8_t *seen = arena_zalloc(p->a, n);
	char text[400];
	size_t len = 0;
	uint32_t first, steps = 0;
	uint32_t *back = arena_zalloc(p->a, n * sizeof(*back));

	/* Every node left has a predecessor that is left: go back until one
	 * comes again; forward from there, the way is the cycle. */
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t j = 0; left[i] > 0 && j < p->nodes[i].n_out; j++)
			back[p->nodes[i].out[j].to] = i;
	while (left[node] == 0)
		node++;
	while (!seen[node]) {
		seen[node] = 1;
		node = back[node];
	}
	memset(seen, 0, n);
	first = node;
	/* back[] leads against the edges: number the way, then turn it. */
	for (; !seen[node]; node = back[node], steps++)
		seen[node] = 1;
	for (uint32_t i = 0; i <= steps && len + 80 < sizeof(text); i++) {
		next = first;
		for (uint32_t j = i; j < steps && i > 0; j++)
			next = back[next];
		memcpy(text + len, i > 0 ? " -> " : "", i > 0 ? 4 : 0);
		len += i > 0 ? 4 : 0;
		memcpy(text + len, p->nodes[next].id.s, p->nodes[next].id.n);
		len += p->nodes[next].id.n;
	}
	problem(p, AT_KEY(NULL, "edges"), NULL, "a cycle: %.*s%s", (int)len,
	    text, next == first ? "" : " -> ...");
}

/* Kahn's: each node after all that lead to it. NULL: there is a cycle. */
static uint32_t *
order_make(struct parser *p)
{
	uint32_t n = p->flow->n_nodes, done = 0, n_order = 0;
	uint32_t *order = arena_array(p->a, n, sizeof(*order));
	uint32_t *left = arena_array(p->a, n, sizeof(*left));

	for (uint32_t i = 0; i < n; i++) {
		left[i] = p->nodes[i].n_in;
		if (left[i] == 0)
			order[n_order++] = i;
	}
	while (done < n_order) {
		const struct node *node = &p->nodes[order[done++]];

		for (uint32_t i = 0; i < node->n_out; i++)
			if (--left[node->out[i].to] == 0)
				order[n_order++] = node->out[i].to;
	}
	if (n_order == n)
		return order;
	cycle_report(p, left);
	return NULL;
}

/* In this order a node is reached when one before it is. */
static void
reach_check(struct parser *p, const uint32_t *order)
{
	struct json_path nodes = { .key = STR("nodes") };
	uint8_t *reached = arena_zalloc(p->a, p->flow->n_nodes);
	int triggers = 0;

	for (uint32_t i = 0; i < p->flow->n_nodes; i++) {
		const struct node *node = &p->nodes[order[i]];

		if (node_is_trigger(node))
			triggers = reached[order[i]] = 1;
		for (uint32_t j = 0; reached[order[i]] && j < node->n_out; j++)
			reached[node->out[j].to] = 1;
	}
	if (!triggers) {
		problem(p, &nodes, NULL,
		    "no trigger: a \"webhook\" or a \"manual\" node");
		return;
	}
	for (uint32_t i = 0; i < p->flow->n_nodes; i++)
		if (!reached[i])
			problem(p, AT_ITEM(&nodes, i), NULL,
			    "no trigger leads to \"%.*s\"",
			    STR_FMT(p->nodes[i].id));
}

static void
cases_check(struct parser *p)
{
	struct json_path nodes = { .key = STR("nodes") };

	for (uint32_t i = 0; i < p->flow->n_nodes; i++) {
		const struct node *node = &p->nodes[i];
		struct json_path at = { .up = &nodes, .index = i };
		struct json_path cases = { .up = &at, .key = STR("cases") };
		uint8_t used[128] = { 0 };

		if (node->type != NODE_BRANCH)
			continue;
		for (uint32_t j = 0; j < node->n_out; j++)
			used[node->out[j].port % 128] = 1;
		for (uint32_t j = 0; j < node->config->branch.n; j++)
			if (!used[PORT_CASE + j] &&
			    node->config->branch.cases[j].name.n > 0)
				problem(p, AT_ITEM(&cases, j), NULL,
				    "no edge leaves by case \"%.*s\"",
				    STR_FMT(
					node->config->branch.cases[j].name));
	}
}

void
graph_parse(struct parser *p, const struct json *edges)
{
	struct json_path at = { .key = STR("edges") };
	uint32_t n = json_is(edges, JSON_ARRAY) ? edges->n : 0, *order;
	uint32_t before = p->problems->n;
	struct raw_edge *raw = arena_zalloc(p->a, (n + 1) * sizeof(*raw));

	for (uint32_t i = 0; i < n; i++)
		edge_parse(p, AT_ITEM(&at, i), edges->items[i], &raw[i]);
	edges_twice(p, raw, n);
	edges_link(p, raw, n);
	if (p->problems->n == before) /* else they are what is missing */
		cases_check(p);
	order = order_make(p);
	if (order == NULL)
		return;
	if (p->problems->n == before)
		reach_check(p, order);
	graph_refs(p, order);
	if (p->problems->n == 0)
		graph_joins(p, order);
}
