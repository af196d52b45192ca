#include "realtime/follow/merge.h"

#include <string.h>

/*
 * An input changes what is known; settle() then derives everything that is to
 * be done from that alone, so no order of inputs needs a case of its own.
 * Emptied stores give back their memory in the next step: until then outputs
 * point into them.
 */

static int64_t
larger(int64_t x, int64_t y)
{
	return x > y ? x : y;
}

static int64_t
smaller(int64_t x, int64_t y)
{
	return x < y ? x : y;
}

static struct merge_output *
put(struct merge *m, struct merge_outputs *out, enum merge_act act)
{
	struct merge_output *o;

	if (out->n == out->room) {
		uint32_t room = out->room * 2 + 16;

		out->at = arena_grow(
		    &m->arena, out->at, out->n, room, sizeof(*out->at));
		out->room = room;
	}
	o = &out->at[out->n++];
	*o = (struct merge_output){
		.act = act, .epoch = m->epoch, .seq = m->seq
	};
	return o;
}

/* A copy, at its place; not of one that is there. */
static void
store_add(struct merge_store *s, const struct line *line)
{
	uint32_t at = s->n;
	struct line *l;

	while (at > 0 && s->lines[at - 1].seq >= line->seq)
		at--;
	if (at < s->n && s->lines[at].seq == line->seq)
		return;
	if (s->n == s->room) {
		uint32_t room = s->room * 2 + 64;

		s->lines = arena_grow(
		    &s->arena, s->lines, s->n, room, sizeof(*s->lines));
		s->room = room;
	}
	l = &s->lines[at];
	memmove(l + 1, l, (s->n - at) * sizeof(*l));
	*l = *line;
	l->message = arena_str(&s->arena, line->message);
	if (line->attrs.s != NULL)
		l->attrs = arena_str(&s->arena, line->attrs);
	s->n++;
}

static void
store_empty(struct merge_store *s)
{
	arena_reset(&s->arena);
	s->lines = NULL;
	s->n = s->room = 0;
}

static void
emit(struct merge *m, const struct line *line, struct merge_outputs *out)
{
	struct line *copy = arena_alloc(&m->arena, sizeof(*copy));

	*copy = *line;
	m->seq = line->seq;
	m->rested = 0;
	put(m, out, MERGE_DO_LINE)->line = copy;
}

/* Those held lines that are due now leave; those that are behind go. */
static void
release(struct merge *m, struct merge_outputs *out)
{
	uint32_t n = 0;

	while (n < m->held.n && m->held.lines[n].seq <= m->seq + 1) {
		if (m->held.lines[n].seq == m->seq + 1)
			emit(m, &m->held.lines[n], out);
		n++;
	}
	if (n == 0)
		return;
	m->held.n -= n;
	memmove(m->held.lines, m->held.lines + n,
	    m->held.n * sizeof(*m->held.lines));
}

/* What is not there up to `to` is gone; what is held of it is not. */
static void
skip(struct merge *m, int64_t to, struct merge_outputs *out)
{
	release(m, out);
	while (m->seq < to) {
		int64_t next = m->held.n > 0 ? m->held.lines[0].seq : INT64_MAX;

		m->seq = smaller(to, next - 1);
		m->rested = 0;
		put(m, out, MERGE_DO_GAP);
		release(m, out);
	}
}

/* The page is of our epoch. */
static void
absorb(struct merge *m, struct merge_outputs *out)
{
	for (uint32_t i = 0; i < m->page.n; i++) {
		const struct line *line = &m->page.lines[i];

		skip(m, line->seq - 1, out);
		if (line->seq == m->seq + 1)
			emit(m, line, out);
	}
	if (m->page.n == 0)
		skip(m, m->fetch_sure, out);
	release(m, out);
	m->paged = 0;
}

static void
begin_anew(
    struct merge *m, const struct merge_input *in, struct merge_outputs *out)
{
	m->epoch = in->epoch;
	m->seq = 0;
	m->heard = 0;
	m->held.n = 0;
	m->paged = 0;
	m->fetch_void = m->fetching;
	put(m, out, MERGE_DO_RESET);
}

