#pragma once
/*
 * A cursor on disk: {"channel": "...", "epoch": N, "seq": N}. It is replaced
 * as a whole (written beside, flushed to disk, renamed), so a reader finds the
 * old one or the new one, never a half. It says what was printed: after
 * a kill -9 between the two, lines come a second time, but none is lost.
 */
#include "cli/channel.h"

enum { CURSOR_OUT_NONE = 1 };

/* 0; CURSOR_OUT_NONE: there is no such file yet; -1: it can't be read, or is
 * of another channel. A name with the project's id replaces one with its slug
 * or without any. */
int cursor_load(struct arena *a, const char *path, struct channel *channel,
    int64_t *epoch, int64_t *seq, struct error *err);
int cursor_save(const char *path, const struct channel *channel, int64_t epoch,
    int64_t seq, struct error *err);
