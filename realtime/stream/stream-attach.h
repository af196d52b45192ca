#pragma once
/*
 * Attaching: from the names of channels to a reader that follows them.
 *
 *     as the user   attach(): the channels, where they stand, what is refused
 *                   (stream-channels.c)
 *     as ourselves  channels_under(): what there is under patterns
 *                   (stream-under.c)
 *     start         the reply, `ready`, then what is behind the cursor
 *                   (stream-attach.c)
 *
 * The client may leave, and a viewer may be over, between any two of them.
 */
#include "realtime/stream/stream-impl.h"

/* A pattern, or a channel that is not there yet. */
struct under {
	struct uuid project;
	struct str service, resource;
	int64_t since_ms;
	int past; /* lines from since_ms on are wanted */
};

struct attach {
	struct list link; /* streams->attaching */
	struct streams *streams;
	struct request *req;   /* NULL: the client left, or there is none */
	struct viewer *viewer; /* NULL: not made yet, or over */
	int opening;
	struct arena arena;
	struct stream_query q;
	struct identity *who;
	struct under under[STREAM_CHANNELS];
	size_t n_under;
	struct json *channels; /* for `ready` */
};

struct attach *attach_new(
    struct streams *s, struct request *req, const struct identity *who);
/* It came to nothing: say why, and forget it. detail may be in its arena. */
void attach_refuse(
    struct attach *a, int status, const char *kind, const char *detail);
/* The same: the database refused, or can't be reached. */
void attach_fail(struct attach *a, const struct error *err);
/* All is followed: the stream begins, or says what it follows now. */
void attach_done(struct attach *a);
/* Where a channel stands, by a row of either statement; but for its name. */
struct hub_channel attach_stand(struct rows *rows, int row);

/* The pattern, or the channel that isn't there yet, of a row of attach(). */
void under_add(struct attach *a, struct rows *rows, int row, int64_t at_ms);
/* Follow what there is under them; one of the ends comes of it. */
void under_ask(struct attach *a);
