#include "core/measure.h"
#include "core/metrics.h"

#include <math.h>
#include <string.h>

const struct measure measures[] = {
	{ "archive_failing", "table", NULL,
	    "Tables that can't be archived now." },
	{ "archived_bytes_total", NULL, "bytes",
	    "Bytes of archives, as packed." },
	{ "archived_rows_total", NULL, NULL, "Rows that were archived." },
	{ "arrivals_total", NULL, NULL, "Runs that were started." },
	{ "attempt_time_seconds", "le", "seconds",
	    "What attempts at steps took." },
	{ "attempt_wait_seconds", "le", "seconds",
	    "What attempts at steps waited once they were ready." },
	{ "broadcast_failures_total", NULL, NULL,
	    "Messages of live logs that Realtime refused." },
	{ "broadcasts_total", NULL, NULL, "Messages of live logs." },
	{ "database_bytes", NULL, "bytes", "Size of the database." },
	{ "dead_letters", NULL, NULL, "Messages that the engine gave up." },
	{ "dead_tuples", "table", NULL, "Dead rows, by table." },
	{ "dead_workers_cleared_total", NULL, NULL,
	    "Rows of processes removed as too old." },
	{ "delivery_failing", "channel", NULL,
	    "Messages about alerts that don't get to a channel." },
	{ "intake_accepted_total", NULL, NULL, "Webhooks that were taken." },
	{ "intake_failed_total", NULL, NULL,
	    "Webhooks answered with 5xx: our own fault." },
	{ "log_lag_seconds", NULL, "seconds",
	    "How long a line of a log takes to who follows it." },
	{ "log_lines_total", NULL, NULL, "Lines of logs." },
	{ "messages_trimmed_total", NULL, NULL,
	    "Archived messages removed as too old." },
	{ "months_expired", NULL, NULL,
	    "Months over their time that are still there." },
	{ "notify_queue", NULL, NULL, "Share of the NOTIFY queue in use." },
	{ "oldest_age", "queue", "seconds",
	    "How long the first one waits, by queue." },
	{ "partitions_ahead", "table", NULL,
	    "Partitions made for the time to come, by table." },
	{ "partitions_dropped_total", NULL, NULL,
	    "Partitions dropped as over their time." },
	{ "pg_connections", NULL, NULL, "Connections to the database." },
	{ "pg_connections_used", NULL, NULL,
	    "Share of the database's connections in use." },
	{ "queue_backlog", NULL, NULL,
	    "Messages that wait for room in their project's window." },
	{ "queue_delayed", NULL, NULL, "Delays, retries and deadlines." },
	{ "queue_in_flight", NULL, NULL, "Messages leased to a worker." },
	{ "queue_length", NULL, NULL, "Messages admitted to the queue." },
	{ "queue_metrics_age_seconds", NULL, "seconds",
	    "Since when no monitor has measured anything." },
	{ "queue_visible", NULL, NULL, "Messages ready for a worker." },
	{ "reconciled_total", "counter", NULL,
	    "Counts that were wrong and were mended." },
	{ "retries_total", NULL, NULL, "Attempts after the first." },
	{ "runs_abandoned_total", NULL, NULL, "Runs that the engine gave up." },
	{ "runs_ended_total", "status", NULL, "Runs that ended, by status." },
	{ "runs_failed_total", NULL, NULL, "Runs that failed." },
	{ "runs_running", NULL, NULL, "Runs that have not ended." },
	{ "slot_idle", "slot", NULL,
	    "Replication slots that nobody reads, by name." },
	{ "sse_connections", NULL, NULL, "Streams of live logs open." },
	{ "step_failures_total", NULL, NULL, "Steps that failed." },
	{ "step_time_seconds", "q", "seconds",
	    "What attempts at steps took lately, p50 to p99." },
	{ "step_wait_seconds", "q", "seconds",
	    "What attempts at steps waited lately, p50 to p99." },
	{ "steps_total", NULL, NULL, "Steps that ended." },
	{ "table_bytes", "table", "bytes",
	    "Size of the queue's and the hot tables." },
	{ "upkeep_failing", "chore", NULL,
	    "Chores of the monitor that fail now." },
	{ "wal_bytes_total", NULL, "bytes", "Write-ahead log written." },
	{ "worker_load", NULL, NULL, "Messages that workers hold." },
	{ "workers_alive", "kind", NULL,
	    "Processes heard of within 40 s, by kind." },
	{ "xmin_age", "holder", NULL,
	    "Transactions since a snapshot that is still held: by a session "
	    "(pid), slot or prepared transaction." },
	{ "xmin_age_seconds", "holder", "seconds",
	    "For how long a snapshot has been held." },
	{ NULL, NULL, NULL, NULL },
};

