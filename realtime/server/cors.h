#pragma once
/*
 * Which pages of other origins may call us (Fetch standard, CORS): those on a
 * list, or "*" for any. Credentials are never allowed: a page shows a token.
 */
#include "core/buf.h"
#include "core/error.h"
#include "realtime/wire/http1.h"

enum { CORS_ORIGINS = 64 };

struct cors {
	int any;
	size_t n;
	struct str origins[CORS_ORIGINS]; /* of the list that was given */
};

/* The list outlives it; NULL or empty: no page may. FAULT_CONFIG names what is
 * no origin. */
int cors_init(struct cors *c, const char *list, struct error *err);
/* Header lines of an answer. */
void cors_headers(
    const struct cors *c, const struct http1_head *head, struct buf *out);
