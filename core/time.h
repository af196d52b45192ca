#pragma once
/*
 * Clocks and the two spellings of time. Wall time is int64_t milliseconds
 * since the epoch, UTC; the engine decides on the database's clock, and uses
 * these only for its own log lines, timeouts and measuring.
 */
#include <stdint.h>

#include "core/arena.h"

int64_t time_wall_ms(void);
int64_t time_mono_ms(void);
int64_t time_mono_us(void);

/* RFC 3339, UTC, milliseconds: "2026-11-21T04:00:00.123Z". */
enum { TIME_TEXT = 32 };
const char *time_format(int64_t ms, char out[TIME_TEXT]);

/* RFC 3339 with any offset and 0-9 fraction digits, or Postgres' spelling of
 * timestamptz ("2026-11-21 04:00:00.123+00"). -1 when it is neither. */
int time_parse(struct str s, int64_t *ms);

/* The three formats of an HTTP date (RFC 9110, 5.6.7); a two-digit year is
 * the one within 50 years of now. */
int time_parse_http(struct str s, int64_t now_ms, int64_t *ms);

/* "250ms", "1.5s", "10m", "2h", "7d", or ISO 8601 "PT1M30S". Milliseconds. */
int duration_parse(struct str s, int64_t *ms);
/* "41 ms", "1.2 s", "3 min 20 s": for people. */
const char *duration_format(int64_t ms, char out[TIME_TEXT]);
