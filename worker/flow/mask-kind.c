/* Kinds of personal data: found by their shape and, where there is one, by
 * their check digits. */
#include "worker/flow/mask-impl.h"

#include <string.h>

static int
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int
is_letter(char c)
{
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'z';
}

static int
in_local_part(char c)
{
	return is_digit(c) || is_letter(c) ||
	    (c != '\0' && strchr("._%+-", c) != NULL);
}

/* Each finder is asked at every byte: where does one that begins there end?
 * 0: none does. */
typedef size_t find_fn(struct str s, size_t from);

static size_t
find_email(struct str s, size_t from)
{
	size_t i = from, dot = 0, label = 0;

	if (from > 0 && in_local_part(s.s[from - 1]))
		return 0;
	while (i < s.n && in_local_part(s.s[i]))
		i++;
	if (i == from || i == s.n || s.s[i] != '@')
		return 0;
	for (i++; i < s.n; i++) {
		if (is_digit(s.s[i]) || is_letter(s.s[i]) || s.s[i] == '-')
			label++;
		else if (s.s[i] == '.' && label > 0 && i + 1 < s.n &&
		    (is_digit(s.s[i + 1]) || is_letter(s.s[i + 1])))
			dot = i, label = 0;
		else
			break;
	}
	return dot > 0 ? i : 0;
}

/* Digits with single blanks or hyphens between them, from 13 to 19. */
static size_t
find_card(struct str s, size_t from)
{
	int digits[19], n = 0, sum = 0;
	size_t i = from, end = from;

	if (!is_digit(s.s[from]) || (from > 0 && is_digit(s.s[from - 1])))
		return 0;
	while (i < s.n) {
		if (is_digit(s.s[i])) {
			if (n == 19)
				return 0;
			digits[n++] = s.s[i] - '0';
			end = ++i;
		} else if ((s.s[i] == ' ' || s.s[i] == '-') && i + 1 < s.n &&
		    is_digit(s.s[i + 1])) {
			i++;
		} else {
			break;
		}
	}
	if (n < 13)
		return 0;
	for (int k = 0; k < n; k++) {
		int d = digits[n - 1 - k] * (k % 2 + 1);

		sum += d > 9 ? d - 9 : d;
	}
	return sum % 10 == 0 ? end : 0;
}

static size_t
find_iban(struct str s, size_t from)
{
	char c[34];
	size_t i = from, n = 0;
	unsigned rest = 0;

	if (s.n - from < 15 || !is_letter(s.s[from]) ||
	    !is_letter(s.s[from + 1]) || !is_digit(s.s[from + 2]) ||
	    !is_digit(s.s[from + 3]) ||
	    (from > 0 && (is_letter(s.s[from - 1]) || is_digit(s.s[from - 1]))))
		return 0;
	for (; i < s.n; i++) {
		if (s.s[i] == ' ' && i + 1 < s.n &&
		    (is_digit(s.s[i + 1]) || is_letter(s.s[i + 1])) &&
		    n % 4 == 0)
			continue;
		if ((!is_digit(s.s[i]) && !is_letter(s.s[i])) || n == 34)
			break;
		c[n++] = s.s[i];
	}
	for (size_t k = 0; k < n; k++) {
		char x = c[(k + 4) % n];

		rest = is_digit(x)
		    ? (rest * 10 + (unsigned)(x - '0')) % 97
		    : (rest * 100 + (unsigned)((x | 0x20) - 'a' + 10)) % 97;
	}
	return n >= 15 && rest == 1 ? i : 0;
}

static size_t
find_ssn(struct str s, size_t from)
{
	static const char shape[] = "ddd-dd-dddd";

	if (s.n - from < sizeof(shape) - 1 ||
	    (from > 0 && (is_digit(s.s[from - 1]) || s.s[from - 1] == '-')))
		return 0;
	for (size_t i = 0; i < sizeof(shape) - 1; i++)
		if (shape[i] == 'd' ? !is_digit(s.s[from + i])
				    : s.s[from + i] != '-')
			return 0;
	from += sizeof(shape) - 1;
	return from < s.n && (is_digit(s.s[from]) || s.s[from] == '-') ? 0
								       : from;
}

static size_t
find_phone(struct str s, size_t from)
{
	size_t i = from + 1, end = 0;
	int n = 0;

	if (s.s[from] != '+')
		return 0;
	for (; i < s.n; i++) {
		if (is_digit(s.s[i])) {
			n++;
			end = i + 1;
		} else if (strchr(" -.()/", s.s[i]) == NULL ||
		    (i > from + 1 && i > end + 1)) {
			break;
		}
	}
	return n >= 8 && n <= 15 ? end : 0;
}

static const struct {
	const char *name, *mark;
	unsigned kind;
	find_fn *find;
} kinds_known[] = {
	{ "email", "[email]", MASK_EMAIL, find_email },
	{ "iban", "[iban]", MASK_IBAN, find_iban },
	{ "card", "[card]", MASK_CARD, find_card },
	{ "ssn", "[ssn]", MASK_SSN, find_ssn },
	{ "phone", "[phone]", MASK_PHONE, find_phone },
};
enum { N_KINDS = sizeof(kinds_known) / sizeof(kinds_known[0]) };

unsigned
mask_kind(struct str name)
{
	for (size_t i = 0; i < N_KINDS; i++)
		if (str_is(name, kinds_known[i].name))
			return kinds_known[i].kind;
	return 0;
}

void
mask_kinds_find(unsigned kinds, struct str text, struct spans *out)
{
	size_t at = 0;

	while (at < text.n) {
		size_t end = 0, k;

		for (k = 0; k < N_KINDS && end == 0; k++)
			if (kinds & kinds_known[k].kind)
				end = kinds_known[k].find(text, at);
		if (end == 0) {
			at++;
			continue;
		}
		spans_add(out,
		    (struct span){ at, end, str_of(kinds_known[k - 1].mark) });
		at = end;
	}
}
