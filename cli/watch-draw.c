/* A frame of `queue stats --watch`: a head, the installation's figures with
 * their last minute, and a line a project. */
#include "cli/watch.h"
#include "core/time.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
	WIDTH_LEAST = 60,
	WIDTH_WIDE = 100, /* from here there is room for more */
	GRAPH_MOST = 40,  /* columns of a graph */
	FIGURE = 24,      /* bytes of a figure */
	TILE_LABEL = 11,
	TILE_VALUE = 8,
	ALERTS = 20,
	LAG_S = 5, /* the objective of log delivery */
};

/* A line in the making; `at` counts columns. */
struct line {
	struct buf *b;
	const struct out *out;
	int at, width;
};

static void
put(struct line *l, enum colour colour, const char *text)
{
	int n = (int)out_columns(str_of(text));

	if (l->at + n > l->width)
		return;
	buf_addf(l->b, "%s%s%s", out_on(l->out, colour), text,
	    colour != COLOUR_NONE ? out_off(l->out) : "");
	l->at += n;
}

/* To this column; a line is never left without a blank between two pieces. */
static void
skip_to(struct line *l, int column)
{
	for (; l->at < column && l->at < l->width; l->at++)
		buf_addc(l->b, ' ');
}

static void
put_right(struct line *l, int end, enum colour colour, const char *text)
{
	skip_to(l, end - (int)out_columns(str_of(text)));
	put(l, colour, text);
}

static void
next(struct line *l)
{
	while (l->b->len > 0 && l->b->bytes[l->b->len - 1] == ' ')
		l->b->bytes[--l->b->len] = '\0';
	buf_addc(l->b, '\n');
	l->at = 0;
}

/* Figures, in few columns; "-" for what isn't known. ---------------------------- */

static const char *
count_text(double v, char out[FIGURE])
{
	if (isnan(v))
		snprintf(out, FIGURE, "-");
	else if (v < 99999.5)
		snprintf(out, FIGURE, "%.0f", v);
	else if (v < 999950)
		snprintf(out, FIGURE, "%.0fk", v / 1000);
	else
		snprintf(out, FIGURE, "%.1fM", v / 1000000);
	return out;
}

/* A length that is counted up to 10,000 only. */
static const char *
bounded_text(double v, char out[FIGURE])
{
	if (!(v > 10000))
		return count_text(v, out);
	snprintf(out, FIGURE, ">10k");
	return out;
}

static const char *
rate_text(double v, char out[FIGURE])
{
	if (isnan(v) || v >= 999.95)
		return count_text(v, out);
	snprintf(out, FIGURE, "%.1f", v);
	return out;
}

static const char *
share_text(double v, char out[FIGURE])
{
	if (isnan(v))
		snprintf(out, FIGURE, "-");
	else
		snprintf(out, FIGURE, v > 0 && v < 0.0995 ? "%.1f%%" : "%.0f%%",
		    v * 100);
	return out;
}

static const char *
seconds_text(double v, char out[FIGURE])
{
	if (isnan(v))
		snprintf(out, FIGURE, "-");
	else if (v < 0.9995)
		snprintf(out, FIGURE, "%.0f ms", v * 1000);
	else if (v < 9.95)
		snprintf(out, FIGURE,
		    fabs(v - round(v)) < 0.05 ? "%.0f s" : "%.1f s", v);
	else if (v < 119.5)
		snprintf(out, FIGURE, "%.0f s", v);
	else if (v < 7200)
		snprintf(out, FIGURE, "%.0f min", v / 60);
	else if (v < 172800)
		snprintf(out, FIGURE, "%.0f h", v / 3600);
	else
		snprintf(out, FIGURE, "%.0f d", v / 86400);
	return out;
}

/* Graphs ------------------------------------------------------------------------ */

/* The greatest value in a column's time, or the last before it while that is
 * no older than a lost tick would make it. */
static double
column_value(const struct watch_series *s, enum watch_value v, int64_t from_ms,
    int64_t to_ms, int64_t hold_ms)
{
	double most = NAN, last = NAN;

	for (uint32_t i = 0; i < s->n && s->ticks[i].at_ms <= to_ms; i++) {
		const struct watch_tick *t = &s->ticks[i];

		if (t->at_ms > from_ms)
			most = fmax(most, t->v[v]);
		else if (t->at_ms > from_ms - hold_ms)
			last = t->v[v];
	}
	return isnan(most) ? last : most;
}

