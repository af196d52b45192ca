#include "worker/flow/mask.h"
#include "worker/flow/parse-impl.h"

#include <string.h>

static const char *const type_names[] = {
	[NODE_WEBHOOK] = "webhook",
	[NODE_MANUAL] = "manual",
	[NODE_TRANSFORM] = "transform",
	[NODE_BRANCH] = "branch",
	[NODE_HTTP_CALL] = "http_call",
	[NODE_DELAY] = "delay",
	[NODE_TERMINATE] = "terminate",
	[NODE_LOG] = "log",
	[N_NODE_TYPES] = NULL,
};

const char *
node_type_name(enum node_type type)
{
	return type_names[type];
}

int32_t
flow_find(const struct flow *flow, struct str id)
{
	int64_t at;

	if (json_integer(json_get_str(flow->ids, id), &at) == 0)
		return (int32_t)at;
	return str_is(id, "$end") ? (int32_t)flow->n_nodes : -1;
}

int
branch_port(const struct node *node, struct str name)
{
	uint32_t n = node->config->branch.n;

	if (str_is(name, "else"))
		return PORT_CASE + (int)n;
	for (uint32_t i = 0; i < n; i++)
		if (str_eq(node->config->branch.cases[i].name, name))
			return PORT_CASE + (int)i;
	return -1;
}

static void
field_name(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	struct str s = json_str(v);
	int good = s.n > 0 && s.n <= 63;

	(void)into;
	if (want(p, at, v, JSON_STRING) < 0)
		return;
	for (size_t i = 0; good && i < s.n; i++)
		good = (s.s[i] >= 'a' && s.s[i] <= 'z') ||
		    (s.s[i] >= '0' && s.s[i] <= '9') ||
		    (i > 0 && (s.s[i] == '_' || s.s[i] == '-'));
	if (!good)
		problem(p, at,
		    "lower-case letters, digits, _ and -, at most 63 of them",
		    "\"%.*s\" is not a workflow's name",
		    (int)(s.n < 100 ? s.n : 100), s.s);
	p->flow->name = s;
}

/* The id, and 0 when it is free. */
static int
node_id(struct parser *p, const struct json_path *at, const struct json *v,
    struct node *node)
{
	struct json *ids = (struct json *)p->flow->ids;
	struct json_path here = { .up = at, .key = STR("id") };
	const struct json *id = json_get(v, "id");
	int64_t other;

	if (id == NULL || want_name(p, &here, id, &node->id) < 0)
		return -1;
	if (json_integer(json_get_str(ids, node->id), &other) == 0) {
		problem(p, &here, NULL, "\"%.*s\" is the id of /nodes/%lld too",
		    STR_FMT(node->id), (long long)other);
		return -1;
	}
	json_set_str(p->a, ids, node->id, json_int(p->a, p->node));
	return 0;
}

/* -1: without an id and a type there is no saying what leads to it. */
static int
node_parse(struct parser *p, const struct json_path *at, const struct json *v)
{
	struct node *node = &p->nodes[p->node];
	struct json_path here = { .up = at, .key = STR("type") };
	const struct json *type = json_get(v, "type");
	int at_type = 0;

	node->config = arena_zalloc(p->a, sizeof(*node->config));
	if (want(p, at, v, JSON_OBJECT) < 0)
		return -1;
	if (type == NULL)
		problem(p, at, NULL, "\"type\" is missing");
	if (node_id(p, at, v, node) < 0 || type == NULL)
		p->unsound = 1;
	if (type == NULL || want_word(p, &here, type, type_names, &at_type) < 0)
		return -1;
	node->type = (enum node_type)at_type;
	fields_parse(p, at, v, node_fields[node->type],
	    (union node_config *)node->config);
	node_check(p, at, v, node);
	return node->type == NODE_BRANCH && node->config->branch.n == 0 ? -1
									: 0;
}

static void
field_nodes(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	(void)into;
	if (want(p, at, v, JSON_ARRAY) < 0)
		return;
	if (v->n == 0 || v->n > FLOW_NODES) {
		problem(p, at, NULL, "must have from 1 to %d nodes, has %u",
		    FLOW_NODES, v->n);
		return;
	}
	p->nodes = arena_zalloc(p->a, (v->n + 1) * sizeof(*p->nodes));
	p->flow->n_nodes = v->n;
	for (p->node = 0; p->node < v->n; p->node++)
		p->unsound |=
		    node_parse(p, AT_ITEM(at, p->node), v->items[p->node]) < 0;
	p->nodes[v->n].id = STR("$end");
	p->nodes[v->n].type = N_NODE_TYPES;
}

static void
field_edges(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	(void)into;
	if (want(p, at, v, JSON_ARRAY) == 0 && v->n > FLOW_EDGES)
		problem(p, at, NULL, "must have at most %d edges, has %u",
		    FLOW_EDGES, v->n);
}

static void
field_deadline(struct parser *p, const struct json_path *at,
    const struct json *v, void *into)
{
	(void)v;
	(void)into;
	problem(p, at, "an http_call may have a \"deadline\"",
	    "a workflow's deadline is not available yet");
}

/* Kinds of personal data that aren't recorded. */
static void
field_redact(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	struct flow *flow = into;

	if (want(p, at, v, JSON_ARRAY) < 0)
		return;
	for (uint32_t i = 0; i < v->n; i++) {
		struct json_path here = { .up = at, .index = i };
		unsigned kind = 0;

		if (want(p, &here, v->items[i], JSON_STRING) < 0)
			continue;
		kind = mask_kind(json_str(v->items[i]));
		if (kind == 0)
			problem(p, &here, NULL,
			    "must be one of email, card, iban, ssn, phone");
		flow->redact |= kind;
	}
}

static const struct field fields[] = {
	{ "$schema", field_text, 0 }, /* for editors */
	{ "name", field_name, 1 },
	{ "description", field_text, 0 },
	{ "nodes", field_nodes, 1 },
	{ "edges", field_edges, 0 },
	{ "deadline", field_deadline, 0 },
	{ "redact", field_redact, 0 },
	{ NULL, NULL, 0 },
};

int
flow_parse(struct arena *a, const struct json *definition, struct flow **out,
    struct problems *problems)
{
	struct flow *flow = arena_zalloc(a, sizeof(*flow));
	struct parser p = { .a = a, .problems = problems, .flow = flow };
	uint32_t before = problems->n;

	flow->definition = definition;
	flow->ids = json_object(a);
	if (fields_parse(&p, NULL, definition, fields, flow) < 0 ||
	    p.nodes == NULL || p.unsound)
		return -1;
	flow->nodes = p.nodes;
	graph_parse(&p, json_get(definition, "edges"));
	if (problems->n > before)
		return -1;
	*out = flow;
	return 0;
}
