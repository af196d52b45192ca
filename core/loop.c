#include "core/loop.h"
#include "core/mem.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/*
 * Every handle is embedded in an allocation of ours that is freed in libuv's
 * close callback, so a stopped watch is never touched by a late event.
 * Deferred calls hang on one uv_check and one uv_idle: while any is pending
 * the idle handle keeps the poll from sleeping.
 *
 * libuv takes a descriptor out of epoll and puts it back at each change, so a
 * watch that no longer wants to read is left armed until it is woken in vain:
 * one that goes to and fro, as each kept connection does, costs no call.
 */
struct loop {
	uv_loop_t uv;
	uv_check_t check;
	uv_idle_t idle;
	struct loop_defer *pending, **pending_tail; /* in order of calling */
	int code;
};

struct loop_io {
	uv_poll_t uv;
	loop_io_fn *fn;
	void *arg;
	int events; /* wanted */
	int armed;  /* asked of libuv: events, and perhaps LOOP_READ more */
};

struct loop_timer {
	uv_timer_t uv;
	loop_fn *fn;
	void *arg;
};

struct loop_signal {
	uv_signal_t uv;
	loop_signal_fn *fn;
	void *arg;
};

struct loop_defer {
	struct loop *loop;
	struct loop_defer *next;
	loop_fn *fn;
	void *arg;
	int pending, dead;
};

struct loop_lookup {
	uv_getaddrinfo_t uv;
	loop_lookup_fn *fn;
	void *arg;
};

static void
closed(uv_handle_t *h)
{
	free(h->data);
}

static void
no_op(uv_idle_t *idle)
{
	(void)idle;
}

/* Calls made while running wait for the next turn, so none can starve I/O. */
static void
run_deferred(uv_check_t *check)
{
	struct loop *loop = check->data;
	struct loop_defer *d = loop->pending;

	loop->pending = NULL;
	loop->pending_tail = &loop->pending;
	uv_idle_stop(&loop->idle);
	while (d != NULL) {
		struct loop_defer *next = d->next;

		d->pending = 0;
		if (d->dead)
			free(d);
		else
			d->fn(d->arg);
		d = next;
	}
}

struct loop *
loop_new(struct error *err)
{
	struct loop *loop = xcalloc(1, sizeof(*loop));
	int r = uv_loop_init(&loop->uv);

	if (r < 0) {
		fail(err, FAULT_RETRY, uv_err_name(r), "event loop: %s",
		    uv_strerror(r));
		free(loop);
		return NULL;
	}
	loop->uv.data = loop;
	loop->pending_tail = &loop->pending;
	uv_check_init(&loop->uv, &loop->check);
	uv_idle_init(&loop->uv, &loop->idle);
	loop->check.data = loop;
	uv_check_start(&loop->check, run_deferred);
	uv_unref((uv_handle_t *)&loop->check);
	return loop;
}

/* A watch that its owner forgot must not keep loop_free waiting for ever. */
static void
let_go(uv_handle_t *h, void *arg)
{
	(void)arg;
	if (!uv_is_closing(h))
		uv_unref(h);
}

struct loop *
loop_free(struct loop *loop)
{
	if (loop == NULL)
		return NULL;
	while (loop->pending != NULL) {
		struct loop_defer *d = loop->pending;

		loop->pending = d->next;
		d->pending = 0;
		if (d->dead)
			free(d);
	}
	loop->pending_tail = &loop->pending;
	uv_close((uv_handle_t *)&loop->check, NULL);
	uv_close((uv_handle_t *)&loop->idle, NULL);
	uv_walk(&loop->uv, let_go, NULL);
	/* one that was stopped and never run takes note of that, no more */
	for (int i = 0; i < 2; i++)
		uv_run(&loop->uv, UV_RUN_DEFAULT);
	uv_loop_close(&loop->uv);
	free(loop);
	return NULL;
}

int
loop_run(struct loop *loop)
{
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	return loop->code;
}

void
loop_stop(struct loop *loop, int code)
{
	loop->code = code;
	uv_stop(&loop->uv);
}

int64_t
loop_now_ms(const struct loop *loop)
{
	return (int64_t)uv_now(&loop->uv);
}

void *
loop_foreign(struct loop *loop)
{
	return &loop->uv;
}

static void io_arm(struct loop_io *io, int events);

/* An error on the descriptor is readiness: the owner's next call sees it.
 * libuv has stopped the watch then, and the next loop_io_set starts it. */
static void
io_ready(uv_poll_t *uv, int status, int events)
{
	struct loop_io *io = uv->data;
	int got = 0;

	if (status < 0) {
		got = io->events;
		io->armed = 0;
	}
	if (events & UV_READABLE)
		got |= LOOP_READ;
	if (events & UV_WRITABLE)
		got |= LOOP_WRITE;
	got &= io->events;
	if (got != 0)
		io->fn(io->arg, got);
	else if (io->armed != io->events)
		io_arm(io, io->events);
}

static void
io_arm(struct loop_io *io, int events)
{
	int uv = 0;

	if (events & LOOP_READ)
		uv |= UV_READABLE;
	if (events & LOOP_WRITE)
		uv |= UV_WRITABLE;
	io->armed = events;
	if (uv == 0)
		uv_poll_stop(&io->uv);
	else
		uv_poll_start(&io->uv, uv, io_ready);
}

