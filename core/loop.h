#pragma once
/*
 * The event loop: file descriptors, timers, signals, name look-ups and
 * "at the end of this turn", all on one thread. libuv stands behind it and
 * its header is included nowhere else.
 *
 * Callbacks may start and stop any watch, their own too: memory of a stopped
 * handle is freed by the loop when libuv has let go of it. A handle pointer is
 * dead after its stop. A deferred call runs once, after the callbacks of the
 * turn that asked for it, before the loop sleeps; deferred calls run in the
 * order in which they were asked for, and what they defer waits a turn.
 */
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

struct loop;
struct loop_io;
struct loop_timer;
struct loop_signal;
struct loop_defer;
struct loop_lookup;

enum { LOOP_READ = 1, LOOP_WRITE = 2 };

typedef void loop_io_fn(void *arg, int events); /* events: LOOP_* bits */
typedef void loop_fn(void *arg);
typedef void loop_signal_fn(void *arg, int signo);

struct loop *loop_new(struct error *err);
struct loop *loop_free(struct loop *loop);

/* Runs until loop_stop; returns the stop's code. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop, int code);
/* The monotonic clock as of this turn, ms. */
int64_t loop_now_ms(const struct loop *loop);
/* The uv_loop_t, for libraries that take a foreign loop (libwebsockets). */
void *loop_foreign(struct loop *loop);

/* The fd stays the caller's: io_stop before closing it, also when no event is
 * wanted. An error on it counts as every wanted event; the watch then sleeps
 * until it is set again. NULL when the fd can't be watched. */
struct loop_io *loop_io_start(
    struct loop *loop, int fd, int events, loop_io_fn *fn, void *arg);
void loop_io_set(struct loop_io *io, int events);
struct loop_io *loop_io_stop(struct loop_io *io); /* NULL */

/* A timer that can be set again and again. Not running until set. */
struct loop_timer *loop_timer_new(struct loop *loop, loop_fn *fn, void *arg);
void loop_timer_set(struct loop_timer *t, int64_t after_ms);
void loop_timer_every(struct loop_timer *t, int64_t period_ms);
void loop_timer_clear(struct loop_timer *t);
struct loop_timer *loop_timer_free(struct loop_timer *t); /* NULL */

/* A signal does not keep the loop running. NULL when it can't be caught. */
struct loop_signal *loop_signal_start(
    struct loop *loop, int signo, loop_signal_fn *fn, void *arg);
struct loop_signal *loop_signal_stop(struct loop_signal *s); /* NULL */

struct loop_defer *loop_defer_new(struct loop *loop, loop_fn *fn, void *arg);
void loop_defer_call(struct loop_defer *d); /* many calls in a turn: one */
struct loop_defer *loop_defer_free(struct loop_defer *d); /* NULL */

/*
 * Resolve a host off the loop. fn gets up to LOOP_ADDRS numeric addresses, or
 * n = 0 and a reason; the look-up is dead then. Cancelling guarantees that fn
 * is not called. NULL when the name is no name (over 255 bytes, bad IDN).
 */
enum { LOOP_ADDRS = 8, LOOP_ADDR_TEXT = 64 };
typedef void loop_lookup_fn(
    void *arg, char addrs[][LOOP_ADDR_TEXT], int n, const char *reason);
struct loop_lookup *loop_lookup_start(
    struct loop *loop, const char *host, loop_lookup_fn *fn, void *arg);
struct loop_lookup *loop_lookup_cancel(struct loop_lookup *l); /* NULL */
