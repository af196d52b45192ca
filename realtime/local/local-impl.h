#pragma once
/*
 * What the files of the local endpoint share: local.c (sockets), local-channel.c
 * (what clients send on them), local-token.c (who they are), local-access.c
 * (what they may, asked in the database), local-feed.c (what they hear),
 * local-fault.c (faults on demand).
 *
 * Frames of one socket are taken one after the other: while the database is
 * asked for one, those behind it wait in `inbox`, and the socket isn't read.
 * Freeing a socket is libwebsockets' to begin; a channel is freed at once.
 */
#include "core/list.h"
#include "realtime/local/local-pace.h"
#include "realtime/local/local.h"
#include "realtime/wire/phoenix.h"
#include "realtime/server/websocket.h"
#include "supabase/client/db.h"
#include "supabase/client/jwt.h"

enum {
	LOCAL_TOPICS = 256, /* buckets */
	LOCAL_USERS = 200,
	LOCAL_CHANNELS = 100, /* of one socket */
	LOCAL_EVENTS = 100,   /* a second */
	LOCAL_JOINS = 100,    /* a second */
	LOCAL_MESSAGE_MAX = 5000000,
	LOCAL_PAYLOAD_MAX = 3000000,
	LOCAL_BACKLOG_MAX = 16 << 20,
	LOCAL_IDLE_MS = 60000,
	LOCAL_REPLAY_MAX = 25,
};

/* Who speaks, by a verified token. */
struct bearer {
	char *token;   /* as it came */
	char *claims;  /* JSON */
	char role[64]; /* "" when there is nobody */
	int64_t expires_s;
};

enum may { MAY_UNKNOWN, MAY, MAY_NOT };

struct channel {
	struct list link;  /* of its socket */
	struct list chain; /* of local->topics; unlinked until it is joined */
	struct socket *socket;
	char *topic;    /* without "realtime:" */
	char *join_ref; /* JSON text; NULL: null */
	struct bearer who;
	int self, ack, private;
	enum may write; /* may it send on a private channel? */
};

struct inbound {
	struct list link;
	struct str bytes; /* behind this, on the heap */
	int binary;
};

struct socket {
	struct list link; /* local->sockets */
	struct local *local;
	struct websocket *ws;
	enum phoenix_version version;
	struct bearer key; /* of the connection */
	struct list channels;
	uint32_t n_channels;
	struct list inbox;
	struct access *asking; /* what the inbox waits for */
	int going_on;
};

struct local {
	struct loop *loop;
	struct local_options options;
	struct jwt_keys keys;
	struct db *db;
	struct feed *feed;
	struct websockets *websockets;
	struct list sockets;
	struct list asked; /* the database, and no answer yet */
	uint32_t n_sockets;
	uint32_t users; /* the limit of them */
	struct list topics[LOCAL_TOPICS];
	struct pace events, joins;
	struct loop_timer *sweep;
	int64_t second;        /* of the last tick */
	int64_t mute_until_ms; /* faults: until then nothing is heard */
	int64_t drop;          /* and so many broadcasts aren't, */
	char *drop_topic;      /* of this topic; NULL: of any */
	uint64_t thrown_out;   /* channels, for events beyond the limit */
	int draining;
};

/* local-token.c ----------------------------------------------------------- */

enum token_fault {
	TOKEN_OK,
	TOKEN_MISSING,
	TOKEN_MALFORMED,
	TOKEN_SIGNATURE,
	TOKEN_EXPIRED,
	TOKEN_CLAIMS,
};
/* Where a refusal is told, each in its own words. */
enum token_place { TOKEN_AT_CONNECT, TOKEN_AT_JOIN, TOKEN_IN_CHANNEL };

void bearer_clear(struct bearer *who); /* idempotent */
void bearer_copy(struct bearer *to, const struct bearer *from);
enum token_fault bearer_of_token(
    const struct local *l, struct str token, struct bearer *out);
/* Is it still valid? */
enum token_fault bearer_check(const struct bearer *who);
const char *token_fault_text(struct arena *a, enum token_fault fault,
    enum token_place place, const struct bearer *who);

/* local-access.c ----------------------------------------------------------- */

/*
 * A question to the database. fn is called from the loop with the answer,
 * MAY_UNKNOWN when the database can't be asked; not after access_cancel().
 */
struct access {
	struct list link;      /* local->asked */
	struct socket *socket; /* NULL: cancelled */
	void (*fn)(struct access *ask, enum may answer);
	struct channel
	    *channel;      /* joined, or to be; NULL: it ended meanwhile */
	struct bearer who; /* who asks; the owner of the bytes */
	struct uuid probe;
	struct inbound *again; /* the frame that waits for the answer */
	int64_t since_ms;      /* what to replay then */
	int limit;             /* so many; 0: nothing */
	enum may answer;
	int owed; /* calls that have not ended */
};

struct access *access_new(
    struct channel *channel, void (*fn)(struct access *, enum may));
void access_ask_read(struct access *ask);
void access_ask_write(struct access *ask);
void access_cancel(struct access *ask);
struct access *access_free(struct access *ask); /* NULL */

/* local-channel.c ---------------------------------------------------------- */

void socket_frame(struct socket *s, struct inbound *in); /* consumes it */
struct channel *channel_free(struct channel *c);         /* NULL */
/* Tell the client why ("system", status error), then phx_close, and free. */
void channel_end(struct channel *c, const char *message);
void channel_crash(struct channel *c);
void channel_system(
    struct channel *c, const char *extension, int ok, const char *message);

/* local.c ------------------------------------------------------------------ */

void socket_send(struct socket *s, const struct phoenix_frame *f);
/* Take what waited in the inbox. */
void socket_go_on(struct socket *s);
int64_t local_now_s(void);

/* local-feed.c ------------------------------------------------------------- */

struct feed *feed_new(struct local *l, struct error *err);
struct feed *feed_free(struct feed *f); /* NULL */
/* Say so, if both connections are there. */
void feed_ready(const struct feed *f);

/* A broadcast on its way to those who joined. */
struct outgoing {
	struct str topic; /* without "realtime:" */
	int private;
	const struct channel *sender; /* hears it only if `self`; or NULL */
	struct phoenix_frame frame;   /* TEXT or BROADCAST */
};
void feed_deliver(struct local *l, struct outgoing *out);
/* Send what the channel missed, to a client that just joined. */
struct list *topic_bucket(struct local *l, struct str topic);
void feed_replay(struct access *ask);

/* local-fault.c ------------------------------------------------------------ */

size_t fault_routes(struct local *l, struct route *out);
