#pragma once
/*
 * What the parts of the worker share.
 *
 * A task is one message in hand, with its lease. It is in exactly one state,
 * and each state is a list; task_to() is the only door:
 *
 *	PARKED     suspect, and something else is in hand
 *	LOADING    its version is being fetched
 *	CALLING    its HTTP call is out
 *	READY      what came of it can be recorded
 *	COMMITTING it is in a commit on its way
 *
 * Tasks that are ready at the end of a turn go into one commit; those of one
 * run that know the same last event become one item. What a commit answers
 * frees the task, or makes it READY again with the events that it lacked.
 *
 * A message that was delivered often may be what its workers die of. A claim
 * brings such suspects without others; not a byte of them is looked at before
 * all else is out of hand, and nothing is claimed before they are. So what
 * dies with the culprit is suspect at most, and soon the culprit is alone.
 */
#include "core/list.h"
#include "core/loop.h"
#include "core/mem.h"
#include "http/client.h"
#include "supabase/client/db.h"
#include "supabase/client/flush.h"
#include "worker/engine/secret.h"
#include "worker/engine/worker.h"
#include "worker/flow/node.h"
#include "worker/flow/run.h"

enum {
	SUSPECT_READS = 3, /* from this delivery on, as claim() counts them */
	POISON_READS = 10, /* deliveries of one message without progress */
	INLINE_MOST = 64,  /* steps carried out in one item */
};

/* A published version, parsed. It never changes. */
struct version {
	struct list link; /* most recently used first */
	struct uuid id;
	struct arena arena;
	struct flow *flow; /* NULL: loading, or it can't be had (error) */
	struct str workflow;
	struct uuid project;
	struct secrets secrets;
	int32_t number;
	uint32_t refs;
	int loading;
	struct list waiting; /* tasks */
	struct error error;
};

enum task_state {
	TASK_PARKED,
	TASK_LOADING,
	TASK_CALLING,
	TASK_READY,
	TASK_COMMITTING,
	N_TASK_STATES
};

/* How carefully a task is recorded, after the database refused its data. */
enum care {
	CARE_NONE,
	CARE_ALONE,   /* nothing inlined behind it */
	CARE_FAIL,    /* the step fails with the database's reason */
	CARE_ABANDON, /* a dead letter, and the end of its run */
	CARE_DROP,    /* nothing: the lease runs out */
};

/* Where a task stands with its version's secrets. */
enum task_secrets {
	SECRETS_NONE,
	SECRETS_WANTED, /* it waits for the next call, in LOADING */
	SECRETS_ASKED,
	SECRETS_TAKEN, /* its arena may hold values */
};

/* Events that follow each other, for tasks that did not know them: shared, since
 * those of one run may be many. */
struct past {
	struct worker *w;
	uint32_t refs, n;
	size_t bytes; /* of w->past_bytes */
	struct event *events;
	struct arena arena;
};

struct task {
	struct list link; /* of its state, version or commit */
	struct list held; /* all of them, oldest first */
	struct worker *w;
	enum task_state state;
	struct arena arena;

	int64_t id, vt;              /* the message and its lease */
	int32_t reads;               /* its deliveries, this one too */
	struct str text, slice_text; /* as claimed; the trees refer to them */
	struct uuid version_id;
	int over; /* the run is over or gone: version is NULL */
	struct uuid run;
	struct version *version;
	const struct json *json, *slice;
	struct message message;
	struct str trigger;
	int64_t started_us;
	int64_t now_ms;    /* the database's clock when it was claimed */
	int64_t waited_us; /* from when it was ready until then */
	int64_t begun_us;  /* when it came to us, on our clock */
	int attempted;     /* it was an attempt, and the item has its result */
	int64_t deadline_ms; /* of all tries; 0: none */
	int32_t base;        /* the last event that the slice knows */
	int32_t known;       /* the last one of the tail */
	struct past **tail;  /* (base, known] */
	uint32_t n_tail, room_tail;

	struct http_call *call;
	const char *what;   /* "POST https://..." */
	struct event event; /* what came of it; type NULL: not carried out */
	struct log_line line;
	enum care care;
	enum task_secrets secrets;
	struct error refused;
	uint32_t item; /* of its commit */
	int extending; /* its lease is in an extend on its way */
};

