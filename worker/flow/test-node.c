#include "worker/flow/node.h"
#include "worker/flow/test-flow.h"

struct fixture {
	struct arena a;
	struct flow *flow;
	struct effect effect;
	struct event event;
	struct log_line line;
	struct json *input;
};

static void
begin(struct fixture *f, const char *node, const char *input)
{
	struct context context = { 0 };
	struct error err = { 0 };

	arena_init(&f->a);
	f->flow = flow_of(&f->a,
	    arena_printf(&f->a,
		"{'name':'t','nodes':[{'id':'hook','type':'webhook'},%s],"
		"'edges':[{'from':'hook','to':'x'}]}",
		node));
	context.input = f->input = flow_json(&f->a, input);
	context.run = flow_json(&f->a, "{'id':'r1'}");
	if (node_begin(&f->a, f->flow, 1, &context, 1000, &f->effect, &err) !=
	    0)
		fail_msg("%s", err.text);
}

static void
end(struct fixture *f)
{
	arena_deinit(&f->a);
}

static void
output_is(struct fixture *f, const char *want)
{
	assert_int_equal(f->effect.type, EFFECT_DONE);
	assert_string_equal(json_text(&f->a, f->effect.output).s,
	    json_text(&f->a, flow_json(&f->a, want)).s);
	end(f);
}

static void
fails_with(struct fixture *f, const char *code, const char *part)
{
	assert_int_equal(f->effect.type, EFFECT_FAIL);
	assert_string_equal(f->effect.code, code);
	if (strstr(f->effect.message, part) == NULL)
		fail_msg("%s: not in \"%s\"", part, f->effect.message);
	end(f);
}

static void
test_transform(void **state)
{
	struct fixture f = { 0 };

	(void)state;
	begin(&f,
	    "{'id':'x','type':'transform','output':{'a':'{{ input.n }}',"
	    "'b':['x {{ input.n }} {{ run.id }}',null]}}",
	    "{'n':12345678901234567890}");
	output_is(&f,
	    "{'a':12345678901234567890,"
	    "'b':['x 12345678901234567890 r1',null]}");
	begin(&f, "{'id':'x','type':'transform','expression':'abs(input.s)'}",
	    "{'s':'x'}");
	fails_with(&f, "invalid-type", "abs()");
	begin(&f, "{'id':'x','type':'transform','expression':'input'}",
	    "{'s':'a\\u0000b'}");
	fails_with(&f, "unstorable", "/s");
	begin(&f, "{'id':'x','type':'transform','output':'{{ input.s }}'}",
	    "{'s':1e999999}");
	fails_with(&f, "unstorable", "numeric");
}

static void
test_branch_takes_the_first_true_case(void **state)
{
	const char *node = "{'id':'x','type':'branch','cases':["
			   "{'name':'a','when':'input.a'},"
			   "{'name':'b','when':'input.b'}]},"
			   "{'id':'l','type':'log','message':''}],"
			   "'edges':[{'from':'hook','to':'x'},"
			   "{'from':'x','to':'l','on':'a'},"
			   "{'from':'x','to':'l','on':'b'}]}";
	static const char *const inputs[][2] = {
		{ "{'a':1,'b':1}", "{'case':'a'}" },
		{ "{'a':'','b':'x'}", "{'case':'b'}" },
		{ "{'a':[],'b':0}", "{'case':'b'}" },
		{ "{'a':{},'b':false}", "{'case':'else'}" },
		{ "{'a':null}", "{'case':'else'}" },
	};
	struct fixture f = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(inputs) / sizeof(*inputs); i++) {
		struct context context = { 0 };
		struct error err;

		arena_init(&f.a);
		f.flow = flow_of(&f.a,
		    arena_printf(&f.a,
			"{'name':'t','nodes':[{'id':'hook','type':'webhook'},"
			"%s",
			node));
		context.input = flow_json(&f.a, inputs[i][0]);
		assert_int_equal(
		    node_begin(&f.a, f.flow, 1, &context, 0, &f.effect, &err),
		    0);
		output_is(&f, inputs[i][1]);
	}
}

