#include "worker/flow/parse-impl.h"

#include <string.h>

/* Whoever is told of what an expression reads. */
struct reader {
	struct parser *p;
	const struct json_path *at;
	const char *pointer; /* made once */
};

static void
read_step(struct reader *r, struct str step)
{
	struct parser *p = r->p;

	for (uint32_t i = p->n_refs; i-- > 0 && p->refs[i].node == p->node;)
		if (str_eq(p->refs[i].step, step))
			return;
	if (r->pointer == NULL)
		r->pointer = pointer_of(p, r->at);
	if (p->n_refs == p->room_refs) {
		uint32_t room = p->room_refs != 0 ? p->room_refs * 2 : 64;

		p->refs = arena_grow(
		    p->a, p->refs, p->n_refs, room, sizeof(*p->refs));
		p->room_refs = room;
	}
	p->refs[p->n_refs++] = (struct ref){
		.node = p->node,
		.step = arena_str(p->a, step),
		.pointer = r->pointer,
	};
}

static int
name_is_good(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.s[i], lower = (char)(c | 0x20);

		if ((lower < 'a' || lower > 'z') && c != '_' &&
		    (i == 0 || c < '0' || c > '9'))
			return 0;
	}
	return s.n > 0 && s.n <= 63;
}

/* Into a list of names, once. */
static void
name_add(
    struct parser *p, const struct str **list, uint32_t *n, struct str name)
{
	for (uint32_t i = 0; i < *n; i++)
		if (str_eq((*list)[i], name))
			return;
	*list = arena_grow(
	    p->a, (void *)(uintptr_t)*list, *n, *n + 1, sizeof(**list));
	((struct str *)(uintptr_t)*list)[(*n)++] = name;
}

static void
read_secret(struct reader *r, struct str name)
{
	struct parser *p = r->p;
	struct node *node = &p->nodes[p->node];

	if (node->type != NODE_HTTP_CALL) {
		problem(p, r->at, NULL, "only an http_call may use secrets");
	} else if (name.s == NULL) {
		problem(p, r->at, "name the secret: secrets.NAME",
		    "it reads all secrets");
	} else if (!name_is_good(name)) {
		problem(p, r->at, "letters, digits and _, at most 63 of them",
		    "\"%.*s\" is not a secret's name",
		    (int)(name.n < 100 ? name.n : 100), name.s);
	} else {
		name = arena_str(p->a, name);
		name_add(p, &node->secrets, &node->n_secrets, name);
		name_add(p, &p->flow->secrets, &p->flow->n_secrets, name);
	}
}

static void
read_unknown(struct reader *r, struct str root)
{
	struct suggest s;

	suggest_init(&s, root);
	suggest_add(&s, STR("input"));
	suggest_add(&s, STR("steps"));
	suggest_add(&s, STR("run"));
	suggest_add(&s, STR("secrets"));
	problem(r->p, r->at, hint_of(r->p, &s),
	    "unknown name \"%.*s\": there are input, steps, run and secrets",
	    (int)(root.n < 100 ? root.n : 100), root.s);
}

static void
read_ref(void *arg, struct str root, struct str name)
{
	struct reader *r = arg;

	if (root.s == NULL)
		problem(r->p, r->at, "name what it reads: input, steps.ID, run",
		    "it reads everything there is");
	else if (str_is(root, "input"))
		r->p->nodes[r->p->node].reads_input = 1;
	else if (str_is(root, "secrets"))
		read_secret(r, name);
	else if (str_is(root, "steps") && name.s == NULL)
		problem(r->p, r->at, "name the step: steps.ID.output",
		    "it reads the outputs of all steps");
	else if (str_is(root, "steps"))
		read_step(r, name);
	else if (!str_is(root, "run"))
		read_unknown(r, root);
}

struct expr *
want_expr(struct parser *p, const struct json_path *at, const struct json *v)
{
	struct reader r = { .p = p, .at = at };
	struct expr *expr = NULL;
	struct error err;

	if (want(p, at, v, JSON_STRING) < 0)
		return NULL;
	if (expr_compile(p->a, json_str(v), &expr, &err) < 0) {
		problem(p, at,
		    memmem(v->s, v->n, "{{", 2) != NULL
			? "an expression stands without {{ }}"
			: NULL,
		    "%s", err.text);
		return NULL;
	}
	expr_refs(expr, read_ref, &r);
	return expr;
}

struct template *
want_template(
    struct parser *p, const struct json_path *at, const struct json *v)
{
	struct reader r = { .p = p, .at = at };
	struct template *t = NULL;
	struct error err;

	if (template_compile(p->a, v, &t, &err) < 0) {
		problem(p, at, NULL, "%s", err.text);
		return NULL;
	}
	if (json_storable(v, &err) < 0) {
		problem(p, at, NULL, "%s", err.text);
		return NULL;
	}
	template_refs(t, read_ref, &r);
	return t;
}

struct template *
want_text(struct parser *p, const struct json_path *at, const struct json *v)
{
	if (want(p, at, v, JSON_STRING) < 0)
		return NULL;
	return want_template(p, at, v);
}
