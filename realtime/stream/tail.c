#include "realtime/stream/tail.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/time.h"
#include "realtime/realtime-sql.h"

#include <stdlib.h>
#include <string.h>

enum {
	SLOTS_LEAST = 64,
	STRANGERS = 8192, /* ids known to be of no pattern; then forgotten */
	UNKNOWN = 1000,   /* ids of one question; beyond, the poll finds them */
	LINES_LEAST = 20,
	LINES_MOST = 1000,
};

struct tail {
	struct loop *loop;
	struct db *db;
	const struct listen *listen;
	const struct tail_ops *ops;
	void *arg;
	struct loop_timer *poll;
	struct loop_defer *ask; /* at the end of the turn: for all of it */
	struct tail_channel **slots;
	size_t n_slots, n;
	struct list dirty, patterns;
	uint32_t question;   /* the last one's number */
	int asking, looking; /* tail(), channels_under() is on its way */
	int lines;           /* of a channel, of the last question */
	int sweep;           /* look for all of the patterns' channels */
	int there;           /* the database */
	struct db_array ids, epochs, after, among, projects, services,
	    resources, since;
	struct uuid unknown[UNKNOWN];
	size_t n_unknown;
	struct uuid *strangers; /* STRANGERS slots; all zero: free */
	size_t n_strangers;
	int64_t clock_ms; /* the database's minus ours, which nobody sets */
	int clock_known;
	/* on the database's clock: the last poll; of tail(), of patterns, up
	 * to when all was told */
	int64_t polled_ms, sweeping_ms, told_ms, swept_ms;
};

static uint32_t
id_hash(const struct uuid *id)
{
	uint32_t h;

	memcpy(&h, id->bytes + 12, sizeof(h)); /* the random end */
	return h * 2654435761U;
}

static struct tail_channel **
slot_of(const struct tail *t, const struct uuid *id)
{
	return &t->slots[id_hash(id) & (t->n_slots - 1)];
}

struct tail_channel *
tail_find(const struct tail *t, const struct uuid *id)
{
	struct tail_channel *c = *slot_of(t, id);

	while (c != NULL && uuid_cmp(&c->id, id) != 0)
		c = c->next;
	return c;
}

static void
slots_grow(struct tail *t)
{
	struct tail_channel **old = t->slots;
	size_t n = t->n_slots;

	t->n_slots = n * 2;
	t->slots = xcalloc(t->n_slots, sizeof(struct tail_channel *));
	for (size_t i = 0; i < n; i++)
		for (struct tail_channel *c = old[i], *next; c != NULL;
		     c = next) {
			struct tail_channel **to = slot_of(t, &c->id);

			next = c->next;
			c->next = *to;
			*to = c;
		}
	free(old);
}

void
tail_dirty(struct tail *t, struct tail_channel *c)
{
	if (c->held)
		return;
	if (list_empty(&c->dirty))
		list_append(&t->dirty, &c->dirty);
	loop_defer_call(t->ask);
}

void
tail_hold(struct tail_channel *c)
{
	c->held = 1;
	list_remove(&c->dirty);
}

void
tail_release(struct tail *t, struct tail_channel *c)
{
	c->held = 0;
	tail_dirty(t, c);
}

void
tail_add(struct tail *t, struct tail_channel *c)
{
	struct tail_channel **slot;

	if (t->n >= t->n_slots)
		slots_grow(t);
	slot = slot_of(t, &c->id);
	c->next = *slot;
	*slot = c;
	t->n++;
	c->question = 0;
	c->held = 0;
	list_init(&c->dirty);
	tail_dirty(t, c);
}

void
tail_remove(struct tail *t, struct tail_channel *c)
{
	struct tail_channel **at = slot_of(t, &c->id);

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	t->n--;
	list_remove(&c->dirty);
}

int64_t
tail_told_ms(const struct tail *t)
{
	return t->told_ms < t->swept_ms ? t->told_ms : t->swept_ms;
}

static int64_t
db_now_ms(const struct tail *t)
{
	return time_mono_ms() + t->clock_ms;
}