/* What is steady is a line in the middle. */
static const char *
bar(double v, double least, double most)
{
	static const char *const bars[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇",
		"█" };

	if (isnan(v))
		return " ";
	if (v <= 0)
		return bars[0];
	if (most - least < most / 50)
		return bars[3];
	return bars[1 + (int)(v / most * 6.999)];
}

/* The last minute in so many columns, from nothing to its greatest value. */
static void
put_graph(struct line *l, const struct watch *w, const struct watch_look *look,
    const struct watch_series *s, enum watch_value v, int columns)
{
	int64_t hold = (w->interval_ms > 0 ? w->interval_ms : 5000) * 3 / 2;
	int64_t end =
	    watch_is_late(w, look->now_ms) ? look->now_ms : w->newest_ms;
	double values[GRAPH_MOST], most = 0, least = INFINITY;

	columns = columns < GRAPH_MOST ? columns : GRAPH_MOST;
	for (int i = 0; i < columns; i++) {
		int64_t to =
		    end - WATCH_SPAN_MS + WATCH_SPAN_MS * (i + 1) / columns;

		values[i] =
		    column_value(s, v, to - WATCH_SPAN_MS / columns, to, hold);
		most = fmax(most, values[i]);
		least = fmin(least, values[i]);
	}
	if (l->at + columns > l->width)
		return;
	buf_adds(l->b, out_on(l->out, COLOUR_CYAN));
	for (int i = 0; i < columns; i++)
		buf_adds(l->b, bar(values[i], least, most));
	buf_adds(l->b, out_off(l->out));
	l->at += columns;
}

/* The head ---------------------------------------------------------------------- */

static void
draw_alerts(struct line *l, const struct watch *w)
{
	char text[FIGURE * 2];

	if (w->firing == 0) {
		put_right(l, l->width, COLOUR_GREEN, "no alerts");
		return;
	}
	snprintf(text, sizeof(text), "%d alert%s firing", w->firing,
	    w->firing == 1 ? "" : "s");
	put_right(l, l->width, COLOUR_RED, text);
}

static void
draw_age(struct line *l, const struct watch *w, const struct watch_look *look)
{
	double age = (double)(look->now_ms - w->newest_ms) / 1000.0;
	char text[80], when[FIGURE], every[FIGURE];

	if (look->problem != NULL) {
		struct buf b;

		buf_init(&b);
		buf_adds(&b, "the database is away: ");
		out_escape(&b, str_of(look->problem));
		if (b.len > (size_t)l->width)
			b.bytes[l->width] = '\0';
		put(l, COLOUR_RED, b.bytes);
		buf_deinit(&b);
		return;
	}
	if (w->newest_ms == 0) {
		put(l, COLOUR_RED, "no monitor has measured anything yet");
		return;
	}
	/* the age in whole seconds, the interval without its jitter */
	seconds_text(age < 1 ? 0 : floor(age), when);
	if (age < 1)
		snprintf(when, sizeof(when), "0 s");
	if (watch_is_late(w, look->now_ms)) {
		snprintf(
		    text, sizeof(text), "no monitor has measured for %s", when);
		put(l, COLOUR_RED, text);
		return;
	}
	seconds_text(round((double)w->interval_ms / 100.0) / 10, every);
	if (w->interval_ms > 0)
		snprintf(text, sizeof(text), "measured %s ago, every %s", when,
		    every);
	else
		snprintf(text, sizeof(text), "measured %s ago", when);
	put(l, COLOUR_DIM, text);
}

/* What is worth a word only when it isn't well. */
static void
draw_troubles(struct line *l, const struct watch *w)
{
	double dead = watch_now(w->series[0], WATCH_DEAD);
	double lag = watch_now(w->series[0], WATCH_LAG);
	char text[FIGURE * 2], figure[FIGURE];

	if (dead > 0) {
		snprintf(text, sizeof(text), "%s dead letter%s",
		    bounded_text(dead, figure), dead > 1 ? "s" : "");
		skip_to(l, l->at + 2);
		put(l, COLOUR_YELLOW, text);
	}
	if (lag >= LAG_S) {
		snprintf(text, sizeof(text), "logs lag %s",
		    seconds_text(lag, figure));
		skip_to(l, l->at + 2);
		put(l, COLOUR_YELLOW, text);
	}
}

