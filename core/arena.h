#pragma once
/*
 * An arena: memory with one lifetime. Allocations are bumped out of blocks
 * and all freed together; nothing is freed alone. One arena per job, per
 * config load, per message. arena_reset keeps the first block for reuse.
 *
 * Memory is 16-byte aligned. arena_alloc gives it uninitialised, arena_zalloc
 * zeroed. A cap bounds what one arena may take in all; an allocation beyond it
 * longjmps nowhere: it marks the arena `over` and aborts only when no cap was
 * set and the heap is exhausted. With a cap, arena_alloc returns NULL.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct arena_block;

struct arena {
	struct arena_block *head; /* newest block */
	char *at, *end;           /* free space in head */
	size_t used;              /* bytes in all blocks */
	size_t cap;               /* 0: none */
	int over;                 /* an allocation was refused */
};

/* A borrowed run of bytes; not NUL-terminated unless said. */
struct str {
	const char *s;
	size_t n;
};

#define STR(lit) ((struct str){ (lit), sizeof(lit) - 1 })
#define STR_FMT(x) (int)(x).n, (x).s /* for "%.*s" */

void arena_init(struct arena *a);
void arena_init_cap(struct arena *a, size_t cap);
void arena_deinit(struct arena *a); /* idempotent */
void arena_reset(struct arena *a);  /* frees all but one block */
void arena_wipe(struct arena *a);   /* the same, and overwrites all of it */

void *arena_alloc(struct arena *a, size_t n);
void *arena_zalloc(struct arena *a, size_t n);

/* n elements of size bytes; NULL when the product overflows or the cap. */
void *arena_array(struct arena *a, size_t n, size_t size);

/* A grown copy of an array: old_n elements kept, room for new_n. In place
 * when it was the last allocation. */
void *arena_grow(
    struct arena *a, void *old, size_t old_n, size_t new_n, size_t size);

/* Room for one more behind n elements: twice as many when n is a power of two.
 * For an array that has grown by this alone. */
void *arena_more(struct arena *a, void *old, size_t n, size_t size);

/* NUL-terminated copies. */
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
struct str arena_str(struct arena *a, struct str s);
char *arena_printf(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

struct str str_of(const char *s);
int str_eq(struct str a, struct str b);
int str_is(struct str a, const char *s);
int str_cmp(struct str a, struct str b); /* by bytes, as memcmp */
