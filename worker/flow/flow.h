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

struct expr;
struct template;

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
	uint16_t port;
};

struct node {
	struct str id;
	enum node_type type;
	const struct edge *out;
	uint32_t n_out;
	uint32_t n_in; /* > 1: a join, counted in a row of steps */
	union node_config *config; /* by type; worker/flow/node.c knows it */
	struct retry_policy retry; /* max_attempts 1 unless it says so */
	/* What the message of this step says (decisions/0001): closed over the
	 * steps that are inlined behind it. Indexes of nodes. */
	const uint32_t *reads;
	uint32_t n_reads;
	const uint32_t *joins;
	uint32_t n_joins;
	int reads_input;
};

struct flow {
	struct str name;
	const struct node *nodes;
	uint32_t n_nodes;
	const struct json *definition;
	int64_t deadline_ms; /* of a run; 0: none */
	/* private: id -> index */
	const uint32_t *by_id;
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

/* 0 and *out, or -1 and at least one problem. Caps: 10,000 nodes (more for
 * benches by limits), 1 MiB of text, 64 levels. */
int flow_parse(struct arena *a, const struct json *definition,
    struct flow **out, struct problems *problems);

/* The node's index; -1: no such id. */
int32_t flow_find(const struct flow *flow, struct str id);
const char *node_type_name(enum node_type type);

/*
 * The plan that publishing stores: for each trigger, what start_run appends
 * after run.started (see the comment on meshhook.versions.plan).
 */
int flow_plan(struct arena *a, const struct flow *flow, struct json **out,
    struct error *err);
