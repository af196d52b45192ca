/*
 * The worker's half of a commit against a model of the database, under all the
 * harm that it must bear: leases lost while a call is out or a batch is on its
 * way, messages delivered twice, answers lost behind a commit that was applied,
 * data that the database refuses, workers that stall or die, clocks that are
 * set, cancelling at any moment. Whatever the schedule: the run ends, its
 * events are contiguous, no attempt has two results, the history decides itself
 * again, and the rows are what folding it gives.
 *
 *	test-engine-item-sim [RUNS [FIRST-SEED]]
 */
#include "worker/engine/test-item-world.h"

enum { TURNS = 200000 };

static int
held_order(const void *x, const void *y)
{
	const struct task *a = &(*(struct held *const *)x)->task;
	const struct task *b = &(*(struct held *const *)y)->task;

	if (a->known != b->known)
		return a->known < b->known ? -1 : 1;
	if (a->base != b->base)
		return a->base < b->base ? -1 : 1;
	return (a->id > b->id) - (a->id < b->id);
}

/* Make the item of what is out; it stands alone in its commit. */
static void
send_out(struct sim *s, struct desk *d)
{
	struct task *tasks[TASKS];
	struct error err = { 0 };

	for (uint32_t i = 0; i < d->n_out; i++)
		tasks[i] = &d->out[i]->task;
	d->w.poller.clock_ms = s->db.now - time_mono_ms();
	if (item_make(&d->item, s->db.a, tasks, d->n_out, &err) < 0)
		db_fails(&s->db, err.text);
	assert_true(d->item.status == NULL || d->item.n_lines > 0);
	s->merged += d->n_out > 1;
}

/* Some of what is ready and knows the same. */
static void
commit(struct sim *s, struct desk *d)
{
	struct held *ready[TASKS];
	uint32_t n = 0;

	for (uint32_t i = 0; i < d->n; i++)
		if (!needs_call(s, d->held[i]) && chance(s, 80))
			ready[n++] = d->held[i];
	if (n == 0)
		return;
	qsort(ready, n, sizeof(struct held *), held_order);
	while (d->n_out < n &&
	    ready[d->n_out]->task.known == ready[0]->task.known) {
		d->out[d->n_out] = ready[d->n_out];
		d->n_out++;
	}
	send_out(s, d);
}

static struct past *
events_from(struct sim *s, struct desk *d, int32_t known)
{
	struct arena *a = s->db.a;
	struct json *all = json_array(a);
	struct error err;
	struct past *p;

	for (uint32_t i = (uint32_t)known; i < s->db.n_events; i++) {
		const struct event *e = &s->db.events[i];
		struct json *o = json_object(a);

		json_set(a, o, "seq", json_int(a, e->seq));
		json_set(a, o, "type", json_cstring(a, e->type));
		json_set(a, o, "payload", (struct json *)e->payload);
		json_push(a, all, o);
	}
	p = past_new(&d->w, json_text(a, all), &err);
	assert_non_null(p);
	return p;
}

/* As the database gives it back. */
static const struct json *
stored(struct arena *a, const struct json *v)
{
	struct json *copy;
	struct error err;

	if (json_parse(a, json_text(a, v), NULL, &copy, &err) < 0)
		fail_msg("%s", err.text);
	return copy;
}

static void
write_item(struct sim *s, const struct desk *d)
{
	static const char *const statuses[] = { "running", "succeeded",
		"failed" };
	const struct item *item = &d->item;
	struct db *db = &s->db;

	for (uint32_t i = 0; i < item->n_events; i++) {
		assert_int_equal(item->events[i].seq, db->n_events + 1);
		db->events[db->n_events] = item->events[i];
		db->events[db->n_events++].payload =
		    stored(db->a, item->events[i].payload);
	}
	for (uint32_t i = 0; i < item->n_rows; i++) {
		int32_t node = flow_find(db->flow, item->rows[i].step);

		if (item->rows[i].fresh)
			assert_false(db->has_row[node]);
		db->has_row[node] = 1;
		db->rows[node] = item->rows[i];
	}
	for (int i = RUN_SUCCEEDED; i <= RUN_FAILED; i++)
		if (item->status != NULL &&
		    strcmp(item->status, statuses[i]) == 0)
			db->status = (enum run_status)i;
	for (uint32_t i = 0; i < item->n_sends; i++)
		db_put(db, (struct json *)item->sends[i], 0);
	for (uint32_t i = 0; i < item->n_timers; i++)
		db_put(db, (struct json *)item->timers[i].message,
		    item->timers[i].due_ms);
}

/* The culprit is among the first, or among the others, which come again. */
static void
halve(struct sim *s, struct desk *d)
{
	s->split++;
	d->n_out = (d->n_out + 1) / 2;
	send_out(s, d);
}

