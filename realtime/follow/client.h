#pragma once
/*
 * A client of Supabase Realtime, hosted or local: one socket, one private
 * topic, kept joined whatever happens (see realtime/follow/session.h). libwebsockets
 * carries it; names are resolved off the loop, certificates are verified
 * against the name of the URL.
 */
#include "core/error.h"
#include "core/json.h"
#include "core/loop.h"

struct realtime;

struct realtime_options {
	const char *url;     /* of the project: "https://x.supabase.co" */
	const char *key;     /* its publishable (or anon) key */
	const char *ca_file; /* PEM bundle; NULL: the system's */
	/* From the loop. Between parted (why) and joined nothing comes; also
	 * while joined, messages may be lost: it is for the owner to notice. */
	void (*joined)(void *arg);
	void (*parted)(void *arg, const char *why);
	void (*broadcast)(
	    void *arg, struct str event, const struct json *payload);
	void *arg;
};

/* FAULT_CONFIG when the URL is none. Strings are copied. */
struct realtime *realtime_new(struct loop *loop,
    const struct realtime_options *options, struct error *err);
/* Not from within a callback: it runs the loop. */
struct realtime *realtime_free(struct realtime *rt); /* NULL */

/* Join this topic, in place of the one before. -1: too long. */
int realtime_topic(struct realtime *rt, const char *topic);
/* The user's token: of joins to come, and told to the channel that is. */
int realtime_token(struct realtime *rt, const char *token);
