#include "cli/commands.h"
#include "cli/follow.h"
#include "core/time.h"

#include <fnmatch.h>
#include <string.h>

enum { TAIL_MOST = 100000 };

/* A level is known by the least number of its range (OpenTelemetry). */
static const struct level {
	const char *name, *shown;
	int least;
	enum colour colour;
} levels[] = {
	{ "trace", "TRACE", 1, COLOUR_DIM },
	{ "debug", "DEBUG", 5, COLOUR_DIM },
	{ "info", "INFO", 9, COLOUR_NONE },
	{ "warn", "WARN", 13, COLOUR_YELLOW },
	{ "error", "ERROR", 17, COLOUR_RED },
	{ "fatal", "FATAL", 21, COLOUR_RED },
};

struct logs {
	struct cli *cli;
	struct arena line;             /* of the line at hand */
	int64_t until_ms;              /* INT64_MAX: no end */
	int least;                     /* level */
	const char *include, *exclude; /* patterns, a line each; or NULL */
	int stamps;
	/* --tail: the last lines that pass, as they will be printed */
	struct buf *tail;
	size_t n_tail, tailed;
	struct buf text;
};

static const struct level *
level_of(int number)
{
	size_t i = NELEM(levels) - 1;

	while (i > 0 && number < levels[i].least)
		i--;
	return &levels[i];
}

/* A pattern with * ? or [ must match the whole line, any other a part of it. */
static int
matches_one(struct arena *a, const char *pattern, size_t n, struct str text)
{
	const char *p = arena_strndup(a, pattern, n);

	if (strpbrk(p, "*?[") != NULL)
		return fnmatch(p, arena_str(a, text).s, 0) == 0;
	return memmem(text.s, text.n, p, n) != NULL;
}

static int
matches(struct arena *a, const char *patterns, struct str text)
{
	while (*patterns != '\0') {
		size_t n = strcspn(patterns, "\n");

		if (matches_one(a, patterns, n, text))
			return 1;
		patterns += n;
		patterns += *patterns == '\n';
	}
	return 0;
}

static int
wanted(struct logs *l, const struct line *line)
{
	return line->level >= l->least && line->ts_ms <= l->until_ms &&
	    (l->include == NULL ||
		matches(&l->line, l->include, line->message)) &&
	    (l->exclude == NULL ||
		!matches(&l->line, l->exclude, line->message));
}

static struct json *
parsed_attrs(struct arena *a, const struct line *line)
{
	struct json *attrs = NULL;
	struct error err;

	if (line->attrs.s != NULL &&
	    json_parse(a, line->attrs, NULL, &attrs, &err) < 0)
		return NULL;
	return attrs;
}

static void
add_json(struct buf *b, struct arena *a, const struct line *line)
{
	struct json *o = json_object(a);
	char ts[TIME_TEXT];

	json_set(a, o, "seq", json_int(a, line->seq));
	json_set(a, o, "ts", json_cstring(a, time_format(line->ts_ms, ts)));
	json_set(a, o, "level", json_cstring(a, level_of(line->level)->name));
	json_set(a, o, "message", json_string(a, line->message));
	json_set(a, o, "attrs", parsed_attrs(a, line));
	buf_addstr(b, json_text(a, o));
}

static void
add_csv(struct buf *b, const struct out *out, const struct line *line)
{
	struct str fields[] = { line->message, line->attrs };
	char ts[TIME_TEXT];

	buf_addf(b, "%lld,%s,%s", (long long)line->seq,
	    time_format(line->ts_ms, ts), level_of(line->level)->name);
	for (size_t i = 0; i < NELEM(fields); i++) {
		struct buf plain;

		buf_init(&plain);
		if (out->terminal)
			out_escape(&plain, fields[i]);
		else
			buf_addstr(&plain, fields[i]);
		buf_addc(b, ',');
		out_csv(b, buf_str(&plain));
		buf_deinit(&plain);
	}
	buf_addc(b, '\r');
}

/* The engine's lines begin with "step crm: ", which the [crm] before says. */
static struct str
without_step(struct arena *a, struct str message, struct str step)
{
	struct str prefix =
	    str_of(arena_printf(a, "step %.*s: ", STR_FMT(step)));

	if (step.n == 0 || message.n <= prefix.n ||
	    memcmp(message.s, prefix.s, prefix.n) != 0)
		return message;
	return (struct str){ message.s + prefix.n, message.n - prefix.n };
}

/* "04:05:06.789 WARN  [post-crm] POST https://... answered 503"; as a table
 * with the number and the step in columns. */
static void
add_text(struct buf *b, struct logs *l, const struct line *line)
{
	const struct out *out = &l->cli->out;
	const struct level *level = level_of(line->level);
	struct str step =
	    json_str(json_get(parsed_attrs(&l->line, line), "step"));
	struct str message = without_step(&l->line, line->message, step);
	int table = out->format == OUT_TABLE;
	char ts[TIME_TEXT];

	time_format(line->ts_ms, ts);
	if (table)
		buf_addf(b, "%6lld  ", (long long)line->seq);
	buf_addf(b, "%s%.*s%s  %s%-5s%s  ", out_on(out, COLOUR_DIM),
	    l->stamps ? TIME_TEXT : 12, l->stamps ? ts : ts + 11, out_off(out),
	    out_on(out, level->colour), level->shown, out_off(out));
	if (step.n > 0 || table) {
		int pad = 14 - (int)out_columns(step);

		buf_addf(b, "%s%s", out_on(out, COLOUR_CYAN), table ? "" : "[");
		out_escape(b, step);
		buf_addf(b, "%s%s%*s", table ? "" : "] ", out_off(out),
		    table ? (pad > 0 ? pad : 0) + 2 : 0, "");
	}
	buf_adds(b, out_on(out, level->colour));
	out_escape(b, message);
	if (level->colour != COLOUR_NONE)
		buf_adds(b, out_off(out));
	if (l->cli->verbose && line->attrs.s != NULL) {
		buf_addf(b, " %s", out_on(out, COLOUR_DIM));
		out_escape(b, line->attrs);
		buf_adds(b, out_off(out));
	}
}

