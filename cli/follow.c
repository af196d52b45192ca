#include "cli/follow.h"
#include "cli/cursor.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* How much comes again after a kill -9, at most. */
enum { SAVE_MS = 250 };

static void
stop(struct follow *f, int code)
{
	if (f->over)
		return;
	f->over = 1;
	loop_stop(f->session->loop, code);
}

/* What the cursor says must have been written before it is. */
static int
save(struct follow *f, struct error *err)
{
	FILE *file = f->session->cli->out.file;

	loop_timer_clear(f->saver);
	if (f->cursor_file == NULL || !f->unsaved || f->holds)
		return 0;
	if (fflush(file) != 0 || ferror(file))
		return 0; /* main says so */
	f->unsaved = 0;
	return cursor_save(f->cursor_file, &f->channel, f->epoch, f->seq, err);
}

static void
save_due(void *arg)
{
	struct follow *f = arg;

	if (save(f, &f->err) < 0)
		stop(f, -1);
}

static void
moved(struct follow *f, int64_t epoch, int64_t seq)
{
	f->epoch = epoch;
	f->seq = seq;
	if (f->cursor_file != NULL && !f->unsaved)
		loop_timer_set(f->saver, SAVE_MS);
	f->unsaved = 1;
}

int
follow_over(const struct follow *f)
{
	return f->over;
}

void
follow_begin(struct follow *f, int64_t epoch, int64_t seq)
{
	if (f->epoch == -1)
		moved(f, epoch, seq);
}

void
follow_line(struct follow *f, const struct line *line)
{
	if (f->over || line->seq <= f->seq)
		return;
	if (line->seq != f->seq + 1) {
		fail(&f->err, FAULT_BUG, "GAP",
		    "line %lld came where %lld was due", (long long)line->seq,
		    (long long)f->seq + 1);
		stop(f, -1);
		return;
	}
	f->line(f->arg, line);
	moved(f, f->epoch, line->seq);
}

/* Said with -q, too: where lines are missing, silence would be a lie. */
static int
tell_gap(struct follow *f, int64_t to, enum gap_reason reason)
{
	fflush(f->session->cli->out.file);
	switch (reason) {
	case GAP_EXPIRED:
		fprintf(stderr,
		    "gap (expired): %lld lines are gone, %lld to %lld: they "
		    "were kept as long as retention says.\n",
		    (long long)(to - f->seq), (long long)f->seq + 1,
		    (long long)to);
		break;
	case GAP_RESET:
		fputs("gap (reset): The log was reset (the database was "
		      "restored): reading it from its beginning.\n",
		    stderr);
		break;
	}
	if (!f->strict)
		return 0;
	f->holds = 0;
	f->caught_up(f->arg, INT64_MIN); /* what came before is printed */
	stop(f, EXIT_GAP);
	return 1;
}

void
follow_gap(struct follow *f, int64_t to, enum gap_reason reason)
{
	if (!f->over && to > f->seq && !tell_gap(f, to, reason))
		moved(f, f->epoch, to);
}

void
follow_reset(struct follow *f, int64_t epoch)
{
	if (!f->over && !tell_gap(f, 0, GAP_RESET))
		moved(f, epoch, 0);
}

void
follow_caught_up(struct follow *f, int64_t now_ms)
{
	if (f->over)
		return;
	f->holds = 0;
	if (f->caught_up(f->arg, now_ms) || !f->on)
		stop(f, 0);
}

void
follow_end(struct follow *f)
{
	if (!f->stay)
		stop(f, 0);
}

void
follow_lost(struct follow *f, const struct error *err)
{
	/* at first, and whatever will not pass, is for the user to mend */
	if (f->epoch == -1 || err->fault != FAULT_RETRY || !f->on) {
		follow_fail(f, err);
		return;
	}
	if (!f->lost)
		session_note(f->session,
		    "The connection was lost; trying "
		    "again, with the log where it was left.");
	f->lost = 1;
}

void
follow_found(struct follow *f)
{
	if (f->lost)
		session_note(f->session, "Connected again.");
	f->lost = 0;
}

void
follow_fail(struct follow *f, const struct error *err)
{
	if (f->over)
		return;
	f->err = *err;
	stop(f, -1);
}

void
follow_none(struct follow *f)
{
	struct error err;

	if (!f->channel.is_run)
		fail(&err, FAULT_INPUT, "PT404",
		    "no channel %s\nit is there when its first line is",
		    f->channel.name);
	else if (strcmp(f->channel.resource, "latest") == 0)
		fail(&err, FAULT_INPUT, "PT404",
		    "no run yet\nstart one: meshhook run start WORKFLOW");
	else
		fail(&err, FAULT_INPUT, "PT404",
		    "no run %s%s%s\nlist them: meshhook run list",
		    f->channel.resource,
		    *f->channel.project != '\0' ? " in " : "",
		    f->channel.project);
	follow_fail(f, &err);
}

static void
interrupted(void *arg, int signo)
{
	(void)signo;
	stop(arg, EXIT_INTERRUPTED);
}

static int
follow_loop(struct follow *f, struct error *err)
{
	struct loop *loop = f->session->loop;
	struct loop_signal *sigint, *sigterm;
	int code;

	sigint = loop_signal_start(loop, SIGINT, interrupted, f);
	sigterm = loop_signal_start(loop, SIGTERM, interrupted, f);
	code = loop_run(loop); /* at once, if it was stopped before */
	loop_signal_stop(sigint);
	loop_signal_stop(sigterm);
	if (code >= 0 && save(f, &f->err) < 0)
		code = -1;
	if (code < 0)
		*err = f->err;
	return code;
}

int
follow_run(struct follow *f, struct error *err)
{
	struct cli *cli = f->session->cli;
	int r = 0;

	f->epoch = -1;
	if (f->cursor_file != NULL)
		r = cursor_load(&cli->arena, f->cursor_file, &f->channel,
		    &f->epoch, &f->seq, err);
	if (r < 0)
		return -1;
	f->saver = loop_timer_new(f->session->loop, save_due, f);
	r = f->source->open(f, err);
	if (r == 0)
		r = follow_loop(f, err);
	f->source->close(f);
	f->saver = loop_timer_free(f->saver);
	return r;
}
