#pragma once
/*
 * A secret typed on the terminal: one line, of which nothing is shown. However
 * it ends, the terminal is as it was.
 */
#include "cli/cli.h"

/* From --file or, where file is NULL, standard input: asked for as `what`, if
 * that is a terminal. Without the line's end that editors add. */
int ask_secret(struct cli *cli, const char *file, const char *what,
    struct str *out, struct error *err);
