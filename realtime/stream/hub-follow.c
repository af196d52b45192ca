/*
 * What a reader follows: channels by name, and patterns, which find some.
 */
#include "core/mem.h"
#include "realtime/stream/hub-impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
follow_join(struct follow *f)
{
	struct topic *t = f->topic;
	int64_t from = t->base;

	if (f->slot >= 0 && t->filters[f->slot].from > from)
		from = t->filters[f->slot].from;
	if (f->epoch != t->tail.epoch || f->seq < from)
		return 0;
	if (f->behind) {
		f->behind = 0;
		t->n_behind--;
		if (--f->reader->n_behind == 0)
			t->hub->stats.behind--;
	}
	return 1;
}

void
follow_leave(struct follow *f)
{
	struct reader *r = f->reader;

	if (f->behind || r->closing)
		return;
	f->behind = 1;
	f->topic->n_behind++;
	if (r->n_behind++ == 0)
		r->hub->stats.behind++;
	if (r->started)
		reader_behind(r);
}

/* Look where there are fewer. */
struct follow *
follow_find(struct reader *r, struct topic *t)
{
	if (r->n_follows < t->n_follows) {
		list_for (it, &r->follows) {
			struct follow *f =
			    list_entry(it, struct follow, of_reader);

			if (f->topic == t)
				return f;
		}
		return NULL;
	}
	list_for (it, &t->follows) {
		struct follow *f = list_entry(it, struct follow, of_topic);

		if (f->reader == r)
			return f;
	}
	return NULL;
}

static void
follow_place(struct follow *f, int epoch, int64_t seq)
{
	f->epoch = epoch;
	f->seq = seq;
	f->ended = 0;
	if (!follow_join(f))
		follow_leave(f);
}

int
follow_add(struct reader *r, struct topic *t, int epoch, int64_t seq, int found)
{
	struct follow *f = follow_find(r, t);
	int slot = -1;

	if (f != NULL) {
		/* what was named stays where it was named to begin */
		if (!r->started && (f->found || !found))
			follow_place(f, epoch, seq);
		f->found = f->found && found;
		return 0;
	}
	if (r->closing || r->dead)
		return 0;
	if (r->filter != NULL) {
		slot = topic_filter_take(t, r->filter);
		if (slot < 0)
			return -1;
	}
	f = xcalloc(1, sizeof(*f));
	f->topic = t;
	f->reader = r;
	f->slot = (int8_t)slot;
	f->found = (uint8_t)found;
	list_append(&t->follows, &f->of_topic);
	list_append(&r->follows, &f->of_reader);
	t->n_follows++;
	r->n_follows++;
	follow_place(f, epoch, seq);
	if (r->started)
		follow_flush(f);
	return 0;
}

struct follow *
follow_free(struct follow *f)
{
	struct topic *t = f->topic;
	struct reader *r = f->reader;

	if (f->behind) {
		t->n_behind--;
		if (--r->n_behind == 0)
			r->hub->stats.behind--;
	}
	t->n_asked -= f->asked;
	r->n_ended -= f->ended;
	if (f->slot >= 0 && --t->filters[f->slot].refs == 0)
		t->filters[f->slot].filter =
		    filter_unref(t->filters[f->slot].filter);
	list_remove(&f->of_topic);
	list_remove(&f->of_reader);
	t->n_follows--;
	r->n_follows--;
	free(f);
	return NULL;
}

int
reader_follow(
    struct reader *r, const struct hub_channel *c, int epoch, int64_t seq)
{
	struct topic *t = topic_get(r->hub, c, c->last_seq);
	int failed = follow_add(r, t, epoch < 0 ? c->epoch : epoch, seq, 0);

	topic_put(t);
	return failed;
}

int
reader_found(
    struct reader *r, const struct hub_channel *c, int epoch, int64_t seq)
{
	struct topic *t = topic_get(r->hub, c, c->last_seq);
	int failed = follow_add(r, t, epoch, seq, 1);

	topic_put(t);
	return failed;
}

