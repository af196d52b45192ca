#include "core/mem.h"
#include "supabase/client/db-impl.h"

#include <stdlib.h>
#include <string.h>

/*
 * Listening means: connected, LISTEN answered for every channel, and one of our
 * own notifications sent through the other connection came in here. The probe
 * is repeated, seldom, as poolers and their modes change behind our back.
 */
enum { PROBE_SOON_MS = 1000, PROBE_LATER_MS = 60000 };

struct listen {
	struct db *db, *via;
	struct loop_timer *timer;
	listen_fn *fn;
	void *arg;
	char **channels; /* "listen x" statements stand behind the names */
	struct sql *statements;
	size_t n;
	char nonce[UUID_TEXT];
	int listening, works, unanswered;
};

static const char probe_channel[] = "meshhook_probe";
static const struct sql sql_probe = { "probe",
	"select pg_notify('meshhook_probe', $1)" };

static void
probe_sent(void *arg, struct rows *rows, const struct error *err)
{
	/* what counts is that it arrives */
	(void)arg;
	(void)rows;
	(void)err;
}

static void
probe(void *arg)
{
	struct listen *l = arg;
	struct error err;

	/* three probes in a row unanswered: it has ceased to work */
	if (l->unanswered >= 3)
		l->works = 0;
	if (l->listening && db_ready(l->via) &&
	    db_call(l->via, &sql_probe, probe_sent, NULL, &err,
		db_text(l->nonce)) == 0)
		l->unanswered++;
	loop_timer_set(l->timer,
	    l->works && l->unanswered <= 1 ? PROBE_LATER_MS
		: l->unanswered > 5        ? PROBE_LATER_MS
					   : PROBE_SOON_MS);
}

static void
notified(void *arg, const char *channel, const char *payload)
{
	struct listen *l = arg;

	if (strcmp(channel, probe_channel) == 0) {
		if (strcmp(payload, l->nonce) != 0)
			return;
		l->works = 1;
		l->unanswered = 0;
		loop_timer_set(l->timer, PROBE_LATER_MS);
		return;
	}
	l->fn(l->arg, channel, payload);
}

static void
listened(void *arg, struct rows *rows, const struct error *err)
{
	(void)arg;
	(void)rows;
	(void)err; /* a lost connection: state_changed follows */
}

static void
all_listened(void *arg, struct rows *rows, const struct error *err)
{
	struct listen *l = arg;

	(void)rows;
	if (err != NULL)
		return;
	l->listening = 1;
	l->unanswered = 0;
	probe(l);
	l->fn(l->arg, NULL, NULL);
}

static void
state_changed(void *arg, enum db_state state, const struct error *cause)
{
	struct listen *l = arg;
	struct error err;

	(void)cause; /* the owner polls meanwhile, its own connection speaks */
	l->listening = l->works = 0;
	if (state != DB_READY)
		return;
	for (size_t i = 0; i < l->n; i++)
		if (db_call(l->db, &l->statements[i],
			i + 1 < l->n ? listened : all_listened, l, &err) < 0)
			return;
}

static void
statement_set(struct listen *l, size_t i, const char *channel)
{
	struct buf text;

	buf_init(&text);
	buf_addf(&text, "listen %s", channel);
	l->channels[i] = text.bytes;
	l->statements[i] = (struct sql){ "listen", l->channels[i] };
}

struct listen *
listen_new(struct loop *loop, const struct listen_options *o, struct error *err)
{
	struct listen *l = xcalloc(1, sizeof(*l));
	struct db_options db = o->db;
	struct uuid nonce;

	db.on_state = state_changed;
	db.arg = l;
	l->db = db_new(loop, &db, err);
	if (l->db == NULL) {
		free(l);
		return NULL;
	}
	l->db->on_notify = notified;
	l->db->notify_arg = l;
	l->via = o->via;
	l->fn = o->fn;
	l->arg = o->arg;
	l->timer = loop_timer_new(loop, probe, l);
	uuid_random(&nonce);
	uuid_format(&nonce, l->nonce);
	while (o->channels[l->n] != NULL)
		l->n++;
	l->channels = xcalloc(l->n + 1, sizeof(*l->channels));
	l->statements = xcalloc(l->n + 1, sizeof(*l->statements));
	for (size_t i = 0; i < l->n; i++)
		statement_set(l, i, o->channels[i]);
	statement_set(l, l->n++, probe_channel);
	return l;
}

struct listen *
listen_free(struct listen *l)
{
	if (l == NULL)
		return NULL;
	l->db = db_free(l->db);
	l->timer = loop_timer_free(l->timer);
	for (size_t i = 0; i < l->n; i++)
		free(l->channels[i]);
	free(l->channels);
	free(l->statements);
	free(l);
	return NULL;
}

int
listen_works(const struct listen *l)
{
	return l != NULL && l->works;
}
