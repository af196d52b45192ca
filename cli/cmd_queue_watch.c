/*
 * queue stats --watch: asks when the next measurement is due, which is one
 * statement an interval, and shows what came: on a terminal as a screen, whose
 * clock goes on between answers, elsewhere frame by frame, or an object or rows
 * each time. A database that is away is shown as such and waited for; one that
 * can't be reached at first is an error.
 */
#include "cli/cmd_queue.h"
#include "cli/session.h"
#include "cli/sql.h"
#include "cli/terminal.h"
#include "cli/watch.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	INTERVAL_MS = 5000, /* until two ticks were seen */
	LEAST_MS = 200,
	MOST_MS = 5000,
	MARGIN_MS = 150, /* a tick takes a moment to be there */
	SECOND_MS = 1000,
	COUNT_MOST = 1000000,
	PLAIN_WIDTH = 100, /* where it is no terminal's */
	N_ENDS = 3,
	N_SCREENS = 3,
};

struct screen {
	struct session s;
	struct out *out;
	struct db *db;
	struct watch watch;
	struct terminal terminal;
	struct loop_timer *due, *clock;
	struct loop_signal *signals[N_ENDS + N_SCREENS];
	struct loop_io *keys;
	int64_t skew_ms; /* the database's clock less the loop's */
	int64_t left;    /* frames to come; 0: no end */
	int asking, known, over;
	char problem[200];
	struct error err;
};

static const struct column columns[] = {
	{ "at", "AT", COLUMN_TIME },
	{ "project", "PROJECT", COLUMN_TEXT },
	{ "queue", "QUEUE", COLUMN_NUMBER },
	{ "ready", "READY", COLUMN_NUMBER },
	{ "in_flight", "IN FLIGHT", COLUMN_NUMBER },
	{ "backlog", "BACKLOG", COLUMN_NUMBER },
	{ "delayed", "DELAYED", COLUMN_NUMBER },
	{ "oldest_s", "OLDEST", COLUMN_NUMBER },
	{ "steps_per_s", "STEPS/S", COLUMN_NUMBER },
	{ "failures", "FAILURES", COLUMN_NUMBER },
	{ "wait_p95_s", "WAIT P95", COLUMN_NUMBER },
	{ "workers", "WORKERS", COLUMN_NUMBER },
	{ "alerts_firing", "ALERTS", COLUMN_NUMBER },
};

static void
stop(struct screen *c, int code)
{
	c->over = 1;
	loop_stop(c->s.loop, code);
}

static void
stop_for(struct screen *c, const struct error *err)
{
	c->err = *err;
	session_advise(NULL, &c->err);
	stop(c, -1);
}

static int64_t
now_ms(const struct screen *c)
{
	return loop_now_ms(c->s.loop) + c->skew_ms;
}

static void
frame(const struct screen *c, struct buf *b)
{
	const struct terminal *t = &c->terminal;
	struct watch_look look = {
		.out = c->out,
		.width = t->taken ? t->width : PLAIN_WIDTH,
		.height = t->taken ? t->height : 0,
		.now_ms = now_ms(c),
		.where = db_where(c->db),
		.problem = *c->problem != '\0' ? c->problem : NULL,
		.keys = !t->taken  ? NULL
		    : t->keys >= 0 ? "q quits"
				   : "Ctrl-C quits",
	};

	watch_draw(&c->watch, &look, b);
}

static void
redraw(void *arg)
{
	struct screen *c = arg;
	struct buf b;

	if (!c->terminal.taken || !c->known)
		return;
	buf_init(&b);
	frame(c, &b);
	terminal_show(&c->terminal, buf_str(&b));
	buf_deinit(&b);
}

static void
print_plain(struct screen *c)
{
	struct buf b;

	buf_init(&b);
	frame(c, &b);
	buf_addc(&b, '\n');
	fwrite(b.bytes, 1, b.len, c->out->file);
	fflush(c->out->file);
	buf_deinit(&b);
}

