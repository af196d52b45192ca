#include "cli/printer.h"
#include "core/time.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

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
wanted(struct printer *p, const struct line *line)
{
	return line->level >= p->least && line->ts_ms >= p->since_ms &&
	    line->ts_ms <= p->until_ms &&
	    (p->include == NULL ||
		matches(&p->line, p->include, line->message)) &&
	    (p->exclude == NULL ||
		!matches(&p->line, p->exclude, line->message));
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
add_text(struct buf *b, struct printer *p, const struct line *line)
{
	const struct out *out = &p->cli->out;
	const struct level *level = level_of(line->level);
	struct str step =
	    json_str(json_get(parsed_attrs(&p->line, line), "step"));
	struct str message = without_step(&p->line, line->message, step);
	int table = out->format == OUT_TABLE;
	char ts[TIME_TEXT];

	time_format(line->ts_ms, ts);
	if (table)
		buf_addf(b, "%6lld  ", (long long)line->seq);
	buf_addf(b, "%s%.*s%s  %s%-5s%s  ", out_on(out, COLOUR_DIM),
	    p->stamps ? TIME_TEXT : 12, p->stamps ? ts : ts + 11, out_off(out),
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
	if (p->cli->verbose && line->attrs.s != NULL) {
		buf_addf(b, " %s", out_on(out, COLOUR_DIM));
		out_escape(b, line->attrs);
		buf_adds(b, out_off(out));
	}
}

void
printer_line(void *arg, const struct line *line)
{
	struct printer *p = arg;
	struct buf *b = &p->text;

	arena_reset(&p->line);
	if (!wanted(p, line))
		return;
	if (p->tail > 0)
		b = &p->kept[p->n_kept++ % p->tail];
	buf_clear(b);
	if (p->cli->out.format == OUT_JSON)
		add_json(b, &p->line, line);
	else if (p->cli->out.format == OUT_CSV)
		add_csv(b, &p->cli->out, line);
	else
		add_text(b, p, line);
	buf_addc(b, '\n');
	if (b == &p->text)
		fwrite(b->bytes, 1, b->len, p->cli->out.file);
}

void
printer_flush(struct printer *p)
{
	size_t n = p->n_kept < p->tail ? p->n_kept : p->tail;

	for (size_t i = p->n_kept - n; i < p->n_kept; i++) {
		struct buf *b = &p->kept[i % p->tail];

		fwrite(b->bytes, 1, b->len, p->cli->out.file);
	}
	for (size_t i = 0; p->kept != NULL && i < p->tail; i++)
		buf_deinit(&p->kept[i]);
	free(p->kept);
	p->kept = NULL;
	p->tail = 0;
	fflush(p->cli->out.file);
}

void
printer_begin(struct printer *p)
{
	const struct out *out = &p->cli->out;

	if (p->tail > 0)
		p->kept = xcalloc(p->tail, sizeof(*p->kept));
	if (out->format == OUT_CSV)
		fputs("seq,ts,level,message,attrs\r\n", out->file);
	if (out->format == OUT_TABLE)
		fprintf(out->file, "%s   SEQ  %-*s  LEVEL  %-14s  MESSAGE%s\n",
		    out_on(out, COLOUR_BOLD), p->stamps ? 24 : 12, "TIME (UTC)",
		    "STEP", out_off(out));
}

void
printer_level(struct printer *p, const char *name)
{
	for (size_t i = 0; name != NULL && i < NELEM(levels); i++) {
		if (strcmp(name, levels[i].name) == 0)
			p->least = levels[i].least;
	}
}

int
printer_passes_all(const struct printer *p)
{
	return p->least == 0 && p->include == NULL && p->exclude == NULL &&
	    p->since_ms == INT64_MIN && p->until_ms == INT64_MAX;
}

void
printer_init(struct printer *p, const struct cli *cli)
{
	*p = (struct printer){
		.cli = cli, .since_ms = INT64_MIN, .until_ms = INT64_MAX
	};
	arena_init(&p->line);
	buf_init(&p->text);
}

void
printer_deinit(struct printer *p)
{
	for (size_t i = 0; p->kept != NULL && i < p->tail; i++)
		buf_deinit(&p->kept[i]);
	free(p->kept);
	p->kept = NULL;
	buf_deinit(&p->text);
	arena_deinit(&p->line);
}
