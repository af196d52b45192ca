#include "core/log.h"
#include "core/mem.h"
#include "core/testpoint.h"
#include "worker/engine/batch.h"
#include "worker/engine/engine-sql.h"
#include "worker/engine/news.h"

#include <stdlib.h>
#include <string.h>

/*
 * One commit is out at a time, so that what gets ready meanwhile goes together
 * into the next; a full batch needn't wait. But a run is in one of them only:
 * what were decided beside it would be stale. A commit that failed on data, or
 * on a lease that isn't ours any more, is cut in halves until the culprit stands
 * alone; then it is the culprit's turn to be recorded with more care.
 */
enum {
	BATCH_BYTES = 16 << 20, /* beyond, the next commit has the rest */
	NOTIFY_MOST = 7900,
	RETRY_MS = 250,
	RETRY_CAP_MS = 5000,
};

struct commit {
	struct list link;
	struct worker *w;
	struct list tasks;
	struct uuid *runs; /* of its items, in order */
	uint32_t n_items, n_tasks;
	struct news news;
};

static void
commit_free(struct commit *c)
{
	news_deinit(&c->news);
	free(c->runs);
	free(c);
}

struct commits {
	struct loop_defer *turn;
	struct loop_timer *timer; /* after an error that may pass */
	struct list out;
	uint32_t n_out;
	int64_t wait_ms; /* the last back-off; 0: nothing went wrong lately */
	int waiting;
	struct batch batch;
	struct arena arena;
	struct task **sorted;
	uint32_t room;
};

static void commit_send(struct worker *w, struct task **tasks, uint32_t n);

/* By run; in a run those that know the same together, the oldest slice first. */
static int
task_order(const void *x, const void *y)
{
	const struct task *a = *(struct task *const *)x;
	const struct task *b = *(struct task *const *)y;
	int r = uuid_cmp(&a->run, &b->run);

	if (r == 0)
		r = (a->known > b->known) - (a->known < b->known);
	if (r == 0)
		r = (a->base > b->base) - (a->base < b->base);
	return r != 0 ? r : (a->id > b->id) - (a->id < b->id);
}

static void
notified(void *arg, struct rows *rows, const struct error *err)
{
	(void)arg;
	(void)rows;
	(void)err; /* who polls finds it all the same */
}

/* Whoever committed tells those who wait, as its next statement. */
static void
notify_send(struct worker *w, const struct batch *b)
{
	struct error err;
	struct str runs = buf_str(&b->runs);
	int work = w->draining || b->n_sends > w->o.max_in_flight - w->n_held;

	if (runs.n > NOTIFY_MOST)
		runs = STR("*");
	if (runs.n > 0 || (work && b->n_sends > 0))
		db_call(w->db, &sql_notify, notified, NULL, &err, db_str(runs),
		    db_bool(work && b->n_sends > 0));
}

/* More careful with this one, for the reason given. */
static void
task_careful(struct task *t, enum care care, const struct error *why)
{
	t->refused = *why;
	t->care = care > t->care ? care : t->care + 1;
	if (t->care >= CARE_DROP) {
		log_error("task.dropped", I_("message", t->id), E_(why));
		task_free(t);
		return;
	}
	log_warn(
	    "task.refused", I_("message", t->id), I_("care", t->care), E_(why));
	task_to(t, TASK_READY);
}

/* What the fault of an error in deciding calls for. */
static void
item_failed(struct task **tasks, uint32_t n, const struct error *err)
{
	for (uint32_t i = 0; i < n; i++)
		task_careful(tasks[i],
		    err->fault == FAULT_INPUT ? CARE_ALONE : CARE_ABANDON, err);
}

static void
commit_taken(struct commit *c, struct task **tasks, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		task_to(tasks[i], TASK_COMMITTING);
		list_remove(&tasks[i]->link);
		list_append(&c->tasks, &tasks[i]->link);
	}
	c->n_tasks += n;
}

static uint32_t
group_end(struct task **tasks, uint32_t at, uint32_t n)
{
	uint32_t end = at + 1;

	while (end < n && uuid_cmp(&tasks[end]->run, &tasks[at]->run) == 0 &&
	    tasks[end]->known == tasks[at]->known)
		end++;
	return end;
}

static void
items_later(struct task **tasks, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		task_to(tasks[i], TASK_READY);
}

/* Items of the sorted tasks, one a run; those of a run that know something
 * else are READY for the next commit, and so is what would make this one so
 * large that the database refuses it, or we keep the memory for ever. */
static void
items_make(struct worker *w, struct commit *c, struct task **tasks, uint32_t n)
{
	struct commits *cs = w->commits;
	const struct uuid *last = NULL;
	struct item item;
	struct error err;
	uint32_t end;

	for (uint32_t at = 0; at < n; at = end) {
		end = group_end(tasks, at, n);
		if (batch_bytes(&cs->batch) > BATCH_BYTES) {
			items_later(tasks + at, n - at);
			return;
		}
		if (last != NULL && uuid_cmp(last, &tasks[at]->run) == 0)
			continue;
		if (item_make(&item, &cs->arena, tasks + at, end - at, &err) <
		    0) {
			item_failed(tasks + at, end - at, &err);
			continue;
		}
		testpoint("after_decide");
		last = &tasks[at]->run;
		c->runs[cs->batch.n_items] = *last;
		batch_add(&cs->batch, &item, tasks + at, end - at);
		news_add(&c->news, &item, tasks[at]);
		commit_taken(c, tasks + at, end - at);
	}
}

