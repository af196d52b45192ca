#include "core/arena.h"
#include "core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 16, BLOCK = 4096, BLOCK_MAX = 1 << 20 };

struct arena_block {
	struct arena_block *next;
	size_t size;
	char bytes[] __attribute__((aligned(ALIGN)));
};

void
arena_init(struct arena *a)
{
	*a = (struct arena){ 0 };
}

void
arena_init_cap(struct arena *a, size_t cap)
{
	*a = (struct arena){ .cap = cap };
}

static void
free_blocks(struct arena_block *b)
{
	while (b != NULL) {
		struct arena_block *next = b->next;

		free(b);
		b = next;
	}
}

void
arena_deinit(struct arena *a)
{
	free_blocks(a->head);
	arena_init_cap(a, a->cap);
}

void
arena_reset(struct arena *a)
{
	struct arena_block *b = a->head;

	a->over = 0;
	if (b == NULL)
		return;
	free_blocks(b->next);
	b->next = NULL;
	a->at = b->bytes;
	a->end = b->bytes + b->size;
	a->used = b->size;
}

void
arena_wipe(struct arena *a)
{
	for (struct arena_block *b = a->head; b != NULL; b = b->next)
		explicit_bzero(b->bytes, b->size);
	arena_reset(a);
}

/* Blocks double up to BLOCK_MAX, so that a big job takes few of them. */
static int
add_block(struct arena *a, size_t need)
{
	size_t size = a->head != NULL ? a->head->size * 2 : BLOCK;
	struct arena_block *b;

	if (size > BLOCK_MAX)
		size = BLOCK_MAX;
	if (size < need)
		size = need;
	if (a->cap != 0 && a->used + size > a->cap) {
		size = need;
		if (a->used + size > a->cap) {
			a->over = 1;
			return -1;
		}
	}
	b = xmalloc(sizeof(*b) + size);
	b->next = a->head;
	b->size = size;
	a->head = b;
	a->at = b->bytes;
	a->end = b->bytes + size;
	a->used += size;
	return 0;
}

void *
arena_alloc(struct arena *a, size_t n)
{
	char *p;

	if (n > SIZE_MAX - ALIGN)
		return NULL;
	n = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if ((size_t)(a->end - a->at) < n && add_block(a, n) < 0)
		return NULL;
	p = a->at;
	a->at += n;
	return p;
}

void *
arena_zalloc(struct arena *a, size_t n)
{
	void *p = arena_alloc(a, n);

	return p != NULL ? memset(p, 0, n) : NULL;
}

void *
arena_array(struct arena *a, size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	return arena_alloc(a, bytes);
}

void *
arena_grow(struct arena *a, void *old, size_t old_n, size_t new_n, size_t size)
{
	size_t had = (old_n * size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	size_t want;
	void *p;

	if (__builtin_mul_overflow(new_n, size, &want) ||
	    want > SIZE_MAX - ALIGN)
		return NULL;
	want = (want + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (old != NULL && (char *)old + had == a->at && want >= had &&
	    (size_t)(a->end - a->at) >= want - had) {
		a->at += want - had;
		return old;
	}
	p = arena_alloc(a, want);
	if (p != NULL && old != NULL)
		memcpy(p, old, old_n * size);
	return p;
}

void *
arena_more(struct arena *a, void *old, size_t n, size_t size)
{
	if ((n & (n - 1)) != 0)
		return old;
	return arena_grow(a, old, n, n > 0 ? 2 * n : 1, size);
}

char *
arena_strndup(struct arena *a, const char *s, size_t n)
{
	char *p = arena_alloc(a, n + 1);

	if (p == NULL)
		return NULL;
	if (n > 0)
		memcpy(p, s, n);
	p[n] = '\0';
	return p;
}

char *
arena_strdup(struct arena *a, const char *s)
{
	return arena_strndup(a, s, strlen(s));
}

struct str
arena_str(struct arena *a, struct str s)
{
	char *p = arena_strndup(a, s.s, s.n);

	return (struct str){ p, p != NULL ? s.n : 0 };
}

char *
arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *p;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return NULL;
	p = arena_alloc(a, (size_t)n + 1);
	if (p == NULL)
		return NULL;
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return p;
}

struct str
str_of(const char *s)
{
	return (struct str){ s, strlen(s) };
}

int
str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.s, b.s, a.n) == 0);
}

int
str_is(struct str a, const char *s)
{
	return str_eq(a, str_of(s));
}

int
str_cmp(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int r = n > 0 ? memcmp(a.s, b.s, n) : 0;

	if (r != 0)
		return r;
	return (a.n > b.n) - (a.n < b.n);
}
