#pragma once
/*
 * Where archives go: a folder, "/var/lib/meshhook/archive", or a bucket of
 * Supabase Storage, "supabase://BUCKET" or "supabase://BUCKET/PREFIX".
 *
 * What is put is there as a whole or not at all: in a folder by another name,
 * fsync, rename; in Storage by one upload. It is read back before it counts.
 * An error is what a person can act on: a full disk, a refused key, a bucket
 * that isn't there.
 */
#include "core/arena.h"
#include "core/error.h"
#include "core/loop.h"

struct place;

struct place_options {
	const char *where;
	const char *url, *key; /* of Storage: the project's, and a secret one */
	const char *ca_file;   /* NULL: the system's */
};

typedef void place_fn(void *arg, const struct error *err);

/* FAULT_CONFIG: it is no such place. */
struct place *place_new(
    struct loop *loop, const struct place_options *o, struct error *err);
struct place *place_free(struct place *p); /* NULL */

/* One at a time: bytes as DIR/FILE. fn, from the loop, once they were read
 * back, or failed. The bytes stay the caller's, and there until then. */
void place_put(struct place *p, const char *dir, const char *file,
    struct str bytes, place_fn *fn, void *arg);
void place_cancel(struct place *p); /* fn is not called */

/* Are all of these there, "FILE BYTES" by lines? What is in Storage, another
 * monitor sees too. */
int place_has(const struct place *p, const char *dir, struct str files);
/* Remove parts that are none of these: of who died before it recorded them. */
void place_sweep(const struct place *p, const char *dir, struct str files);
