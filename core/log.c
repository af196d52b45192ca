#include "core/log.h"
#include "core/buf.h"
#include "core/time.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const level_names[] = {
	[LOG_TRACE] = "trace",
	[LOG_DEBUG] = "debug",
	[LOG_INFO] = "info",
	[LOG_WARN] = "warn",
	[LOG_ERROR] = "error",
};

static enum log_level log_least = LOG_INFO;
static enum log_format log_form = LOG_JSON;
static int log_colour;

/* Any value of NO_COLOR but the empty one. */
int
colour_wanted(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return (no == NULL || *no == '\0') &&
	    (term == NULL || strcmp(term, "dumb") != 0);
}

void
log_setup(enum log_level least, enum log_format format)
{
	int tty = isatty(STDERR_FILENO);

	log_least = least;
	log_form = format;
	if (format == LOG_AUTO)
		log_form = tty ? LOG_TEXT : LOG_JSON;
	log_colour = tty && log_form == LOG_TEXT && colour_wanted();
}

int
log_level_parse(const char *s, enum log_level *out)
{
	for (int i = LOG_TRACE; i <= LOG_ERROR; i++) {
		if (strcmp(s, level_names[i]) == 0) {
			*out = (enum log_level)i;
			return 0;
		}
	}
	return -1;
}

const char *
log_level_name(enum log_level level)
{
	return level_names[level];
}

/* JSON string escapes; bytes above 0x7f go as they are. */
static void
add_escaped(struct buf *b, const char *s)
{
	for (; s != NULL && *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			buf_addf(b, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			buf_addf(b, "\\u%04x", c);
		else
			buf_addc(b, (char)c);
	}
}

static void
add_value(struct buf *b, const struct log_field *f)
{
	switch (f->type) {
	case LOG_F_STR:
		buf_addc(b, '"');
		add_escaped(b, f->s);
		buf_addc(b, '"');
		return;
	case LOG_F_INT:
		buf_addf(b, "%lld", (long long)f->i);
		return;
	case LOG_F_NUM:
		if (isfinite(f->f))
			buf_addf(b, "%.6g", f->f);
		else
			buf_adds(b, "null"); /* JSON has no other word */
		return;
	}
}

static void
write_json(struct buf *b, enum log_level level, const char *event,
    const struct log_field *f)
{
	char ts[TIME_TEXT];

	buf_addf(b, "{\"t\":\"%s\",\"level\":\"%s\",\"event\":\"%s\"",
	    time_format(time_wall_ms(), ts), level_names[level], event);
	for (; f->key != NULL; f++) {
		buf_addf(b, ",\"%s\":", f->key);
		add_value(b, f);
	}
	buf_adds(b, "}\n");
}

static void
write_text(struct buf *b, enum log_level level, const char *event,
    const struct log_field *f)
{
	static const char *const colours[] = { "2", "2", "36", "33", "31" };
	char ts[TIME_TEXT];

	time_format(time_wall_ms(), ts);
	if (log_colour)
		buf_addf(b, "\033[2m%.12s\033[0m \033[%sm%-5s\033[0m %s",
		    ts + 11, colours[level], level_names[level], event);
	else
		buf_addf(
		    b, "%.12s %-5s %s", ts + 11, level_names[level], event);
	for (; f->key != NULL; f++) {
		buf_addf(b, " %s=", f->key);
		add_value(b, f);
	}
	buf_addc(b, '\n');
}

/* One write(2) a line, so that lines of several processes don't mingle. */
void
log_write(
    enum log_level level, const char *event, const struct log_field *fields)
{
	struct buf b;
	ssize_t n;

	if (level < log_least)
		return;
	buf_init(&b);
	if (log_form == LOG_TEXT)
		write_text(&b, level, event, fields);
	else
		write_json(&b, level, event, fields);
	n = write(STDERR_FILENO, b.bytes, b.len);
	(void)n; /* nowhere to report it */
	buf_deinit(&b);
}
