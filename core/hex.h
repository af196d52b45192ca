#pragma once
/* Hexadecimal digits. */
#include <stddef.h>

/* 0 to 15, of either case; -1 when it is none. */
int hex_digit(char c);

/* 2 * n digits, in lower case; no NUL. */
void hex_put(char *out, const void *bytes, size_t n);
