#include "cli/definition.h"

#include <stdio.h>
#include <string.h>

void
definition_check(struct cli *cli, struct definition *d)
{
	if (flow_parse(&cli->arena, d->json, &d->flow, &d->problems) < 0)
		d->flow = NULL;
}

int
definition_read(
    struct cli *cli, const char *file, struct definition *d, struct error *err)
{
	struct error syntax = { 0 };
	struct problem *only;
	struct str text;

	*d = (struct definition){ .file = file };
	if (cli_read(cli, file, &text, err) < 0)
		return -1;
	if (json_parse(&cli->arena, text, NULL, &d->json, &syntax) == 0) {
		definition_check(cli, d);
		return 0;
	}
	only = arena_zalloc(&cli->arena, sizeof(*only));
	only->pointer = "";
	only->text = arena_strdup(&cli->arena, syntax.text);
	d->problems = (struct problems){ only, 1, 1 };
	return 0;
}

int
definition_refuse(const struct definition *d, struct error *err)
{
	char text[400] = "";
	size_t n = 0;

	for (uint32_t i = 0; i < d->problems.n && n < sizeof(text); i++) {
		const struct problem *p = &d->problems.items[i];
		int len = snprintf(text + n, sizeof(text) - n, "\n%s: %s%s%s",
		    p->pointer, p->text, p->hint != NULL ? "; " : "",
		    p->hint != NULL ? p->hint : "");

		n += len > 0 ? (size_t)len : 0;
	}
	return fail(err, FAULT_INPUT, "INVALID", "%.80s: %u problem%s%s",
	    d->file, d->problems.n, d->problems.n == 1 ? "" : "s", text);
}

struct json *
definition_report(struct arena *a, const struct definition *d)
{
	struct json *o = json_object(a), *list = json_array(a);

	for (uint32_t i = 0; i < d->problems.n; i++) {
		const struct problem *p = &d->problems.items[i];
		struct json *item = json_object(a);

		json_set(a, item, "pointer", json_cstring(a, p->pointer));
		json_set(a, item, "text", json_cstring(a, p->text));
		json_set(a, item, "hint",
		    p->hint != NULL ? json_cstring(a, p->hint) : NULL);
		json_push(a, list, item);
	}
	json_set(a, o, "file", json_cstring(a, d->file));
	json_set(a, o, "valid", json_bool(d->flow != NULL));
	json_set(a, o, "workflow",
	    d->flow != NULL ? json_string(a, d->flow->name) : NULL);
	json_set(a, o, "nodes",
	    d->flow != NULL ? json_int(a, d->flow->n_nodes) : NULL);
	json_set(a, o, "problems", list);
	return o;
}

void
definition_print(const struct out *out, const struct definition *d)
{
	struct buf b;

	if (d->flow != NULL) {
		fprintf(out->file,
		    "%s: %svalid%s, workflow \"%.*s\", %u nodes\n", d->file,
		    out_on(out, COLOUR_GREEN), out_off(out),
		    STR_FMT(d->flow->name), d->flow->n_nodes);
		return;
	}
	buf_init(&b);
	for (uint32_t i = 0; i < d->problems.n; i++) {
		const struct problem *p = &d->problems.items[i];

		buf_addf(&b, "%s: %s%s%s%s", d->file, out_on(out, COLOUR_CYAN),
		    p->pointer, out_off(out), *p->pointer != '\0' ? ": " : "");
		out_escape(&b, str_of(p->text));
		if (p->hint != NULL) {
			buf_adds(&b, "; ");
			out_escape(&b, str_of(p->hint));
		}
		buf_addc(&b, '\n');
	}
	fwrite(buf_str(&b).s, 1, b.len, out->file);
	buf_deinit(&b);
}
