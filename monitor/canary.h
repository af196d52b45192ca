#pragma once
/*
 * How long a line of a log takes to those who follow it. The leader writes a
 * line to a channel of the installation's own and reads it back over a
 * gateway's stream, by a ticket that it seals for itself: the line goes the way
 * of every line.
 *
 *     away --ready--> quiet --a line is due--> written --it came--> quiet
 *       ^                                         |
 *       +--- the stream ended, fell silent, or the line is LOST_MS late
 *
 * The lag is what the last line took, from its commit; while one is due and
 * didn't come, for whatever reason, at least how long that has been. Ticks
 * drive it: nothing here has a timer, and nobody waits for it.
 */
#include "core/error.h"

#include <stdint.h>

struct monitor;
struct canary;

/* NULL with err->code "": there is no gateway to ask. NULL and FAULT_CONFIG:
 * its URL, or the key, is wrong. All functions take NULL. */
struct canary *canary_new(struct monitor *m, struct error *err);
struct canary *canary_free(struct canary *c); /* NULL */
/* Another reign: begin anew. */
void canary_reset(struct canary *c);
/* A tick of the leader came. */
void canary_tick(struct canary *c);
/* In ms; -1: not known. */
int64_t canary_lag_ms(const struct canary *c);
