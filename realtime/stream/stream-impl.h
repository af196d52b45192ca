#pragma once
/* What stream.c (streams), stream-query.c (parameters), stream-channels.c
 * (opening, and channels) and stream-peers.c (other gateways) share. */
#include "core/json.h"
#include "realtime/stream/stream.h"
#include "realtime/stream/tally.h"

/* What is asked for, with what was left of it in an arena. */
struct stream_query {
	struct str names[2 * STREAM_CHANNELS];
	size_t n_names, n_add; /* those beyond n_add are to be removed */
	struct cursor cursor;
	int resumed;
	int64_t since_ms; /* INT64_MIN: not said */
	int64_t tail;     /* -1: not said */
	struct filter filter;
};

struct viewer {
	struct list link; /* streams->viewers */
	struct streams *streams;
	struct reader *reader;
	struct uuid id, user, ticket;
	int has_ticket, warned;
	int64_t expires_ms, opened_ms; /* on the wall's clock */
	struct tally_entry *of_user;
	struct tally_entry **members, **projects; /* a pair for each project */
	size_t n_projects;
};

struct streams {
	struct loop *loop;
	struct uuid id; /* so that its own messages are known */
	struct streams_options o;
	struct hub *hub;
	const struct listen *listen;
	struct list viewers, attaching;
	uint32_t n_viewers;
	struct tally users, projects, members;
	struct loop_timer *second, *members_timer;
	uint32_t round; /* of asking for members; 0: none on its way */
	int asking, draining;
	struct db_array asked_users, asked_projects;
	struct buf event;
};

/* stream.c ------------------------------------------------------------------ */
struct viewer *viewer_new(
    struct streams *s, const struct identity *who, struct filter *filter);
void viewer_free(struct viewer *x);
struct viewer *viewer_find(struct streams *s, const struct uuid *id);
/* Counted for its project, and asked for from now on. */
void viewer_project(struct viewer *x, const struct uuid *project);
void viewer_renew(struct viewer *x, int64_t expires_ms);
/* `retry:`, then the end. */
void viewer_end(struct viewer *x, int64_t retry_ms);
/* Another one has it since then. */
void viewer_ticket_used(struct streams *s, const struct uuid *ticket,
    const struct viewer *by, int64_t since_ms);

/* stream-channels.c --------------------------------------------------------- */
void attach_open(
    struct streams *s, struct request *req, const struct identity *who);
/* add, remove: JSON arrays of channels, or NULL. req NULL: for a peer. */
void attach_change(struct viewer *x, struct request *req, const struct json *v,
    const struct identity *who);
/* stream-attach.c ----------------------------------------------------------- */
void attach_forget(struct viewer *x);
void attach_free_all(struct streams *s);

/* stream-peers.c ------------------------------------------------------------ */
void peers_token(void *arg, struct request *req);
void peers_channels(void *arg, struct request *req);
void peers_ticket(struct viewer *x);
void peers_notified(struct streams *s, const char *payload);

/* stream-query.c ------------------------------------------------------------ */
/* The zeroed *out. -1: err->code is the problem's kind. */
int stream_query_read(struct arena *a, const struct http1_head *head,
    struct stream_query *out, struct error *err);
/* Names beyond n_add, out of a JSON array. -1: not one of strings, or too many. */
int stream_query_names(
    struct arena *a, struct stream_query *q, const struct json *list);

/* Whose numbers a cursor means. Who was beyond the end has counted others: some
 * other epoch, so that it is told. */
static inline int
epoch_of(const struct cursor_entry *e, const struct hub_channel *c)
{
	int epoch = (int)e->epoch;

	return epoch == c->epoch && e->seq > c->last_seq ? epoch ^ 1 : epoch;
}
