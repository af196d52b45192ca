#pragma once
/* application/x-www-form-urlencoded, of a URL's query and of bodies. */
#include "core/arena.h"

/* A parameter of a query, decoded; s NULL: absent. -1 when its encoding is
 * broken. Of several, the first. */
int query_get(
    struct arena *a, struct str query, const char *name, struct str *out);

/* %XX, and + for a blank; NUL-terminated. */
int query_decode(struct arena *a, struct str s, struct str *out);

/* The same of a body: what isn't a percent-encoded byte stands for itself, as
 * browsers have it. s NULL when the arena is full. */
struct str form_decode(struct arena *a, struct str s);
