#pragma once
/* What the formats share. */
#include "monitor/format/format.h"

typedef void format_fn(struct arena *a, const struct json *target,
    const struct format_message *m, struct format_out *out);

format_fn format_slack, format_pagerduty, format_alertmanager, format_webhook,
    format_discord, format_email;

int format_fires(const struct format_message *m);
/* "critical", the highest of the alerts'. */
const char *format_severity(const struct format_message *m);
/* "FIRING: stalled (2)": what it is about, in a line. */
struct str format_title(struct arena *a, const struct format_message *m);
/* An alert's summary, or its rule's name. */
struct str format_summary(const struct json *alert);
const struct json *format_alerts(const struct format_message *m);
/* Cut to so many bytes at a character's boundary, with an ellipsis. */
struct str format_cut(struct arena *a, struct str s, size_t max);
/* "queue=work, q=p99" */
struct str format_labels(struct arena *a, const struct json *alert);
/* To the failed run that an alert is about, in the console; s NULL: none. */
struct str format_run_link(const struct json *alert);
/* To the first alert's run, or its project, in the console; s NULL: none. */
struct str format_link(struct arena *a, const struct format_message *m);
