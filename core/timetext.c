/* The spellings of time, without a clock: pure code may call these. */
#include "core/time.h"

#include <stdio.h>
#include <string.h>

/* Days from 1970-01-01 of a proleptic Gregorian date (Howard Hinnant). */
static int64_t
days_from_civil(int64_t y, int64_t m, int64_t d)
{
	int64_t era, yoe, doy, doe;

	y -= m <= 2;
	era = (y >= 0 ? y : y - 399) / 400;
	yoe = y - era * 400;
	doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
	return era * 146097 + doe - 719468;
}

static void
civil_from_days(int64_t z, int64_t *y, int64_t *m, int64_t *d)
{
	int64_t era, doe, yoe, doy, mp;

	z += 719468;
	era = (z >= 0 ? z : z - 146096) / 146097;
	doe = z - era * 146097;
	yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	mp = (5 * doy + 2) / 153;
	*d = doy - (153 * mp + 2) / 5 + 1;
	*m = mp < 10 ? mp + 3 : mp - 9;
	*y = yoe + era * 400 + (*m <= 2);
}

static int
date_valid(int64_t y, int64_t m, int64_t d)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30,
		31 };
	int leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;

	if (m < 1 || m > 12 || d < 1)
		return 0;
	return d <= days[m - 1] + (m == 2 && leap);
}

const char *
time_format(int64_t ms, char out[TIME_TEXT])
{
	int64_t days = ms / 86400000, rest = ms % 86400000, y, m, d;

	if (rest < 0) {
		rest += 86400000;
		days--;
	}
	civil_from_days(days, &y, &m, &d);
	snprintf(out, TIME_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
	    (int)(y % 10000), (int)m, (int)d, (int)(rest / 3600000),
	    (int)(rest / 60000 % 60), (int)(rest / 1000 % 60),
	    (int)(rest % 1000));
	return out;
}

/* Exactly n digits at *p; -1 when there are fewer. */
static int
digits(const char **p, const char *end, int n, int64_t *out)
{
	int64_t v = 0;

	for (int i = 0; i < n; i++, (*p)++) {
		if (*p >= end || **p < '0' || **p > '9')
			return -1;
		v = v * 10 + (**p - '0');
	}
	*out = v;
	return 0;
}

static int
eat(const char **p, const char *end, const char *any)
{
	if (*p >= end || strchr(any, **p) == NULL || **p == '\0')
		return -1;
	(*p)++;
	return 0;
}

static int64_t
fraction_ms(const char **p, const char *end)
{
	int64_t ms = 0, unit = 100;

	while (*p < end && **p >= '0' && **p <= '9') {
		ms += (**p - '0') * unit;
		unit /= 10;
		(*p)++;
	}
	return ms;
}

/* "Z", "+00", "+01:30", "-0800": milliseconds to subtract. */
static int
offset_ms(const char **p, const char *end, int64_t *out)
{
	int64_t h, m = 0, sign = 1;

	*out = 0;
	if (eat(p, end, "Zz") == 0)
		return 0;
	if (*p < end && **p == '-')
		sign = -1;
	if (eat(p, end, "+-") < 0 || digits(p, end, 2, &h) < 0)
		return -1;
	if ((eat(p, end, ":") == 0 || *p < end) && digits(p, end, 2, &m) < 0)
		return -1;
	*out = sign * (h * 60 + m) * 60000;
	return h > 23 || m > 59 ? -1 : 0;
}

int
time_parse(struct str s, int64_t *ms)
{
	const char *p = s.s, *end = s.s + s.n;
	int64_t y, mo, d, h, mi, sec, frac = 0, off;

	if (digits(&p, end, 4, &y) < 0 || eat(&p, end, "-") < 0 ||
	    digits(&p, end, 2, &mo) < 0 || eat(&p, end, "-") < 0 ||
	    digits(&p, end, 2, &d) < 0 || eat(&p, end, "Tt ") < 0 ||
	    digits(&p, end, 2, &h) < 0 || eat(&p, end, ":") < 0 ||
	    digits(&p, end, 2, &mi) < 0 || eat(&p, end, ":") < 0 ||
	    digits(&p, end, 2, &sec) < 0)
		return -1;
	if (!date_valid(y, mo, d) || h > 23 || mi > 59 || sec > 60)
		return -1;
	if (eat(&p, end, ".") == 0)
		frac = fraction_ms(&p, end);
	if (offset_ms(&p, end, &off) < 0 || p != end)
		return -1;
	*ms = ((days_from_civil(y, mo, d) * 24 + h) * 60 + mi) * 60000 +
	    sec * 1000 + frac - off;
	return 0;
}

/* An HTTP date, field by field; a pattern letter reads one of them. */
struct http_date {
	int64_t y, mo, d, h, mi, sec;
};

static int
month_name(const char **p, const char *end, int64_t *out)
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

	for (int i = 0; end - *p >= 3 && i < 12; i++) {
		if (memcmp(*p, names + i * 3, 3) == 0) {
			*p += 3;
			*out = i + 1;
			return 0;
		}
	}
	return -1;
}

/* Two digits, or a blank and one (asctime). */
static int
padded_day(const char **p, const char *end, int64_t *out)
{
	if (eat(p, end, " ") == 0)
		return digits(p, end, 1, out);
	return digits(p, end, 2, out);
}

/* w: name of a day, n: of a month; Y y: 4 or 2 digits of a year; d e: day of
 * month; T: time. Anything else stands for itself. */