static void
take(void *arg, const struct line *line)
{
	struct logs *l = arg;
	struct buf *b = &l->text;

	arena_reset(&l->line);
	if (!wanted(l, line))
		return;
	if (l->n_tail > 0)
		b = &l->tail[l->tailed++ % l->n_tail];
	buf_clear(b);
	if (l->cli->out.format == OUT_JSON)
		add_json(b, &l->line, line);
	else if (l->cli->out.format == OUT_CSV)
		add_csv(b, &l->cli->out, line);
	else
		add_text(b, l, line);
	buf_addc(b, '\n');
	if (b == &l->text)
		fwrite(b->bytes, 1, b->len, l->cli->out.file);
}

static void
print_tail(struct logs *l)
{
	size_t n = l->tailed < l->n_tail ? l->tailed : l->n_tail;

	for (size_t i = l->tailed - n; i < l->tailed; i++) {
		struct buf *b = &l->tail[i % l->n_tail];

		fwrite(b->bytes, 1, b->len, l->cli->out.file);
	}
	for (size_t i = 0; i < l->n_tail; i++)
		buf_deinit(&l->tail[i]);
	l->n_tail = 0;
}

static int
read_so_far(void *arg, int64_t now_ms)
{
	struct logs *l = arg;

	if (l->n_tail > 0)
		print_tail(l);
	fflush(l->cli->out.file);
	return now_ms > l->until_ms || ferror(l->cli->out.file);
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
configure(struct logs *l, struct follow *f, struct error *err)
{
	struct cli *cli = l->cli;
	const char *level = cli_opt(cli, "level");
	int64_t tail = 0;

	if (take_time(cli, "since", &f->since_ms, err) < 0 ||
	    take_time(cli, "until", &l->until_ms, err) < 0 ||
	    cli_opt_int(cli, "tail", 1, TAIL_MOST, &tail, err) < 0)
		return -1;
	for (size_t i = 0; level != NULL && i < NELEM(levels); i++) {
		if (strcmp(level, levels[i].name) == 0)
			l->least = levels[i].least;
	}
	l->include = cli_opt(cli, "include");
	l->exclude = cli_opt(cli, "exclude");
	l->stamps = cli_opt(cli, "timestamps") != NULL;
	l->n_tail = (size_t)tail;
	if (tail > 0)
		l->tail =
		    arena_zalloc(&cli->arena, (size_t)tail * sizeof(*l->tail));
	f->follow = cli_opt(cli, "follow") != NULL;
	/* where every line passes, the earlier ones needn't be read */
	if (l->least == 0 && l->include == NULL && l->exclude == NULL &&
	    l->until_ms == INT64_MAX)
		f->last = tail;
	return 0;
}

static int
run_logs(struct session *s, struct logs *l, struct error *err)
{
	struct follow f = {
		.session = s,
		.since_ms = INT64_MIN,
		.line = take,
		.caught_up = read_so_far,
		.arg = l,
	};
	char id[UUID_TEXT];

	if (configure(l, &f, err) < 0 ||
	    session_run(s, l->cli->args[0], id, err) < 0)
		return -1;
	f.run = id;
	if (l->cli->out.format == OUT_CSV)
		fputs("seq,ts,level,message,attrs\r\n", l->cli->out.file);
	if (l->cli->out.format == OUT_TABLE)
		fprintf(l->cli->out.file,
		    "%s   SEQ  %-*s  LEVEL  %-14s  MESSAGE%s\n",
		    out_on(&l->cli->out, COLOUR_BOLD), l->stamps ? 24 : 12,
		    "TIME (UTC)", "STEP", out_off(&l->cli->out));
	return follow_run(&f, err);
}

static int
cmd_logs(struct cli *cli, struct error *err)
{
	struct logs l = { .cli = cli, .until_ms = INT64_MAX };
	struct session s;
	int r;

	arena_init(&l.line);
	buf_init(&l.text);
	r = session_open(&s, cli, err);
	if (r == 0)
		r = run_logs(&s, &l, err);
	session_close(&s);
	for (size_t i = 0; i < l.n_tail; i++)
		buf_deinit(&l.tail[i]);
	buf_deinit(&l.text);
	arena_deinit(&l.line);
	return r;
}

static const struct opt opts[] = {
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
	{ .name = NULL },
};
static const struct example examples[] = {
	{ "logs latest -f", "follow the newest run until it is over" },
	{ "logs latest -f --level warn --exclude '*attempt 2 of*'",
	    "only what is bad, but not second attempts" },
	{ "logs latest --since 10m -o json | jq -r .message",
	    "seq, ts, level, message and attrs, one object a line" },
	{ NULL, NULL },
};
const struct cmd cmd_logs_entry = {
	.noun = "logs",
	.args = "RUN",
	.help = "print or follow a run's log",
	.text = "RUN is an id or \"latest\". With -f it waits for further "
		"lines and ends when the run does. A lost connection is "
		"reported on standard error and taken up again where it was "
		"left: no line is lost, none comes twice. Times are UTC, on "
		"the database's clock. With -v attributes are printed, too. "
		"Control characters are escaped, so that a line can't steer "
		"the terminal.",
	.opts = opts,
	.examples = examples,
	.settings = SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.min_args = 1,
	.max_args = 1,
	.fn = cmd_logs,
};