static void
tasks_ready(struct commit *c)
{
	struct list *it;

	while ((it = list_pop(&c->tasks)) != NULL)
		task_to(list_entry(it, struct task, link), TASK_READY);
}

static uint32_t
tasks_array(struct commit *c, struct task **out)
{
	struct list *it;
	uint32_t n = 0;

	while ((it = list_pop(&c->tasks)) != NULL)
		out[n++] = list_entry(it, struct task, link);
	return n;
}

static void
tasks_split(struct commit *c)
{
	struct worker *w = c->w;
	struct task **all = xcalloc(c->n_tasks, sizeof(struct task *));
	uint32_t n = tasks_array(c, all), half = n / 2;

	/* not through a run, unless it is the only one */
	while (c->n_items > 1 && half < n &&
	    all[half]->item == all[half - 1]->item)
		half++;
	if (half == n)
		half = n - 1;
	while (c->n_items > 1 && half > 1 &&
	    all[half]->item == all[half - 1]->item)
		half--;
	commit_send(w, all, half);
	commit_send(w, all + half, n - half);
	free(all);
}

/* The database refused it for what is in it. */
static void
commit_refused(struct commit *c, const struct error *err)
{
	struct list *it;
	struct task *t;

	if (c->n_tasks > 1) {
		tasks_split(c);
		return;
	}
	it = list_pop(&c->tasks);
	t = list_entry(it, struct task, link);
	if (strcmp(err->code, "MH001") == 0) {
		log_info("lease.lost", I_("message", t->id));
		task_free(t);
		return;
	}
	task_careful(t, CARE_ALONE, err);
}

/* Nobody's fault in here: again, later. Commits bear being repeated. */
static void
commit_again(struct commit *c, const struct error *err)
{
	struct worker *w = c->w;
	struct commits *cs = w->commits;

	if (strncmp(err->code, "08", 2) != 0) {
		cs->wait_ms = cs->wait_ms > 0 ? cs->wait_ms * 2 : RETRY_MS;
		if (cs->wait_ms > RETRY_CAP_MS)
			cs->wait_ms = RETRY_CAP_MS;
		if (strncmp(err->code, "40", 2) == 0)
			cs->wait_ms = 1;
		log_warn("commit.failed", I_("tasks", c->n_tasks), E_(err));
		cs->waiting = 1;
		loop_timer_set(cs->timer, jittered(cs->wait_ms));
	}
	tasks_ready(c);
}

struct outcome {
	int answered, stale; /* not applied: stale or resolved */
	int32_t last_seq;
	struct str tail;
	struct past *past; /* the tail, once it was read */
};

static void
task_answered(struct task *t, struct outcome *o)
{
	struct error err = { 0 };

	if (!o->stale) {
		task_free(t);
		return;
	}
	if (o->past == NULL)
		o->past = past_new(t->w, o->tail, &err);
	if (o->past == NULL) {
		task_careful(t, CARE_ABANDON, &err);
		return;
	}
	task_learn(t, o->past, o->last_seq);
	task_to(t, TASK_READY);
}

/* A row of item 0 says that something is left to broadcast. */
static void
outcomes_read(
    struct worker *w, struct rows *rows, struct outcome *out, uint32_t n)
{
	for (int i = 0; i < rows->n; i++) {
		int64_t item = rows_int(rows, i, "item");
		struct str what = rows_str(rows, i, "outcome");

		if (item == 0)
			flush_due(w->flush);
		if (item < 1 || item > n)
			continue;
		out[item].answered = 1;
		out[item].stale = str_is(what, "stale");
		out[item].last_seq = (int32_t)rows_int(rows, i, "last_seq");
		out[item].tail = rows_str(rows, i, "tail");
	}
}

static void
commit_applied(struct commit *c, struct rows *rows)
{
	struct outcome none = { 0 }, *out = NULL;
	struct list *it;

	testpoint("after_commit");
	c->w->commits->wait_ms = 0;
	if (rows->n > 0) {
		out = xcalloc(c->n_items + 1, sizeof(*out));
		outcomes_read(c->w, rows, out, c->n_items);
	}
	c->w->n_items += c->n_items;
	for (uint32_t i = 1; out != NULL && i <= c->n_items; i++)
		c->w->n_stale += out[i].stale;
	for (uint32_t i = 0; i < c->news.n; i++)
		if (out == NULL || !out[c->news.items[i].item].answered)
			news_tell(&c->news.items[i], c->w);
	while ((it = list_pop(&c->tasks)) != NULL) {
		struct task *t = list_entry(it, struct task, link);

		task_answered(t, out != NULL ? &out[t->item] : &none);
	}
	for (uint32_t i = 1; out != NULL && i <= c->n_items; i++)
		past_put(out[i].past);
	free(out);
}

