/*
 * Straight from Postgres, as the operator: what is behind the cursor and how
 * the channel stands, of one moment, in one question.
 *
 * NOTIFY is a hint to look now. Where it doesn't work, and for lines of users'
 * own transactions, which notify nobody, it looks unasked.
 */
#include "cli/follow.h"
#include "cli/sql.h"
#include "core/mem.h"

#include <stdlib.h>
#include <string.h>

enum {
	PAGE = 500,
	PAUSE_LEAST_MS = 100, /* while lines come */
	PAUSE_MOST_MS = 1000, /* while none do */
};

struct direct {
	struct follow *f;
	struct db *db;
	struct listen *listen;
	struct loop_timer *timer;
	const char *id; /* the channel's */
	int64_t pause_ms;
	int asking, again;
};

static void look(void *arg);

static void
rest(struct direct *d, int news)
{
	d->pause_ms = news ? PAUSE_LEAST_MS : d->pause_ms * 2;
	if (d->pause_ms > PAUSE_MOST_MS)
		d->pause_ms = PAUSE_MOST_MS;
	loop_timer_set(d->timer, d->pause_ms);
}

static void
take_lines(struct follow *f, struct rows *rows, int lines)
{
	for (int i = 0; i < lines && !follow_over(f); i++) {
		struct line line = {
			.seq = rows_int(rows, i, "seq"),
			.ts_ms = rows_time_ms(rows, i, "ts"),
			.level = (int)rows_int(rows, i, "level"),
			.message = rows_str(rows, i, "message"),
			.attrs = rows_str(rows, i, "attrs"),
		};

		/* of one moment: what is missing between is gone */
		follow_gap(f, line.seq - 1, GAP_EXPIRED);
		follow_line(f, &line);
	}
}

/* Everything that is there now was read. */
static void
caught_up(struct direct *d, struct rows *rows, int news)
{
	struct follow *f = d->f;

	follow_gap(f, rows_int(rows, 0, "last_seq"), GAP_EXPIRED);
	follow_caught_up(f, rows_time_ms(rows, 0, "now"));
	if (!rows_null(rows, 0, "final_seq"))
		follow_end(f);
	if (d->again)
		look(d);
	else
		rest(d, news);
}

static void
answered(void *arg, struct rows *rows, const struct error *err)
{
	struct direct *d = arg;
	struct follow *f = d->f;
	struct error why;
	int64_t epoch;
	int lines;

	d->asking = 0;
	if (err != NULL && err->fault == FAULT_RETRY && f->on) {
		rest(d, 0); /* or state_changed, when connected again */
		return;
	}
	if (err != NULL) {
		why = *err;
		session_advise(NULL, &why);
		follow_fail(f, &why);
		return;
	}
	if (rows->n == 0) {
		fail(&why, FAULT_INPUT, "PT404", "%s is gone", f->channel.name);
		follow_fail(f, &why);
		return;
	}
	epoch = rows_int(rows, 0, "epoch");
	if (epoch != f->epoch || f->seq > rows_int(rows, 0, "last_seq")) {
		follow_reset(f, epoch);
		look(d);
		return;
	}
	lines = rows_null(rows, 0, "seq") ? 0 : rows->n;
	take_lines(f, rows, lines);
	if (lines == PAGE)
		look(d);
	else
		caught_up(d, rows, lines > 0);
}

static void
look(void *arg)
{
	struct direct *d = arg;
	struct error err;

	if (d->asking || follow_over(d->f)) {
		d->again = 1;
		return;
	}
	d->again = 0;
	d->asking = db_call(d->db, &sql_log_lines, answered, d, &err,
			db_text(d->id), db_int8(d->f->seq), db_int4(PAGE)) == 0;
}

static void
notified(void *arg, const char *channel, const char *payload)
{
	struct direct *d = arg;

	/* a payload names channels; an empty one any */
	if (channel == NULL || payload == NULL || *payload == '\0' ||
	    *payload == '*' || strstr(payload, d->id) != NULL)
		look(d);
}

static void
state_changed(void *arg, enum db_state state, const struct error *err)
{
	struct direct *d = arg;
	struct error why;

	if (state == DB_READY) {
		follow_found(d->f);
		look(d);
	} else if (err != NULL) {
		why = *err;
		session_advise(NULL, &why);
		follow_lost(d->f, &why);
	}
}

/* The channel, and where to begin. */
static int
locate(struct follow *f, struct direct *d, struct error *err)
{
	struct session *s = f->session;
	struct arena *a = &s->cli->arena;
	const struct channel *c = &f->channel;
	struct rows rows = { 0 };
	char id[UUID_TEXT];

	if (strcmp(c->resource, "latest") == 0 && c->is_run) {
		if (session_run(s, "latest", id, err) < 0)
			return -1;
		f->channel.resource = arena_strdup(a, id);
	}
	if (SESSION_QUERY(s, &sql_log_channel, &rows, err, db_text(c->service),
		db_text(*c->project != '\0' ? c->project : NULL),
		db_text(c->resource),
		f->since_ms == INT64_MIN
		    ? db_null(DB_TIMESTAMPTZ)
		    : db_time(db_time_from_ms(f->since_ms)),
		db_int8(f->last)) < 0)
		return -1;
	if (rows.n == 0) {
		follow_none(f);
	} else {
		channel_name(a, &f->channel, rows_text(&rows, 0, "project_id"));
		d->id = arena_strdup(a, rows_text(&rows, 0, "id"));
		follow_begin(f, rows_int(&rows, 0, "epoch"),
		    rows_int(&rows, 0, "start"));
	}
	rows_deinit(&rows);
	return 0;
}

/* Without LISTEN it polls; so its failing is not worth a word. */
static void
start_listening(struct direct *d, const struct db_options *db)
{
	static const char *const channels[] = { "meshhook_logs", NULL };
	struct listen_options options = {
		.db = *db,
		.channels = channels,
		.via = d->db,
		.fn = notified,
		.arg = d,
	};
	struct error err;

	options.db.on_state = NULL;
	d->listen = listen_new(d->f->session->loop, &options, &err);
}

static int
direct_open(struct follow *f, struct error *err)
{
	struct session *s = f->session;
	struct direct *d = xcalloc(1, sizeof(*d));
	struct db_options options = {
		.url = config_text(&s->cli->config, SETTING_DB_URL),
		.application_name = "meshhook logs",
		.on_state = state_changed,
		.arg = d,
	};

	f->way = d;
	*d = (struct direct){ .f = f, .pause_ms = PAUSE_LEAST_MS };
	if (session_connect(s, err) < 0 || locate(f, d, err) < 0)
		return -1;
	if (follow_over(f))
		return 0;
	d->timer = loop_timer_new(s->loop, look, d);
	/* of its own: it must bear what a single question need not */
	s->db = db_free(s->db);
	d->db = db_new(s->loop, &options, err);
	if (d->db == NULL)
		return -1;
	if (f->on)
		start_listening(d, &options);
	return 0;
}

static void
direct_close(struct follow *f)
{
	struct direct *d = f->way;

	d->listen = listen_free(d->listen);
	d->db = db_free(d->db);
	d->timer = loop_timer_free(d->timer);
	free(d);
	f->way = NULL;
}

const struct source source_db = {
	.name = "db",
	.open = direct_open,
	.close = direct_close,
};
