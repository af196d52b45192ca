#include "worker/flow/node.h"

#include <string.h>

#include "core/time.h"
#include "worker/flow/flow-impl.h"
#include "worker/flow/node-impl.h"

enum { LOG_MESSAGE = 16 << 10 };

int
node_is_inline(const struct node *node)
{
	switch (node->type) {
	case NODE_TRANSFORM:
	case NODE_BRANCH:
	case NODE_DELAY:
	case NODE_TERMINATE:
	case NODE_LOG:
		return 1;
	case NODE_WEBHOOK:
	case NODE_MANUAL:
	case NODE_HTTP_CALL:
	case N_NODE_TYPES:
		break;
	}
	return 0;
}

int
node_fails(struct effect *out, struct arena *a, const struct error *err)
{
	out->type = EFFECT_FAIL;
	out->code = arena_strdup(a, err->code);
	out->message = arena_strdup(a, err->text);
	return 0;
}

int
node_render(struct beginning *b, const struct template *t,
    enum template_mode mode, struct json **out, struct error *err)
{
	*out = NULL;
	if (t == NULL)
		return 0;
	if (template_render(b->a, t, b->data, NULL, mode, out, err) < 0)
		return -1;
	if (json_storable(*out, err) < 0) {
		struct error why = *err;

		return fail(err, FAULT_INPUT, "unstorable", "%s", why.text);
	}
	return 0;
}

struct str
node_text(struct arena *a, const struct json *v)
{
	if (json_is(v, JSON_STRING))
		return json_str(v);
	if (v == NULL || json_is(v, JSON_NULL))
		return STR("");
	return json_text(a, v);
}

/* 1: found, and *out may be NULL. */
static int
output_find(
    const struct context *context, uint32_t node, const struct json **out)
{
	if (context->folded != NULL && run_output(context->folded, node, out))
		return 1;
	for (uint32_t i = 0; i < context->n_outputs; i++)
		if (context->which[i] == node) {
			*out = context->outputs[i];
			return 1;
		}
	return 0;
}

/* The document of the step's templates; only what it reads is in it. */
static int
document_make(
    struct beginning *b, const struct node *node, const struct context *context)
{
	struct json *steps = json_object(b->a), *o;
	const struct json *output;

	if ((node->reads_input && context->input == NULL) ||
	    (node->n_secrets > 0 && context->secrets == NULL))
		return NODE_OUT_NOT_LOADED;
	for (uint32_t i = 0; i < node->n_reads; i++) {
		if (!output_find(context, node->reads[i], &output))
			return NODE_OUT_NOT_LOADED;
		o = json_object(b->a);
		json_set(b->a, o, "output", (struct json *)output);
		json_set_str(b->a, steps, b->flow->nodes[node->reads[i]].id, o);
	}
	b->data = json_object(b->a);
	json_set(b->a, b->data, "input", (struct json *)context->input);
	json_set(b->a, b->data, "steps", steps);
	json_set(b->a, b->data, "run", (struct json *)context->run);
	if (node->n_secrets > 0)
		json_set(
		    b->a, b->data, "secrets", (struct json *)context->secrets);
	return 0;
}

static int
transform_begin(
    struct beginning *b, const union node_config *c, struct error *err)
{
	struct json *out;

	if (c->transform.expression == NULL) {
		if (node_render(
			b, c->transform.output, TEMPLATE_PLAIN, &out, err) < 0)
			return -1;
	} else {
		if (expr_eval(b->a, c->transform.expression, b->data, NULL,
			&out, err) < 0)
			return -1;
		if (json_storable(out, err) < 0) {
			struct error why = *err;

			return fail(
			    err, FAULT_INPUT, "unstorable", "%s", why.text);
		}
	}
	b->out->output = out;
	return 0;
}

/* JMESPath: null, false, "", [] and {} are false. */
static int
is_true(const struct json *v)
{
	if (json_is(v, JSON_TRUE) || json_is(v, JSON_NUMBER))
		return 1;
	return v != NULL && v->type > JSON_NUMBER && v->n > 0;
}

static int
branch_begin(struct beginning *b, const union node_config *c, struct error *err)
{
	struct str name = STR("else");
	struct json *o = json_object(b->a), *v;

	for (uint32_t i = 0; i < c->branch.n; i++) {
		if (expr_eval(b->a, c->branch.cases[i].when, b->data, NULL, &v,
			err) < 0)
			return fail_in(err,
			    arena_printf(b->a, "case \"%.*s\"",
				STR_FMT(c->branch.cases[i].name)));
		if (is_true(v)) {
			name = c->branch.cases[i].name;
			break;
		}
	}
	json_set(b->a, o, "case", json_string(b->a, name));
	b->out->output = o;
	return 0;
}