struct loop_io *
loop_io_start(struct loop *loop, int fd, int events, loop_io_fn *fn, void *arg)
{
	struct loop_io *io = xcalloc(1, sizeof(*io));

	io->fn = fn;
	io->arg = arg;
	io->uv.data = io;
	if (uv_poll_init(&loop->uv, &io->uv, fd) < 0) {
		free(io);
		return NULL;
	}
	loop_io_set(io, events);
	return io;
}

void
loop_io_set(struct loop_io *io, int events)
{
	io->events = events;
	if (io->armed != events && io->armed != (events | LOOP_READ))
		io_arm(io, events);
}

struct loop_io *
loop_io_stop(struct loop_io *io)
{
	if (io != NULL)
		uv_close((uv_handle_t *)&io->uv, closed);
	return NULL;
}

static void
timer_due(uv_timer_t *uv)
{
	struct loop_timer *t = uv->data;

	t->fn(t->arg);
}

struct loop_timer *
loop_timer_new(struct loop *loop, loop_fn *fn, void *arg)
{
	struct loop_timer *t = xcalloc(1, sizeof(*t));

	t->fn = fn;
	t->arg = arg;
	t->uv.data = t;
	uv_timer_init(&loop->uv, &t->uv);
	return t;
}

void
loop_timer_set(struct loop_timer *t, int64_t after_ms)
{
	uv_update_time(t->uv.loop);
	uv_timer_start(
	    &t->uv, timer_due, after_ms > 0 ? (uint64_t)after_ms : 0, 0);
}

void
loop_timer_every(struct loop_timer *t, int64_t period_ms)
{
	uint64_t period = period_ms > 0 ? (uint64_t)period_ms : 1;

	uv_update_time(t->uv.loop);
	uv_timer_start(&t->uv, timer_due, period, period);
}

void
loop_timer_clear(struct loop_timer *t)
{
	uv_timer_stop(&t->uv);
}

struct loop_timer *
loop_timer_free(struct loop_timer *t)
{
	if (t != NULL)
		uv_close((uv_handle_t *)&t->uv, closed);
	return NULL;
}

static void
signalled(uv_signal_t *uv, int signo)
{
	struct loop_signal *s = uv->data;

	s->fn(s->arg, signo);
}

struct loop_signal *
loop_signal_start(struct loop *loop, int signo, loop_signal_fn *fn, void *arg)
{
	struct loop_signal *s = xcalloc(1, sizeof(*s));

	s->fn = fn;
	s->arg = arg;
	s->uv.data = s;
	if (uv_signal_init(&loop->uv, &s->uv) < 0) {
		free(s);
		return NULL;
	}
	if (uv_signal_start(&s->uv, signalled, signo) < 0)
		return loop_signal_stop(s);
	uv_unref((uv_handle_t *)&s->uv);
	return s;
}

struct loop_signal *
loop_signal_stop(struct loop_signal *s)
{
	if (s != NULL)
		uv_close((uv_handle_t *)&s->uv, closed);
	return NULL;
}

struct loop_defer *
loop_defer_new(struct loop *loop, loop_fn *fn, void *arg)
{
	struct loop_defer *d = xcalloc(1, sizeof(*d));

	d->loop = loop;
	d->fn = fn;
	d->arg = arg;
	return d;
}

void
loop_defer_call(struct loop_defer *d)
{
	if (d->pending)
		return;
	d->pending = 1;
	d->next = NULL;
	*d->loop->pending_tail = d;
	d->loop->pending_tail = &d->next;
	uv_idle_start(&d->loop->idle, no_op);
}

struct loop_defer *
loop_defer_free(struct loop_defer *d)
{
	if (d == NULL)
		return NULL;
	if (d->pending)
		d->dead = 1; /* run_deferred or loop_free reaps it */
	else
		free(d);
	return NULL;
}

static void
looked_up(uv_getaddrinfo_t *uv, int status, struct addrinfo *res)
{
	struct loop_lookup *l = uv->data;
	char addrs[LOOP_ADDRS][LOOP_ADDR_TEXT];
	int n = 0;

	for (struct addrinfo *a = res; a != NULL && n < LOOP_ADDRS;
	     a = a->ai_next)
		if (getnameinfo(a->ai_addr, a->ai_addrlen, addrs[n],
			LOOP_ADDR_TEXT, NULL, 0, NI_NUMERICHOST) == 0)
			n++;
	uv_freeaddrinfo(res);
	if (l->fn != NULL && n > 0)
		l->fn(l->arg, addrs, n, NULL);
	else if (l->fn != NULL)
		l->fn(l->arg, addrs, 0,
		    status < 0 ? uv_strerror(status) : "no address");
	free(l);
}

struct loop_lookup *
loop_lookup_start(
    struct loop *loop, const char *host, loop_lookup_fn *fn, void *arg)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct loop_lookup *l = xcalloc(1, sizeof(*l));

	l->fn = fn;
	l->arg = arg;
	l->uv.data = l;
	if (uv_getaddrinfo(&loop->uv, &l->uv, looked_up, host, NULL, &hints) <
	    0) {
		free(l);
		return NULL;
	}
	return l;
}

struct loop_lookup *
loop_lookup_cancel(struct loop_lookup *l)
{
	if (l != NULL) {
		l->fn = NULL;
		uv_cancel((uv_req_t *)&l->uv);
	}
	return NULL;
}
