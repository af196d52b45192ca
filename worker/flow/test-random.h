#pragma once
/* Numbers, and workflows made of them: the same for the same seed. */
#include "worker/flow/test-flow.h"

static inline uint64_t
random_next(uint64_t *state) /* splitmix64 */
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static inline uint32_t
random_below(uint64_t *state, uint32_t n)
{
	return (uint32_t)(random_next(state) % n);
}

static inline int
random_chance(uint64_t *state, uint32_t percent)
{
	return random_below(state, 100) < percent;
}

struct random_node {
	char type; /* Hook Manual Transform Branch http(C) Delay end(X) Log */
	uint32_t cases, cases_used;
	int32_t reads; /* a node before it, or -1 */
};

struct random_flow {
	uint64_t *seed;
	struct arena *a;
	struct json *nodes, *edges;
	struct random_node node[64];
	uint32_t n;
};

static inline void
random_edge(struct random_flow *f, uint32_t from, uint32_t to)
{
	struct random_node *n = &f->node[from];
	char on[16] = "success";
	struct json *e;

	if (n->type == 'B') {
		uint32_t port = random_below(f->seed, n->cases + 1);

		if (port == n->cases)
			snprintf(on, sizeof(on), "else");
		else
			snprintf(on, sizeof(on), "c%u", port);
		n->cases_used |= 1U << port;
	}
	if (n->type != 'H' && n->type != 'M' && random_chance(f->seed, 15))
		snprintf(on, sizeof(on), "error");
	e = flow_json(f->a,
	    arena_printf(
		f->a, "{'from':'n%u','to':'n%u','on':'%s'}", from, to, on));
	for (uint32_t i = 0; i < f->edges->n; i++)
		if (json_equal(f->edges->items[i], e))
			return;
	json_push(f->a, f->edges, e);
}

/* What a step of the sort may look at: the answer before it, or the input. */
static inline const char *
random_value(struct random_flow *f, const struct random_node *n)
{
	if (n->reads < 0)
		return "input.v";
	return arena_printf(
	    f->a, "(steps.n%d.output.body.v || input.v)", n->reads);
}

static inline const char *
random_cases(struct random_flow *f, struct random_node *n, const char *value)
{
	const char *s = "";

	n->cases = 1 + random_below(f->seed, 3);
	for (uint32_t i = 0; i < n->cases; i++)
		s = arena_printf(f->a, "%s%s{'name':'c%u','when':'%s == `%u`'}",
		    s, i > 0 ? "," : "", i, value, i);
	return s;
}

static inline const char *
random_fields(struct random_flow *f, struct random_node *n)
{
	const char *v = random_value(f, n);

	switch (n->type) {
	case 'T':
		if (random_chance(f->seed, 4))
			return "'transform','expression':'abs(input.s)'";
		return arena_printf(
		    f->a, "'transform','output':{'body':{'v':'{{ %s }}'}}", v);
	case 'B':
		return arena_printf(
		    f->a, "'branch','cases':[%s]", random_cases(f, n, v));
	case 'D':
		return random_chance(f->seed, 80)
		    ? "'delay','for':'3s'"
		    : "'delay','until':'{{ input.s }}'";
	case 'L':
		return arena_printf(f->a, "'log','message':'now {{ %s }}'", v);
	case 'X':
		return random_chance(f->seed, 50)
		    ? "'terminate','status':'failed','message':'no'"
		    : "'terminate','status':'succeeded'";
	default:
		return arena_printf(f->a,
		    "'http_call','url':'http://h/{{ %s }}'%s%s", v,
		    random_chance(f->seed, 60)
			? ",'retry':{'attempts':3,'backoff':'2s'}"
			: "",
		    random_chance(f->seed, 20) ? ",'deadline':'5s'" : "");
	}
}

static inline void
random_node_add(struct random_flow *f, int leaf)
{
	static const char types[] = "CCCCCTTTBBBBDLX";
	uint32_t i = f->n++, n_before = i, preds;
	struct random_node *n = &f->node[i];

	n->type = types[random_below(f->seed, sizeof(types) - 1)];
	if (leaf)
		n->type = 'C';
	n->reads = -1;
	preds = leaf ? 0 : 1 + random_below(f->seed, 3);
	for (uint32_t k = 0; k < preds; k++) {
		uint32_t from = random_below(f->seed, n_before);

		if (f->node[from].type == 'X')
			from = 0;
		random_edge(f, from, i);
		if (f->node[from].type != 'H' && f->node[from].type != 'M')
			n->reads = (int32_t)from;
	}
	json_push(f->a, f->nodes,
	    flow_json(f->a,
		arena_printf(
		    f->a, "{'id':'n%u','type':%s}", i, random_fields(f, n))));
}

/* The cases that no edge took get a step of their own. */
static inline void
random_cases_close(struct random_flow *f)
{
	uint32_t n = f->n;

	for (uint32_t i = 0; i < n; i++)
		for (uint32_t c = 0; c < f->node[i].cases; c++) {
			random_node_add(f, 1);
			json_push(f->a, f->edges,
			    flow_json(f->a,
				arena_printf(f->a,
				    "{'from':'n%u','to':'n%u','on':'c%u'}", i,
				    f->n - 1, c)));
		}
}

static inline struct json *
random_definition(struct arena *a, uint64_t *seed)
{
	struct random_flow f = { .seed = seed, .a = a };
	struct json *def = json_object(a);
	uint32_t n = 1 + random_below(seed, 14);

	f.nodes = json_array(a);
	f.edges = json_array(a);
	f.node[f.n++].type = 'H';
	json_push(a, f.nodes, flow_json(a, "{'id':'n0','type':'webhook'}"));
	if (random_chance(seed, 30)) {
		f.node[f.n++].type = 'M';
		json_push(
		    a, f.nodes, flow_json(a, "{'id':'n1','type':'manual'}"));
	}
	for (uint32_t i = 0; i < n; i++)
		random_node_add(&f, 0);
	random_cases_close(&f);
	json_set(a, def, "name", json_cstring(a, "random"));
	json_set(a, def, "nodes", f.nodes);
	json_set(a, def, "edges", f.edges);
	return def;
}
