#pragma once
/*
 * What `meshhook logs` is asked for: a run by its id, "latest" (a source finds
 * its id), or a channel by its name:
 *     logs:run:PROJECT:RUN   logs:SERVICE:PROJECT:RESOURCE   logs:SERVICE:PROJECT
 * PROJECT is a project's id or slug; names come to their canonical form, with
 * ids, by whoever has looked them up.
 */
#include "core/arena.h"
#include "core/error.h"

struct channel {
	const char *name; /* as above; NULL: a run of unknown project */
	const char *service;
	const char *project;  /* "": unknown */
	const char *resource; /* "": none; of a run its id */
	int is_run;
};

/* arg: a channel's name, a run's id, or "latest". -1: a wrong command line. */
int channel_parse(
    struct arena *a, const char *arg, struct channel *out, struct error *err);
/* Its project is known now. */
void channel_name(struct arena *a, struct channel *c, const char *project);
/* May both names mean one channel? A slug may be any project's. */
int channel_may_be(const struct channel *x, const struct channel *y);
