#pragma once
/*
 * From what a condition came to, to the states of its alerts. Pure: time is an
 * argument, and what follows is a list of changes for the caller to record.
 *
 * An alert is one element of a rule's condition, known by its labels.
 *
 *     (none) --holds--> pending --has held for `hold`--> firing
 *     pending --no longer holds--> (none)
 *     firing --hasn't held for `keep`--> resolved, and gone
 *
 * With hold 0 it fires at once; pending is then skipped. What isn't known changes
 * little: after a gap in the samples a wait to fire begins again, and nothing
 * resolves before they reach back as far as the rule looks. Time goes by the
 * database's clock: when that was set back, what lies in the future counts as
 * now, so that a wait begins again and nothing is stuck.
 */
#include "monitor/rule/cond.h"

enum alert_state { ALERT_PENDING, ALERT_FIRING, ALERT_RESOLVED };

enum { ALERT_LABELS = SERIES_LABELS };

struct alert {
	struct str id; /* the owner's, carried along; s NULL: it is new */
	int acked;     /* the owner's, too */
	enum alert_state state;
	struct str project;
	struct label labels[ALERT_LABELS];
	uint32_t n_labels;
	int64_t since_ms; /* of this spell: first held */
	int64_t fired_ms; /* 0: not yet */
	int64_t held_ms;  /* last held */
	double value;     /* when it last held */
};

struct alert_rule {
	struct str id;
	struct str project; /* empty: the installation's */
	const struct cond *cond;
	int64_t hold_ms, keep_ms;
	int64_t range_ms; /* the longest that it looks back */
};

struct alerts {
	struct alert *items;
	uint32_t n;
};

/* What happened to an alert: it began to pend, fired, resolved; or a pending
 * one is forgotten: PENDING with gone set. */
struct alert_change {
	struct alert alert;
	int gone;
};

struct alert_changes {
	struct alert_change *items;
	uint32_t n;
};

/*
 * One step of a rule: *now is what was, and becomes what is (in the arena; in
 * the order in which they began). -1 with why when the condition can't be
 * evaluated; nothing changes then.
 */
int alert_step(struct arena *a, const struct alert_rule *rule,
    const struct samples *m, struct alerts *now, struct alert_changes *out,
    struct error *err);
