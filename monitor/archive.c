#include "monitor/archive.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/testpoint.h"
#include "core/time.h"
#include "monitor/monitor-impl.h"
#include "monitor/monitor-sql.h"
#include "monitor/part.h"
#include "monitor/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
	SLICE_BYTES = 512 << 10,
	SLICE_MS = 50,
	PART_BYTES = 4 << 20, /* packed */
	REST_MS = 10,         /* between slices, or longer: */
	REST_TIMES = 3,
	LOOK_TICKS = 12, /* how often, when nothing is to be done or it fails */
	NAME_BYTES = 64,
};

struct archive {
	struct monitor *m;
	struct place *place;
	struct loop_timer *timer;
	int64_t due_ms, asked_ms;
	int busy; /* a call or a put is under way, or a pause */
	int putting;
	int64_t fence; /* of the reign that it began in */
	/* which one */
	int64_t id;
	char name[NAME_BYTES], dir[NAME_BYTES];
	int n; /* of the part in the making, from 1 */
	int at_end;
	char upto[NAME_BYTES]; /* the last row read; "": none */
	struct part part;
	char file[NAME_BYTES], sha256[SHA256_HEX];
	struct arena arena; /* the manifest */
};

static void slice(void *arg);

/* ---- beginning and ending ------------------------------------------------------ */

static void
leave(struct archive *a, int64_t wait_ms)
{
	part_deinit(&a->part);
	arena_reset(&a->arena);
	loop_timer_clear(a->timer);
	a->busy = a->putting = 0;
	a->due_ms = loop_now_ms(a->m->loop) + wait_ms;
}

static int64_t
pause_ms(const struct archive *a)
{
	return LOOK_TICKS * a->m->o->interval_ms;
}

static void
told(void *arg, struct rows *rows, const struct error *err)
{
	(void)rows;
	(void)err; /* it was said in the log */
	leave(arg, pause_ms(arg));
}

/* Where there is no database either, the next try says it again. */
static void
failed(struct archive *a, const struct error *err)
{
	struct error unsaid;

	log_warn("archive.failed", S_("archive", a->name), E_(err));
	if (db_call(a->m->db, &sql_archive_failed, told, a, &unsaid,
		db_int8(a->fence), db_int8(a->id), db_text(err->text)) < 0)
		leave(a, pause_ms(a));
}

/* An answer of the database: 0 when it is good, and still wanted. */
static int
answer(struct archive *a, const struct error *err)
{
	if (err == NULL && a->m->fence == a->fence)
		return 0;
	if (err == NULL || err->fault == FAULT_RETRY ||
	    strcmp(err->code, "MH002") == 0)
		leave(a, a->m->o->interval_ms);
	else
		failed(a, err);
	return -1;
}

/* Not connected: later. */
static void
asked(struct archive *a, int r)
{
	a->asked_ms = time_mono_ms();
	if (r < 0)
		leave(a, a->m->o->interval_ms);
}

/* ---- the manifest -------------------------------------------------------------- */

static void
done(void *arg, struct rows *rows, const struct error *err)
{
	struct archive *a = arg;

	(void)rows;
	if (answer(a, err) < 0)
		return;
	log_info("archive.done", S_("archive", a->name), I_("parts", a->n - 1));
	leave(a, 0);
	archive_step(a);
}

static void
manifest_put(void *arg, const struct error *err)
{
	struct archive *a = arg;
	struct error unasked;

	a->putting = 0;
	if (err != NULL) {
		failed(a, err);
		return;
	}
	testpoint("archive.manifest");
	asked(a,
	    db_call(a->m->db, &sql_archive_done, done, a, &unasked,
		db_int8(a->fence), db_int8(a->id), db_text(a->sha256)));
}

static void
manifest_made(void *arg, struct rows *rows, const struct error *err)
{
	struct archive *a = arg;
	struct str text;

	if (answer(a, err) < 0)
		return;
	text = arena_str(&a->arena, rows_str(rows, 0, "manifest"));
	sha256_hex(text, a->sha256);
	a->putting = 1;
	place_put(a->place, a->dir, "manifest.json", text, manifest_put, a);
}

/* ---- a part -------------------------------------------------------------------- */

static void
part_recorded(void *arg, struct rows *rows, const struct error *err)
{
	struct archive *a = arg;

	(void)rows;
	if (answer(a, err) < 0)
		return;
	testpoint("archive.recorded");
	a->n++;
	part_deinit(&a->part);
	slice(a);
}

static void
part_put(void *arg, const struct error *err)
{
	struct archive *a = arg;
	struct str bytes = buf_str(&a->part.packed);
	struct error unasked;

	a->putting = 0;
	if (err != NULL) {
		failed(a, err);
		return;
	}
	testpoint("archive.put");
	asked(a,
	    db_call(a->m->db, &sql_archive_part, part_recorded, a, &unasked,
		db_int8(a->fence), db_int8(a->id), db_text(a->file),
		db_text(a->upto), db_int8(a->part.rows),
		db_int8((int64_t)bytes.n), db_text(a->sha256)));
}