static void
print_csv(struct screen *c, struct arena *a, struct json *all)
{
	const struct json *list = json_get(all, "projects");

	json_set(a, all, "project", json_cstring(a, ""));
	out_row(c->out, a, all);
	for (size_t i = 0; json_at(list, i) != NULL; i++) {
		json_set(a, json_at(list, i), "at", json_get(all, "at"));
		out_row(c->out, a, json_at(list, i));
	}
}

/* Something new, or word that there is nothing. */
static void
show(struct screen *c)
{
	struct arena a;

	arena_init(&a);
	if (c->terminal.taken)
		redraw(c);
	else if (c->out->format == OUT_JSON)
		out_row(c->out, &a, watch_json(&a, &c->watch, now_ms(c)));
	else if (c->out->format == OUT_CSV)
		print_csv(c, &a, watch_json(&a, &c->watch, now_ms(c)));
	else
		print_plain(c);
	arena_deinit(&a);
	if (ferror(c->out->file) || (c->left > 0 && --c->left == 0))
		stop(c, EXIT_OK);
}

static void
key(void *arg, int events)
{
	struct screen *c = arg;
	char keys[16];
	ssize_t n = read(c->terminal.keys, keys, sizeof(keys));

	(void)events;
	if (n <= 0) {
		c->keys = loop_io_stop(c->keys);
		return;
	}
	for (ssize_t i = 0; i < n; i++)
		if (keys[i] == 'q' || keys[i] == 'Q' || keys[i] == 4)
			stop(c, EXIT_OK);
}

static void
signalled(void *arg, int signo)
{
	struct screen *c = arg;

	switch (signo) {
	case SIGWINCH:
		terminal_measure(&c->terminal);
		redraw(c);
		break;
	case SIGTSTP:
		terminal_give_back(&c->terminal);
		raise(SIGSTOP);
		break;
	case SIGCONT:
		terminal_take(&c->terminal);
		redraw(c);
		break;
	default:
		stop(c, 128 + signo);
		break;
	}
}

/* With the first answer: until then there may be an error to tell. */
static void
open_screen(struct screen *c)
{
	static const int screens[N_SCREENS] = { SIGWINCH, SIGTSTP, SIGCONT };
	struct loop *loop = c->s.loop;

	if (c->out->format == OUT_JSON || c->out->format == OUT_CSV)
		return;
	terminal_init(&c->terminal, fileno(c->out->file));
	if (c->terminal.out < 0)
		return;
	for (size_t i = 0; i < N_SCREENS; i++)
		c->signals[N_ENDS + i] =
		    loop_signal_start(loop, screens[i], signalled, c);
	terminal_take(&c->terminal);
	if (c->terminal.keys >= 0)
		c->keys =
		    loop_io_start(loop, c->terminal.keys, LOOP_READ, key, c);
	loop_timer_every(c->clock, SECOND_MS);
}

static void
take_rows(struct screen *c, struct rows *rows)
{
	struct json *v;
	struct arena a;

	arena_init(&a);
	for (int i = 1; i < rows->n; i++) {
		if (json_parse(&a, rows_str(rows, i, "data"), NULL, &v, NULL) ==
		    0)
			watch_add(&c->watch, rows_time_ms(rows, i, "at"),
			    rows_text(rows, i, "project"), v);
		arena_reset(&a);
	}
	if (json_parse(&a, rows_str(rows, 0, "firing"), NULL, &v, NULL) == 0)
		watch_fires(&c->watch, v);
	if (!rows_null(rows, 0, "newest"))
		watch_measured(&c->watch, rows_time_ms(rows, 0, "newest"));
	watch_settle(&c->watch);
	arena_deinit(&a);
}

