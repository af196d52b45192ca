/*
 * What the pure core costs on a webhook of two kilobytes:
 *
 * json_parse_mb_s  text to tree
 * json_text_mb_s   tree to text
 * expr_eval_us     a filter, a projection and a sort over five items
 * template_us      a URL, a header and a body of four values
 *
 * The best of ten rounds, so that a neighbour's load doesn't count.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/time.h"
#include "worker/flow/template.h"

enum { ROUNDS = 10, ROUND_US = 50000 };

static const char item[] =
    "{\"id\":%d,\"name\":\"Ada Lovelace\",\"email\":\"ada%d@example.com\","
    "\"score\":%d.75,\"tags\":[\"new\",\"lead\",\"Z\xc3\xbcrich\"],"
    "\"address\":{\"street\":\"12 Main Street\",\"city\":\"London\","
    "\"zip\":\"8000\"},\"notes\":\"She said \\\"hello\\\" and left.\\n"
    "Then she came back, and left again.\",\"open\":true,\"owner\":null}";

static const char expression[] =
    "sort_by(input.items[?score > `10`].{id: id, name: name, city: "
    "address.city}, &id)";

static const char template[] =
    "{\"url\":\"https://example.com/leads/{{ input.items[0].id }}\","
    "\"headers\":{\"X-Source\":\"{{ input.items[1].email }}\"},"
    "\"body\":{\"name\":\"{{ input.items[2].name }}\",\"kind\":\"lead\","
    "\"tags\":\"{{ input.items[2].tags }}\"}}";

struct bench {
	struct str text;
	struct arena arena; /* of what is measured */
	struct json *data;
	struct expr *expr;
	struct template *template;
};

static void
parse(struct bench *b)
{
	struct json *v;

	if (json_parse(&b->arena, b->text, NULL, &v, NULL) < 0)
		abort();
}

static void
write_text(struct bench *b)
{
	if (json_text(&b->arena, b->data).s == NULL)
		abort();
}

static void
evaluate(struct bench *b)
{
	struct json *v;

	if (expr_eval(&b->arena, b->expr, b->data, NULL, &v, NULL) < 0 ||
	    v->n != 4)
		abort();
}

static void
render(struct bench *b)
{
	struct json *v;

	if (template_render(&b->arena, b->template, b->data, NULL,
		TEMPLATE_PLAIN, &v, NULL) < 0)
		abort();
}

/* Microseconds of one call. */
static double
measure(struct bench *b, void (*fn)(struct bench *))
{
	double best = 1e9, each;

	for (int round = 0; round < ROUNDS; round++) {
		int64_t start = time_mono_us(), took;
		int n = 0;

		do {
			for (int i = 0; i < 100; i++, n++) {
				arena_reset(&b->arena);
				fn(b);
			}
			took = time_mono_us() - start;
		} while (took < ROUND_US);
		each = (double)took / n;
		if (each < best)
			best = each;
	}
	return best;
}

static void
figure(int json, const char *name, double value, const char *unit)
{
	printf(json ? "{\"name\":\"%s\",\"value\":%.2f,\"unit\":\"%s\"}\n"
		    : "%-20s %10.2f %s\n",
	    name, value, unit);
}

static void
setup(struct bench *b, struct arena *a, struct buf *text)
{
	struct json *v;

	buf_adds(text, "{\"input\":{\"items\":[");
	for (int i = 5; i > 0; i--) {
		buf_addf(text, item, i, i, i * 9);
		buf_adds(text, i > 1 ? "," : "]}}");
	}
	b->text = buf_str(text);
	arena_init(&b->arena);
	if (json_parse(a, b->text, NULL, &b->data, NULL) < 0 ||
	    json_parse(a, str_of(template), NULL, &v, NULL) < 0 ||
	    expr_compile(a, str_of(expression), &b->expr, NULL) < 0 ||
	    template_compile(a, v, &b->template, NULL) < 0)
		abort();
}

int
main(int argc, char **argv)
{
	int json = argc == 3 && strcmp(argv[1], "-o") == 0 &&
	    strcmp(argv[2], "json") == 0;
	struct arena a;
	struct bench b;
	struct buf text;

	if (argc > 1 && !json) {
		fprintf(stderr, "usage: bench/json [-o json]\n");
		return 2;
	}
	arena_init(&a);
	buf_init(&text);
	setup(&b, &a, &text);
	figure(json, "json_parse_mb_s", (double)b.text.n / measure(&b, parse),
	    "MB/s");
	figure(json, "json_text_mb_s",
	    (double)b.text.n / measure(&b, write_text), "MB/s");
	figure(json, "expr_eval_us", measure(&b, evaluate), "us");
	figure(json, "template_us", measure(&b, render), "us");
	arena_deinit(&b.arena);
	arena_deinit(&a);
	buf_deinit(&text);
	return 0;
}
