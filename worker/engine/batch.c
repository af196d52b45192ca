#include "worker/engine/batch.h"

#include "core/histogram.h"
#include "core/mem.h"
#include "core/time.h"

#include <stdlib.h>
#include <string.h>

static const enum db_type types[N_BATCH_ARRAYS] = {
	[IT_RUN] = DB_UUID,
	[IT_BASE] = DB_INT4,
	[IT_EVENTS] = DB_INT4,
	[IT_LINES] = DB_INT4,
	[IT_STATUS] = DB_TEXT,
	[IT_ERROR] = DB_JSONB,
	[MG_ITEM] = DB_INT4,
	[MG_ID] = DB_INT8,
	[MG_VT] = DB_TIMESTAMPTZ,
	[EV_ITEM] = DB_INT4,
	[EV_SEQ] = DB_INT4,
	[EV_TYPE] = DB_TEXT,
	[EV_PAYLOAD] = DB_JSONB,
	[ST_ITEM] = DB_INT4,
	[ST_STEP] = DB_TEXT,
	[ST_STATUS] = DB_TEXT,
	[ST_ATTEMPT] = DB_INT4,
	[ST_WAITS] = DB_INT4,
	[ST_LIVE] = DB_INT4,
	[ST_SEQ] = DB_INT4,
	[ST_NEW] = DB_BOOL,
	[LG_ITEM] = DB_INT4,
	[LG_ORD] = DB_INT4,
	[LG_LEVEL] = DB_INT2,
	[LG_MESSAGE] = DB_TEXT,
	[LG_ATTRS] = DB_JSONB,
	[SD_ITEM] = DB_INT4,
	[SD_MESSAGE] = DB_JSONB,
	[TM_ITEM] = DB_INT4,
	[TM_KIND] = DB_TEXT,
	[TM_STEP] = DB_TEXT,
	[TM_ATTEMPT] = DB_INT4,
	[TM_DUE] = DB_TIMESTAMPTZ,
	[TM_MESSAGE] = DB_JSONB,
	[DL_ITEM] = DB_INT4,
	[DL_MESSAGE] = DB_JSONB,
	[MG_WAIT] = DB_INT2,
	[MG_TIME] = DB_INT2,
	[HS_ITEM] = DB_INT4,
	[HS_CELL] = DB_INT2,
	[HS_N] = DB_INT4,
};

void
batch_init(struct batch *b)
{
	for (int i = 0; i < N_BATCH_ARRAYS; i++)
		db_array_init(&b->arrays[i], types[i]);
	buf_init(&b->runs);
	b->cells = NULL;
	b->n_cells = b->room_cells = 0;
	b->n_items = b->n_sends = 0;
	b->due_ms = 0;
}

void
batch_deinit(struct batch *b)
{
	for (int i = 0; i < N_BATCH_ARRAYS; i++)
		db_array_deinit(&b->arrays[i]);
	buf_deinit(&b->runs);
	free(b->cells);
	b->cells = NULL;
	b->n_cells = b->room_cells = 0;
}

void
batch_reset(struct batch *b)
{
	for (int i = 0; i < N_BATCH_ARRAYS; i++)
		db_array_reset(&b->arrays[i]);
	buf_clear(&b->runs);
	b->n_cells = 0;
	b->n_items = b->n_sends = 0;
	b->due_ms = 0;
}

size_t
batch_bytes(const struct batch *b)
{
	size_t n = 0;

	for (int i = 0; i < N_BATCH_ARRAYS; i++)
		n += b->arrays[i].buf.len;
	return n;
}

static void
add_int(struct batch *b, enum batch_array which, int64_t v)
{
	db_array_int4(&b->arrays[which], (int32_t)v);
}

static void
add_text(struct batch *b, enum batch_array which, const char *s)
{
	struct str text = { s, s != NULL ? strlen(s) : 0 };

	db_array_str(&b->arrays[which], text);
}

static void
add_json(struct batch *b, enum batch_array which, struct arena *a,
    const struct json *v)
{
	struct str text = { NULL, 0 };

	if (v != NULL)
		text = json_text(a, v);
	db_array_jsonb(&b->arrays[which], text);
}

static void
add_events(struct batch *b, const struct item *item, uint32_t at)
{
	for (uint32_t i = 0; i < item->n_events; i++) {
		add_int(b, EV_ITEM, at);
		add_int(b, EV_SEQ, item->events[i].seq);
		add_text(b, EV_TYPE, item->events[i].type);
		add_json(b, EV_PAYLOAD, item->a, item->events[i].payload);
	}
	for (uint32_t i = 0; i < item->n_lines; i++) {
		const struct item_line *l = &item->lines[i];

		add_int(b, LG_ITEM, at);
		add_int(b, LG_ORD, i + 1);
		db_array_int2(&b->arrays[LG_LEVEL], (int16_t)l->level);
		db_array_str(&b->arrays[LG_MESSAGE], l->message);
		add_json(b, LG_ATTRS, item->a, l->attrs);
	}
}