static void
committed(void *arg, struct rows *rows, const struct error *err)
{
	struct commit *c = arg;
	struct worker *w = c->w;

	list_remove(&c->link);
	w->commits->n_out--;
	if (err == NULL)
		commit_applied(c, rows);
	else if (err->fault == FAULT_INPUT)
		commit_refused(c, err);
	else
		commit_again(c, err);
	commit_free(c);
	commits_turn(w);
	poll_room(w);
	worker_check_over(w);
}

/* Send what these tasks come to; they are READY, or were in a commit. */
static void
commit_send(struct worker *w, struct task **tasks, uint32_t n)
{
	struct commits *cs = w->commits;
	struct db_param params[N_BATCH_ARRAYS + 2];
	struct commit *c = xcalloc(1, sizeof(*c));
	struct error err;

	c->w = w;
	c->runs = xcalloc(n, sizeof(*c->runs));
	list_init(&c->tasks);
	list_init(&c->link);
	batch_reset(&cs->batch);
	arena_reset(&cs->arena);
	items_make(w, c, tasks, n);
	c->n_items = cs->batch.n_items;
	if (c->n_items == 0) {
		commit_free(c);
		return;
	}
	news_keep(&c->news, w, &cs->arena);
	batch_params(&cs->batch, w->slot, params);
	testpoint("before_commit");
	if (db_send(w->db, &sql_commit, params, committed, c, &err) < 0) {
		tasks_ready(c);
		commit_free(c);
		return;
	}
	list_append(&cs->out, &c->link);
	w->poller.moved = 1;
	cs->n_out++;
	notify_send(w, &cs->batch);
	testpoint("after_commit_sent");
	if (cs->batch.due_ms > 0)
		poll_due(w, cs->batch.due_ms);
	if (cs->batch.n_sends > 0)
		poll_wake(w); /* behind the commit, in the same pipeline */
}

static int
run_order(const void *x, const void *y)
{
	return uuid_cmp(x, y);
}

static int
run_is_out(const struct commits *cs, const struct uuid *run)
{
	list_for (it, &cs->out) {
		const struct commit *c = list_entry(it, struct commit, link);

		if (bsearch(run, c->runs, c->n_items, sizeof(*run),
			run_order) != NULL)
			return 1;
	}
	return 0;
}

static uint32_t
ready_sorted(struct worker *w)
{
	struct commits *cs = w->commits;
	uint32_t n = 0;

	if (w->n_tasks[TASK_READY] > cs->room) {
		cs->room = w->n_tasks[TASK_READY] * 2;
		cs->sorted =
		    xrealloc(cs->sorted, cs->room * sizeof(struct task *));
	}
	list_for (it, &w->tasks[TASK_READY]) {
		struct task *t = list_entry(it, struct task, link);

		if (n == w->o.batch)
			break;
		if (!run_is_out(cs, &t->run))
			cs->sorted[n++] = t;
	}
	qsort(cs->sorted, n, sizeof(*cs->sorted), task_order);
	return n;
}

static int
may_send(const struct worker *w)
{
	const struct commits *cs = w->commits;

	/* a lease that is being extended changes under the commit */
	if (!w->serving || !db_ready(w->db) || cs->waiting || leases_busy(w) ||
	    w->n_tasks[TASK_READY] == 0)
		return 0;
	return cs->n_out == 0 || w->n_tasks[TASK_READY] >= w->o.batch;
}

static void
turn_over(void *arg)
{
	struct worker *w = arg;
	uint32_t before, n;

	tasks_unpark(w);
	while (may_send(w)) {
		before = w->n_tasks[TASK_READY];
		n = ready_sorted(w);
		if (n > 0)
			commit_send(w, w->commits->sorted, n);
		if (w->n_tasks[TASK_READY] == before)
			break; /* none may be, or the connection is gone */
	}
}

static void
wait_over(void *arg)
{
	struct worker *w = arg;

	w->commits->waiting = 0;
	commits_turn(w);
}

void
commits_turn(struct worker *w)
{
	loop_defer_call(w->commits->turn);
}

int
commits_out(const struct worker *w)
{
	return (int)w->commits->n_out;
}

void
commits_init(struct worker *w)
{
	struct commits *cs = xcalloc(1, sizeof(*cs));

	cs->turn = loop_defer_new(w->loop, turn_over, w);
	cs->timer = loop_timer_new(w->loop, wait_over, w);
	list_init(&cs->out);
	batch_init(&cs->batch);
	arena_init(&cs->arena);
	w->commits = cs;
}

void
commits_deinit(struct worker *w)
{
	struct commits *cs = w->commits;
	struct list *it;

	while ((it = list_pop(&cs->out)) != NULL) {
		struct commit *c = list_entry(it, struct commit, link);

		tasks_ready(c);
		commit_free(c);
	}
	cs->turn = loop_defer_free(cs->turn);
	cs->timer = loop_timer_free(cs->timer);
	batch_deinit(&cs->batch);
	arena_deinit(&cs->arena);
	free(cs->sorted);
	free(cs);
	w->commits = NULL;
}