static void
put_part(struct archive *a)
{
	struct str bytes = part_end(&a->part);
	uint32_t own = 0;

	getrandom(&own, sizeof(own), 0);
	snprintf(a->file, sizeof(a->file), "%05d-%08x.ndjson.gz", a->n, own);
	sha256_hex(bytes, a->sha256);
	a->putting = 1;
	place_put(a->place, a->dir, a->file, bytes, part_put, a);
}

static void
sliced(void *arg, struct rows *rows, const struct error *err)
{
	struct archive *a = arg;
	int64_t rest = (time_mono_ms() - a->asked_ms) * REST_TIMES;
	struct error unasked;

	if (answer(a, err) < 0)
		return;
	for (int i = 0; i < rows->n; i++)
		part_add(&a->part, rows_str(rows, i, "line"));
	if (rows->n > 0)
		snprintf(a->upto, sizeof(a->upto), "%s",
		    rows_text(rows, rows->n - 1, "upto"));
	testpoint("archive.sliced");
	a->at_end = rows->n == 0;
	if (a->part.rows > 0 && (a->at_end || a->part.packed.len >= PART_BYTES))
		put_part(a);
	else if (a->at_end)
		asked(a,
		    db_call(a->m->db, &sql_archive_manifest, manifest_made, a,
			&unasked, db_int8(a->id)));
	else
		loop_timer_set(a->timer, rest > REST_MS ? rest : REST_MS);
}

static void
slice(void *arg)
{
	struct archive *a = arg;
	struct error unasked;

	asked(a,
	    db_call(a->m->db, &sql_archive_slice, sliced, a, &unasked,
		db_int8(a->fence), db_text(a->name),
		db_text(a->upto[0] != '\0' ? a->upto : NULL),
		db_int4(SLICE_BYTES), db_int4(SLICE_MS)));
}

/* ---- which one ----------------------------------------------------------------- */

static void
begun_anew(void *arg, struct rows *rows, const struct error *err)
{
	struct archive *a = arg;

	(void)rows;
	if (answer(a, err) == 0)
		slice(a);
}

static void
keep_text(char to[NAME_BYTES], struct rows *rows, const char *column)
{
	struct str s = rows_str(rows, 0, column);

	snprintf(to, NAME_BYTES, "%.*s", (int)s.n, s.s != NULL ? s.s : "");
}

/* Its parts are here: go on. Else they are on another machine, or gone. */
static void
next(void *arg, struct rows *rows, const struct error *err)
{
	struct archive *a = arg;
	struct str files;
	struct error unasked;

	if (answer(a, err) < 0)
		return;
	if (rows->n == 0) {
		leave(a, pause_ms(a));
		upkeep_due(a->m, UPKEEP_RETENTION);
		return;
	}
	a->id = rows_int(rows, 0, "id");
	keep_text(a->name, rows, "name");
	keep_text(a->dir, rows, "dir");
	keep_text(a->upto, rows, "cursor");
	a->n = (int)rows_int(rows, 0, "parts") + 1;
	files = rows_str(rows, 0, "files");
	if (str_is(rows_str(rows, 0, "place"), a->m->o->archive) &&
	    place_has(a->place, a->dir, files)) {
		place_sweep(a->place, a->dir, files);
		slice(a);
		return;
	}
	a->n = 1;
	a->upto[0] = '\0';
	asked(a,
	    db_call(a->m->db, &sql_archive_anew, begun_anew, a, &unasked,
		db_int8(a->fence), db_int8(a->id), db_text(a->m->o->archive)));
}

void
archive_step(struct archive *a)
{
	struct monitor *m = a != NULL ? a->m : NULL;
	struct error unasked;

	if (m == NULL || a->busy || m->fence == 0 || !m->serving || m->ending ||
	    loop_now_ms(m->loop) < a->due_ms)
		return;
	a->busy = 1;
	a->fence = m->fence;
	asked(a,
	    db_call(m->db, &sql_archive_next, next, a, &unasked,
		db_int8(a->fence), db_text(m->o->archive)));
}

/* A call's answer, if one is under way, finds the reign over. */
void
archive_reset(struct archive *a)
{
	if (a == NULL)
		return;
	if (a->putting) {
		place_cancel(a->place);
		leave(a, 0);
	}
	a->due_ms = 0;
}

struct archive *
archive_new(struct monitor *m, struct error *err)
{
	struct place_options place = { .where = m->o->archive,
		.url = m->o->supabase_url,
		.key = m->o->storage_key,
		.ca_file = m->o->ca_file };
	struct archive *a = xcalloc(1, sizeof(*a));

	a->m = m;
	part_init(&a->part);
	arena_init(&a->arena);
	a->timer = loop_timer_new(m->loop, slice, a);
	a->place = place_new(m->loop, &place, err);
	return a->place != NULL ? a : archive_free(a);
}

/* After the database's: no answer comes any more. */
struct archive *
archive_free(struct archive *a)
{
	if (a == NULL)
		return NULL;
	a->place = place_free(a->place);
	a->timer = loop_timer_free(a->timer);
	part_deinit(&a->part);
	arena_deinit(&a->arena);
	free(a);
	return NULL;
}