/* When the next tick ought to be there; half an interval where it is late. */
static void
wait_for_next(struct screen *c, int news)
{
	const struct watch *w = &c->watch;
	int64_t interval = w->interval_ms > 0 ? w->interval_ms : INTERVAL_MS;
	int64_t ms = interval / 2;

	if (news)
		ms = w->newest_ms + interval + MARGIN_MS - now_ms(c);
	ms = ms < LEAST_MS ? LEAST_MS : ms > MOST_MS ? MOST_MS : ms;
	loop_timer_set(c->due, ms);
}

static void
answered(void *arg, struct rows *rows, const struct error *err)
{
	struct screen *c = arg;
	int news, first = !c->known;

	c->asking = 0;
	if (c->over)
		return;
	if (err != NULL && err->fault != FAULT_RETRY) {
		stop_for(c, err);
		return;
	}
	if (err != NULL) {
		loop_timer_set(c->due, SECOND_MS); /* or when it is back */
		return;
	}
	if (first)
		open_screen(c);
	c->known = 1;
	c->skew_ms = rows_time_ms(rows, 0, "now") - loop_now_ms(c->s.loop);
	news = rows->n > 1;
	take_rows(c, rows);
	wait_for_next(c, news);
	if (first || news || c->terminal.taken ||
	    watch_is_late(&c->watch, now_ms(c)))
		show(c);
}

static void
ask(void *arg)
{
	struct screen *c = arg;

	if (c->asking || c->over)
		return;
	c->asking =
	    db_call(c->db, &sql_queue_watch, answered, c, NULL,
		db_time(db_time_from_ms(c->watch.newest_ms) + 999)) == 0;
}

static void
db_changed(void *arg, enum db_state state, const struct error *err)
{
	struct screen *c = arg;

	if (state == DB_READY) {
		*c->problem = '\0';
		ask(c);
	} else if (err != NULL && (!c->known || err->fault != FAULT_RETRY)) {
		stop_for(c, err);
	} else if (err != NULL) {
		snprintf(c->problem, sizeof(c->problem), "%.150s", err->text);
		redraw(c);
	}
}

static int
begin(struct screen *c, struct cli *cli, struct error *err)
{
	static const int ends[N_ENDS] = { SIGINT, SIGTERM, SIGHUP };
	struct db_options db = {
		.url = config_text(&cli->config, SETTING_DB_URL),
		.application_name = "meshhook cli",
		.on_state = db_changed,
		.arg = c,
	};

	if (session_begin(&c->s, cli, err) < 0 ||
	    config_need(&cli->config, SETTING_DB_URL, err) < 0 ||
	    cli_opt_int(cli, "count", 1, COUNT_MOST, &c->left, err) < 0)
		return -1;
	c->due = loop_timer_new(c->s.loop, ask, c);
	c->clock = loop_timer_new(c->s.loop, redraw, c);
	for (size_t i = 0; i < N_ENDS; i++)
		c->signals[i] =
		    loop_signal_start(c->s.loop, ends[i], signalled, c);
	c->db = db_new(c->s.loop, &db, err);
	if (c->db == NULL)
		return session_advise(NULL, err);
	if (c->out->format == OUT_CSV)
		OUT_BEGIN(c->out, columns);
	return 0;
}

static void
end(struct screen *c)
{
	terminal_give_back(&c->terminal);
	loop_io_stop(c->keys);
	for (size_t i = 0; i < NELEM(c->signals); i++)
		loop_signal_stop(c->signals[i]);
	c->db = db_free(c->db);
	loop_timer_free(c->due);
	loop_timer_free(c->clock);
	session_close(&c->s);
	watch_deinit(&c->watch);
}

int
queue_watch(struct cli *cli, struct error *err)
{
	struct screen c = { .out = &cli->out };
	int r;

	watch_init(&c.watch);
	r = begin(&c, cli, err);
	if (r == 0)
		r = loop_run(c.s.loop);
	if (c.err.fault != FAULT_NONE)
		*err = c.err;
	end(&c);
	return r;
}
