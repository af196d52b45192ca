#include "worker/flow/template.h"
#include "worker/flow/template-impl.h"

#include <stdio.h>
#include <string.h>

static int
no_memory(struct arena *a, struct error *err)
{
	return fail(err, FAULT_INPUT, "limit",
	    "takes more than %zu bytes of memory", a->cap);
}

/* Put the place in front of the error. */
static int
fail_at(struct error *err, const struct json_path *at)
{
	char pointer[JSON_POINTER], context[JSON_POINTER + 8];

	if (at == NULL || err == NULL)
		return -1;
	snprintf(
	    context, sizeof(context), "at \"%s\"", json_pointer(at, pointer));
	return fail_in(err, context);
}

/*
 * The offset of the }} that closes the expression at `from`, of text.n when
 * there is none. Quotes of all three kinds hide it, and so do open braces.
 */
static size_t
find_close(struct str text, size_t from)
{
	unsigned open = 0;
	char quote = '\0';

	for (size_t i = from; i < text.n; i++) {
		char c = text.s[i];

		if (quote != '\0') {
			if (c == '\\')
				i++;
			else if (c == quote)
				quote = '\0';
		} else if (c == '\'' || c == '"' || c == '`') {
			quote = c;
		} else if (c == '{') {
			open++;
		} else if (c == '}' && open > 0) {
			open--;
		} else if (c == '}' && i + 1 < text.n && text.s[i + 1] == '}') {
			return i;
		}
	}
	return text.n;
}

static int
add_part(struct arena *a, struct template *t, struct template_part part)
{
	uint32_t room = t->room > 0 ? t->room * 2 : 2;

	if (t->n == t->room) {
		t->parts = arena_grow(a, t->parts, t->n, room, sizeof(part));
		t->room = room;
	}
	if (t->parts == NULL)
		return -1;
	t->parts[t->n++] = part;
	return 0;
}

static int
compile_text(struct arena *a, struct template *t, struct error *err)
{
	struct str text = json_str(t->value), upto;
	size_t at = 0, open, close;
	const char *brace;

	t->type = TP_TEXT;
	while ((brace = memmem(text.s + at, text.n - at, "{{", 2)) != NULL) {
		struct template_part part = { .literal = { text.s + at, 0 } };

		open = (size_t)(brace - text.s);
		part.literal.n = open - at;
		close = find_close(text, open + 2);
		if (close == text.n)
			return expr_fail(err, text, open, "syntax",
			    "'{{' is never closed by a '}}' outside of quotes");
		upto = (struct str){ text.s, close };
		if (expr_compile_from(a, upto, open + 2, &part.expr, err) < 0)
			return -1;
		if (add_part(a, t, part) < 0)
			return no_memory(a, err);
		at = close + 2;
	}
	if (add_part(a, t,
		(struct template_part){ { text.s + at, text.n - at }, NULL }) <
	    0)
		return no_memory(a, err);
	return 0;
}

static struct template *compile(struct arena *a, const struct json *value,
    const struct json_path *at, struct error *err);

/* A tree whose kids are all constant is constant. */
static int
compile_tree(struct arena *a, struct template *t, const struct json_path *at,
    struct error *err)
{
	const struct json *v = t->value;
	int is_object = v->type == JSON_OBJECT;

	t->kids = arena_array(a, v->n, sizeof(struct template *));
	if (t->kids == NULL)
		return no_memory(a, err);
	t->n = v->n;
	for (uint32_t i = 0; i < v->n; i++) {
		struct json_path below = { .up = at, .index = i };

		if (is_object)
			below.key = v->of[i].key;
		t->kids[i] = compile(
		    a, is_object ? v->of[i].value : v->items[i], &below, err);
		if (t->kids[i] == NULL)
			return -1;
		if (t->kids[i]->type != TP_CONST)
			t->type = TP_TREE;
	}
	return 0;
}

static struct template *
compile(struct arena *a, const struct json *value, const struct json_path *at,
    struct error *err)
{
	struct template *t = arena_zalloc(a, sizeof(*t));

	if (t == NULL) {
		no_memory(a, err);
		return NULL;
	}
	t->type = TP_CONST;
	t->value = value;
	if ((value->type == JSON_ARRAY || value->type == JSON_OBJECT) &&
	    compile_tree(a, t, at, err) < 0)
		return NULL;
	if (value->type == JSON_STRING &&
	    memmem(value->s, value->n, "{{", 2) != NULL &&
	    compile_text(a, t, err) < 0) {
		fail_at(err, at);
		return NULL;
	}
	return t;
}

int
template_compile(struct arena *a, const struct json *value,
    struct template **out, struct error *err)
{
	*out = compile(a, value != NULL ? value : json_null(), NULL, err);
	return *out != NULL ? 0 : -1;
}

int
template_is_const(const struct template *t)
{
	return t->type == TP_CONST;
}