static int
delay_begin(struct beginning *b, const union node_config *c, struct error *err)
{
	struct json *v;
	struct str text;

	b->out->type = EFFECT_WAIT;
	b->out->until_ms = b->now_ms + c->delay.for_ms;
	if (c->delay.until == NULL)
		return 0;
	if (node_render(b, c->delay.until, TEMPLATE_PLAIN, &v, err) < 0)
		return -1;
	text = node_text(b->a, v);
	if (time_parse(text, &b->out->until_ms) < 0)
		return fail(err, FAULT_INPUT, "invalid-value",
		    "until: \"%.*s\" is not a time (RFC 3339)",
		    (int)(text.n < 100 ? text.n : 100), text.s);
	return 0;
}

static int
terminate_begin(
    struct beginning *b, const union node_config *c, struct error *err)
{
	struct json *o = json_object(b->a), *v;

	if (node_render(b, c->terminate.output, TEMPLATE_PLAIN, &v, err) < 0)
		return -1;
	if (v != NULL)
		json_set(b->a, o, "output", v);
	if (node_render(b, c->terminate.message, TEMPLATE_PLAIN, &v, err) < 0)
		return -1;
	if (v != NULL)
		json_set(
		    b->a, o, "message", json_string(b->a, node_text(b->a, v)));
	b->out->output = o;
	return 0;
}

static int
log_begin(struct beginning *b, const union node_config *c, struct error *err)
{
	struct json *v;
	struct str text;

	if (node_render(b, c->log.message, TEMPLATE_PLAIN, &v, err) < 0)
		return -1;
	text = node_text(b->a, v);
	if (text.n > LOG_MESSAGE) {
		text.n = LOG_MESSAGE;
		while (((unsigned char)text.s[text.n] & 0xc0) == 0x80)
			text.n--; /* whole characters */
	}
	if (node_render(b, c->log.attributes, TEMPLATE_PLAIN, &v, err) < 0)
		return -1;
	b->out->line = (struct log_line){
		.level = c->log.level,
		.message = text,
		.attrs = v,
	};
	return 0;
}

static begin_fn *const begins[N_NODE_TYPES] = {
	[NODE_TRANSFORM] = transform_begin,
	[NODE_BRANCH] = branch_begin,
	[NODE_HTTP_CALL] = http_begin,
	[NODE_DELAY] = delay_begin,
	[NODE_TERMINATE] = terminate_begin,
	[NODE_LOG] = log_begin,
};

int
node_begin(struct arena *a, const struct flow *flow, uint32_t node,
    const struct context *context, int64_t now_ms, struct effect *out,
    struct error *err)
{
	const struct node *n = &flow->nodes[node];
	struct beginning b = {
		.a = a,
		.flow = flow,
		.context = context,
		.node = n,
		.now_ms = now_ms,
		.out = out,
	};

	*out = (struct effect){ .type = EFFECT_DONE };
	if (node >= flow->n_nodes || begins[n->type] == NULL)
		return fail(err, FAULT_BUG, "NODE", "step \"%.*s\" can't begin",
		    STR_FMT(n->id));
	if (document_make(&b, n, context) != 0)
		return NODE_OUT_NOT_LOADED;
	if (begins[n->type](&b, n->config, err) == 0)
		return 0;
	return err->fault == FAULT_INPUT ? node_fails(out, a, err) : -1;
}

void
node_done(struct arena *a, const struct flow *flow,
    const struct message *message, const struct effect *effect, int64_t at_ms,
    struct event *out)
{
	struct json *o = json_object(a);

	json_set(a, o, "step", json_string(a, flow->nodes[message->node].id));
	json_set(a, o, "attempt", json_int(a, message->attempt));
	*out = (struct event){ .type = "step.succeeded", .payload = o };
	switch (effect->type) {
	case EFFECT_DONE:
	case EFFECT_HTTP:
		json_set(a, o, "output", (struct json *)effect->output);
		break;
	case EFFECT_WAIT:
		out->type = "step.waiting";
		json_set(a, o, "until", json_int(a, effect->until_ms));
		break;
	case EFFECT_FAIL:
		out->type = "step.failed";
		json_set(a, o, "code", json_cstring(a, effect->code));
		json_set(a, o, "message", json_cstring(a, effect->message));
		json_set(a, o, "at", json_int(a, at_ms));
		break;
	}
}