static void
test_delay_log_terminate(void **state)
{
	struct fixture f = { 0 };

	(void)state;
	begin(&f, "{'id':'x','type':'delay','for':'2s'}", "null");
	assert_int_equal(f.effect.type, EFFECT_WAIT);
	assert_int_equal(f.effect.until_ms, 3000);
	end(&f);
	begin(&f, "{'id':'x','type':'delay','until':'{{ input }}'}",
	    "'1970-01-01T01:00:05+01:00'");
	assert_int_equal(f.effect.until_ms, 5000);
	end(&f);
	begin(&f, "{'id':'x','type':'delay','until':'{{ input }}'}", "'soon'");
	fails_with(&f, "invalid-value", "\"soon\" is not a time");
	begin(&f,
	    "{'id':'x','type':'log','level':'warn','message':'a {{ input }}',"
	    "'attributes':{'b':'{{ input }}'}}",
	    "[1]");
	assert_int_equal(f.effect.line.level, 13);
	assert_true(str_is(f.effect.line.message, "a [1]"));
	assert_string_equal(
	    json_text(&f.a, f.effect.line.attrs).s, "{\"b\":[1]}");
	end(&f);
	begin(&f,
	    "{'id':'x','type':'terminate','status':'failed',"
	    "'message':'no {{ input }}','output':'{{ input }}'}",
	    "7");
	output_is(&f, "{'output':7,'message':'no 7'}");
}

static void
header_is(struct fixture *f, const char *name, const char *value)
{
	for (uint32_t i = 0; i < f->effect.http.n_headers; i++)
		if (str_is(f->effect.http.headers[i].name, name)) {
			assert_true(
			    str_is(f->effect.http.headers[i].value, value));
			return;
		}
	assert_null(value);
}

static void
test_http_request(void **state)
{
	struct fixture f = { 0 };

	(void)state;
	begin(&f,
	    "{'id':'x','type':'http_call','method':'POST',"
	    "'url':'http://h/a/{{ input.p }}?k={{ input.p }}#frag',"
	    "'query':{'a b':'{{ input.p }}','gone':'{{ input.no }}','n':1},"
	    "'headers':{'X-A':'{{ input.h }}','X-Gone':'{{ input.no }}'},"
	    "'body':{'v':'{{ input.n }}'},'timeout':'5s','deadline':'1m',"
	    "'redirects':3}",
	    "{'p':'x/y&z \\u00e9','h':'v\\tw','n':1.50}");
	assert_int_equal(f.effect.type, EFFECT_HTTP);
	assert_string_equal(
	    arena_printf(&f.a, "%.*s", STR_FMT(f.effect.http.url)),
	    "http://h/a/x%2Fy%26z%20%C3%A9?k=x%2Fy%26z%20%C3%A9"
	    "&a%20b=x%2Fy%26z%20%C3%A9&n=1");
	assert_true(str_is(f.effect.http.method, "POST"));
	assert_true(str_is(f.effect.http.body, "{\"v\":1.50}"));
	header_is(&f, "X-A", "v\tw");
	header_is(&f, "X-Gone", NULL);
	header_is(&f, "Content-Type", "application/json");
	header_is(&f, "Idempotency-Key", "r1.x");
	assert_int_equal(f.effect.http.timeout_ms, 5000);
	assert_int_equal(f.effect.http.deadline_ms, 60000);
	assert_int_equal(f.effect.http.max_redirects, 3);
	end(&f);
	begin(&f,
	    "{'id':'x','type':'http_call','method':'PUT','url':'http://h/',"
	    "'headers':{'content-type':'text/csv'},"
	    "'body_text':'a,{{ input }}'}",
	    "'b'");
	assert_true(str_is(f.effect.http.body, "a,b"));
	header_is(&f, "content-type", "text/csv");
	header_is(&f, "Content-Type", NULL);
	end(&f);
}

static void
test_http_refuses_what_data_must_not_do(void **state)
{
	struct fixture f = { 0 };

	(void)state;
	begin(&f,
	    "{'id':'x','type':'http_call','url':'http://h/{{ input }}/b'}",
	    "'..'");
	fails_with(&f, f.effect.code, "url: ");
	begin(&f,
	    "{'id':'x','type':'http_call','url':'http://h/',"
	    "'headers':{'X-A':'{{ input }}'}}",
	    "'a\\r\\nHost: evil'");
	fails_with(&f, f.effect.code, "header X-A: ");
	begin(&f,
	    "{'id':'x','type':'http_call','method':'POST','url':'http://h/',"
	    "'body':'{{ input }}'}",
	    "'a\\u0000b'");
	fails_with(&f, "unstorable", "body: ");
}

static void
answer(struct fixture *f, const struct http_result *r, int32_t attempt)
{
	struct message m = { .node = 1, .attempt = attempt };
	struct try try = {
		.message = &m,
		.at_ms = 5000,
		.random = UINT64_MAX,
		.what = "POST https://api.example.com/x",
		.result = r,
	};

	begin(f,
	    "{'id':'x','type':'http_call','url':'http://h/',"
	    "'retry':{'backoff':'1200ms','factor':1}}",
	    "null");
	node_http_done(&f->a, f->flow, &try, &f->event, &f->line);
}