static void
draw_head(struct line *l, const struct watch *w, const struct watch_look *look)
{
	char at[TIME_TEXT], clock[FIGURE];

	time_format(look->now_ms, at);
	snprintf(clock, sizeof(clock), "%.8s UTC", at + 11);
	put(l, COLOUR_BOLD, "MeshHook queue");
	skip_to(l, l->at + 2);
	put(l, COLOUR_DIM, look->where);
	put_right(l, l->width, COLOUR_DIM, clock);
	next(l);
	l->width -= ALERTS; /* which are told in any case */
	draw_age(l, w, look);
	draw_troubles(l, w);
	l->width += ALERTS;
	draw_alerts(l, w);
	next(l);
	next(l);
}

/* The installation -------------------------------------------------------------- */

static enum colour
warn(double v, double warning, double critical)
{
	return v >= critical ? COLOUR_RED
	    : v >= warning   ? COLOUR_YELLOW
			     : COLOUR_BOLD;
}

static void
draw_tile(struct line *l, const struct watch *w, const struct watch_look *look,
    int left, enum watch_value v)
{
	static const char *const labels[N_WATCH_VALUES] = {
		[WATCH_READY] = "ready",
		[WATCH_FLIGHT] = "in flight",
		[WATCH_BACKLOG] = "backlog",
		[WATCH_DELAYED] = "delayed",
		[WATCH_OLDEST] = "oldest",
		[WATCH_STEPS] = "steps/s",
		[WATCH_FAILURES] = "failures",
		[WATCH_WAIT] = "wait p95",
		[WATCH_WORKERS] = "workers",
		[WATCH_LOAD] = "held",
	};
	const struct watch_series *all = w->series[0];
	int room = look->width / 2 - TILE_LABEL - TILE_VALUE - 4;
	double now = watch_now(all, v);
	enum colour colour = COLOUR_BOLD;
	char text[FIGURE];

	if (v == WATCH_OLDEST) {
		colour = warn(now, 30, 60);
		seconds_text(now, text);
	} else if (v == WATCH_WAIT) {
		seconds_text(now, text);
	} else if (v == WATCH_FAILURES) {
		colour = warn(watch_share(all), 0.05, 0.2);
		share_text(watch_share(all), text);
	} else if (v == WATCH_STEPS) {
		rate_text(now, text);
	} else if (v == WATCH_WORKERS) {
		if (now < 1 && watch_now(all, WATCH_QUEUED) > 0)
			colour = COLOUR_RED;
		count_text(now, text);
	} else {
		bounded_text(now, text);
	}
	if (v == WATCH_BACKLOG || v == WATCH_LOAD)
		count_text(now, text);
	skip_to(l, left);
	put(l, COLOUR_DIM, labels[v]);
	put_right(l, left + TILE_LABEL + TILE_VALUE, colour, text);
	skip_to(l, l->at + 2);
	put_graph(l, w, look, all, v, room);
}

static void
draw_tiles(struct line *l, const struct watch *w, const struct watch_look *look)
{
	static const enum watch_value tiles[][2] = {
		{ WATCH_READY, WATCH_STEPS },
		{ WATCH_FLIGHT, WATCH_FAILURES },
		{ WATCH_BACKLOG, WATCH_WAIT },
		{ WATCH_DELAYED, WATCH_OLDEST },
		{ WATCH_WORKERS, WATCH_LOAD },
	};

	for (size_t i = 0; i < NELEM(tiles); i++) {
		draw_tile(l, w, look, 0, tiles[i][0]);
		draw_tile(l, w, look, look->width / 2 + 1, tiles[i][1]);
		next(l);
	}
	next(l);
}

/* Projects ---------------------------------------------------------------------- */

