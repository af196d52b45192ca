#include "worker/flow/template.h"
#include "core/mem.h"
#include "core/test-values.h"

#include <stdio.h>

static const char data_text[] =
    "{\"input\":{\"name\":\"Ada\",\"n\":1.50,\"yes\":true,\"none\":null,"
    "\"list\":[1,\"x\"],\"evil\":\"../a?b=c&d#e f/\xc3\xa9\",\"dots\":\"..\","
    "\"dot\":\".\",\"crlf\":\"a\\r\\nb\",\"nul\":\"a\\u0000b\","
    "\"url\":\"https://x.test/cb?y=1\"},"
    "\"steps\":{\"a\":{\"output\":{\"id\":7}}},"
    "\"secrets\":{\"KEY\":\"s3cret\"}}";

static int
render(const char *value, enum template_mode mode, struct json **out,
    struct error *err)
{
	struct template *t;

	if (template_compile(&arena, parse(value), &t, err) < 0)
		return -1;
	return template_render(
	    &arena, t, parse(data_text), NULL, mode, out, err);
}

static void
gives(enum template_mode mode, const char *value, const char *want)
{
	struct error err = { 0 };
	struct json *v = NULL;

	if (render(value, mode, &v, &err) < 0)
		fail_msg("%s: %s", value, err.text);
	assert_string_equal(json_text(&arena, v).s, want);
}

static void
fails(enum template_mode mode, const char *value, const char *why)
{
	struct error err = { 0 };
	struct json *v = NULL;

	if (render(value, mode, &v, &err) == 0)
		fail_msg("%s: gives %s", value, json_text(&arena, v).s);
	assert_int_equal(err.fault, FAULT_INPUT);
	assert_string_equal(err.text, why);
}

static void
test_types_and_text(void **state)
{
	const enum template_mode m = TEMPLATE_PLAIN;

	(void)state;
	gives(m, "\"{{ input.n }}\"", "1.50");
	gives(m, "\"{{input.list}}\"", "[1,\"x\"]");
	gives(m, "\"{{ input.none }}\"", "null");
	gives(m, "\"{{ input.name }} \"", "\"Ada \"");
	gives(m, "\"a {{ input.n }} b {{ input.yes }}{{ input.none }}\"",
	    "\"a 1.50 b true\"");
	gives(
	    m, "\"{{ input.name }}{{ input.list }}\"", "\"Ada[1,\\\"x\\\"]\"");
	gives(m, "\"{{ {a: {b: input.n}} }}\"", "{\"a\":{\"b\":1.50}}");
	gives(m, "\"{{{a: {b: input.n}}}}\"", "{\"a\":{\"b\":1.50}}");
	gives(m, "\"{{ '{{' }} and }}\"", "\"{{ and }}\"");
	gives(m, "\"{{ '}}' }}{{ `\\\"}}\\\"` }}\"", "\"}}}}\"");
	gives(m,
	    "{\"a\":[\"{{ steps.a.output.id }}\",2],\"{{k}}\":{\"c\":null}}",
	    "{\"a\":[7,2],\"{{k}}\":{\"c\":null}}");
}

static void
test_constants_are_free(void **state)
{
	struct json *v = parse("{\"a\":[1,\"x } y\",{\"b\":null}]}"), *out;
	struct template *t;
	struct error err;
	size_t used;
	char *at;

	(void)state;
	assert_int_equal(template_compile(&arena, v, &t, &err), 0);
	assert_true(template_is_const(t));
	used = arena.used;
	at = arena.at;
	assert_int_equal(
	    template_render(&arena, t, NULL, NULL, TEMPLATE_PLAIN, &out, &err),
	    0);
	assert_ptr_equal(out, v);
	assert_true(used == arena.used && at == arena.at);
	assert_int_equal(template_compile(&arena,
			     parse("[{\"k\":[1]},\"{{ input }}\"]"), &t, &err),
	    0);
	assert_false(template_is_const(t));
}

static void
test_errors_say_where(void **state)
{
	const enum template_mode m = TEMPLATE_PLAIN;

	(void)state;
	fails(m, "\"ab {{ c\"",
	    "column 4: '{{' is never closed by a '}}' outside of quotes");
	fails(m, "\"{{ it's }}\"",
	    "column 1: '{{' is never closed by a '}}' outside of quotes");
	fails(m, "{\"user\":[\"\xc3\xa9 {{ lenght(x) }}\"]}",
	    "at \"/user/0\": column 6: unknown function lenght(); "
	    "did you mean length()?");
	fails(m, "[\"{{ }}\"]",
	    "at \"/0\": column 4: expected an expression, found the end");
	fails(m, "[1,\"x{{ abs(input.name) }}\"]",
	    "at \"/1\": column 9: abs() takes a number here, got string");
}

