#pragma once
/*
 * The heap, for owners that outlive a job. Exhaustion ends the process: every
 * process here is stateless and restartable, and Linux overcommits anyway.
 * What comes from outside is bounded by caps before it is allocated.
 */
#include <stddef.h>

void *xmalloc(size_t n) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *p, size_t n) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
/* n bytes and a NUL. */
char *xmemdup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));

#define NELEM(a) (sizeof(a) / sizeof((a)[0]))
