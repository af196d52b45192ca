#pragma once
/*
 * What the leader makes of its samples: alerts by the rules, and messages about
 * them. What decides is pure (monitor/rule); this holds the rules, channels,
 * silences and open alerts as the database has them, and records each step in
 * one transaction before it counts: a step that wasn't recorded never was.
 *
 *     load    all of it, when a reign begins and when its version moved
 *     step    at each tick; nothing goes to the database when nothing happened
 *     record  what changed, what groups were told, messages for the outbox
 *
 * State is copied from one arena to the other at each step, so that a step can
 * be dropped, and nothing grows with time.
 */
#include "core/arena.h"
#include "core/error.h"
#include "monitor/rule/notify.h"

struct monitor;
struct judge;

enum severity { SEVERITY_INFO, SEVERITY_WARNING, SEVERITY_CRITICAL };

struct judge *judge_new(struct monitor *m);
struct judge *judge_free(struct judge *j); /* NULL */
/* A reign begins: what was known is another's by now. */
void judge_reset(struct judge *j);
/* After the samples of a tick; version: of the configuration, as it came with
 * the tick. */
void judge_tick(struct judge *j, int64_t version);
