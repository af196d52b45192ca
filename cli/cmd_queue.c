#include "cli/cmd_queue.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "cli/sql.h"

static const struct column totals[] = {
	{ "queue", "queue", COLUMN_NUMBER },
	{ "ready", "  ready", COLUMN_NUMBER },
	{ "in_flight", "  in flight", COLUMN_NUMBER },
	{ "oldest_ready_s", "  oldest ready, s", COLUMN_NUMBER },
	{ "backlog", "backlog", COLUMN_NUMBER },
	{ "timers", "timers", COLUMN_NUMBER },
	{ "next_timer", "  next due", COLUMN_TIME },
	{ "dead", "dead letters", COLUMN_NUMBER },
	{ "workers", "workers", COLUMN_NUMBER },
	{ "estimated", "estimated", COLUMN_TEXT },
};

static const struct column projects[] = {
	{ "project", "PROJECT", COLUMN_TEXT },
	{ "queued", "QUEUED", COLUMN_NUMBER },
	{ "window", "WINDOW", COLUMN_NUMBER },
	{ "backlog", "BACKLOG", COLUMN_NUMBER },
};

static int
stats(struct session *s, struct error *err)
{
	struct out *out = &s->cli->out;
	struct arena *a = &s->cli->arena;
	struct json *record, *list;

	if (SESSION_RECORD(s, &sql_queue_stats, &record, err) < 0 ||
	    SESSION_RECORD(s, &sql_queue_projects, &list, err) < 0)
		return -1;
	json_set(a, record, "projects", list);
	if (json_at(json_get(record, "estimated"), 0) == NULL &&
	    out->format != OUT_JSON)
		json_set(a, record, "estimated", NULL);
	OUT_OBJECT(out, a, totals, record);
	OUT_BELOW(out, a, projects, list);
	return EXIT_OK;
}

static int
cmd_queue_stats(struct cli *cli, struct error *err)
{
	struct session s;
	int r;

	if (cli_opt(cli, "watch") != NULL)
		return queue_watch(cli, err);
	if (cli_opt(cli, "count") != NULL)
		return usage(err, "--count goes with --watch");
	r = session_open(&s, cli, err);
	if (r == 0)
		r = stats(&s, err);
	session_close(&s);
	return r;
}

static const struct opt opts[] = {
	{ .name = "watch",
	    .letter = 'w',
	    .help = "go on, with what the monitor measures and the last "
		    "minute in graphs; q or Ctrl-C ends it" },
	{ .name = "count",
	    .arg = "N",
	    .help = "with --watch: end after so many measurements" },
	{ .name = NULL },
};
static const struct example examples[] = {
	{ "queue stats", "the queue as a whole, then by project" },
	{ "queue stats --watch", "the same, live, on the whole screen" },
	{ "queue stats --watch --count 3 -o json | jq .steps_per_s",
	    "an object a measurement" },
	{ "queue stats -o json | jq .oldest_ready_s",
	    "how far the workers are behind" },
	{ NULL, NULL },
};
const struct cmd cmd_queue_stats_entry = {
	.noun = "queue",
	.verb = "stats",
	.args = "",
	.help = "how much waits, and for how long",
	.text = "queue: admitted messages, of which some are ready for a "
		"worker and some in flight, that is, leased to one. backlog: "
		"what waits because its project's window is full. timers: "
		"delays, retries and deadlines. Cheap whatever the depth: a "
		"length beyond 10,000 is the planner's estimate; ready, in "
		"flight and a project's backlog stop at 10,001, which then "
		"means \"more\". What is not exact is named under estimated."
		"\n\n"
		"With --watch it shows what the monitor measures, as often as "
		"that does, and how old it is: of all together, and of each "
		"project that had work in the last hour. failures: their "
		"share of the steps of the last minute. wait p95: of 100 "
		"steps, 95 began sooner after they were ready. On what is no "
		"terminal, frames follow one another.",
	.opts = opts,
	.examples = examples,
	.settings = SETTING_G_DB | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.fn = cmd_queue_stats,
};
