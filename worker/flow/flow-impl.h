#pragma once
/*
 * What the nodes' configurations hold once parsed; nodes.c and parse*.c alone
 * look into them.
 */
#include "core/suggest.h"
#include "worker/flow/expr.h"
#include "worker/flow/flow.h"
#include "worker/flow/template.h"

struct branch_case {
	struct str name;
	const struct expr *when;
};

struct pair { /* a query parameter or a header */
	struct str name;
	const struct template *value;
	int secret; /* it reads one */
};

union node_config {
	struct {
		const struct expr *expression; /* or: */
		const struct template *output;
	} transform;
	struct {
		struct branch_case *cases;
		uint32_t n;
	} branch;
	struct {
		struct str method;
		const struct template *url;
		struct pair *query, *headers;
		uint32_t n_query, n_headers;
		const struct template *body;
		const struct template *body_text;
		int64_t timeout_ms, deadline_ms;
		int max_redirects;
		int body_secret; /* the body reads one */
	} http;
	struct {
		int64_t for_ms;
		const struct template *until; /* or NULL */
	} delay;
	struct {
		int failed;
		const struct template *output;
		const struct template *message;
	} terminate;
	struct {
		int level;
		const struct template *message;
		const struct template *attributes;
	} log;
};

/* The port of a branch's case, or of "else"; -1: no such case. */
int branch_port(const struct node *node, struct str name);
