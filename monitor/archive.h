#pragma once
/*
 * Months of the record that are over their time, on their way into an archive:
 * migrations/...0017 has the rules, this reads, packs and puts.
 *
 *     next -> slice, slice, ... -> part: put, read back, recorded
 *          -> ... -> manifest: put, read back -> done; the month may go
 *
 * A slice is one statement with a bound in bytes and time, and a pause follows
 * that is longer. What died goes on after the last part that was recorded: a
 * part has a name that no other has, so what was put and not recorded is in no
 * manifest. What fails is recorded too, and tried again; nothing is dropped
 * before.
 */
#include "core/error.h"

struct archive;
struct monitor;

/* Without a place nothing is archived. FAULT_CONFIG: it is none. */
struct archive *archive_new(struct monitor *m, struct error *err);
struct archive *archive_free(struct archive *a); /* NULL */
/* Another reign: what is under way is dropped. */
void archive_reset(struct archive *a);
/* As the leader: begin, unless something is under way. */
void archive_step(struct archive *a);
