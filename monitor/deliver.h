#pragma once
/*
 * Messages on their way: what the leader finds due in the outbox it sends, and
 * says there how that went.
 *
 *     take    in the database, under the fence: the first due of each group
 *     open    the channel's target, by the vault
 *     send    as the channel's kind wants it, through the guard
 *     record  sent; later, with backoff; dead
 *
 * A message is somebody's for LEASE_MS: where its sender is lost it is given
 * again after that, marked, so it comes at most once more. What was sent is
 * recorded as soon as there is a database, and meanwhile held, not sent again.
 *
 * A channel has a rate, and a breaker: after BREAKER failures in a row it is
 * left alone for a while, then one message probes it. 429 pauses all of it.
 * Nothing of a target is logged or stored, nor of what a receiver answers but
 * its status.
 */
#include "core/error.h"
#include "core/loop.h"

struct monitor;
struct deliver;

/* FAULT_CONFIG: the key, the allow-list or the CA file is wrong. */
struct deliver *deliver_new(struct monitor *m, struct error *err);
struct deliver *deliver_free(struct deliver *d); /* NULL */
/* Another reign: what is under way is dropped. */
void deliver_reset(struct deliver *d);
/* A tick of the leader came: look for what is due, and say that we live. */
void deliver_tick(struct deliver *d);
/* Channels that are left alone now, after failures in a row. */
struct db_array;
void deliver_broken(const struct deliver *d, struct db_array *ids);
/* Messages were recorded. */
void deliver_due(struct deliver *d);
/* Take no more; fn when what is under way has ended and was recorded. */
void deliver_drain(struct deliver *d, loop_fn *fn, void *arg);
