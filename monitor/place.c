#include "monitor/place.h"
#include "core/mem.h"
#include "monitor/place-impl.h"

#include <stdlib.h>
#include <string.h>

static void
tell(void *arg)
{
	struct place *p = arg;
	place_fn *fn = p->fn;

	p->fn = NULL;
	if (fn != NULL)
		fn(p->arg, p->err.fault != FAULT_NONE ? &p->err : NULL);
}

void
place_put(struct place *p, const char *dir, const char *file, struct str bytes,
    place_fn *fn, void *arg)
{
	p->bytes = bytes;
	p->fn = fn;
	p->arg = arg;
	p->err = (struct error){ 0 };
	if (p->folder != NULL)
		folder_put(p, dir, file);
	else
		storage_put(p, dir, file);
}

void
place_cancel(struct place *p)
{
	p->fn = NULL;
	storage_cancel(p);
}

struct place *
place_new(struct loop *loop, const struct place_options *o, struct error *err)
{
	static const struct str storage = STR("supabase://");
	struct place *p = xcalloc(1, sizeof(*p));
	int r;

	p->loop = loop;
	p->told = loop_defer_new(loop, tell, p);
	arena_init(&p->arena);
	arena_init(&p->own);
	if (strncmp(o->where, storage.s, storage.n) == 0) {
		p->bucket = o->where + storage.n;
		r = storage_init(p, o, err);
	} else {
		p->folder = o->where;
		r = o->where[0] == '/' ? 0
				       : fail(err, FAULT_CONFIG, "CONFIG",
					     "\"%.80s\" is neither a path from "
					     "/ nor supabase://BUCKET",
					     o->where);
	}
	if (r == 0)
		return p;
	fail_in(err, "MESHHOOK_ARCHIVE");
	return place_free(p);
}

struct place *
place_free(struct place *p)
{
	if (p == NULL)
		return NULL;
	place_cancel(p);
	storage_deinit(p);
	loop_defer_free(p->told);
	arena_deinit(&p->arena);
	arena_deinit(&p->own);
	free(p);
	return NULL;
}