static void
take_topic(
    struct merge *m, const struct merge_input *in, struct merge_outputs *out)
{
	size_t n = strlen(in->topic);

	if (n >= sizeof(m->topic) || strcmp(in->topic, m->topic) == 0)
		return;
	memcpy(m->topic, in->topic, n + 1);
	m->joined = 0;
	put(m, out, MERGE_DO_JOIN)->text = m->topic;
}

/* A run's line may have been its last: ask soon, then ever later. */
static void
ask_whether_over(struct merge *m, int64_t now, int64_t ms)
{
	m->quiet_at = m->ends && ms < MERGE_RENEW_MS ? now + ms : INT64_MAX;
	m->quiet_ms = ms * 2;
}

static void
watched(
    struct merge *m, const struct merge_input *in, struct merge_outputs *out)
{
	m->watching = 0;
	m->watch_failures = 0;
	take_topic(m, in, out);
	m->watch_at =
	    in->now_ms + (m->joined ? MERGE_RENEW_MS : MERGE_APART_MS);
	if (in->epoch != m->epoch || in->last < m->watch_seq)
		begin_anew(m, in, out);
	if (m->quiet_at <= in->now_ms)
		ask_whether_over(m, in->now_ms, m->quiet_ms);
	m->told = 1;
	m->sure = in->last;
	m->ended = in->ended;
	/* who said more was wrong, or its commit is lost */
	if (m->heard == m->watch_heard)
		m->heard = smaller(m->heard, m->sure);
	if (m->paged && m->watch_confirms)
		absorb(m, out);
}

static void
fetched(
    struct merge *m, const struct merge_input *in, struct merge_outputs *out)
{
	(void)out;
	m->fetching = 0;
	m->fetch_failures = 0;
	if (m->fetch_void) {
		m->fetch_void = 0;
		return;
	}
	for (uint32_t i = 0; i < in->n; i++)
		store_add(&m->page, &in->lines[i]);
	m->paged = 1;
}

/* Full jitter: those who failed together don't come back together. */
static int64_t
again_at(uint32_t *failures, const struct merge_input *in)
{
	int64_t most = MERGE_AGAIN_MS << smaller((*failures)++, 8);

	most = smaller(most, MERGE_AGAIN_MOST_MS);
	return in->now_ms + most / 2 +
	    (int64_t)(in->random % (uint64_t)(most / 2 + 1));
}

static void
watch_failed(
    struct merge *m, const struct merge_input *in, struct merge_outputs *out)
{
	(void)out;
	m->watching = 0;
	m->watch_at = again_at(&m->watch_failures, in);
}

static void
fetch_failed(
    struct merge *m, const struct merge_input *in, struct merge_outputs *out)
{
	(void)out;
	m->fetching = 0;
	m->fetch_void = 0;
	m->fetch_now = 1;
	m->fetch_at = again_at(&m->fetch_failures, in);
}

static void
joined(struct merge *m, const struct merge_input *in, struct merge_outputs *out)
{
	(void)in;
	(void)out;
	m->joined = 1;
	m->fetch_now = 1;
}

static void
parted(struct merge *m, const struct merge_input *in, struct merge_outputs *out)
{
	(void)out;
	m->joined = 0;
	m->watch_at = smaller(m->watch_at, in->now_ms + MERGE_APART_MS);
}

static void
lines(struct merge *m, const struct merge_input *in, struct merge_outputs *out)
{
	for (uint32_t i = 0; i < in->n; i++) {
		const struct line *line = &in->lines[i];

		m->heard = larger(m->heard, line->seq);
		if (line->seq == m->seq + 1)
			emit(m, line, out);
		else if (line->seq > m->seq && m->held.n < MERGE_HELD &&
		    m->held.arena.used < MERGE_HELD_BYTES)
			store_add(&m->held, line);
	}
	release(m, out);
}