void
tail_clock(struct tail *t, int64_t db_ms)
{
	t->clock_ms = db_ms - time_mono_ms();
	t->clock_known = 1;
	if (t->told_ms == 0)
		t->told_ms = t->swept_ms = db_ms;
}

/* Strangers: a set that is emptied when it is half full. */

static int
stranger(struct tail *t, const struct uuid *id, int add)
{
	static const struct uuid none;
	size_t i = id_hash(id) & (STRANGERS - 1);

	while (uuid_cmp(&t->strangers[i], &none) != 0) {
		if (uuid_cmp(&t->strangers[i], id) == 0)
			return 1;
		i = (i + 1) & (STRANGERS - 1);
	}
	if (!add)
		return 0;
	if (t->n_strangers++ >= STRANGERS / 2) {
		memset(t->strangers, 0, STRANGERS * sizeof(*t->strangers));
		t->n_strangers = 1;
		i = id_hash(id) & (STRANGERS - 1);
	}
	t->strangers[i] = *id;
	return 0;
}

static void
strangers_forget(struct tail *t)
{
	memset(t->strangers, 0, STRANGERS * sizeof(*t->strangers));
	t->n_strangers = 0;
}

void
tail_pattern_add(struct tail *t, struct tail_pattern *p)
{
	list_append(&t->patterns, &p->link);
	strangers_forget(t);
}

void
tail_pattern_remove(struct tail *t, struct tail_pattern *p)
{
	(void)t;
	list_remove(&p->link);
}

/* Answers ----------------------------------------------------------------- */

struct sse_line
tail_line(struct rows *rows, int row)
{
	return (struct sse_line){
		.seq = rows_int(rows, row, "seq"),
		.ts_ms = rows_time_ms(rows, row, "ts"),
		.level = (int)rows_int(rows, row, "level"),
		.message = rows_str(rows, row, "message"),
		.attrs = rows_str(rows, row, "attrs"),
		.source = rows_str(rows, row, "source"),
	};
}

/* The rows of one channel, from `row` on, whose state they share. */
static void
take_channel(
    struct tail *t, struct tail_channel *c, struct rows *rows, int row, int n)
{
	int epoch = (int)rows_int(rows, row, "epoch");
	int64_t last = rows_int(rows, row, "last_seq");
	int lines = 0;

	if (epoch != c->epoch || last < c->seq) {
		c->epoch = epoch;
		c->seq = 0;
		t->ops->reset(t->arg, c);
		tail_dirty(t, c);
		return;
	}
	if (!rows_null(rows, row, "final_seq"))
		c->final_seq = rows_int(rows, row, "final_seq");
	for (; lines < n && !rows_null(rows, row + lines, "seq"); lines++) {
		struct sse_line line = tail_line(rows, row + lines);

		if (line.seq != c->seq + 1) {
			c->seq = line.seq - 1;
			t->ops->gap(t->arg, c);
		}
		c->seq = line.seq;
		t->ops->line(t->arg, c, &line);
	}
	if (c->seq < last && lines == t->lines) {
		tail_dirty(t, c);
	} else if (c->seq < last) {
		c->seq = last;
		t->ops->gap(t->arg, c);
	}
	if (c->final_seq >= 0 && c->seq >= c->final_seq)
		t->ops->end(t->arg, c);
}

static void
answered(void *arg, struct rows *rows, const struct error *err)
{
	struct tail *t = arg;

	t->asking = 0;
	if (err != NULL) {
		/* what was asked for is asked again by the next poll */
		if (err->fault != FAULT_RETRY)
			log_error("tail.failed", E_(err));
		return;
	}
	for (int i = 0, n; i < rows->n; i += n) {
		struct tail_channel *c;
		struct uuid id;

		n = rows_group(rows, i, "channel_id", &id);
		c = tail_find(t, &id);
		if (c != NULL && c->question == t->question)
			take_channel(t, c, rows, i, n);
	}
	if (rows->n > 0)
		tail_clock(t, rows_time_ms(rows, 0, "at"));
	t->ops->told(t->arg);
	if (list_empty(&t->dirty) && t->clock_known)
		t->told_ms = t->polled_ms;
	else
		loop_defer_call(t->ask);
}