static void
told(struct fixture *f, const char *type, const char *line, const char *output)
{
	assert_string_equal(f->event.type, type);
	assert_string_equal(
	    arena_printf(&f->a, "%.*s", STR_FMT(f->line.message)), line);
	assert_string_equal(
	    json_text(&f->a, json_get(f->event.payload, "output")).s,
	    json_text(&f->a, flow_json(&f->a, output)).s);
	end(f);
}

static void
test_http_answers(void **state)
{
	static const struct header json[] = {
		{ { "content-type", 12 },
		    { "application/problem+json; charset=utf-8", 39 }, 0 },
	};
	struct http_result r = { .status = 201,
		.took_ms = 41,
		.retry_after_ms = -1,
		.headers = json,
		.n_headers = 1,
		.body = STR("{\"a\": 1.0}") };
	struct fixture f = { 0 };

	(void)state;
	answer(&f, &r, 1);
	told(&f, "step.succeeded",
	    "POST https://api.example.com/x answered 201 in 41 ms, attempt 1 "
	    "of 5",
	    "{'status':201,'headers':{'content-type':"
	    "'application/problem+json; charset=utf-8'},'body':{'a':1.0},"
	    "'truncated':false,'ms':41}");
	r.n_headers = 0;
	r.status = 503;
	r.code = "HTTP503";
	r.message = "answered 503";
	r.body = STR("\xc3\xa9\xff");
	r.truncated = 1;
	answer(&f, &r, 2);
	assert_int_equal(f.line.level, 13);
	told(&f, "step.failed",
	    "POST https://api.example.com/x answered 503 in 41 ms, attempt 2 "
	    "of 5, next in 1.2 s",
	    "{'status':503,'headers':{},'body':'\xc3\xa9','truncated':true,"
	    "'ms':41}");
	r.status = 200;
	r.code = NULL;
	r.truncated = 0;
	answer(&f, &r, 1);
	assert_string_equal(
	    json_str(json_get(f.event.payload, "code")).s, "unstorable");
	assert_int_equal(f.line.level, 17);
	end(&f);
}

static void
test_http_without_an_answer(void **state)
{
	struct http_result r = { .code = "ECONNREFUSED",
		.message = "127.0.0.1:9 refused the connection",
		.retryable = 1,
		.took_ms = 3,
		.retry_after_ms = -1 };
	struct fixture f = { 0 };

	(void)state;
	answer(&f, &r, 1);
	told(&f, "step.failed",
	    "POST https://api.example.com/x failed in 3 ms: 127.0.0.1:9 "
	    "refused the connection, attempt 1 of 5, next in 1.2 s",
	    "null");
	r.code = NULL; /* whoever says nothing of why */
	r.status = 404;
	answer(&f, &r, 1);
	assert_string_equal(
	    json_str(json_get(f.event.payload, "code")).s, "HTTP404");
	end(&f);
	r.status = 0;
	r.code = "SSRF";
	r.retryable = 0;
	answer(&f, &r, 1);
	assert_null(strstr(f.line.message.s, "next in"));
	end(&f);
}

static void
test_what_is_not_loaded(void **state)
{
	struct context context = { 0 };
	struct effect effect;
	struct error err;
	struct arena a;
	struct flow *flow;
	uint32_t one = 1;
	const struct json *none = NULL;

	(void)state;
	arena_init(&a);
	flow = flow_of(&a,
	    "{'name':'t','nodes':[{'id':'hook','type':'webhook'},"
	    "{'id':'a','type':'transform','expression':'input'},"
	    "{'id':'b','type':'transform','expression':'steps.a.output'}],"
	    "'edges':[{'from':'hook','to':'a'},{'from':'a','to':'b'}]}");
	assert_int_equal(node_begin(&a, flow, 1, &context, 0, &effect, &err),
	    NODE_OUT_NOT_LOADED);
	assert_int_equal(node_begin(&a, flow, 2, &context, 0, &effect, &err),
	    NODE_OUT_NOT_LOADED);
	context.which = &one;
	context.outputs = &none;
	context.n_outputs = 1;
	assert_int_equal(
	    node_begin(&a, flow, 2, &context, 0, &effect, &err), 0);
	assert_true(json_is(effect.output, JSON_NULL));
	arena_deinit(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_transform),
		cmocka_unit_test(test_branch_takes_the_first_true_case),
		cmocka_unit_test(test_delay_log_terminate),
		cmocka_unit_test(test_http_request),
		cmocka_unit_test(test_http_refuses_what_data_must_not_do),
		cmocka_unit_test(test_http_answers),
		cmocka_unit_test(test_http_without_an_answer),
		cmocka_unit_test(test_what_is_not_loaded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
