#include "cli/follow.h"
#include "cli/sql.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	PAGE = 500,
	PAUSE_LEAST_MS = 100,  /* polling: while lines come */
	PAUSE_MOST_MS = 1000,  /* polling: while none do */
	PAUSE_WOKEN_MS = 5000, /* where NOTIFY works */
};

static void look(void *arg);

static void
stop(struct follow *f, int code)
{
	f->over = 1;
	loop_stop(f->session->loop, code);
}

/* 1: the cursor was moved, ask again. */
static int
take_state(struct follow *f, struct rows *rows)
{
	int64_t epoch = rows_int(rows, 0, "log_epoch");
	int64_t last = rows_int(rows, 0, "log_seq");

	if (f->epoch == -1) {
		f->epoch = epoch;
		if (f->last > 0 && f->last < last) {
			f->cursor = last - f->last;
			return 1;
		}
	}
	if (f->epoch == epoch && f->cursor <= last)
		return 0;
	session_note(f->session,
	    "The log was reset (the database was "
	    "restored): reading it from its beginning.");
	f->epoch = epoch;
	f->cursor = 0;
	return 1;
}

static void
take_line(struct follow *f, struct rows *rows, int row)
{
	struct line line = {
		.seq = rows_int(rows, row, "seq"),
		.ts_ms = rows_time_ms(rows, row, "ts"),
		.level = (int)rows_int(rows, row, "level"),
		.message = rows_str(rows, row, "message"),
		.attrs = rows_str(rows, row, "attrs"),
	};

	/* retention takes whole partitions, from the oldest */
	if (line.seq != f->cursor + 1 && f->since_ms == INT64_MIN)
		session_note(f->session,
		    "%lld lines are gone: they were kept "
		    "as long as the log's retention says.",
		    (long long)(line.seq - f->cursor - 1));
	f->cursor = line.seq;
	f->line(f->arg, &line);
}

static void
rest(struct follow *f, int news)
{
	int64_t pause = f->pause_ms * 2;

	if (f->listen != NULL && listen_works(f->listen))
		pause = PAUSE_WOKEN_MS;
	else if (pause > PAUSE_MOST_MS)
		pause = PAUSE_MOST_MS;
	f->pause_ms = news ? PAUSE_LEAST_MS : pause;
	loop_timer_set(f->timer, f->pause_ms);
}

/* Everything that is there now was read. */
static void
caught_up(struct follow *f, struct rows *rows, int news)
{
	int over = !rows_null(rows, 0, "final_log_seq") &&
	    f->cursor >= rows_int(rows, 0, "final_log_seq");

	/* --since may leave out the last lines: the run is over all the same */
	if (f->since_ms != INT64_MIN && !rows_null(rows, 0, "final_log_seq"))
		over = 1;
	if (f->caught_up(f->arg, rows_time_ms(rows, 0, "now")) || over ||
	    !f->follow)
		stop(f, 0);
	else if (f->again)
		look(f);
	else
		rest(f, news);
}

static void
answered(void *arg, struct rows *rows, const struct error *err)
{
	struct follow *f = arg;
	int lines;

	f->asking = 0;
	if (f->over)
		return;
	if (err != NULL) {
		if (err->fault == FAULT_RETRY && f->follow) {
			rest(f, 0); /* or on_state, when connected again */
			return;
		}
		f->err = *err;
		stop(f, -1);
		return;
	}
	if (rows->n == 0) {
		fail(&f->err, FAULT_INPUT, "PT404",
		    "no run %s\nlist them: meshhook run list", f->run);
		stop(f, -1);
		return;
	}
	if (take_state(f, rows) != 0) {
		look(f);
		return;
	}
	lines = rows_null(rows, 0, "seq") ? 0 : rows->n;
	for (int i = 0; i < lines; i++)
		take_line(f, rows, i);
	if (lines == PAGE)
		look(f);
	else
		caught_up(f, rows, lines > 0);
}

static void
look(void *arg)
{
	struct follow *f = arg;
	struct error err;

	if (f->asking || f->over) {
		f->again = 1;
		return;
	}
	f->again = 0;
	f->asking = db_call(f->session->db, &sql_log_lines, answered, f, &err,
			db_text(f->run), db_int8(f->cursor), db_int4(PAGE),
			f->since_ms == INT64_MIN
			    ? db_null(DB_TIMESTAMPTZ)
			    : db_time(db_time_from_ms(f->since_ms))) == 0;
}

static void
notified(void *arg, const char *channel, const char *payload)
{
	struct follow *f = arg;

	/* a payload names runs; an empty one any */
	if (channel == NULL || payload == NULL || *payload == '\0' ||
	    strstr(payload, f->run) != NULL)
		look(f);
}

static void
state_changed(void *arg, enum db_state state, const struct error *err)
{
	struct follow *f = arg;

	if (state == DB_READY) {
		if (f->lost)
			session_note(f->session, "Connected again.");
		f->lost = 0;
		look(f);
		return;
	}
	if (err == NULL)
		return;
	/* at first, and whatever will not pass, is for the user to mend */
	if (f->epoch == -1 || err->fault == FAULT_CONFIG ||
	    err->fault == FAULT_AUTH || !f->follow) {
		f->err = *err;
		stop(f, -1);
		return;
	}
	if (!f->lost)
		session_note(f->session,
		    "The connection was lost; trying "
		    "again, with the log where it was left.");
	f->lost = 1;
}

static void
interrupted(void *arg, int signo)
{
	(void)signo;
	stop(arg, EXIT_INTERRUPTED);
}

/* Without LISTEN it polls; so its failing is not worth a word. */
static void
start_listening(struct follow *f, const struct db_options *db)
{
	static const char *const channels[] = { "meshhook_logs", NULL };
	struct listen_options options = {
		.db = *db,
		.channels = channels,
		.via = f->session->db,
		.fn = notified,
		.arg = f,
	};
	struct error err;

	options.db.on_state = NULL;
	f->listen = listen_new(f->session->loop, &options, &err);
}

int
follow_run(struct follow *f, struct error *err)
{
	struct session *s = f->session;
	struct db_options options = {
		.url = config_text(&s->cli->config, SETTING_DB_URL),
		.application_name = "meshhook logs",
		.on_state = state_changed,
		.arg = f,
	};
	struct loop_signal *sigint, *sigterm;
	int code;

	f->epoch = -1;
	f->pause_ms = PAUSE_LEAST_MS;
	/* of its own: it must bear what a single question need not */
	s->db = db_free(s->db);
	s->db = db_new(s->loop, &options, err);
	if (s->db == NULL)
		return -1;
	f->timer = loop_timer_new(s->loop, look, f);
	sigint = loop_signal_start(s->loop, SIGINT, interrupted, f);
	sigterm = loop_signal_start(s->loop, SIGTERM, interrupted, f);
	if (f->follow)
		start_listening(f, &options);
	code = loop_run(s->loop);
	f->listen = listen_free(f->listen);
	s->db = db_free(s->db);
	f->timer = loop_timer_free(f->timer);
	loop_signal_stop(sigint);
	loop_signal_stop(sigterm);
	if (code >= 0)
		return code;
	*err = f->err;
	return session_advise(NULL, err);
}