static void
looked(void *arg, struct rows *rows, const struct error *err)
{
	struct tail *t = arg;

	t->looking = 0;
	if (err != NULL) {
		if (err->fault != FAULT_RETRY)
			log_error("tail.failed", E_(err));
		return;
	}
	for (int i = 0; i < rows->n; i++) {
		struct tail_found f = {
			.epoch = (int)rows_int(rows, i, "epoch"),
			.last_seq = rows_int(rows, i, "last_seq"),
			.start_seq = rows_int(rows, i, "start_seq"),
			.final_seq = rows_null(rows, i, "final_seq")
			    ? -1
			    : rows_int(rows, i, "final_seq"),
			.service = rows_text(rows, i, "service"),
			.resource = rows_text(rows, i, "resource"),
		};
		struct tail_channel *c;

		rows_uuid(rows, i, "channel_id", &f.id);
		rows_uuid(rows, i, "project_id", &f.project);
		c = tail_find(t, &f.id);
		if (c == NULL)
			t->ops->found(t->arg, &f);
		else if (c->seq != f.last_seq || c->epoch != f.epoch)
			tail_dirty(t, c);
	}
	if (rows->n > 0)
		tail_clock(t, rows_time_ms(rows, 0, "at"));
	/* which may be earlier than the last: the database's clock was set */
	if (t->sweeping_ms > 0 && t->clock_known)
		t->swept_ms = t->sweeping_ms;
	t->ops->told(t->arg);
	if (t->n_unknown > 0 || t->sweep)
		loop_defer_call(t->ask);
}

/* Questions --------------------------------------------------------------- */

static void
ask_tail(struct tail *t)
{
	struct error err;
	int n = 0;

	db_array_reset(&t->ids);
	db_array_reset(&t->epochs);
	db_array_reset(&t->after);
	if (++t->question == 0)
		t->question = 1;
	for (struct list *it;
	     n < TAIL_CHANNELS && (it = list_pop(&t->dirty)) != NULL; n++) {
		struct tail_channel *c =
		    list_entry(it, struct tail_channel, dirty);

		c->question = t->question;
		db_array_uuid(&t->ids, &c->id);
		db_array_int4(&t->epochs, c->epoch);
		db_array_int8(&t->after, c->seq);
	}
	t->lines = TAIL_LINES / (n > 0 ? n : 1);
	if (t->lines < LINES_LEAST)
		t->lines = LINES_LEAST;
	if (t->lines > LINES_MOST)
		t->lines = LINES_MOST;
	t->asking = db_call(t->db, &sql_tail, answered, t, &err,
			db_array(&t->ids), db_array(&t->epochs),
			db_array(&t->after), db_int4(t->lines)) == 0;
}

static void
ask_patterns(struct tail *t)
{
	struct error err;

	db_array_reset(&t->projects);
	db_array_reset(&t->services);
	db_array_reset(&t->resources);
	db_array_reset(&t->since);
	db_array_reset(&t->among);
	list_for (it, &t->patterns) {
		struct tail_pattern *p =
		    list_entry(it, struct tail_pattern, link);
		int64_t since = t->swept_ms - TAIL_OVERLAP_MS;

		if (since < p->since_ms)
			since = p->since_ms;
		db_array_uuid(&t->projects, &p->project);
		db_array_str(&t->services, str_of(p->service));
		db_array_str(&t->resources, str_of(p->resource));
		db_array_time(&t->since, db_time_from_ms(since));
	}
	for (size_t i = 0; i < t->n_unknown && !t->sweep; i++)
		db_array_uuid(&t->among, &t->unknown[i]);
	t->looking =
	    db_call(t->db, &sql_channels_under, looked, t, &err,
		db_array(&t->projects), db_array(&t->services),
		db_array(&t->resources), db_array(&t->since), db_bool(0),
		db_array(&t->among), db_null(DB_INT8)) == 0;
	t->sweeping_ms = t->sweep ? db_now_ms(t) : 0;
	t->sweep = 0;
	t->n_unknown = 0;
}

