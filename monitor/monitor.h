#pragma once
/*
 * The process that watches: leads or stands by, measures every interval, keeps
 * what it measured and what the rules make of it. Run two: one leads, by a
 * lease in the database; the other takes over within 1.25 lease_ms.
 *
 *     tick -> one statement: lead, fold the counters, measure, keep
 *          -> samples -> rules (pure) -> one transaction of changes
 *          -> messages about alerts, on their way (monitor/deliver)
 *          -> a line of a log, there and back (monitor/canary)
 *          -> upkeep in small steps, as the leader only
 *
 * It holds nothing that the database doesn't: any of it can be killed at any
 * instruction, and what it wrote late, another leads meanwhile, is refused.
 *
 * monitor_main returns after SIGTERM or SIGINT: 0, having given its lease
 * back; 78 when it can't work with this database or these settings.
 */
#include <stdint.h>

struct monitor_options {
	const char *db_url;
	int64_t interval_ms; /* between two ticks */
	int64_t lease_ms;    /* of leading, without a word */
	/* for messages about alerts; each may be NULL */
	const char *intake_keys; /* under which channels' targets are sealed */
	const char *http_allow, *ca_file;
	const char *console_url; /* what links in messages begin with */
	const char *ping_url;    /* asked every minute: the leader lives */
	const char *archive;     /* where months go before they are dropped */
	const char *supabase_url, *storage_key; /* of an archive in Storage */
	const char *gateway_url; /* through which lines are followed */
};

int monitor_main(const struct monitor_options *options);
