#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/printer.h"
#include "core/time.h"

#include <string.h>

enum { TAIL_MOST = 100000 };

static int
read_so_far(void *arg, int64_t now_ms)
{
	struct printer *p = arg;

	printer_flush(p);
	return now_ms > p->until_ms || ferror(p->cli->out.file);
}

/* "10m" is that long ago; else a timestamp. */
static int
take_time(struct cli *cli, const char *name, int64_t *out, struct error *err)
{
	const char *text = cli_opt(cli, name);
	int64_t ms;

	if (text == NULL)
		return 0;
	if (time_parse(str_of(text), out) == 0)
		return 0;
	if (duration_parse(str_of(text), &ms) < 0)
		return usage(err,
		    "--%s: \"%.60s\" is no time\n"
		    "say how long ago (10m, 2h) or when "
		    "(2026-11-21T04:00:00Z)",
		    name, text);
	*out = time_wall_ms() - ms;
	return 0;
}

static int
configure(struct printer *p, struct follow *f, struct error *err)
{
	struct cli *cli = f->session->cli;
	int64_t tail = 0;

	if (take_time(cli, "since", &p->since_ms, err) < 0 ||
	    take_time(cli, "until", &p->until_ms, err) < 0 ||
	    cli_opt_int(cli, "tail", 1, TAIL_MOST, &tail, err) < 0)
		return -1;
	printer_level(p, cli_opt(cli, "level"));
	p->include = cli_opt(cli, "include");
	p->exclude = cli_opt(cli, "exclude");
	p->stamps = cli_opt(cli, "timestamps") != NULL;
	p->tail = (size_t)tail;
	f->since_ms = p->since_ms;
	f->last = printer_passes_all(p) ? tail : 0;
	f->holds = tail > 0;
	f->on = cli_opt(cli, "follow") != NULL;
	f->stay = cli_opt(cli, "no-exit-on-run-end") != NULL;
	f->strict = cli_opt(cli, "strict") != NULL;
	f->cursor_file = cli_opt(cli, "cursor-file");
	if (f->stay && cli_opt(cli, "exit-on-run-end") != NULL)
		return usage(err,
		    "--exit-on-run-end and --no-exit-on-run-end exclude each "
		    "other");
	return 0;
}

static int
choose(struct follow *f, struct error *err)
{
	static const struct source *const sources[] = { &source_db,
		&source_gateway, &source_realtime };
	struct cli *cli = f->session->cli;
	const char *via = cli_opt(cli, "via");

	for (size_t i = 0; i < NELEM(sources); i++)
		if (strcmp(via != NULL ? via : "db", sources[i]->name) == 0)
			f->source = sources[i];
	return channel_parse(&cli->arena, cli->args[0], &f->channel, err);
}

static int
cmd_logs(struct cli *cli, struct error *err)
{
	struct session s;
	struct printer p;
	struct follow f = {
		.session = &s,
		.line = printer_line,
		.caught_up = read_so_far,
		.arg = &p,
	};
	int r;

	printer_init(&p, cli);
	r = session_begin(&s, cli, err);
	if (r == 0)
		r = configure(&p, &f, err);
	if (r == 0)
		r = choose(&f, err);
	if (r == 0) {
		printer_begin(&p);
		r = follow_run(&f, err);
	}
	session_close(&s);
	printer_deinit(&p);
	return r;
}

static const struct opt opts[] = {
	{ .name = "via",
	    .arg = "WAY",
	    .choices = "db|gateway|realtime",
	    .help = "the database (as its operator), or, as a user, "
		    "a gateway or Supabase; db unless given" },
	{ .name = "follow",
	    .letter = 'f',
	    .help = "go on until the run is over; exit 130 on Ctrl-C" },
	{ .name = "since",
	    .arg = "TIME",
	    .help = "nothing older: how long ago (10m), or when" },
	{ .name = "until", .arg = "TIME", .help = "nothing newer" },
	{ .name = "tail",
	    .letter = 'n',
	    .arg = "N",
	    .help = "of what is there now only the last N lines that pass" },
	{ .name = "level",
	    .arg = "LEVEL",
	    .help = "this level and worse",
	    .choices = "trace|debug|info|warn|error|fatal" },
	{ .name = "include",
	    .arg = "PATTERN",
	    .many = 1,
	    .help = "only lines with this text, or, with * ? or [, lines that "
		    "match it as a whole; may be repeated" },
	{ .name = "exclude",
	    .arg = "PATTERN",
	    .many = 1,
	    .help = "no such lines; may be repeated" },
	{ .name = "timestamps",
	    .help = "date and time (RFC 3339), not the time of day" },
	{ .name = "cursor-file",
	    .arg = "FILE",
	    .help = "keep there what was printed, and go on behind it next "
		    "time, whatever the way" },
	{ .name = "exit-on-run-end",
	    .help = "with -f: end when the run does; so it is unless told "
		    "otherwise" },
	{ .name = "no-exit-on-run-end",
	    .help = "with -f: go on until Ctrl-C though the run is over" },
	{ .name = "strict", .help = "exit 4 when lines are missing" },
	{ .name = "refresh-token-file",
	    .arg = "FILE",
	    .help = "a user's refresh token, and its successors" },
	{ .name = NULL },
};
static const struct example examples[] = {
	{ "logs latest -f", "follow the newest run until it is over" },
	{ "logs latest -f --level warn --exclude '*attempt 2 of*'",
	    "only what is bad, but not second attempts" },
	{ "logs latest --since 10m -o json | jq -r .message",
	    "seq, ts, level, message and attrs, one object a line" },
	{ "logs logs:etl:acme:nightly -f --cursor-file nightly.cursor",
	    "a service's channel, from where the last call left it" },
	{ "logs logs:etl:acme -f --via realtime "
	  "--cursor-file etl.cursor",
	    "the same over Supabase, as one of its users" },
	{ NULL, NULL },
};
const struct cmd cmd_logs_entry = {
	.noun = "logs",
	.args = "RUN|CHANNEL",
	.help = "print or follow the log of a run or a service",
	.text = "RUN is an id or \"latest\"; CHANNEL is "
		"logs:SERVICE:PROJECT:RESOURCE, logs:SERVICE:PROJECT or "
		"logs:run:PROJECT:RUN. With -f it waits for further lines and "
		"ends when the run does. A lost connection is reported on "
		"standard error and taken up again where it was left: no line "
		"is lost, none comes twice. Lines that are gone are reported "
		"there as a gap, with the reason: expired (retention took "
		"them), or reset (the database was restored: the log is read "
		"from its beginning)."
		"\n\n"
		"With --cursor-file a call prints what came since the last "
		"one; --since and --tail then hold for the first alone. After "
		"a kill -9 the last quarter of a second may come again. With "
		"--strict the cursor stays before the gap."
		"\n\n"
		"Times are UTC, on the database's clock. With -v attributes "
		"are printed, too. Control characters are escaped, so that a "
		"line can't steer the terminal.",
	.opts = opts,
	.examples = examples,
	.settings =
	    SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG | SETTING_G_REMOTE,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.min_args = 1,
	.max_args = 1,
	.fn = cmd_logs,
};
