/* From a tick's rows to samples. */
#include "monitor/monitor-impl.h"

#include <string.h>

enum {
	TICKS_FIRST = 8,
	SERIES_MOST = 20000,
	LOST_TICKS = 3, /* so many may be lost before a value is absent */
};

void
samples_open(
    struct monitor *m, struct arena *a, struct samples *store, int64_t ticks)
{
	arena_init(a);
	samples_init(store, a, (uint32_t)ticks, SERIES_MOST,
	    LOST_TICKS * m->o->interval_ms + m->o->interval_ms / 2);
}

void
samples_reset(struct monitor *m)
{
	arena_deinit(&m->store);
	samples_open(m, &m->store, &m->samples, TICKS_FIRST);
}

int
monitor_sampled(struct monitor *m, struct rows *rows)
{
	char project[UUID_TEXT];

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
