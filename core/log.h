#pragma once
/*
 * The process's own log: one JSON object a line on stderr (or, when stderr is
 * a terminal, a readable line). A line is a stable event name and typed
 * fields, never a sentence with values inside:
 *     log_info("step.done", S_("run", id), I_("attempt", 2));
 * Secrets are never logged. One line, at the point that decides.
 */
#include <stdint.h>

#include "core/error.h"

enum log_level { LOG_TRACE, LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_AUTO, LOG_JSON, LOG_TEXT };

struct log_field {
	const char *key; /* NULL ends the list */
	enum { LOG_F_STR, LOG_F_INT, LOG_F_NUM } type;
	const char *s;
	int64_t i;
	double f;
};

#define S_(k, v) ((struct log_field){ .key = (k), .type = LOG_F_STR, .s = (v) })
#define I_(k, v)                                                               \
	((struct log_field){ .key = (k), .type = LOG_F_INT, .i = (int64_t)(v) })
#define F_(k, v) ((struct log_field){ .key = (k), .type = LOG_F_NUM, .f = (v) })
#define E_(e) S_("code", (e)->code), S_("error", (e)->text)

int colour_wanted(void); /* by NO_COLOR (no-color.org) and TERM */
void log_setup(enum log_level least, enum log_format format);
int log_level_parse(const char *s, enum log_level *out); /* <0: no such */
const char *log_level_name(enum log_level level);

void log_write(
    enum log_level level, const char *event, const struct log_field *fields);

#define log_at(level, event, ...)                                              \
	log_write(level, event,                                                \
	    (const struct log_field[]){ __VA_ARGS__ __VA_OPT__(, ){ 0 } })
#define log_debug(event, ...) log_at(LOG_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...) log_at(LOG_INFO, event, __VA_ARGS__)
#define log_warn(event, ...) log_at(LOG_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_at(LOG_ERROR, event, __VA_ARGS__)