static void
refuse(struct sim *s, struct desk *d)
{
	struct task *t = &d->out[0]->task;

	if (d->n_out > 1) {
		halve(s, d);
		return;
	}
	s->refused++;
	d->n_out = 0;
	(fail)(&t->refused, FAULT_INPUT, "22P05", "it can't be stored");
	t->care++;
	if (t->version == NULL || t->care >= CARE_DROP)
		drop(d, d->out[0]);
}

/* What the commit did, the others of this worker hear. */
static void
tell(struct sim *s, struct desk *d, int32_t base)
{
	struct past *p = events_from(s, d, base);

	for (uint32_t i = 0; i < d->n; i++)
		if (d->held[i]->task.known == base &&
		    d->held[i]->task.version != NULL) {
			task_learn(&d->held[i]->task, p,
			    base + (int32_t)d->item.n_events);
			s->told++;
		}
	past_put(p);
}

/* meshhook_engine.commit: runs first, then leases, then all of it. */
static void
arrive(struct sim *s, struct desk *d)
{
	struct db *db = &s->db;
	int32_t known = d->out[0]->task.known;
	int doubt = chance(s, 3), applied;

	if (db->status == RUN_RUNNING && d->item.n_events > 0 &&
	    known != (int32_t)db->n_events) {
		struct past *p = events_from(s, d, known);

		for (uint32_t i = 0; i < d->n_out; i++)
			task_learn(&d->out[i]->task, p, (int32_t)db->n_events);
		past_put(p);
		db->stale++;
		d->n_out = 0;
		return;
	}
	for (uint32_t i = 0; i < d->n_out; i++) {
		const struct db_message *m = &db->messages[d->out[i]->id];

		if (m->lease == d->out[i]->lease && !m->gone)
			continue;
		db->lost++;
		if (d->n_out > 1) {
			halve(s, d);
			return;
		}
		drop(d, d->out[0]);
		d->n_out = 0;
		return;
	}
	if (db->status == RUN_RUNNING && d->item.n_events > 0 && chance(s, 5)) {
		refuse(s, d);
		return;
	}
	for (uint32_t i = 0; i < d->n_out; i++)
		db->messages[d->out[i]->id].gone = 1;
	applied = db->status == RUN_RUNNING;
	if (applied)
		write_item(s, d);
	else
		s->resolved++;
	s->doubted += (uint32_t)doubt;
	for (uint32_t i = 0; !doubt && i < d->n_out; i++)
		drop(d, d->out[i]);
	d->n_out = 0; /* in doubt: it is made and sent once more */
	if (applied && !doubt && d->item.n_events > 0 && chance(s, 50))
		tell(s, d, known);
}

static void
die(struct sim *s, struct desk *d)
{
	while (d->n > 0)
		drop(d, d->held[0]);
	d->n_out = 0;
	s->died++;
}

/* Leases are extended, or not held any more; those on their way wait. */
static void
extend(struct sim *s, struct desk *d)
{
	for (uint32_t i = d->n; i-- > 0;) {
		struct held *h = d->held[i];
		struct db_message *m = &s->db.messages[h->id];

		if (is_out(d, h))
			continue;
		if (m->gone || m->lease != h->lease)
			drop(d, h);
		else
			h->lease = ++m->lease;
	}
}

static void
harm(struct sim *s, struct desk *d)
{
	struct db *db = &s->db;

	switch (random_below(&db->seed, 400)) {
	case 0:
		die(s, d);
		break;
	case 1:
	case 2:
		d->stalled = (int)random_below(&db->seed, 300);
		break;
	case 3:
		db->now += random_below(&db->seed, 3600000);
		s->set++;
		break;
	case 4:
		db->now -= random_below(&db->seed, 60000);
		s->set++;
		break;
	case 5: /* a claim that the database forgot as it crashed */
		if (db->n_messages > 0) {
			uint32_t i = random_below(&db->seed, db->n_messages);

			db->messages[i].leased = 0;
			db->messages[i].lease++;
		}
		break;
	case 6: /* of one that isn't out: delivered too often */
		if (d->n > 0 && d->n_out == 0) {
			struct task *t = &d->held[0]->task;

			(fail)(&t->refused, FAULT_INPUT, "POISON", "no end");
			t->care = CARE_ABANDON;
		}
		break;
	case 7:
		if (chance(s, 30) && db->status == RUN_RUNNING)
			db_cancel(db);
		break;
	default:
		break;
	}
}

/* With nothing in anybody's hands, time goes on to the next timer. */
static void
pass_time(struct sim *s)
{
	int64_t next = INT64_MAX;

	s->db.now += random_below(&s->db.seed, 300);
	for (uint32_t i = 0; i < DESKS; i++)
		if (s->desks[i].n > 0)
			return;
	for (uint32_t i = 0; i < s->db.n_messages; i++)
		if (!s->db.messages[i].gone &&
		    s->db.messages[i].ready_at < next)
			next = s->db.messages[i].ready_at;
	if (next == INT64_MAX && s->db.status == RUN_RUNNING)
		db_fails(&s->db, "the run hangs");
	if (next != INT64_MAX && next > s->db.now)
		s->db.now = next;
}

