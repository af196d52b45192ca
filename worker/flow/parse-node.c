#include "worker/flow/mask.h"
#include "worker/flow/parse-impl.h"

enum { CASES = 100, REDACT_PATHS = 100 };
static const int64_t DAY = 86400000;

static void
transform_expression(struct parser *p, const struct json_path *at,
    const struct json *v, void *into)
{
	union node_config *c = into;

	c->transform.expression = want_expr(p, at, v);
}

static void
transform_output(struct parser *p, const struct json_path *at,
    const struct json *v, void *into)
{
	union node_config *c = into;

	c->transform.output = want_template(p, at, v);
}

static void
case_name(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	struct branch_case *c = into;

	if (want_name(p, at, v, &c->name) < 0)
		return;
	if (str_is(c->name, "else") || str_is(c->name, "error") ||
	    str_is(c->name, "success"))
		problem(p, at, NULL, "\"%.*s\" means something else on an edge",
		    STR_FMT(c->name));
}

static void
case_when(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	((struct branch_case *)into)->when = want_expr(p, at, v);
}

static const struct field case_fields[] = {
	{ "name", case_name, 1 },
	{ "when", case_when, 1 },
	{ NULL, NULL, 0 },
};

static void
branch_cases(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	union node_config *c = into;

	if (want(p, at, v, JSON_ARRAY) < 0)
		return;
	if (v->n < 1 || v->n > CASES) {
		problem(p, at, NULL, "must have from 1 to %d cases", CASES);
		return;
	}
	c->branch.cases = arena_zalloc(p->a, v->n * sizeof(*c->branch.cases));
	for (uint32_t i = 0; i < v->n; i++) {
		struct json_path here = { .up = at, .index = i };
		struct branch_case *one = &c->branch.cases[i];

		fields_parse(p, &here, v->items[i], case_fields, one);
		for (uint32_t j = 0; j < i && one->name.n > 0; j++)
			if (str_eq(c->branch.cases[j].name, one->name))
				problem(p, AT_KEY(&here, "name"), NULL,
				    "\"%.*s\" is a case already",
				    STR_FMT(one->name));
	}
	c->branch.n = v->n;
}

static void
delay_for(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	union node_config *c = into;

	want_duration(p, at, v, 365 * DAY, &c->delay.for_ms);
}

static void
delay_until(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	union node_config *c = into;

	c->delay.until = want_text(p, at, v);
}

static void
end_status(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	static const char *const words[] = { "succeeded", "failed", NULL };
	union node_config *c = into;

	want_word(p, at, v, words, &c->terminate.failed);
}

static void
end_output(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	union node_config *c = into;

	c->terminate.output = want_template(p, at, v);
}

static void
end_message(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	union node_config *c = into;

	c->terminate.message = want_text(p, at, v);
}

static void
log_level(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	static const char *const words[] = { "trace", "debug", "info", "warn",
		"error", "fatal", NULL };
	union node_config *c = into;
	int i;

	if (want_word(p, at, v, words, &i) == 0)
		c->log.level = 1 + 4 * i; /* as OpenTelemetry numbers them */
}

static void
log_message(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	union node_config *c = into;

	c->log.message = want_text(p, at, v);
}

static void
log_attributes(struct parser *p, const struct json_path *at,
    const struct json *v, void *into)
{
	union node_config *c = into;

	if (want(p, at, v, JSON_OBJECT) == 0)
		c->log.attributes = want_template(p, at, v);
}

/* Places of the step's output that aren't recorded. */
static void
node_redact(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	struct node *node = &p->nodes[p->node];
	struct str *paths;

	(void)into;
	if (want(p, at, v, JSON_ARRAY) < 0)
		return;
	if (v->n > REDACT_PATHS) {
		problem(
		    p, at, NULL, "must have at most %d places", REDACT_PATHS);
		return;
	}
	paths = arena_array(p->a, v->n, sizeof(*paths));
	for (uint32_t i = 0; i < v->n; i++) {
		struct json_path here = { .up = at, .index = i };

		if (want(p, &here, v->items[i], JSON_STRING) == 0 &&
		    mask_path_check(json_str(v->items[i])) < 0)
			problem(p, &here, "as in body.user.email, items[*].id",
			    "is not a place in an output");
		paths[i] = json_str(v->items[i]);
	}
	node->redact = paths;
	node->n_redact = v->n;
}

/* What every node has; node_parse reads the first two. */
#define COMMON                                                                 \
	{ "id", NULL, 1 }, { "type", NULL, 0 },                                \
	{                                                                      \
		"description", field_text, 0                                   \
	}
#define LAST                                                                   \
	{                                                                      \
		NULL, NULL, 0                                                  \
	}

static const struct field trigger_fields[] = { COMMON, LAST };
static const struct field transform_fields[] = {
	COMMON,
	{ "expression", transform_expression, 0 },
	{ "output", transform_output, 0 },
	{ "redact", node_redact, 0 },
	LAST,
};
static const struct field branch_fields[] = {
	COMMON,
	{ "cases", branch_cases, 1 },
	LAST,
};
static const struct field delay_fields[] = {
	COMMON,
	{ "for", delay_for, 0 },
	{ "until", delay_until, 0 },
	LAST,
};
static const struct field terminate_fields[] = {
	COMMON,
	{ "status", end_status, 1 },
	{ "output", end_output, 0 },
	{ "message", end_message, 0 },
	LAST,
};
static const struct field log_fields[] = {
	COMMON,
	{ "level", log_level, 0 },
	{ "message", log_message, 1 },
	{ "attributes", log_attributes, 0 },
	LAST,
};
static const struct field http_fields[] = {
	COMMON,
	{ "method", http_method, 0 },
	{ "url", http_url, 1 },
	{ "query", http_query, 0 },
	{ "headers", http_headers, 0 },
	{ "body", http_body, 0 },
	{ "body_text", http_body_text, 0 },
	{ "timeout", http_timeout, 0 },
	{ "deadline", http_deadline, 0 },
	{ "redirects", http_redirects, 0 },
	{ "retry", retry_parse, 0 },
	{ "redact", node_redact, 0 },
	LAST,
};

const struct field *const node_fields[N_NODE_TYPES] = {
	[NODE_WEBHOOK] = trigger_fields,
	[NODE_MANUAL] = trigger_fields,
	[NODE_TRANSFORM] = transform_fields,
	[NODE_BRANCH] = branch_fields,
	[NODE_HTTP_CALL] = http_fields,
	[NODE_DELAY] = delay_fields,
	[NODE_TERMINATE] = terminate_fields,
	[NODE_LOG] = log_fields,
};

/* Exactly one (or at most one) of two fields. */
static void
either(struct parser *p, const struct json_path *at, const struct json *v,
    const char *x, const char *y)
{
	int n = (json_get(v, x) != NULL) + (json_get(v, y) != NULL);

	if (n != 1)
		problem(p, at, NULL, "must have %s \"%s\" or \"%s\"%s",
		    n == 0 ? "either" : "only one of", x, y,
		    n == 0 ? "" : ", has both");
}

void
node_check(struct parser *p, const struct json_path *at, const struct json *v,
    struct node *node)
{
	union node_config *c = (union node_config *)node->config;

	if (node->type == NODE_TRANSFORM)
		either(p, at, v, "expression", "output");
	if (node->type == NODE_DELAY)
		either(p, at, v, "for", "until");
	if (node->type == NODE_LOG && c->log.level == 0)
		c->log.level = 9;
	if (node->type == NODE_HTTP_CALL)
		http_check(p, at, v, c);
}
