#include "worker/engine/news.h"
#include "core/mem.h"

#include <stdlib.h>
#include <string.h>

/* All tasks keep no more than this of what they hear: outputs may be large, and
 * to be stale costs but a round trip. */
enum { HEARD_MOST = 4 << 20 };

void
news_deinit(struct news *n)
{
	for (uint32_t i = 0; i < n->n; i++)
		free(n->items[i].text);
	free(n->items);
	*n = (struct news){ 0 };
}

void
news_add(struct news *n, const struct item *item, const struct task *t)
{
	if (n->n == n->room) {
		n->room = n->room > 0 ? n->room * 2 : 16;
		n->items = xrealloc(n->items, n->room * sizeof(*n->items));
	}
	n->items[n->n++] = (struct news_item){
		.run = t->run,
		.item = t->item,
		.base = t->known,
		.n_events = item->n_events,
		.events = item->events,
	};
}

static int
news_order(const void *x, const void *y)
{
	const struct news_item *a = x, *b = y;

	return uuid_cmp(&a->run, &b->run);
}

/* Has this task not been decided yet, on what was known then? */
static int
concerns(const struct news_item *it, const struct task *t)
{
	return t->state != TASK_COMMITTING && t->known == it->base &&
	    uuid_cmp(&t->run, &it->run) == 0;
}

static char *
events_text(const struct worker *w, struct arena *a, const struct news_item *it)
{
	struct json *all = json_array(a);
	struct str text;

	for (uint32_t i = 0; i < it->n_events; i++) {
		const struct event *e = &it->events[i];
		struct json *o = json_object(a);

		json_set(a, o, "seq", json_int(a, e->seq));
		json_set(a, o, "type", json_cstring(a, e->type));
		json_set(a, o, "payload", (struct json *)e->payload);
		json_push(a, all, o);
	}
	text = json_text(a, all);
	return w->past_bytes + text.n <= HEARD_MOST ? xstrdup(text.s) : NULL;
}

void
news_keep(struct news *n, struct worker *w, struct arena *scratch)
{
	uint32_t kept = 0;

	list_for (it, &w->held) {
		const struct task *t = list_entry(it, struct task, held);
		struct news_item key = { .run = t->run }, *found;

		if (t->state == TASK_COMMITTING || n->n == 0)
			continue;
		found = bsearch(&key, n->items, n->n, sizeof(key), news_order);
		if (found != NULL && found->text == NULL &&
		    found->n_events > 0 && concerns(found, t))
			found->text = events_text(w, scratch, found);
	}
	for (uint32_t i = 0; i < n->n; i++)
		if (n->items[i].text != NULL)
			n->items[kept++] = n->items[i];
	n->n = kept;
}

void
news_tell(const struct news_item *item, struct worker *w)
{
	struct error err;
	struct past *p = past_new(w, str_of(item->text), &err);

	list_for (it, &w->held) {
		struct task *t = list_entry(it, struct task, held);

		if (p != NULL && concerns(item, t))
			task_learn(t, p, item->base + (int32_t)item->n_events);
	}
	past_put(p);
}