/* When to claim. */
struct poller {
	struct loop_timer *timer;
	int want;     /* something may be there */
	int claiming; /* a claim is on its way */
	uint32_t asked;
	uint32_t landing; /* claimed, and not yet tasks */
	int from_front;
	int has_after, has_floor;
	struct uuid after;
	int64_t floor;
	int64_t front_at_us; /* when reading from the front is cheap again */
	int64_t next_due_us; /* the next timer's; 0: none */
	int64_t clock_ms;    /* the database's clock minus ours */
	int empty;           /* the last claim found nothing */
	int more;            /* it left some that may be ready */
	int backlog;         /* there was one, at the last claim */
	int moved; /* a commit was sent since it was: it can't know of that */
};

struct commits;
struct upkeep;
struct leases;

struct worker {
	struct worker_options o;
	struct loop *loop;
	struct db *db;
	struct listen *listen;
	struct flush *flush;
	struct guard guard;
	struct http *http;
	struct uuid id;
	int32_t slot;
	int exit_code;
	int serving;   /* connected, and the schema was found good */
	int draining;  /* claims nothing more; 2: and gave back what it held */
	int asking;    /* --drain: whether anything is left */
	int connected; /* once: what is wrong now may pass */
	int64_t began_us;

	struct poller poller;
	struct asking secrets;
	struct list versions;
	struct list tasks[N_TASK_STATES];
	uint32_t n_tasks[N_TASK_STATES];
	struct list held;
	uint32_t n_held, n_suspects;
	int64_t n_items, n_stale; /* commit's answers, so far */
	size_t past_bytes;        /* of all that tasks learnt */
	struct list spare;        /* tasks for use again, with their arenas */
	uint32_t n_spare;

	struct commits *commits;
	struct leases *leases;
	struct upkeep *upkeep;
	struct loop_timer *drain_timer;
	struct loop_signal *signals[2];
};

/* poll.c */
void poll_init(struct worker *w);
void poll_deinit(struct worker *w);
void poll_wake(struct worker *w);  /* something may be there: claim if we can */
void poll_again(struct worker *w); /* a lost claim, room, or another turn */
void poll_room(struct worker *w);  /* a commit was answered */
/* A timer was set that is due then. */
void poll_due(struct worker *w, int64_t due_ms);
/* There are messages in the queue that aren't ours: take them away. */
void poll_bury(struct worker *w);
int64_t poll_now_ms(const struct worker *w); /* the database's clock */

/* task.c */
struct task *task_new(struct worker *w);
void task_to(struct task *t, enum task_state state);
void task_free(struct task *t); /* done with the message */
/* A row claimed then. The task goes its way; nothing is returned. */
void task_claimed(struct worker *w, struct rows *rows, int row, int64_t now_us);
void tasks_unpark(struct worker *w); /* if they are all that is in hand */
/* Its version is here, or can't be had. */
void task_begin(struct task *t);
void task_go(struct task *t); /* and its secrets, where it needs any */
/* Events as a stale item's tail has them; NULL: they can't be read. */
struct past *past_new(struct worker *w, struct str text, struct error *err);
void past_put(struct past *p); /* or NULL */
/* Now it knows these, too, up to this one. */
void task_learn(struct task *t, struct past *p, int32_t known);
uint32_t tasks_held(const struct worker *w);

/* version.c */
void version_take(struct worker *w, struct task *t, const struct uuid *id);
void version_drop(struct version *v);  /* NULL is fine */
void versions_retry(struct worker *w); /* connected again, or now and then */
void versions_deinit(struct worker *w);

/* call.c */
/* Begin the HTTP step of this task: CALLING, or READY with its failure. */
void call_begin(struct task *t);

/* commit.c */
void commits_init(struct worker *w);
void commits_deinit(struct worker *w);
void commits_turn(struct worker *w); /* at the end of this turn */
int commits_out(const struct worker *w);

/* lease.c */
void leases_init(struct worker *w);
void leases_deinit(struct worker *w);
void lease_give_back(struct worker *w, struct list *tasks);
/* Claimed, and not begun. */
void lease_give_back_rows(struct worker *w, struct rows *claimed);
int leases_busy(const struct worker *w);

/* upkeep.c */
void upkeep_init(struct worker *w);
void upkeep_deinit(struct worker *w);
void upkeep_heartbeat(struct worker *w);

/* worker.c */
void worker_check_over(struct worker *w); /* drained, or nothing left to do */
void worker_fail(struct worker *w, const struct error *err);
uint64_t random_u64(void);
/* v, give or take a quarter. */
int64_t jittered(int64_t v);
