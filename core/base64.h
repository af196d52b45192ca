#pragma once
/*
 * Base64, RFC 4648: with padding in the plain alphabet (section 4), without in
 * the one for URLs (section 5). A text is read in one way or not at all: bits
 * that no byte has must be 0.
 */
#include "core/arena.h"

/* What base64_put() writes at most for n bytes, with its NUL. */
#define BASE64_SIZE(n) (((n) + 2) / 3 * 4 + 1)
/* What base64_get() writes at most for n characters. */
#define BASE64_BYTES(n) (((n) + 3) / 4 * 3)

/* The text's length; NUL-terminated. */
size_t base64_put(char *out, const void *bytes, size_t n);
size_t base64url_put(char *out, const void *bytes, size_t n);

/* How many bytes; -1 when it is none. base64_get takes both alphabets, and
 * padding or none; base64url_get only what base64url_put writes. */
ptrdiff_t base64_get(void *out, struct str text);
ptrdiff_t base64url_get(void *out, struct str text);

/* The same into an arena, NUL-terminated. */
int base64_decode(struct arena *a, struct str text, struct str *out);
int base64url_decode(struct arena *a, struct str text, struct str *out);
struct str base64_encode(struct arena *a, struct str bytes);
struct str base64url_encode(struct arena *a, struct str bytes);