static void
turn(struct sim *s, struct desk *d)
{
	uint32_t what = random_below(&s->db.seed, 10);

	pass_time(s);
	harm(s, d);
	if (d->stalled > 0) {
		d->stalled--;
	} else if (what < 3) {
		claim(s, d);
	} else if (what < 5) {
		for (uint32_t i = 0; i < d->n; i++)
			if (needs_call(s, d->held[i]) && chance(s, 50))
				call(s, d->held[i]);
	} else if (what < 9) {
		if (d->n_out > 0)
			arrive(s, d);
		else
			commit(s, d);
	} else {
		extend(s, d);
	}
}

static int
work_left(const struct sim *s)
{
	for (uint32_t i = 0; i < s->db.n_messages; i++)
		if (!s->db.messages[i].gone &&
		    s->db.messages[i].ready_at <= s->db.now)
			return 1;
	return s->db.status == RUN_RUNNING;
}

/* A run that is over has its messages deleted, too. */
static void
sim_run(struct sim *s)
{
	struct db *db = &s->db;
	struct replay replay;

	for (uint32_t n = 0; work_left(s); n++) {
		if (n == TURNS)
			db_fails(db, "no end");
		turn(s, &s->desks[random_below(&db->seed, DESKS)]);
	}
	for (uint32_t i = 0; i < DESKS; i++) {
		die(s, &s->desks[i]);
		assert_int_equal(s->desks[i].w.past_bytes, 0);
	}
	if (replay_check(db->a, db->flow, db->events, db->n_events, &replay) !=
	    0)
		db_fails(db, replay.text);
	assert_int_equal(replay.status, db->status);
	check_results_once(db);
	check_projection(db, &replay);
	for (uint32_t i = 0; i < db->n_events; i++)
		check_output(db, i);
}

static uint32_t runs = 3000, first_seed = 1;

static void
sim_seed(struct sim *s, struct arena *a, uint32_t seed)
{
	const char *trigger = "n0";

	s->db.a = a;
	s->db.seed = s->db.first_seed = seed;
	s->db.now = 1000000000000;
	s->db.input =
	    flow_json(a, arena_printf(a, "{'v':%u,'s':'x'}", seed % 4));
	s->db.flow =
	    flow_of(a, json_text(a, random_definition(a, &s->db.seed)).s);
	if (s->db.flow->nodes[1].type == NODE_MANUAL && seed % 2 == 0)
		trigger = "n1";
	s->version.flow = (struct flow *)(uintptr_t)s->db.flow;
	s->version.workflow = STR("f");
	s->version.number = 1;
	for (uint32_t i = 0; i < DESKS; i++)
		s->desks[i].w.o.no_inline = seed % 3 == 0;
	db_start(&s->db, trigger);
	sim_run(s);
}

static void
test_all_schedules_end_well(void **state)
{
	uint32_t ends[4] = { 0 }, stale = 0, lost = 0, split = 0, refused = 0,
		 doubted = 0, resolved = 0, merged = 0, told = 0;

	(void)state;
	for (uint32_t i = first_seed; i < first_seed + runs; i++) {
		struct arena a;
		struct sim *s;

		arena_init(&a);
		s = arena_zalloc(&a, sizeof(*s));
		sim_seed(s, &a, i);
		ends[s->db.status]++;
		stale += s->db.stale;
		lost += s->db.lost;
		split += s->split;
		refused += s->refused;
		doubted += s->doubted;
		resolved += s->resolved;
		merged += s->merged;
		told += s->told;
		arena_deinit(&a);
	}
	print_message("%u runs: %u succeeded, %u failed, %u cancelled; "
		      "%u commits stale, %u leases lost, %u halved, "
		      "%u refused, %u in doubt, %u resolved, %u of several, "
		      "%u told\n",
	    runs, ends[RUN_SUCCEEDED], ends[RUN_FAILED], ends[RUN_CANCELLED],
	    stale, lost, split, refused, doubted, resolved, merged, told);
	if (runs >= 1000) /* the world was as bad as it should be */
		assert_true(ends[RUN_SUCCEEDED] > runs / 10 &&
		    ends[RUN_FAILED] > runs / 10 &&
		    ends[RUN_CANCELLED] > runs / 100 && stale > runs / 10 &&
		    lost > runs / 100 && split > runs / 100 &&
		    refused > runs / 100 && doubted > runs / 100 &&
		    merged > runs / 10 && told > runs / 10);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_schedules_end_well),
	};

	if (argc > 1)
		runs = (uint32_t)strtoul(argv[1], NULL, 10);
	if (argc > 2)
		first_seed = (uint32_t)strtoul(argv[2], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