void
reader_settle(struct reader *r)
{
	list_for (it, &r->patterns)
		list_entry(it, struct reader_pattern, of_reader)->settled = 1;
}

/* Patterns ---------------------------------------------------------------- */

static struct pattern *
pattern_get(struct hub *h, const struct tail_pattern *want)
{
	char text[256], project[UUID_TEXT];
	struct pattern *p;

	list_for (it, &h->patterns) {
		p = list_entry(it, struct pattern, link);
		if (uuid_cmp(&p->tail.project, &want->project) == 0 &&
		    strcmp(p->tail.service, want->service) == 0 &&
		    strcmp(p->tail.resource, want->resource) == 0)
			return p;
	}
	p = xcalloc(1, sizeof(*p));
	p->tail = *want;
	list_init(&p->readers);
	snprintf(text, sizeof(text), "logs:%s:%s%s%s", want->service,
	    uuid_format(&want->project, project),
	    want->resource[0] != '\0' ? ":" : "", want->resource);
	p->channel = xstrdup(text);
	p->key = cursor_key(str_of(text));
	list_append(&h->patterns, &p->link);
	tail_pattern_add(h->tail, &p->tail);
	return p;
}

/* Does a topic have a name that this pattern covers? */
static int
pattern_covers(const struct pattern *p, const struct topic *t)
{
	size_t n = strlen(p->channel);

	if (p->channel[n - 1] != '*')
		return strcmp(p->channel, t->channel) == 0;
	return strncmp(p->channel, t->channel, n - 1) == 0;
}

void
reader_pattern(struct reader *r, const struct uuid *project, struct str service,
    struct str resource, int64_t since_ms)
{
	struct tail_pattern want = { .project = *project,
		.since_ms = since_ms };
	struct reader_pattern *rp = xcalloc(1, sizeof(*rp));

	snprintf(want.service, sizeof(want.service), "%.*s", STR_FMT(service));
	snprintf(
	    want.resource, sizeof(want.resource), "%.*s", STR_FMT(resource));
	rp->reader = r;
	rp->pattern = pattern_get(r->hub, &want);
	list_append(&rp->pattern->readers, &rp->of_pattern);
	list_append(&r->patterns, &rp->of_reader);
	r->n_patterns++;
	/* what is followed already is never found: from here on */
	list_for (it, &r->hub->topics) {
		struct topic *t = list_entry(it, struct topic, link);

		if (pattern_covers(rp->pattern, t))
			follow_add(r, t, t->tail.epoch, t->tail.seq, 1);
	}
}

void
pattern_leave(struct reader_pattern *rp)
{
	struct pattern *p = rp->pattern;

	list_remove(&rp->of_pattern);
	list_remove(&rp->of_reader);
	rp->reader->n_patterns--;
	if (list_empty(&p->readers)) {
		tail_pattern_remove(rp->reader->hub->tail, &p->tail);
		list_remove(&p->link);
		free(p->channel);
		free(p);
	}
	free(rp);
}

/* What only it found goes with it. */
static void
pattern_drop(struct reader *r, struct reader_pattern *rp)
{
	list_for_safe (it, &r->follows) {
		struct follow *f = list_entry(it, struct follow, of_reader);
		struct topic *t = f->topic;

		if (!f->found || !pattern_covers(rp->pattern, t))
			continue;
		follow_free(f);
		topic_put(t);
	}
	pattern_leave(rp);
}

int
reader_drop(struct reader *r, struct str channel)
{
	list_for (it, &r->patterns) {
		struct reader_pattern *rp =
		    list_entry(it, struct reader_pattern, of_reader);

		if (str_is(channel, rp->pattern->channel)) {
			pattern_drop(r, rp);
			return 1;
		}
	}
	list_for (it, &r->follows) {
		struct follow *f = list_entry(it, struct follow, of_reader);
		struct topic *t = f->topic;

		if (f->found || !str_is(channel, t->channel))
			continue;
		follow_free(f);
		topic_put(t);
		return 1;
	}
	return 0;
}