static int
http_date_field(char c, const char **p, const char *end, struct http_date *t)
{
	switch (c) {
	case 'w':
		while (*p < end && ((**p | 0x20) >= 'a' && (**p | 0x20) <= 'z'))
			(*p)++;
		return 0;
	case 'n':
		return month_name(p, end, &t->mo);
	case 'Y':
		return digits(p, end, 4, &t->y);
	case 'y':
		return digits(p, end, 2, &t->y);
	case 'd':
		return digits(p, end, 2, &t->d);
	case 'e':
		return padded_day(p, end, &t->d);
	case 'T':
		if (digits(p, end, 2, &t->h) < 0 || eat(p, end, ":") < 0 ||
		    digits(p, end, 2, &t->mi) < 0 || eat(p, end, ":") < 0)
			return -1;
		return digits(p, end, 2, &t->sec);
	default:
		return eat(p, end, (char[]){ c, '\0' });
	}
}

static int64_t
full_year(int64_t two_digits, int64_t now_ms)
{
	int64_t this_year, m, d, y;

	civil_from_days(now_ms / 86400000, &this_year, &m, &d);
	y = this_year - this_year % 100 + two_digits;
	if (y > this_year + 50)
		return y - 100;
	return y + 50 <= this_year ? y + 100 : y;
}

int
time_parse_http(struct str s, int64_t now_ms, int64_t *ms)
{
	static const char *const formats[] = { "w, d n Y T |GMT",
		"w, d-n-y T |GMT", "w n e T Y" };

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		const char *p = s.s, *end = s.s + s.n, *f = formats[i];
		struct http_date t = { 0 };

		while (*f != '\0' && *f != '|' &&
		    http_date_field(*f, &p, end, &t) == 0)
			f++;
		if (*f == '|' && end - p == 3 && memcmp(p, f + 1, 3) == 0)
			p = end;
		else if (*f != '\0')
			continue;
		if (i == 1)
			t.y = full_year(t.y, now_ms);
		if (p != end || !date_valid(t.y, t.mo, t.d) || t.h > 23 ||
		    t.mi > 59 || t.sec > 60)
			return -1;
		*ms = (days_from_civil(t.y, t.mo, t.d) * 86400 + t.h * 3600 +
			  t.mi * 60 + t.sec) *
		    1000;
		return 0;
	}
	return -1;
}

static const struct unit {
	const char *name;
	int64_t ms;
} units[] = {
	{ "ms", 1 },
	{ "s", 1000 },
	{ "m", 60000 },
	{ "min", 60000 },
	{ "h", 3600000 },
	{ "d", 86400000 },
};

static int
unit_ms(struct str name, int64_t *ms)
{
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (str_is(name, units[i].name)) {
			*ms = units[i].ms;
			return 0;
		}
	}
	return -1;
}

/* A decimal of at most 12 + 3 digits, in thousandths. */
static int
thousandths(const char **p, const char *end, int64_t *out)
{
	const char *at = *p;
	int64_t v = 0, frac = 0;

	while (*p < end && **p >= '0' && **p <= '9' && *p - at < 12) {
		v = v * 10 + (**p - '0');
		(*p)++;
	}
	if (*p == at)
		return -1;
	if (eat(p, end, ".") == 0) {
		at = *p;
		frac = fraction_ms(p, end);
		if (*p == at)
			return -1;
	}
	*out = v * 1000 + frac;
	return 0;
}

static int
add_scaled(int64_t *sum, int64_t value_thousandths, int64_t unit)
{
	int64_t scaled;

	if (__builtin_mul_overflow(value_thousandths, unit, &scaled) ||
	    __builtin_add_overflow(*sum, scaled / 1000, sum))
		return -1;
	return 0;
}

/* P1DT2H3M4.5S, without years and months, whose length varies. */
static int
iso_duration(const char *p, const char *end, int64_t *ms)
{
	int64_t v;
	int in_time = 0, parts = 0;

	*ms = 0;
	for (; p < end; parts++) {
		if (!in_time && eat(&p, end, "T") == 0)
			in_time = 1;
		if (thousandths(&p, end, &v) < 0)
			return -1;
		if (!in_time && eat(&p, end, "D") == 0)
			v = add_scaled(ms, v, 86400000);
		else if (!in_time && eat(&p, end, "W") == 0)
			v = add_scaled(ms, v, 604800000);
		else if (in_time && eat(&p, end, "H") == 0)
			v = add_scaled(ms, v, 3600000);
		else if (in_time && eat(&p, end, "M") == 0)
			v = add_scaled(ms, v, 60000);
		else if (in_time && eat(&p, end, "S") == 0)
			v = add_scaled(ms, v, 1000);
		else
			return -1;
		if (v < 0)
			return -1;
	}
	return parts > 0 ? 0 : -1;
}

int
duration_parse(struct str s, int64_t *ms)
{
	const char *p = s.s, *end = s.s + s.n;
	int64_t v, unit;

	if (s.n > 1 && *p == 'P')
		return iso_duration(p + 1, end, ms);
	if (thousandths(&p, end, &v) < 0)
		return -1;
	if (unit_ms((struct str){ p, (size_t)(end - p) }, &unit) < 0)
		return -1;
	*ms = 0;
	return add_scaled(ms, v, unit);
}

const char *
duration_format(int64_t ms, char out[TIME_TEXT])
{
	long long v = ms;

	if (v < 1000)
		snprintf(out, TIME_TEXT, "%lld ms", v);
	else if (v < 60000)
		snprintf(
		    out, TIME_TEXT, "%lld.%lld s", v / 1000, v % 1000 / 100);
	else if (v < 3600000)
		snprintf(out, TIME_TEXT, "%lld min %lld s", v / 60000,
		    v / 1000 % 60);
	else if (v < 172800000)
		snprintf(out, TIME_TEXT, "%lld h %lld min", v / 3600000,
		    v / 60000 % 60);
	else
		snprintf(out, TIME_TEXT, "%lld d %lld h", v / 86400000,
		    v / 3600000 % 24);
	return out;
}
