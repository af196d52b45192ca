/* Numbers by their lexemes: exact comparison, integers, what numeric holds. */
#include "core/json.h"

#include <stdlib.h>
#include <string.h>

/*
 * A lexeme taken apart. Its value is d.ddd * 10^exp with the digits from first
 * to last, of which neither is a zero; a '.' among them is to be skipped.
 */
struct decimal {
	int negative;
	const char *first, *last; /* NULL: zero */
	int64_t exp;
	int64_t fraction; /* digits written after the point */
	int64_t power;    /* the exponent written */
};

enum { POWER_MAX = 1 << 30 }; /* beyond it all are the same to us */

static int64_t
parse_power(const char *p, const char *end)
{
	int negative = *p == '-';
	int64_t v = 0;

	if (*p == '-' || *p == '+')
		p++;
	for (; p < end && v < POWER_MAX; p++)
		v = v * 10 + (*p - '0');
	return negative ? -v : v;
}

static struct decimal
decimal_of(const struct json *v)
{
	const char *p = v->s, *end = v->s + v->n, *point = NULL;
	struct decimal d = { .negative = *p == '-' };
	int64_t whole = 0;

	for (p += d.negative; p < end && (*p | 0x20) != 'e'; p++) {
		if (*p == '.') {
			point = p;
			continue;
		}
		if (point == NULL)
			whole++;
		else
			d.fraction++;
		if (*p == '0')
			continue;
		if (d.first == NULL) {
			d.first = p;
			d.exp = -whole - d.fraction;
		}
		d.last = p;
	}
	if (p < end)
		d.power = parse_power(p + 1, end);
	d.exp += whole + d.power;
	return d;
}

static int
digits_cmp(const struct decimal *x, const struct decimal *y)
{
	const char *p = x->first, *q = y->first;

	for (;; p++, q++) {
		p += *p == '.';
		q += *q == '.';
		if (p > x->last || q > y->last)
			return (p <= x->last) - (q <= y->last);
		if (*p != *q)
			return *p < *q ? -1 : 1;
	}
}

int
json_number_cmp(const struct json *x, const struct json *y)
{
	struct decimal a = decimal_of(x), b = decimal_of(y);
	int sign_a = a.first == NULL ? 0 : a.negative ? -1 : 1;
	int sign_b = b.first == NULL ? 0 : b.negative ? -1 : 1;

	if (sign_a != sign_b || sign_a == 0)
		return sign_a - sign_b;
	if (a.exp != b.exp)
		return a.exp < b.exp ? -sign_a : sign_a;
	return digits_cmp(&a, &b) * sign_a;
}

/* A lexeme ends before a byte that can't go on it, which stops strtod. */
double
json_num(const struct json *v)
{
	return json_is(v, JSON_NUMBER) ? strtod(v->s, NULL) : 0;
}

int
json_integer(const struct json *v, int64_t *out)
{
	struct decimal d;
	int64_t i = 0;
	const char *p;

	if (!json_is(v, JSON_NUMBER))
		return -1;
	d = decimal_of(v);
	*out = 0;
	if (d.first == NULL)
		return 0;
	p = d.first;
	for (int64_t at = d.exp; p <= d.last || at >= 0; at--) {
		int digit;

		p += p <= d.last && *p == '.';
		digit = p <= d.last ? *p++ - '0' : 0;
		if (at < 0 || __builtin_mul_overflow(i, 10, &i) ||
		    __builtin_sub_overflow(i, digit, &i))
			return -1;
	}
	if (!d.negative && __builtin_sub_overflow(0, i, &i))
		return -1;
	*out = i;
	return 0;
}

/*
 * numeric holds 131072 digits before the point and 16383 after it, where the
 * exponent moves the point but written zeros after it count.
 */
static int
fits_numeric(const struct json *v)
{
	struct decimal d = decimal_of(v);

	return d.power > -POWER_MAX && d.power < POWER_MAX &&
	    d.fraction - d.power <= 16383 &&
	    (d.first == NULL || d.exp < 131072);
}

static int storable_at(
    const struct json *v, const struct json_path *at, struct error *err);

static int
not_storable(const struct json_path *at, const char *what, struct error *err)
{
	char pointer[JSON_POINTER];

	return fail(err, FAULT_INPUT, "JSON",
	    "at \"%s\": %s, which can't be stored", json_pointer(at, pointer),
	    what);
}

static int
members_storable(
    const struct json *v, const struct json_path *at, struct error *err)
{
	for (uint32_t i = 0; i < v->n; i++) {
		struct str key = v->of[i].key;
		struct json_path below = { at, key, 0 };

		if (key.n > 0 && memchr(key.s, '\0', key.n) != NULL)
			return not_storable(&below, "a key with \\u0000", err);
		if (storable_at(v->of[i].value, &below, err) < 0)
			return -1;
	}
	return 0;
}

static int
storable_at(const struct json *v, const struct json_path *at, struct error *err)
{
	if (v->type == JSON_OBJECT)
		return members_storable(v, at, err);
	if (v->type == JSON_STRING && memchr(v->s, '\0', v->n) != NULL)
		return not_storable(at, "a string with \\u0000", err);
	if (v->type == JSON_NUMBER && !fits_numeric(v))
		return not_storable(
		    at, "a number beyond the range of numeric", err);
	for (uint32_t i = 0; v->type == JSON_ARRAY && i < v->n; i++) {
		struct json_path below = { at, { NULL, 0 }, i };

		if (storable_at(v->items[i], &below, err) < 0)
			return -1;
	}
	return 0;
}

int
json_storable(const struct json *v, struct error *err)
{
	return v != NULL ? storable_at(v, NULL, err) : 0;
}