static void
test_urls_hold_values_in_place(void **state)
{
	const enum template_mode m = TEMPLATE_URL;

	(void)state;
	gives(m, "\"https://x.test/u/{{ input.evil }}?q={{ input.evil }}\"",
	    "\"https://x.test/u/..%2Fa%3Fb%3Dc%26d%23e%20f%2F%C3%A9"
	    "?q=..%2Fa%3Fb%3Dc%26d%23e%20f%2F%C3%A9\"");
	gives(m, "\"http://x.test/{{ input.n }}/{{ input.list }}/\"",
	    "\"http://x.test/1.50/%5B1%2C%22x%22%5D/\"");
	gives(m, "\"http://x.test?q={{ input.dots }}\"",
	    "\"http://x.test?q=..\"");
	gives(m, "\"http://x.test/a/../b\"", "\"http://x.test/a/../b\"");
	gives(m, "\"http://x.test/{{ input.dots }}{{ input.name }}\"",
	    "\"http://x.test/..Ada\"");
	fails(m, "\"http://x.test/a/{{ input.dots }}/b\"",
	    "a URL can't have the path segment \"..\"");
	fails(m, "\"http://x.test/a/{{ input.dot }}\"",
	    "a URL can't have the path segment \".\"");
	fails(m, "\"http://x.test/a/%2E{{ input.dot }}?x\"",
	    "a URL can't have the path segment \"%2E.\"");
	fails(m, "\"http://x.test/ {{ input.name }}\"",
	    "a URL can't hold the byte 0x20");
}

static void
test_hosts_are_literal(void **state)
{
	static const char *const loose[] = { "\"{{ input.url }}\"",
		"\"https://{{ input.name }}/\"",
		"\"https://x.test{{ input.evil }}\"",
		"\"https://x.test:{{ input.n }}/\"",
		"\"https://x.test@{{ input.name }}/\"",
		"\"https:/{{ input.name }}\"", "\"/{{ input.name }}\"",
		"\"https://x.test\\\\{{ input.name }}\"" };
	struct template *t;
	struct error err;

	(void)state;
	for (size_t i = 0; i < NELEM(loose); i++) {
		fails(TEMPLATE_URL, loose[i],
		    "scheme and host must be written out, with a '/' behind "
		    "them, before the first '{{'");
		template_compile(&arena, parse(loose[i]), &t, &err);
		assert_int_equal(template_check(t, TEMPLATE_URL, &err), -1);
		assert_int_equal(
		    template_check(t, TEMPLATE_URL_ANY_HOST, &err), 0);
	}
	fails(TEMPLATE_URL, "\"http://a.test/u/{{ input.none }}/p\"",
	    "null in the path of a URL");
	gives(TEMPLATE_URL, "\"http://a.test/u?q={{ input.none }}\"",
	    "\"http://a.test/u?q=\"");
	gives(TEMPLATE_URL_ANY_HOST, "\"{{ input.url }}\"",
	    "\"https://x.test/cb?y=1\"");
	gives(TEMPLATE_URL_ANY_HOST, "\"{{ input.url }}&n={{ input.evil }}\"",
	    "\"https://x.test/cb?y=1&n=..%2Fa%3Fb%3Dc%26d%23e%20f%2F%C3%A9\"");
	gives(TEMPLATE_URL_ANY_HOST, "\"http://{{ input.name }}.test/a\"",
	    "\"http://Ada.test/a\"");
	fails(TEMPLATE_URL_ANY_HOST, "\"http://{{ input.crlf }}.test/a\"",
	    "a URL can't hold the byte 0x0d");
}

static void
test_headers_hold_no_control_bytes(void **state)
{
	const enum template_mode m = TEMPLATE_HEADER;

	(void)state;
	gives(m, "{\"X-Key\":\"{{ secrets.KEY }}\",\"X-N\":\"{{ input.n }}\"}",
	    "{\"X-Key\":\"s3cret\",\"X-N\":\"1.50\"}");
	gives(m, "\"{{ input.list }}\"", "\"[1,\\\"x\\\"]\"");
	gives(m, "\"a\\tb\"", "\"a\\tb\"");
	fails(m, "{\"X-Name\":\"{{ input.crlf }}\"}",
	    "at \"/X-Name\": a header can't hold the control byte 0x0d");
	fails(m, "{\"X-Name\":\"{{ input.nul }}\"}",
	    "at \"/X-Name\": a header can't hold the control byte 0x00");
	fails(m, "{\"X-Name\":\"a\\nb\"}",
	    "at \"/X-Name\": a header can't hold the control byte 0x0a");
	fails(m, "{\"X-Name\":\"\x7f{{ input.name }}\"}",
	    "at \"/X-Name\": a header can't hold the control byte 0x7f");
}

