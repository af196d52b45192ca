#pragma once
/* What mask*.c share. */
#include "worker/flow/mask.h"

struct span {
	size_t from, to;
	struct str mark;
};

struct spans {
	struct arena *a;
	struct span *items; /* by from; none overlap */
	uint32_t n, room;
};

/* Merged with those at the end that it overlaps; it ends behind all others. */
void spans_add(struct spans *s, struct span span);

/* mask-shape.c: a value's shapes, each given to fn. */
typedef void shape_fn(void *arg, struct str shape);
void mask_shapes(struct arena *a, struct str value, shape_fn *fn, void *arg);
/* mask-kind.c */
void mask_kinds_find(unsigned kinds, struct str text, struct spans *out);
