#include "core/log.h"
#include "core/testpoint.h"
#include "core/time.h"
#include "worker/engine/engine-sql.h"
#include "worker/engine/engine.h"

#include <string.h>

/*
 * When to claim. A claim goes out when there is room and something may be
 * there: a notification, what our own commits sent, a timer that is due, or a
 * claim that came back full. Else, now and then: polling is correct alone.
 *
 * The queue is read from a floor (decisions/0003), and from its front as often
 * as that is cheap: again after 50 times what it last took.
 */
enum { FRONT_FACTOR = 50, FAILED_MS = 250 };
enum { MORE_READY = 1, MORE_BEHIND = 2 }; /* what a claim left */

int64_t
poll_now_ms(const struct worker *w)
{
	return time_mono_ms() + w->poller.clock_ms;
}

static int64_t
idle_ms(const struct worker *w)
{
	int64_t wait = jittered(
	    listen_works(w->listen) ? w->o.poll_ms : w->o.poll_fast_ms);
	int64_t due;

	if (w->poller.next_due_us == 0)
		return wait;
	/* rounded up: a timer is due at its microsecond, not before it */
	due = db_time_to_ms(w->poller.next_due_us) + 1 - poll_now_ms(w);
	if (due < 0)
		due = 0;
	return due < wait ? due : wait;
}

void
poll_due(struct worker *w, int64_t due_ms)
{
	struct poller *p = &w->poller;
	int64_t due_us = db_time_from_ms(due_ms);

	if (p->next_due_us != 0 && p->next_due_us <= due_us)
		return;
	p->next_due_us = due_us;
	if (!p->claiming)
		loop_timer_set(p->timer, idle_ms(w));
}

static void
header_read(struct poller *p, struct rows *rows)
{
	int64_t took = rows_int(rows, 0, "read_ct"), due_us;
	int64_t left = rows_int(rows, 0, "last_seq");

	p->clock_ms = rows_time_ms(rows, 0, "vt") - time_mono_ms();
	due_us = rows_time(rows, 0, "started_at"); /* 0: null */
	if (!p->moved || p->next_due_us == 0 ||
	    (due_us != 0 && due_us < p->next_due_us))
		p->next_due_us = due_us;
	p->more = (left & MORE_READY) != 0;
	p->backlog = (left & MORE_BEHIND) != 0;
	p->has_after = rows_uuid(rows, 0, "version_id", &p->after) == 0;
	p->has_floor = !rows_null(rows, 0, "floor");
	p->floor = rows_time(rows, 0, "floor");
	if (p->from_front)
		p->front_at_us = time_mono_us() + FRONT_FACTOR * took;
}

static void
buried(void *arg, struct rows *rows, const struct error *err)
{
	(void)arg;
	if (err != NULL)
		log_warn("queue.not_cleaned", E_(err));
	else
		log_error(
		    "queue.foreign", I_("buried", rows_int(rows, 0, "buried")));
}

void
poll_bury(struct worker *w)
{
	struct error err;

	db_call(w->db, &sql_bury_foreign, buried, NULL, &err);
}

static void
claimed(void *arg, struct rows *rows, const struct error *err)
{
	struct worker *w = arg;
	struct poller *p = &w->poller;
	int64_t now_us;
	uint32_t n;
	int suspect;

	p->claiming = 0;
	if (err != NULL) {
		if (strncmp(err->code, "08", 2) != 0)
			log_warn("claim.failed", E_(err));
		if (err->fault == FAULT_INPUT)
			poll_bury(w);
		loop_timer_set(p->timer, jittered(FAILED_MS));
		worker_check_over(w);
		return;
	}
	testpoint("after_claim");
	header_read(p, rows);
	now_us = rows_time(rows, 0, "vt");
	n = (uint32_t)rows->n - 1;
	p->empty = n == 0 && !p->moved;
	if (w->draining) {
		lease_give_back_rows(w, rows);
		worker_check_over(w);
		return;
	}
	/* the next claim is on its way while this one is looked at */
	suspect = n > 0 && rows_int(rows, 1, "read_ct") >= SUSPECT_READS;
	if (suspect || n >= p->asked || p->more)
		p->want = 1;
	p->landing = n;
	if (!suspect)
		poll_again(w);
	p->landing = 0;
	for (uint32_t i = 1; i <= n; i++)
		task_claimed(w, rows, (int)i, now_us);
	loop_timer_set(p->timer, idle_ms(w));
	poll_again(w);
	worker_check_over(w);
}

static int
claim_send(struct worker *w, uint32_t n)
{
	struct poller *p = &w->poller;
	struct error err;

	p->from_front = !p->has_floor || time_mono_us() >= p->front_at_us;
	return db_call(w->db, &sql_claim, claimed, w, &err, db_int4((int)n),
	    db_int4((int)w->o.lease_ms), db_int4(w->slot),
	    db_uuid(p->has_after ? &p->after : NULL),
	    p->from_front ? db_null(DB_TIMESTAMPTZ) : db_time(p->floor));
}

void
poll_again(struct worker *w)
{
	struct poller *p = &w->poller;
	uint32_t most =
	    w->o.batch < w->o.max_in_flight ? w->o.batch : w->o.max_in_flight;
	uint32_t room = w->o.max_in_flight - w->n_held;

	if (!p->want || p->claiming || !w->serving || w->draining ||
	    w->n_suspects > 0)
		return;
	room = room > p->landing ? room - p->landing : 0;
	/* not one by one, when calls end one by one */
	if (room == 0 || room < most / 2)
		return;
	p->asked = room < most ? room : most;
	if (claim_send(w, p->asked) < 0)
		return;
	p->want = p->moved = 0;
	p->claiming = 1;
}

/* What left the queue may have made room in it. */
void
poll_room(struct worker *w)
{
	w->poller.want |= w->poller.backlog;
	poll_again(w);
}

void
poll_wake(struct worker *w)
{
	w->poller.want = 1;
	poll_again(w);
}

static void
tick(void *arg)
{
	struct worker *w = arg;

	versions_retry(w);
	secrets_retry(w);
	poll_wake(w);
	/* no room: what is in hand may have to be asked for again */
	if (!w->poller.claiming)
		loop_timer_set(w->poller.timer, jittered(w->o.poll_ms));
}

void
poll_init(struct worker *w)
{
	w->poller.timer = loop_timer_new(w->loop, tick, w);
}

void
poll_deinit(struct worker *w)
{
	w->poller.timer = loop_timer_free(w->poller.timer);
}
