/*
 * From a tick's rows to samples. The store is made anew when it is full or
 * when nothing of it would be looked at again: projects come and go.
 */
#include "core/log.h"
#include "monitor/monitor-impl.h"

#include <string.h>

enum {
	WINDOW_MS = 3600000, /* the longest range of a rule */
	TICKS_MOST = 1024,   /* with a short interval the range is shorter */
	SERIES_MOST = 20000,
	LOST_TICKS = 3, /* so many may be lost before a value is absent */
};

void
samples_reset(struct monitor *m)
{
	int64_t ticks = WINDOW_MS / m->o->interval_ms + 2;

	arena_deinit(&m->store);
	arena_init(&m->store);
	samples_init(&m->samples, &m->store,
	    (uint32_t)(ticks < TICKS_MOST ? ticks : TICKS_MOST), SERIES_MOST,
	    LOST_TICKS * m->o->interval_ms + m->o->interval_ms / 2);
}

int
monitor_sampled(struct monitor *m, struct rows *rows)
{
	char project[UUID_TEXT];

	if (m->samples.refused > 0) {
		log_warn(
		    "monitor.samples_full", I_("series", m->samples.n_series));
		samples_reset(m);
	}
	if (samples_tick(&m->samples, rows_time_ms(rows, 0, "at")) != 0)
		return 1; /* the database's clock stands still */
	for (int i = 0; i < rows->n; i++) {
		struct str metric = rows_str(rows, i, "metric"), of = { 0 };
		struct label label;
		struct uuid id;
		double value;

		if (rows_uuid(rows, i, "project", &id) == 0)
			of = str_of(uuid_format(&id, project));
		label.name = rows_str(rows, i, "label");
		label.value = rows_str(rows, i, "label_value");
		value = rows_double(rows, i, "value");
		samples_set(&m->samples, metric, of, &label,
		    label.name.s != NULL, value);
	}
	return 0;
}
