#include "cli/out.h"
#include "core/log.h"
#include "core/time.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

static const char *const format_names[N_OUT_FORMATS] = {
	[OUT_TEXT] = "text",
	[OUT_TABLE] = "table",
	[OUT_JSON] = "json",
	[OUT_CSV] = "csv",
};

enum { LONG_LEAST = 16 }; /* columns of a long text, however narrow it gets */

static int
terminal_width(int fd)
{
	struct winsize size = { 0 };

	return ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

void
out_init(struct out *out, FILE *file)
{
	*out = (struct out){ .file = file };
	out->terminal = isatty(fileno(file));
	out->colour = out->terminal && colour_wanted();
	if (out->terminal)
		out->width = terminal_width(fileno(file));
	buf_init(&out->cells);
}

void
out_deinit(struct out *out)
{
	buf_deinit(&out->cells);
}

int
out_format_parse(const char *name, enum out_format *format)
{
	for (int i = 0; i < N_OUT_FORMATS; i++) {
		if (strcmp(name, format_names[i]) == 0) {
			*format = (enum out_format)i;
			return 0;
		}
	}
	return -1;
}

const char *
out_format_name(enum out_format format)
{
	return format_names[format];
}

const char *
out_on(const struct out *out, enum colour colour)
{
	static const char *const codes[] = {
		[COLOUR_NONE] = "",
		[COLOUR_BOLD] = "\033[1m",
		[COLOUR_DIM] = "\033[2m",
		[COLOUR_RED] = "\033[31m",
		[COLOUR_GREEN] = "\033[32m",
		[COLOUR_YELLOW] = "\033[33m",
		[COLOUR_CYAN] = "\033[36m",
	};

	return out->colour ? codes[colour] : "";
}

const char *
out_off(const struct out *out)
{
	return out->colour ? "\033[0m" : "";
}

/* The bytes of the UTF-8 sequence at s and its value; 0: not one. */
static size_t
rune(const char *s, size_t n, uint32_t *value)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char c = (unsigned char)*s;
	size_t len = c < 0x80 ? 1
	    : c < 0xc0        ? 0
	    : c < 0xe0        ? 2
	    : c < 0xf0        ? 3
			      : 4;

	if (len == 0 || len > n || c > 0xf4)
		return 0;
	*value = len == 1 ? c : (uint32_t)c & (0xffU >> (len + 1));
	for (size_t i = 1; i < len; i++) {
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			return 0;
		*value = *value << 6 | ((uint32_t)s[i] & 0x3f);
	}
	if (*value < least[len] || *value > 0x10ffff ||
	    (*value >= 0xd800 && *value < 0xe000))
		return 0;
	return len;
}

/* C0, DEL, C1, and the marks that turn the direction of text. */
static int
is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x061c ||
	    c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
	    (c >= 0x2066 && c <= 0x2069);
}