static void
test_limits_are_for_all(void **state)
{
	struct expr_limits limits = { .steps = 1000, .bytes = 20 };
	struct template *t;
	struct error err;
	struct json *v;

	(void)state;
	template_compile(
	    &arena, parse("[\"x{{ @ }}\",\"y{{ @ }}\"]"), &t, &err);
	assert_int_equal(template_render(&arena, t, parse("\"12345678\""),
			     &limits, TEMPLATE_PLAIN, &v, &err),
	    -1);
	assert_string_equal(err.text, "makes more than 20 bytes");
	assert_int_equal(template_render(&arena, t, parse("\"123456789abc\""),
			     &limits, TEMPLATE_PLAIN, &v, &err),
	    -1);
	assert_string_equal(err.text, "at \"/1\": makes more than 20 bytes");
	limits.steps = 1;
	assert_int_equal(template_render(&arena, t, parse("\"1\""), &limits,
			     TEMPLATE_PLAIN, &v, &err),
	    -1);
	assert_string_equal(
	    err.text, "at \"/1\": column 5: takes more than 1 steps");
}

static void
note_ref(void *arg, struct str root, struct str name)
{
	char *text = arg;
	size_t at = strlen(text);

	snprintf(
	    text + at, 200 - at, "%.*s.%.*s ", STR_FMT(root), STR_FMT(name));
}

static void
test_refs(void **state)
{
	struct template *t;
	struct error err;
	char got[200] = "";

	(void)state;
	template_compile(&arena,
	    parse("{\"a\":\"{{ steps.x.output }}-{{ input.n }}\",\"b\":[1,"
		  "\"{{ secrets.KEY }}\"],\"c\":\"{{ steps }}\"}"),
	    &t, &err);
	template_refs(t, note_ref, got);
	assert_string_equal(got, "steps.x input.n secrets.KEY steps. ");
}

/* As many parts as text allows must not cost their square. */
static void
test_many_parts(void **state)
{
	enum { PARTS = 20000 };
	struct arena a;
	struct template *t;
	struct error err;
	struct json *v;
	char *text, *p;

	(void)state;
	arena_init(&a);
	p = text = arena_alloc(&a, PARTS * 8);
	for (int i = 0; i < PARTS; i++)
		p = mempcpy(p, "{{`1`}},", 8);
	v = json_string(&a, (struct str){ text, PARTS * 8 });
	assert_int_equal(template_compile(&a, v, &t, &err), 0);
	assert_int_equal(
	    template_render(&a, t, NULL, NULL, TEMPLATE_PLAIN, &v, &err), 0);
	assert_int_equal(v->n, PARTS * 2);
	assert_true(a.used < (size_t)64 << 20);
	arena_deinit(&a);
}

/* However little memory there is: an error, or the right result. */
static int
render_within(size_t cap)
{
	static const char text[] =
	    "{\"a\":\"{{ {x: input.list[], y: sort_by(input.o, &k), z: "
	    "to_string(input)} }}\",\"b\":[\"u {{ join('-', map(&reverse(@), "
	    "keys(merge(input, `{\\\"q\\\": 1}`)))) }} v\",\"{{ "
	    "input.list[?@ > `1`] | [::-1] }}\",\"{{ [abs(`-1`), "
	    "sum(`[1,2.5]`), length('x'), values(input)] }}\"]}";
	static const char data[] =
	    "{\"input\":{\"list\":[1,2,3],\"o\":[{\"k\":2},{\"k\":1}]}}";
	struct template *t;
	struct json *v, *d;
	struct error err = { 0 };
	struct arena a;
	int r;

	arena_init_cap(&a, cap);
	r = json_parse(&a, str_of(text), NULL, &v, &err);
	if (r == 0)
		r = json_parse(&a, str_of(data), NULL, &d, &err);
	if (r == 0)
		r = template_compile(&a, v, &t, &err);
	if (r == 0)
		r = template_render(&a, t, d, NULL, TEMPLATE_PLAIN, &v, &err);
	if (r == 0)
		assert_true(str_is(
		    json_str(json_at(json_get(v, "b"), 0)), "u tsil-o-q v"));
	else
		assert_int_equal(err.fault, FAULT_INPUT);
	assert_int_equal(a.over, r < 0);
	arena_deinit(&a);
	return r;
}

static void
test_every_refusal_of_memory(void **state)
{
	size_t cap = 16;

	(void)state;
	while (render_within(cap) < 0)
		cap += 16;
	assert_true(cap > 4096);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_types_and_text),
		cmocka_unit_test(test_constants_are_free),
		cmocka_unit_test(test_errors_say_where),
		cmocka_unit_test(test_urls_hold_values_in_place),
		cmocka_unit_test(test_hosts_are_literal),
		cmocka_unit_test(test_headers_hold_no_control_bytes),
		cmocka_unit_test(test_limits_are_for_all),
		cmocka_unit_test(test_refs),
		cmocka_unit_test(test_many_parts),
		cmocka_unit_test(test_every_refusal_of_memory),
	};

	return run_with_arena(tests);
}
