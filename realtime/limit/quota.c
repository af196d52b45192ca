#include "realtime/limit/quota.h"
#include "core/log.h"
#include "core/mem.h"
#include "realtime/realtime-sql.h"

#include <stdio.h>
#include <stdlib.h>

struct quota {
	struct loop *loop;
	struct db *db;
	struct uuid endpoint;
	struct quota_limit limit;
	struct list waits;
	int32_t granted, left; /* ours to spend; the bucket's own */
	int64_t void_ms;       /* when what was granted is void */
	int64_t again_ms;      /* until then it is empty */
	int asking;            /* a lease is on its way */
	int gone;              /* freed with its answer */
};

struct quota *
quota_new(struct loop *loop, struct db *db, const struct uuid *endpoint)
{
	struct quota *r = xcalloc(1, sizeof(*r));

	r->loop = loop;
	r->db = db;
	r->endpoint = *endpoint;
	list_init(&r->waits);
	return r;
}

/* One more: out of what was granted, or refused. */
static enum quota_verdict
spend(struct quota *r, struct quota_state *state)
{
	int64_t ms = r->again_ms - loop_now_ms(r->loop);
	int granted = r->granted > 0;

	if (granted)
		r->granted--;
	*state = (struct quota_state){
		.limit = r->limit,
		.left = r->left + r->granted,
	};
	if (!granted)
		state->retry_s = ms > 0 ? (int32_t)((ms + 999) / 1000) : 1;
	return granted ? QUOTA_GRANTED : QUOTA_REFUSED;
}

/* Tell the first of those that wait. */
static void
tell_next(struct quota *r, int known)
{
	struct list *first = list_pop(&r->waits);
	struct quota_state state = { .limit = r->limit };
	struct quota_wait *w;

	if (first == NULL)
		return;
	w = list_entry(first, struct quota_wait, link);
	w->fn(w, known ? spend(r, &state) : QUOTA_UNKNOWN, &state);
}

struct quota *
quota_free(struct quota *r, int db_gone)
{
	if (r == NULL)
		return NULL;
	while (!list_empty(&r->waits))
		tell_next(r, 0);
	if (r->asking && !db_gone)
		r->gone = 1;
	else
		free(r);
	return NULL;
}

static int lease(struct quota *r);

static void
leased(void *arg, struct rows *rows, const struct error *err)
{
	struct quota *r = arg;
	int64_t now = loop_now_ms(r->loop);

	r->asking = 0;
	if (r->gone) {
		free(r);
		return;
	}
	if (err != NULL || rows->n == 0) {
		if (err != NULL)
			log_warn("quota.lease", E_(err));
		while (!list_empty(&r->waits))
			tell_next(r, 0);
		return;
	}
	r->granted = (int32_t)rows_int(rows, 0, "granted");
	r->left = (int32_t)rows_int(rows, 0, "remaining");
	r->void_ms = now + QUOTA_KEEP_MS;
	r->again_ms = now + rows_int(rows, 0, "retry_ms");
	while (!list_empty(&r->waits) && (r->granted > 0 || r->left == 0))
		tell_next(r, 1);
	/* more came meanwhile, and the bucket has more */
	if (!list_empty(&r->waits) && lease(r) < 0)
		while (!list_empty(&r->waits))
			tell_next(r, 0);
}

static int
lease(struct quota *r)
{
	int32_t want = r->limit.rate / QUOTA_SLICE, waiting = 0;
	struct error err;

	for (struct list *it = r->waits.next; it != &r->waits; it = it->next)
		waiting++;
	if (want < waiting + 1)
		want = waiting + 1;
	if (db_call(r->db, &sql_quota_lease, leased, r, &err,
		db_uuid(&r->endpoint), db_int4(want), db_int4(r->limit.rate),
		db_int4(r->limit.burst)) < 0)
		return -1;
	r->asking = 1;
	return 0;
}

int
quota_take(struct quota *r, const struct quota_limit *limit,
    struct quota_wait *wait, enum quota_verdict *verdict,
    struct quota_state *state)
{
	int64_t now = loop_now_ms(r->loop);

	list_init(&wait->link);
	r->limit = *limit;
	if (now >= r->void_ms)
		r->granted = 0;
	if (r->granted > 0 || now < r->again_ms) {
		*verdict = spend(r, state);
		return 0;
	}
	if (!r->asking && lease(r) < 0)
		return -1;
	list_append(&r->waits, &wait->link);
	return QUOTA_LATER;
}

void
quota_wait_cancel(struct quota_wait *wait)
{
	list_remove(&wait->link);
}

const char *
quota_headers(const struct quota_state *s, char out[QUOTA_HEADERS])
{
	int window, n = 0;

	out[0] = '\0';
	if (s->limit.rate == 0)
		return out;
	window = (s->limit.burst + s->limit.rate - 1) / s->limit.rate;
	n = snprintf(out, QUOTA_HEADERS,
	    "RateLimit-Policy: \"endpoint\";q=%d;w=%d\r\n"
	    "RateLimit: \"endpoint\";r=%d;t=%d\r\n",
	    s->limit.burst, window, s->left, s->retry_s > 0 ? s->retry_s : 1);
	if (s->retry_s > 0)
		snprintf(out + n, (size_t)(QUOTA_HEADERS - n),
		    "Retry-After: %d\r\n", s->retry_s);
	return out;
}
