#pragma once
/*
 * What must not be recorded, taken out of what is: values of secrets, in the
 * shapes that they take on their way, kinds of personal data, and declared
 * places of an output. Pure.
 *
 * A value of 8 bytes or more is found as it is, percent-encoded, JSON-escaped,
 * and in base64 at each of the three alignments, in either alphabet; in one
 * pass over the text, whatever the number of values (Wu and Manber's search).
 * Where a text was cut, a beginning of 8 bytes or more at its end is found
 * too. What overlaps is taken out as one, so nothing of a value is left beside
 * a mark. Marks name the secret: "[secret API_KEY]".
 */
#include "core/json.h"

enum { MASK_LEAST = 8 /* bytes */ };

enum mask_kind {
	MASK_EMAIL = 1,
	MASK_CARD = 2,   /* 13 to 19 digits that pass Luhn's check */
	MASK_IBAN = 4,   /* that pass its check, ISO 7064 */
	MASK_SSN = 8,    /* 123-45-6789 */
	MASK_PHONE = 16, /* +, then 8 to 15 digits */
};

struct mask_value {
	struct str name, value;
};

struct mask;

/* Copies what it needs: the arena holds values then. kinds: of enum mask_kind.
 * NULL: there is nothing to find. */
struct mask *mask_new(struct arena *a, const struct mask_value *values,
    uint32_t n, unsigned kinds);

/* The kind of this name ("email", ...); 0: there is none. */
unsigned mask_kind(struct str name);

/* The text itself where nothing was found (m NULL: nothing is); *hits goes up
 * by what was. cut: the text may end within a value. */
struct str mask_text(struct arena *a, const struct mask *m, struct str text,
    int cut, uint32_t *hits);
/* Strings, keys and numbers, which become strings. */
struct json *mask_json(struct arena *a, const struct mask *m,
    const struct json *v, int cut, uint32_t *hits);

/*
 * A place in an output: "body.user.email", "body.items[*].card", "*" for all
 * members. 0 when it is one.
 */
int mask_path_check(struct str path);
/* What it leads to is "[redacted]". */
struct json *mask_path(
    struct arena *a, const struct json *v, struct str path, uint32_t *hits);
