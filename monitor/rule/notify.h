#pragma once
/*
 * Which messages are due. Pure: time is an argument, and a message's recipe,
 * not its text, is what comes out.
 *
 * Alerts that go to one channel and share the values of `by` are a group, and
 * a group is one message at a time:
 *
 *     a group's first alert fires      message after wait_ms
 *     another fires or one resolves    message interval_ms after the last one
 *     nothing new, some still fire     message repeat_ms after the last one
 *     none fires any more              the message says so; the group ends
 *
 * An alert is left out while it is silenced, acknowledged (its resolution is
 * told), or inhibited: a firing alert of a higher severity in the same project
 * with the same values of the rule's `inhibited_by` labels speaks for it. What
 * was never told while it fired is not told when it resolves.
 */
#include "monitor/rule/alert.h"

enum { NOTIFY_BY = 4 };

struct notify_policy {
	int64_t wait_ms, interval_ms, repeat_ms; /* repeat 0: never */
};

/* An alert as a group sees it. */
struct notice {
	struct str alert; /* its id */
	int firing;       /* else: it resolved */
	int muted;        /* silenced, acknowledged or inhibited */
	/* what the group's last message said of it */
	int told_firing;
};

struct notify_group {
	struct notice *notices;
	uint32_t n;
	int64_t begun_ms; /* when there was first something to tell */
	int64_t sent_ms;  /* the last message; 0: none */
};

enum notify_due {
	NOTIFY_NOTHING, /* *at_ms: when to ask again; INT64_MAX: never */
	NOTIFY_NEW,     /* something changed */
	NOTIFY_REPEAT,  /* still the same */
	NOTIFY_END,     /* nothing to tell, and nothing fires: drop the group */
};

enum notify_due notify_due(const struct notify_policy *policy,
    struct notify_group *group, int64_t now_ms, int64_t *at_ms);
/* A message was recorded: what it said of each notice counts as told, and
 * those that resolved leave the group. */
void notify_sent(struct notify_group *group, int64_t now_ms);
/* 1: in the message. Muted ones are not, but for the end of what was told. */
int notice_shown(const struct notice *n);