const struct measure *
measure_find(struct str name)
{
	const struct measure *m = measures;

	while (m->name != NULL && !str_is(name, m->name))
		m++;
	return m->name != NULL ? m : NULL;
}

static int
ends_in(struct str s, const char *end)
{
	size_t n = strlen(end);

	return s.n > n && s.s[s.n - n - 1] == '_' &&
	    memcmp(s.s + s.n - n, end, n) == 0;
}

int
measure_is_counter(struct str name)
{
	return ends_in(name, "total");
}

int
measure_is_histogram(struct str name)
{
	const struct measure *m = measure_find(name);

	return m != NULL && m->label != NULL && strcmp(m->label, "le") == 0;
}

void
measure_family(struct str name, struct buf *out)
{
	const struct measure *m = measure_find(name);

	if (measure_is_counter(name))
		name.n -= strlen("_total");
	buf_addf(out, "meshhook_%.*s", STR_FMT(name));
	if (m != NULL && m->unit != NULL && !ends_in(name, m->unit))
		buf_addf(out, "_%s", m->unit);
}

void
measure_head(struct str name, struct buf *out)
{
	const struct measure *m = measure_find(name);
	struct buf family;

	buf_init(&family);
	measure_family(name, &family);
	buf_addf(out, "# TYPE %s %s\n", family.bytes,
	    measure_is_counter(name)         ? "counter"
		: measure_is_histogram(name) ? "histogram"
					     : "gauge");
	if (m != NULL && m->unit != NULL)
		buf_addf(out, "# UNIT %s %s\n", family.bytes, m->unit);
	if (m != NULL)
		buf_addf(out, "# HELP %s %s\n", family.bytes, m->help);
	buf_deinit(&family);
}

void
measure_histogram(struct str name,
    const uint64_t counts[static HISTOGRAM_BUCKETS], struct buf *out)
{
	struct buf family;
	double sum_us = 0;

	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		sum_us += (double)counts[i] * histogram_middle(i);
	buf_init(&family);
	measure_family(name, &family);
	metrics_print_histogram(out, family.bytes, NULL, counts, sum_us);
	buf_deinit(&family);
}

static void
add_label(
    struct buf *out, const char *before, const char *name, struct str value)
{
	buf_addf(out, "%s%s=\"", before, name);
	for (size_t i = 0; i < value.n; i++) {
		char c = value.s[i];

		if (c == '\\' || c == '"' || c == '\n')
			buf_addc(out, '\\');
		buf_addc(out, (char)(c == '\n' ? 'n' : c));
	}
	buf_addc(out, '"');
}

void
measure_sample(struct str name, struct str project, struct str value_label,
    double v, struct buf *out)
{
	const struct measure *m = measure_find(name);
	const char *label = m != NULL && m->label != NULL ? m->label : "of";

	measure_family(name, out);
	if (measure_is_counter(name))
		buf_adds(out, "_total");
	if (project.s != NULL || value_label.s != NULL)
		buf_addc(out, '{');
	if (project.s != NULL)
		add_label(out, "", "project", project);
	if (value_label.s != NULL)
		add_label(
		    out, project.s != NULL ? "," : "", label, value_label);
	if (project.s != NULL || value_label.s != NULL)
		buf_addc(out, '}');
	if (isfinite(v))
		buf_addf(out, " %.15g\n", v);
	else
		buf_addf(out, " %s\n",
		    isnan(v)    ? "NaN"
			: v > 0 ? "+Inf"
				: "-Inf");
}