static void
add_rows(struct batch *b, const struct item *item, uint32_t at)
{
	for (uint32_t i = 0; i < item->n_rows; i++) {
		const struct step_row *r = &item->rows[i];

		add_int(b, ST_ITEM, at);
		db_array_str(&b->arrays[ST_STEP], r->step);
		add_text(b, ST_STATUS, step_status_name(r->status));
		add_int(b, ST_ATTEMPT, r->attempt);
		add_int(b, ST_WAITS, r->waits);
		add_int(b, ST_LIVE, r->live);
		if (r->seq > 0)
			add_int(b, ST_SEQ, r->seq);
		else
			db_array_null(&b->arrays[ST_SEQ]);
		db_array_bool(&b->arrays[ST_NEW], r->fresh);
	}
}

static void
add_sends(struct batch *b, const struct item *item, uint32_t at)
{
	for (uint32_t i = 0; i < item->n_sends; i++) {
		add_int(b, SD_ITEM, at);
		add_json(b, SD_MESSAGE, item->a, item->sends[i]);
	}
	for (uint32_t i = 0; i < item->n_timers; i++) {
		const struct item_timer *t = &item->timers[i];

		if (b->due_ms == 0 || t->due_ms < b->due_ms)
			b->due_ms = t->due_ms;
		add_int(b, TM_ITEM, at);
		add_text(b, TM_KIND, message_kind_name(t->kind));
		db_array_str(&b->arrays[TM_STEP], t->step);
		add_int(b, TM_ATTEMPT, t->attempt);
		db_array_time(&b->arrays[TM_DUE], db_time_from_ms(t->due_ms));
		add_json(b, TM_MESSAGE, item->a, t->message);
	}
	if (item->dead != NULL) {
		add_int(b, DL_ITEM, at);
		add_json(b, DL_MESSAGE, item->a, item->dead);
	}
}

/* Cells are few, and the one that is looked for is mostly among the first. */
static void
add_cell(struct batch *b, uint32_t at, const struct uuid *project, int cell)
{
	uint32_t i = 0;

	while (i < b->n_cells &&
	    (b->cells[i].cell != cell ||
		uuid_cmp(b->cells[i].project, project) != 0))
		i++;
	if (i == b->room_cells) {
		b->room_cells = i > 0 ? i * 2 : 64;
		b->cells =
		    xrealloc(b->cells, b->room_cells * sizeof(struct cell));
	}
	if (i == b->n_cells)
		b->cells[b->n_cells++] = (struct cell){
			.project = project, .item = at, .cell = cell
		};
	b->cells[i].n++;
}

/* How long it waited and took, once by itself, for when only a part of the
 * batch is applied, and once added up. */
static void
add_times(struct batch *b, uint32_t at, const struct task *t, int64_t now_us)
{
	int wait = (int)histogram_bucket(t->waited_us);
	int took = (int)histogram_bucket(now_us - t->begun_us);

	if (!t->attempted) {
		db_array_null(&b->arrays[MG_WAIT]);
		db_array_null(&b->arrays[MG_TIME]);
		return;
	}
	db_array_int2(&b->arrays[MG_WAIT], (int16_t)wait);
	db_array_int2(&b->arrays[MG_TIME], (int16_t)took);
	add_cell(b, at, &t->version->project, CELL_WAIT + wait);
	add_cell(b, at, &t->version->project, CELL_TIME + took);
}

void
batch_add(
    struct batch *b, const struct item *item, struct task **tasks, uint32_t n)
{
	uint32_t at = ++b->n_items;
	int64_t now_us = time_mono_us();
	char run[UUID_TEXT];

	db_array_uuid(&b->arrays[IT_RUN], &tasks[0]->run);
	add_int(b, IT_BASE, tasks[0]->known);
	add_int(b, IT_EVENTS, item->n_events);
	add_int(b, IT_LINES, item->n_lines);
	add_text(b, IT_STATUS, item->status);
	add_json(b, IT_ERROR, item->a, item->error);
	for (uint32_t i = 0; i < n; i++) {
		tasks[i]->item = at;
		add_int(b, MG_ITEM, at);
		db_array_int8(&b->arrays[MG_ID], tasks[i]->id);
		db_array_time(&b->arrays[MG_VT], tasks[i]->vt);
		add_times(b, at, tasks[i], now_us);
	}
	add_events(b, item, at);
	add_rows(b, item, at);
	add_sends(b, item, at);
	b->n_sends += item->n_sends;
	if (item->n_lines > 0)
		buf_addf(&b->runs, "%s%s", b->runs.len > 0 ? "," : "",
		    uuid_format(&tasks[0]->run, run));
}

void
batch_params(struct batch *b, int32_t slot, struct db_param *params)
{
	for (uint32_t i = 0; i < b->n_cells; i++) {
		add_int(b, HS_ITEM, b->cells[i].item);
		db_array_int2(&b->arrays[HS_CELL], (int16_t)b->cells[i].cell);
		add_int(b, HS_N, b->cells[i].n);
	}
	*params++ = db_int4(slot);
	for (int i = 0; i < N_BATCH_ARRAYS; i++)
		*params++ = db_array(&b->arrays[i]);
	*params = (struct db_param){ 0 };
}
