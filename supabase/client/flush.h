#pragma once
/*
 * What live logs leave to whoever has a connection: calls flush_broadcasts(),
 * which says when it wants to be called again. While nobody watches, that is
 * once in some seconds. Every process has one; what one leaves behind when it
 * dies, the others send (docs/decisions/0007).
 */
#include "core/loop.h"
#include "supabase/client/db.h"

struct flush;

/* The db outlives it. */
struct flush *flush_new(struct loop *loop, struct db *db);
struct flush *flush_free(struct flush *f); /* NULL */
/* A statement of ours said that something is left to send. */
void flush_due(struct flush *f);
/* Lines or runs were written, and it isn't known whether anything is left:
 * as flush_due where somebody was watching lately, else nothing. */
void flush_wrote(struct flush *f);
/* This process ends: what would be due in a moment goes now. */
void flush_last(struct flush *f);