static void
heard(struct merge *m, const struct merge_input *in, struct merge_outputs *out)
{
	if (in->epoch != m->epoch) {
		m->watch_by = in->now_ms; /* which of us is right? */
		return;
	}
	m->heard = larger(m->heard, in->last);
	if (in->ended)
		m->watch_by = in->now_ms;
	lines(m, in, out);
}

static void
moved(struct merge *m, const struct merge_input *in, struct merge_outputs *out)
{
	(void)out;
	m->watch_by = smaller(
	    m->watch_by, in->now_ms + (int64_t)(in->random % MERGE_MOVED_MS));
}

static int64_t
watch_due(const struct merge *m)
{
	if (m->watch_failures > 0)
		return m->watch_at; /* whoever waits for it */
	if (m->paged)
		return 0;
	return smaller(m->watch_by, smaller(m->watch_at, m->quiet_at));
}

static int
behind(const struct merge *m)
{
	return m->told && !m->paged &&
	    (m->fetch_now || larger(m->sure, m->heard) > m->seq);
}

static void
want_watch(struct merge *m, int64_t now, struct merge_outputs *out)
{
	if (m->watching || now < watch_due(m))
		return;
	m->watching = 1;
	if (m->watch_by <= now)
		m->watch_by = INT64_MAX;
	m->watch_confirms = m->paged;
	m->watch_seq = m->seq;
	m->watch_heard = m->heard;
	put(m, out, MERGE_DO_WATCH);
}

static void
want_fetch(struct merge *m, int64_t now, struct merge_outputs *out)
{
	if (m->fetching || now < m->fetch_at || !behind(m))
		return;
	m->fetching = 1;
	m->fetch_now = 0;
	m->fetch_sure = m->sure;
	put(m, out, MERGE_DO_FETCH);
}

static void
settle(struct merge *m, int64_t now, struct merge_outputs *out)
{
	want_watch(m, now, out);
	want_fetch(m, now, out);
	if (!m->told || m->fetching || m->paged || behind(m))
		return;
	if (!m->rested)
		put(m, out, MERGE_DO_REST);
	m->rested = 1;
	if (m->ended && m->sure == m->seq) {
		m->over = 1;
		put(m, out, MERGE_DO_END);
	}
}

typedef void merge_fn(
    struct merge *m, const struct merge_input *in, struct merge_outputs *out);

static merge_fn *const handlers[N_MERGE_EVENTS] = {
	[MERGE_WATCHED] = watched,
	[MERGE_FETCHED] = fetched,
	[MERGE_WATCH_FAILED] = watch_failed,
	[MERGE_FETCH_FAILED] = fetch_failed,
	[MERGE_JOINED] = joined,
	[MERGE_PARTED] = parted,
	[MERGE_LINES] = heard,
	[MERGE_HINT] = heard,
	[MERGE_MOVED] = moved,
};

void
merge_step(
    struct merge *m, const struct merge_input *in, struct merge_outputs *out)
{
	int64_t seq = m->seq;

	arena_reset(&m->arena);
	*out = (struct merge_outputs){ 0 };
	if (!m->paged)
		store_empty(&m->page);
	if (m->held.n == 0)
		store_empty(&m->held);
	if (m->over)
		return;
	if (handlers[in->event] != NULL)
		handlers[in->event](m, in, out);
	if (m->seq > seq)
		ask_whether_over(m, in->now_ms, MERGE_QUIET_MS);
	settle(m, in->now_ms, out);
}

int64_t
merge_wake(const struct merge *m)
{
	int64_t at = m->watching ? INT64_MAX : watch_due(m);

	if (!m->fetching && behind(m))
		at = smaller(at, m->fetch_at);
	return m->over ? INT64_MAX : at;
}

void
merge_init(struct merge *m)
{
	*m = (struct merge){ .quiet_at = INT64_MAX, .watch_by = INT64_MAX };
	arena_init(&m->arena);
	arena_init(&m->page.arena);
	arena_init(&m->held.arena);
}

void
merge_deinit(struct merge *m)
{
	arena_deinit(&m->arena);
	arena_deinit(&m->page.arena);
	arena_deinit(&m->held.arena);
}
