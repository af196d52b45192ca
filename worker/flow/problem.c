#include "worker/flow/parse-impl.h"

#include <stdio.h>

enum { PROBLEMS = 100 };

const char *
pointer_of(struct parser *p, const struct json_path *at)
{
	char out[JSON_POINTER];

	return arena_strdup(p->a, json_pointer(at, out));
}

void
problem_at(
    struct parser *p, const char *pointer, const char *hint, const char *text)
{
	struct problems *all = p->problems;

	if (all->n == PROBLEMS)
		return;
	if (all->n == all->room) {
		uint32_t room = all->room != 0 ? all->room * 2 : 8;

		all->items = arena_grow(
		    p->a, all->items, all->n, room, sizeof(*all->items));
		all->room = room;
	}
	all->items[all->n++] = (struct problem){
		.pointer = pointer,
		.text = text,
		.hint = hint,
	};
}

void
problem(struct parser *p, const struct json_path *at, const char *hint,
    const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	problem_at(p, pointer_of(p, at), hint, arena_strdup(p->a, text));
}

const char *
hint_of(struct parser *p, const struct suggest *s)
{
	if (s->best.s == NULL)
		return NULL;
	return arena_printf(p->a, "did you mean \"%.*s\"?", STR_FMT(s->best));
}