void
out_escape(struct buf *b, struct str s)
{
	for (size_t i = 0, n; i < s.n; i += n) {
		uint32_t c = 0;

		n = rune(s.s + i, s.n - i, &c);
		if (n == 0) {
			buf_addf(b, "\\x%02x", (unsigned char)s.s[i]);
			n = 1;
		} else if (!is_control(c)) {
			buf_add(b, s.s + i, n);
		} else if (c == '\n' || c == '\t' || c == '\r') {
			buf_addc(b, '\\');
			buf_addc(b, c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
		} else {
			buf_addf(b, c < 0x100 ? "\\x%02x" : "\\u%04x", c);
		}
	}
}

void
out_csv(struct buf *b, struct str s)
{
	int quote = s.n > 0 && (s.s[0] == ' ' || s.s[s.n - 1] == ' ');

	for (size_t i = 0; i < s.n && !quote; i++)
		quote = strchr(",\"\r\n", s.s[i]) != NULL && s.s[i] != '\0';
	if (quote)
		buf_add_quoted(b, s);
	else
		buf_addstr(b, s);
}

size_t
out_columns(struct str s)
{
	size_t columns = 0;

	for (size_t i = 0, n; i < s.n; i += n) {
		uint32_t c = 0;
		int w;

		n = rune(s.s + i, s.n - i, &c);
		if (n == 0)
			n = 1;
		w = wcwidth((wchar_t)c);
		columns += w > 0 ? (size_t)w : w == 0 ? 0 : 1;
	}
	return columns;
}

/* "a.b" walks into objects; a key with that very name comes first. */
static const struct json *
value_at(const struct json *row, const char *key)
{
	const struct json *v = json_get(row, key);
	const char *dot;

	while (v == NULL && (dot = strchr(key, '.')) != NULL) {
		row =
		    json_get_str(row, (struct str){ key, (size_t)(dot - key) });
		key = dot + 1;
		v = json_get(row, key);
	}
	return v;
}

static struct str
cell_text(struct arena *a, const struct column *column, const struct json *row,
    enum out_format format)
{
	const struct json *v = value_at(row, column->key);
	struct str text;

	if (v == NULL || json_is(v, JSON_NULL))
		return STR("");
	if (format != OUT_CSV && v->n == 0 &&
	    (json_is(v, JSON_ARRAY) || json_is(v, JSON_OBJECT)))
		return STR("");
	text = json_is(v, JSON_STRING) ? json_str(v) : json_text(a, v);
	/* 2026-11-21T04:05:06.789Z: people read 2026-11-21 04:05:06 */
	if (column->kind == COLUMN_TIME && format != OUT_CSV && text.n > 19 &&
	    text.s[10] == 'T') {
		char *short_text = arena_strndup(a, text.s, 19);

		short_text[10] = ' ';
		text = (struct str){ short_text, 19 };
	}
	return text;
}

static enum colour
status_colour(const char *word)
{
	static const struct {
		const char *word;
		enum colour colour;
	} words[] = {
		{ "succeeded", COLOUR_GREEN },
		{ "ok", COLOUR_GREEN },
		{ "failed", COLOUR_RED },
		{ "error", COLOUR_RED },
		{ "cancelled", COLOUR_YELLOW },
		{ "warning", COLOUR_YELLOW },
		{ "running", COLOUR_CYAN },
	};

	for (size_t i = 0; i < NELEM(words); i++) {
		if (strcmp(word, words[i].word) == 0)
			return words[i].colour;
	}
	return COLOUR_NONE;
}

void
out_begin(struct out *out, const struct column *columns, size_t n)
{
	out->columns = columns;
	out->n_columns = n;
	out->n_rows = 0;
	buf_clear(&out->cells);
	for (size_t i = 0; out->format == OUT_CSV && i < n; i++)
		fprintf(out->file, "%s%s", columns[i].key,
		    i + 1 < n ? "," : "\r\n");
}

static void
add_cell(struct out *out, struct str text)
{
	struct buf escaped;

	if (out->format != OUT_CSV) {
		out_escape(&out->cells, text);
		return;
	}
	buf_init(&escaped);
	if (out->terminal) {
		out_escape(&escaped, text);
		text = buf_str(&escaped);
	}
	out_csv(&out->cells, text);
	buf_deinit(&escaped);
}

void
out_row(struct out *out, struct arena *a, const struct json *row)
{
	struct buf *b = &out->cells;

	if (out->format == OUT_JSON) {
		struct str text = json_text(a, row);

		fprintf(out->file, "%.*s\n", STR_FMT(text));
		fflush(out->file);
		return;
	}
	if (out->format != OUT_TABLE)
		buf_clear(b);
	for (size_t i = 0; i < out->n_columns; i++) {
		struct str text =
		    cell_text(a, &out->columns[i], row, out->format);
		int last = i + 1 == out->n_columns;

		add_cell(out, text);
		if (out->format == OUT_TABLE)
			buf_addc(b, '\0');
		else if (out->format == OUT_CSV)
			buf_adds(b, last ? "\r\n" : ",");
		else
			buf_addc(b, last ? '\n' : '\t');
	}
	out->n_rows++;
	if (out->format == OUT_TABLE)
		return;
	fwrite(b->bytes, 1, b->len, out->file);
	fflush(out->file);
}

/* As much of s as fits into width columns; *cut says that some doesn't. */
static struct str
fit(struct str s, size_t width, int *cut)
{
	size_t used = 0, i = 0, n;

	*cut = 0;
	if (out_columns(s) <= width)
		return s;
	for (; i < s.n; i += n) {
		uint32_t c = 0;
		size_t w;

		n = rune(s.s + i, s.n - i, &c);
		w = out_columns((struct str){ s.s + i, n });
		if (used + w + 1 > width)
			break;
		used += w;
	}
	*cut = 1;
	return (struct str){ s.s, i };
}

/* Blanks are due until something follows them: a line never ends in any. */
static void
print_cell(struct out *out, size_t column, struct str text, enum colour colour,
    const size_t *widths)
{
	const struct column *c = &out->columns[column];
	int last = column + 1 == out->n_columns, cut = 0;
	int pad;

	if (c->kind == COLUMN_LONG)
		text = fit(text, widths[column], &cut);
	if (last && out->width > 0 && c->kind == COLUMN_TEXT) {
		size_t before = 0, all = (size_t)out->width;

		for (size_t i = 0; i < column; i++)
			before += widths[i] + 2;
		text = fit(text, all > before + 8 ? all - before : 8, &cut);
	}
	pad = (int)(widths[column] - out_columns(text)) - cut;
	if (column > 0)
		out->due += 2;
	if (c->kind == COLUMN_NUMBER)
		out->due += pad;
	if (text.n > 0) {
		fprintf(out->file, "%*s%s%.*s%s%s", out->due, "",
		    out_on(out, colour), STR_FMT(text), cut ? "…" : "",
		    colour != COLOUR_NONE ? out_off(out) : "");
		out->due = 0;
	}
	if (c->kind != COLUMN_NUMBER)
		out->due += pad;
	if (!last)
		return;
	fputc('\n', out->file);
	out->due = 0;
}

/* What doesn't fit on the terminal is taken from a long column. */
static void
narrow(const struct out *out, size_t *widths)
{
	size_t all = 0, over;

	for (size_t i = 0; i < out->n_columns; i++)
		all += widths[i] + (i > 0 ? 2 : 0);
	if (out->width == 0 || all <= (size_t)out->width)
		return;
	over = all - (size_t)out->width;
	for (size_t i = 0; i < out->n_columns; i++) {
		if (out->columns[i].kind != COLUMN_LONG ||
		    widths[i] < LONG_LEAST)
			continue;
		widths[i] = widths[i] > over + LONG_LEAST ? widths[i] - over
							  : LONG_LEAST;
		return;
	}
}

void
out_end(struct out *out)
{
	size_t *widths, at = 0;

	if (out->format != OUT_TABLE || out->n_columns == 0)
		return;
	widths = xcalloc(out->n_columns, sizeof(*widths));
	for (size_t i = 0; i < out->n_columns; i++)
		widths[i] = strlen(out->columns[i].title);
	for (size_t i = 0; i < out->n_rows * out->n_columns; i++) {
		struct str text = str_of(out->cells.bytes + at);
		size_t w = out_columns(text),
		       *most = &widths[i % out->n_columns];

		*most = w > *most ? w : *most;
		at += text.n + 1;
	}
	narrow(out, widths);
	for (size_t i = 0; i < out->n_columns; i++)
		print_cell(
		    out, i, str_of(out->columns[i].title), COLOUR_BOLD, widths);
	at = 0;
	for (size_t i = 0; i < out->n_rows * out->n_columns; i++) {
		struct str text = str_of(out->cells.bytes + at);
		size_t column = i % out->n_columns;
		enum colour colour = out->columns[column].kind == COLUMN_STATUS
		    ? status_colour(text.s)
		    : COLOUR_NONE;

		print_cell(out, column, text, colour, widths);
		at += text.n + 1;
	}
	free(widths);
}

static void
print_field(struct out *out, const char *title, struct str text,
    enum colour colour, int width)
{
	buf_clear(&out->cells);
	out_escape(&out->cells, text);
	fprintf(out->file, "%s%s:%s%*s %s%s%s\n", out_on(out, COLOUR_DIM),
	    title, out_off(out), width - (int)strlen(title), "",
	    out_on(out, colour), buf_str(&out->cells).s,
	    colour != COLOUR_NONE ? out_off(out) : "");
}

void
out_object(struct out *out, struct arena *a, const struct column *columns,
    size_t n, const struct json *object)
{
	int width = 0;

	if (out->format != OUT_TEXT) {
		out_begin(out, columns, n);
		out_row(out, a, object);
		out_end(out);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		int len = (int)strlen(columns[i].title);

		width = len > width ? len : width;
	}
	for (size_t i = 0; i < n; i++) {
		struct str text = cell_text(a, &columns[i], object, OUT_TEXT);

		if (text.n > 0)
			print_field(out, columns[i].title, text,
			    columns[i].kind == COLUMN_STATUS
				? status_colour(arena_str(a, text).s)
				: COLOUR_NONE,
			    width);
	}
}

void
out_below(struct out *out, struct arena *a, const struct column *columns,
    size_t n, const struct json *list)
{
	if (out->format != OUT_TEXT || json_at(list, 0) == NULL)
		return;
	fputc('\n', out->file);
	out->format = OUT_TABLE;
	out_begin(out, columns, n);
	for (uint32_t i = 0; i < list->n; i++)
		out_row(out, a, json_at(list, i));
	out_end(out);
}