static struct json_path
path_below(const struct template *t, uint32_t i, const struct json_path *at)
{
	struct json_path below = { .up = at, .index = i };

	if (t->value->type == JSON_OBJECT)
		below.key = t->value->of[i].key;
	return below;
}

static int
check(const struct template *t, enum template_mode mode,
    const struct json_path *at, struct error *err)
{
	struct str s = json_str(t->value);

	for (uint32_t i = 0; t->kids != NULL && i < t->n; i++) {
		struct json_path below = path_below(t, i, at);

		if (check(t->kids[i], mode, &below, err) < 0)
			return -1;
	}
	if (mode == TEMPLATE_URL && t->type == TP_TEXT &&
	    !template_url_fixed(t->parts[0].literal)) {
		fail(err, FAULT_INPUT, "url",
		    "scheme and host must be written out, with a '/' behind "
		    "them, before the first '{{'");
		return fail_at(err, at);
	}
	if (mode != TEMPLATE_HEADER)
		return 0;
	for (uint32_t i = 0; t->parts != NULL && i < t->n; i++)
		if (template_header_check(t->parts[i].literal, err) < 0)
			return fail_at(err, at);
	if (t->type == TP_CONST && template_header_check(s, err) < 0)
		return fail_at(err, at);
	return 0;
}

int
template_check(
    const struct template *t, enum template_mode mode, struct error *err)
{
	return check(t, mode, NULL, err);
}

void
template_refs(const struct template *t, expr_ref_fn *fn, void *arg)
{
	for (uint32_t i = 0; t->type == TP_TREE && i < t->n; i++)
		template_refs(t->kids[i], fn, arg);
	for (uint32_t i = 0; t->type == TP_TEXT && i < t->n; i++)
		if (t->parts[i].expr != NULL)
			expr_refs(t->parts[i].expr, fn, arg);
}

struct render {
	struct expr_eval eval; /* its limits are for the whole template */
	const struct json *data;
	enum template_mode mode;
};

static struct json *render(
    struct render *r, const struct template *t, const struct json_path *at);

static struct json *
render_text(struct render *r, const struct template *t)
{
	struct template_text text = { .arena = r->eval.arena,
		.mode = r->mode,
		.most = r->eval.bytes,
		.limit = r->eval.limits.bytes,
		.err = r->eval.err };
	struct json *v;

	if (r->mode == TEMPLATE_PLAIN && t->n == 2 &&
	    t->parts[0].literal.n == 0 && t->parts[1].literal.n == 0)
		return expr_run(&r->eval, t->parts[0].expr, r->data);
	for (uint32_t i = 0; i < t->n; i++) {
		if (template_put(&text, t->parts[i].literal) < 0)
			return NULL;
		if (t->parts[i].expr == NULL)
			continue;
		v = expr_run(&r->eval, t->parts[i].expr, r->data);
		if (v == NULL || template_put_value(&text, v) < 0)
			return NULL;
	}
	if (template_text_check(&text) < 0)
		return NULL;
	r->eval.bytes -= text.n;
	v = json_string(r->eval.arena, (struct str){ text.s, text.n });
	return v != NULL ? v : expr_no_memory(&r->eval);
}

static struct json *
render_tree(
    struct render *r, const struct template *t, const struct json_path *at)
{
	struct arena *a = r->eval.arena;
	int is_object = t->value->type == JSON_OBJECT;
	struct json *out = is_object ? json_object(a) : json_array(a), *v;

	for (uint32_t i = 0; i < t->n; i++) {
		struct json_path below = path_below(t, i, at);

		v = render(r, t->kids[i], &below);
		if (v == NULL)
			return NULL;
		if ((is_object ? json_set_str(a, out, below.key, v)
			       : json_push(a, out, v)) < 0)
			return expr_no_memory(&r->eval);
	}
	return out;
}

static struct json *
render(struct render *r, const struct template *t, const struct json_path *at)
{
	struct json *v;

	if (t->type == TP_TREE)
		return render_tree(r, t, at);
	if (t->type == TP_CONST)
		return (struct json *)(uintptr_t)t->value;
	v = render_text(r, t);
	if (v == NULL)
		fail_at(r->eval.err, at);
	return v;
}

int
template_render(struct arena *a, const struct template *t,
    const struct json *data, const struct expr_limits *limits,
    enum template_mode mode, struct json **out, struct error *err)
{
	struct render r = { .data = data, .mode = mode };
	size_t most;

	if (mode != TEMPLATE_PLAIN && template_check(t, mode, err) < 0)
		return -1;
	expr_eval_init(&r.eval, a, limits, err);
	most = r.eval.limits.bytes;
	*out = render(&r, t, NULL);
	if (*out == NULL)
		return -1;
	if (t->type != TP_CONST && expr_text_size(*out, most) > most)
		return fail(err, FAULT_INPUT, "limit",
		    "makes more than %zu bytes", most);
	return 0;
}
