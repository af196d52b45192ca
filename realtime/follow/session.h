#pragma once
/*
 * A session of a Realtime client: what it says to the server, and when it
 * comes back. One socket, one private topic: a join that is refused blocks its
 * socket for five seconds, so it must not be anybody else's. Pure; client.c
 * gives it a socket, a clock and randomness.
 *
 *     down --connect--> opening --opened--> up --join--> sent --ok--> joined
 *
 * Whatever ends a state (a closed socket, a join that is refused, an expired
 * token, a heartbeat that is not answered) leads back after a backoff with
 * jitter: to joining again where the socket is good, else to connecting. The
 * server may fall silent for good without a word, so it never ends by itself;
 * what must not be missed is the owner's to ask for elsewhere.
 */
#include <stdint.h>

#include "core/json.h"

enum {
	SESSION_TOPIC = 512,
	SESSION_TOKEN = 8192,
	SESSION_WHY = 200,
	SESSION_BEAT_MS = 25000, /* the server closes after 60 s without any */
	SESSION_OPEN_MS = 15000, /* to resolve, connect and upgrade */
	SESSION_JOIN_MS = 20000, /* a refusal alone takes 5 s */
	SESSION_AGAIN_MS = 500,  /* backoff, doubled */
	SESSION_AGAIN_MOST_MS = 30000,
	SESSION_GOOD_MS = 10000, /* joined for so long: no backoff is left */
};

enum session_event {
	SESSION_TICK, /* the first input, after each change, and when due */
	SESSION_OPENED,
	SESSION_CLOSED, /* text: why; also of a connection that never was */
	SESSION_MESSAGE,
	N_SESSION_EVENTS
};

struct session_input {
	enum session_event event;
	int64_t now_ms;
	uint64_t random;
	struct str text;
	int binary; /* MESSAGE */
};

enum session_act {
	SESSION_CONNECT,
	SESSION_DISCONNECT, /* then no CLOSED is expected any more */
	SESSION_SEND,
	SESSION_JOINED,
	SESSION_PARTED,    /* text: why; it is trying again */
	SESSION_BROADCAST, /* text: the event; payload */
};

struct session_output {
	enum session_act act;
	struct str text; /* NUL-terminated */
	const struct json *payload;
};

/* Valid until the next step. */
struct session_outputs {
	struct session_output at[8];
	uint32_t n;
};

struct realtime_session {
	struct arena arena;
	char topic[SESSION_TOPIC]; /* that is wanted; "": none */
	char token[SESSION_TOKEN]; /* "": none yet */
	/* private */
	enum { SESSION_DOWN, SESSION_OPENING, SESSION_UP } link;
	enum { SESSION_OUT, SESSION_SENT, SESSION_IN } join;
	char joined[SESSION_TOPIC];       /* what join is about */
	char pushed[SESSION_TOKEN];       /* what the server knows */
	char why[SESSION_WHY];            /* the last that it said */
	uint32_t ref, join_ref, beat_ref; /* beat_ref 0: answered */
	uint32_t failures;
	int64_t again_at;    /* may connect, or join */
	int64_t deadline_ms; /* of opening, or of the join */
	int64_t beat_at, joined_ms;
};

void realtime_session_init(struct realtime_session *s);
void realtime_session_deinit(struct realtime_session *s); /* idempotent */
/* A TICK follows. -1: too long. */
int realtime_session_topic(struct realtime_session *s, const char *topic);
int realtime_session_token(struct realtime_session *s, const char *token);
void realtime_session_step(struct realtime_session *s,
    const struct session_input *in, struct session_outputs *out);
/* When the next TICK is due; INT64_MAX: never. */
int64_t realtime_session_wake(const struct realtime_session *s);