static void
ask(void *arg)
{
	struct tail *t = arg;

	if (!t->there)
		return;
	if (!t->asking && !list_empty(&t->dirty))
		ask_tail(t);
	if (list_empty(&t->patterns)) {
		t->swept_ms = t->told_ms;
		t->n_unknown = 0;
		t->sweep = 0;
	} else if (!t->looking && (t->n_unknown > 0 || t->sweep)) {
		ask_patterns(t);
	}
}

static void
all_dirty(struct tail *t)
{
	for (size_t i = 0; i < t->n_slots; i++)
		for (struct tail_channel *c = t->slots[i]; c != NULL;
		     c = c->next)
			if (c->final_seq < 0 || c->seq < c->final_seq)
				tail_dirty(t, c);
	t->sweep = 1;
	t->polled_ms = db_now_ms(t);
	loop_defer_call(t->ask);
}

static void
poll_all(void *arg)
{
	struct tail *t = arg;

	all_dirty(t);
	loop_timer_set(t->poll,
	    listen_works(t->listen) ? TAIL_POLL_MS : TAIL_POLL_FAST_MS);
}

static void
id_notified(struct tail *t, struct str text)
{
	struct tail_channel *c;
	struct uuid id;

	if (uuid_parse(text, &id) < 0)
		return;
	c = tail_find(t, &id);
	if (c != NULL) {
		tail_dirty(t, c);
		return;
	}
	if (list_empty(&t->patterns) || t->n_unknown == UNKNOWN ||
	    stranger(t, &id, 1))
		return;
	t->unknown[t->n_unknown++] = id;
	loop_defer_call(t->ask);
}

void
tail_notified(struct tail *t, const char *payload)
{
	if (payload == NULL || strcmp(payload, "*") == 0) {
		all_dirty(t);
		return;
	}
	while (*payload != '\0') {
		size_t n = strcspn(payload, ",");

		id_notified(t, (struct str){ payload, n });
		payload += n + (payload[n] == ',');
	}
}

void
tail_database(struct tail *t, int there)
{
	t->there = there;
	if (there)
		poll_all(t);
	else
		loop_timer_clear(t->poll);
}

void
tail_listen(struct tail *t, const struct listen *l)
{
	t->listen = l;
}

struct tail *
tail_new(
    struct loop *loop, struct db *db, const struct tail_ops *ops, void *arg)
{
	struct tail *t = xcalloc(1, sizeof(*t));

	t->loop = loop;
	t->db = db;
	t->ops = ops;
	t->arg = arg;
	t->n_slots = SLOTS_LEAST;
	t->slots = xcalloc(t->n_slots, sizeof(struct tail_channel *));
	t->strangers = xcalloc(STRANGERS, sizeof(*t->strangers));
	list_init(&t->dirty);
	list_init(&t->patterns);
	t->poll = loop_timer_new(loop, poll_all, t);
	t->ask = loop_defer_new(loop, ask, t);
	db_array_init(&t->ids, DB_UUID);
	db_array_init(&t->epochs, DB_INT4);
	db_array_init(&t->among, DB_UUID);
	db_array_init(&t->after, DB_INT8);
	db_array_init(&t->projects, DB_UUID);
	db_array_init(&t->services, DB_TEXT);
	db_array_init(&t->resources, DB_TEXT);
	db_array_init(&t->since, DB_TIMESTAMPTZ);
	return t;
}

struct tail *
tail_free(struct tail *t)
{
	if (t == NULL)
		return NULL;
	loop_timer_free(t->poll);
	loop_defer_free(t->ask);
	db_array_deinit(&t->ids);
	db_array_deinit(&t->epochs);
	db_array_deinit(&t->among);
	db_array_deinit(&t->after);
	db_array_deinit(&t->projects);
	db_array_deinit(&t->services);
	db_array_deinit(&t->resources);
	db_array_deinit(&t->since);
	free(t->slots);
	free(t->strangers);
	free(t);
	return NULL;
}
