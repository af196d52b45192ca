/* What parses is written so that it parses as the same again, in all styles. */
#include "core/json.h"
#include "tests/fuzz/fuzz.h"

static void
check_again(struct arena *a, const struct json *v, struct str text)
{
	struct json *again;

	FUZZ_CHECK(text.s != NULL && text.s[text.n] == '\0');
	FUZZ_CHECK(json_parse(a, text, NULL, &again, NULL) == 0);
	FUZZ_CHECK(json_equal(v, again) && json_equal(again, v));
	FUZZ_CHECK(str_eq(json_canonical(a, v), json_canonical(a, again)));
}

static void
check_readers(struct arena *a, const struct json *v)
{
	struct error err;
	int64_t i;

	json_storable(v, &err);
	for (uint32_t m = 0; v->type == JSON_OBJECT && m < v->n; m++)
		FUZZ_CHECK(json_get_str(v, v->of[m].key) == v->of[m].value);
	for (uint32_t x = 0; v->type == JSON_ARRAY && x + 1 < v->n; x++) {
		struct json *l = v->items[x], *r = v->items[x + 1];

		if (l->type == JSON_NUMBER && r->type == JSON_NUMBER)
			FUZZ_CHECK(
			    json_number_cmp(l, r) == -json_number_cmp(r, l));
	}
	if (json_integer(v, &i) == 0)
		FUZZ_CHECK(json_equal(v, json_int(a, i)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = { (const char *)data, size };
	struct arena a;
	struct json *v;
	struct error err;

	arena_init_cap(&a, 64 << 20);
	if (json_parse(&a, text, NULL, &v, &err) == 0) {
		check_again(&a, v, json_text(&a, v));
		check_again(&a, v, json_pretty(&a, v));
		check_again(&a, v, json_canonical(&a, v));
		check_readers(&a, v);
	} else {
		fuzz_check_error(&err);
	}
	arena_deinit(&a);
	return 0;
}
