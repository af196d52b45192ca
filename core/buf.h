#pragma once
/*
 * A growing byte buffer on the heap, for I/O that outlives a job. bytes[len]
 * is always NUL once anything was appended, so it reads as a C string too.
 */
#include <stddef.h>

#include "core/arena.h"

struct buf {
	char *bytes;
	size_t len, cap;
};

void buf_init(struct buf *b);
void buf_deinit(struct buf *b); /* idempotent */
void buf_clear(struct buf *b);  /* keeps the memory */
void buf_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_addc(struct buf *b, char c);
void buf_adds(struct buf *b, const char *s);
void buf_addstr(struct buf *b, struct str s);
void buf_addf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* As a field of CSV (RFC 4180), in quotes. */
void buf_add_quoted(struct buf *b, struct str s);
void buf_drop(struct buf *b, size_t n); /* the first n bytes */
struct str buf_str(const struct buf *b);