static const struct project_column {
	const char *title;
	int width, wide; /* wide: only where there is room */
} project_columns[] = {
	{ "QUEUED", 8, 0 },
	{ "BACKLOG", 9, 0 },
	{ "OLDEST", 8, 0 },
	{ "RUNNING", 9, 1 },
	{ "STEPS/S", 9, 0 },
	{ "FAILED", 8, 0 },
	{ "WAIT P95", 10, 1 },
	{ "ALERTS", 8, 0 },
};

static void
project_figure(const struct watch_series *s, size_t column, char text[FIGURE],
    enum colour *colour)
{
	*colour = COLOUR_NONE;
	switch (column) {
	case 0:
		count_text(watch_now(s, WATCH_QUEUED), text);
		break;
	case 1:
		count_text(watch_now(s, WATCH_BACKLOG), text);
		break;
	case 2:
		*colour = warn(watch_now(s, WATCH_OLDEST), 60, 300);
		seconds_text(watch_now(s, WATCH_OLDEST), text);
		break;
	case 3:
		count_text(watch_now(s, WATCH_RUNS), text);
		break;
	case 4:
		rate_text(watch_now(s, WATCH_STEPS), text);
		break;
	case 5:
		*colour = warn(watch_share(s), 0.05, 0.2);
		share_text(watch_share(s), text);
		break;
	case 6:
		seconds_text(watch_now(s, WATCH_WAIT), text);
		break;
	default:
		*colour = s->firing > 0 ? COLOUR_RED : COLOUR_DIM;
		count_text(s->firing, text);
		break;
	}
	if (*colour == COLOUR_BOLD)
		*colour = COLOUR_NONE;
}

/* Its columns, as wide as the line is; NULL: their titles. */
static void
draw_project(struct line *l, const struct watch *w,
    const struct watch_look *look, const struct watch_series *s)
{
	int wide = look->width >= WIDTH_WIDE;
	int end = wide ? 24 : 14;
	struct buf name;

	buf_init(&name);
	out_escape(&name, str_of(s != NULL ? s->name : "PROJECT"));
	if (name.len > (size_t)end) {
		name.bytes[end - 1] = '\0';
		put(l, COLOUR_NONE, name.bytes);
		put(l, COLOUR_NONE, "…");
	} else {
		put(l, s != NULL ? COLOUR_NONE : COLOUR_DIM, name.bytes);
	}
	buf_deinit(&name);
	for (size_t i = 0; i < NELEM(project_columns); i++) {
		const struct project_column *c = &project_columns[i];
		enum colour colour = COLOUR_DIM;
		char text[FIGURE];

		if (c->wide && !wide)
			continue;
		end += c->width;
		if (s != NULL)
			project_figure(s, i, text, &colour);
		put_right(l, end, colour, s != NULL ? text : c->title);
	}
	skip_to(l, l->at + 2);
	if (s == NULL)
		put(l, COLOUR_DIM, "LAST MINUTE");
	else
		put_graph(l, w, look, s, WATCH_STEPS, look->width - l->at);
	next(l);
}

void
watch_draw(const struct watch *w, const struct watch_look *look, struct buf *b)
{
	struct watch_look fit = *look;
	struct line l = { .b = b, .out = look->out };
	size_t room = w->n - 1, n = w->n - 1;
	char text[80];

	if (fit.width < WIDTH_LEAST)
		fit.width = WIDTH_LEAST;
	l.width = fit.width;
	draw_head(&l, w, &fit);
	draw_tiles(&l, w, &fit);
	if (fit.height > 0) /* head 3, figures 6, titles 1, the last line 1 */
		room = fit.height > 11 ? (size_t)fit.height - 11 : 0;
	if (n > 0)
		draw_project(&l, w, &fit, NULL);
	else
		put(&l, COLOUR_DIM, "no project has had any work for an hour");
	for (size_t i = 0; i < n && i < room; i++)
		draw_project(&l, w, &fit, w->series[i + 1]);
	if (n == 0)
		next(&l);
	if (look->keys == NULL)
		return;
	for (size_t i = n; i < room; i++)
		next(&l);
	put(&l, COLOUR_DIM, look->keys);
	snprintf(text, sizeof(text), "%zu more", n - room);
	if (n > room)
		put_right(&l, l.width, COLOUR_DIM, text);
}
