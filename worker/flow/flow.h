#pragma once
/*
 * A workflow definition, parsed and checked: immutable, shared by every run of
 * its version. Nodes are numbered in the order of the definition; an edge
 * leaves a node by a port: "success" and "error", or, from a branch, the name
 * of a case or "else".
 *
 * flow_parse reports every problem it finds, each with a JSON pointer and,
 * where it can, a suggestion; what it accepts can't fail later for a reason
 * that was in the definition. docs/workflow.schema.json is the shape; what a
 * schema can't say (cycles, unknown steps, unreachable nodes, bad expressions,
 * references to steps that don't come before) is checked here too.
 */
#include <stdint.h>

#include "core/arena.h"
#include "core/error.h"
#include "core/json.h"
#include "core/retry.h"

union node_config;

enum { FLOW_NODES = 20000, FLOW_EDGES = 60000 };

enum node_type {
	NODE_WEBHOOK,
	NODE_MANUAL,
	NODE_TRANSFORM,
	NODE_BRANCH,
	NODE_HTTP_CALL,
	NODE_DELAY,
	NODE_TERMINATE,
	NODE_LOG,
	N_NODE_TYPES,
};

enum { PORT_SUCCESS = 0, PORT_ERROR = 1, PORT_CASE = 2 /* and up */ };

struct edge {
	uint32_t to;
	uint16_t port; /* PORT_CASE + n_cases is a branch's "else" */
};

struct node {
	struct str id;
	enum node_type type;
	unsigned is_join : 1; /* edges from more than one step: a row counts */
	/* Joins, and steps behind which very many joins lie: when all their edges
	 * are dead they are skipped by a message of their own, so that what
	 * the end of one step may move is bounded. */
	unsigned skip_by_message : 1;
	unsigned on_error : 1; /* an edge leaves by "error" */
	unsigned reads_input : 1;
	const struct edge *out;
	uint32_t n_out;
	uint32_t n_in;
	const union node_config
	    *config; /* by type; worker/flow/node.c knows it */
	const struct retry_policy *retry; /* NULL: one attempt */
	/* Sorted indexes of nodes; of the step alone (message_make closes over
	 * what is inlined behind it). */
	const uint32_t *reads; /* steps whose output its templates name */
	uint32_t n_reads;
	const struct str *secrets; /* names; only http_call has any */
	uint32_t n_secrets;
	const struct str *redact; /* places of its output (mask_path) */
	uint32_t n_redact;
	const uint32_t
	    *joins; /* rows that its end may move; n_nodes: the end */
	uint32_t n_joins;
};

struct flow {
	struct str name;
	/* One more than n_nodes: the last one, "$end", is where the edges of all
	 * steps without successors lead. When they are resolved the run ends. */
	const struct node *nodes;
	uint32_t n_nodes;
	const struct str *secrets; /* that any node uses */
	uint32_t n_secrets;
	unsigned redact; /* kinds of personal data (enum mask_kind) */
	const struct json *definition;
	const struct json *ids; /* private: id -> index */
};

struct problem {
	const char *pointer; /* "/nodes/3/url" */
	const char *text;    /* "unknown step \"claen\"" */
	const char *hint;    /* "did you mean \"clean\"?", or NULL */
};

struct problems {
	struct problem *items;
	uint32_t n, room;
};

/* 0 and *out, or -1 and at least one problem (at most 100 are reported). */
int flow_parse(struct arena *a, const struct json *definition,
    struct flow **out, struct problems *problems);

/* The node's index; -1: no such id. "$end" is n_nodes. */
int32_t flow_find(const struct flow *flow, struct str id);
const char *node_type_name(enum node_type type);
static inline int
node_is_trigger(const struct node *node)
{
	return node->type == NODE_WEBHOOK || node->type == NODE_MANUAL;
}

/*
 * The plan that publishing stores: for each trigger, what start_run appends
 * after run.started (see the comment on meshhook.versions.plan).
 */
int flow_plan(struct arena *a, const struct flow *flow, struct json **out,
    struct error *err);
