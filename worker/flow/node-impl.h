#pragma once
/* What node.c shares with node-http.c. */
#include "worker/flow/flow-impl.h"
#include "worker/flow/node.h"

struct beginning {
	struct arena *a;
	const struct flow *flow;
	const struct node *node;
	const struct context *context;
	struct json *data; /* the document of its templates */
	int64_t now_ms;
	struct effect *out;
};
typedef int begin_fn(
    struct beginning *b, const union node_config *c, struct error *err);
begin_fn http_begin;

/* The effect of an error that is the step's own. Returns 0. */
int node_fails(struct effect *out, struct arena *a, const struct error *err);
/* NULL for no template. What jsonb can't hold is an error. */
int node_render(struct beginning *b, const struct template *t,
    enum template_mode mode, struct json **out, struct error *err);
/* As it is put into a text: a string bare, null as nothing. */
struct str node_text(struct arena *a, const struct json *v);
