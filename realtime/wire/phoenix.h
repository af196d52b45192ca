#pragma once
/*
 * Frames of Supabase Realtime's WebSocket, which speaks Phoenix channels: read
 * and written as either end does. The server's endpoint and the client both
 * stand on this.
 *
 * Version 1.0.0 is a JSON object, {"topic", "event", "payload", "ref",
 * "join_ref"}; what a server sends has no join_ref. Version 2.0.0 is the array
 * [join_ref, ref, topic, event, payload] and two binary forms of a broadcast,
 * whose lengths are one byte each:
 *     3 push       03 |join_ref|ref|topic|event|meta|json?| ... and the payload
 *     4 broadcast  04 |topic|event|meta|json?| ... and the payload
 * A ref is echoed with the type it came with, so it is kept as JSON text.
 *
 * Pure. What is read lives in the arena, but for topic, event and body of a
 * binary frame, which point into its bytes.
 */
#include "core/json.h"

enum phoenix_version { PHOENIX_V1 = 1, PHOENIX_V2 = 2 };

enum phoenix_kind {
	PHOENIX_TEXT = 0,
	PHOENIX_PUSH = 3,      /* to the server; event is the user's own */
	PHOENIX_BROADCAST = 4, /* to a client; event is the user's own */
};

struct phoenix_frame {
	enum phoenix_kind kind;
	struct str join_ref, ref;   /* JSON text; s NULL: null */
	struct str topic, event;    /* UTF-8 */
	const struct json *payload; /* read, if TEXT or json; not written */
	struct str meta;            /* of the binary forms; JSON or empty */
	struct str body; /* payload as bytes; written, read from binary forms */
	int json;        /* of the binary forms: body is JSON */
};

/*
 * Which version "vsn" of a socket's query means: "" is 1.0.0, and any 1.x and
 * 2.x will do, as Phoenix's own rule ("~> 2.0.0") has it for 2.0.x. -1: none.
 */
int phoenix_version(struct str vsn, enum phoenix_version *out);

/* FAULT_INPUT "PHOENIX" or "JSON" for what is no frame. Real servers drop such
 * frames without a word, and some send them: drop it, too. */
int phoenix_read(struct arena *a, enum phoenix_version version,
    struct str bytes, int binary, struct phoenix_frame *out, struct error *err);

/*
 * Write a frame of kind TEXT, with its body as the payload; `server` leaves
 * join_ref out of version 1. s NULL where the arena's cap is reached.
 */
struct str phoenix_write(struct arena *a, enum phoenix_version version,
    int server, const struct phoenix_frame *f);
/* Write a binary form. FAULT_INPUT "PHOENIX" when a part is over 255 bytes. */
int phoenix_write_binary(struct arena *a, const struct phoenix_frame *f,
    struct str *out, struct error *err);

/*
 * What a broadcast says, whichever form it came in.
 *     0  done
 *     1  PHOENIX_NO_BROADCAST: the frame is something else, or has no event
 */
struct phoenix_broadcast {
	struct str event;
	const struct json *meta;    /* {"id", "replayed"}; NULL: none */
	const struct json *payload; /* NULL: bytes, or none */
	struct str bytes;           /* of a payload that isn't JSON */
};
enum { PHOENIX_NO_BROADCAST = 1 };
int phoenix_broadcast(struct arena *a, const struct phoenix_frame *f,
    struct phoenix_broadcast *out);
/* The same as the payload of a text frame: {"event", "meta", "payload",
 * "type"}. Of a PUSH or BROADCAST whose body is JSON. */
struct str phoenix_broadcast_text(
    struct arena *a, const struct phoenix_frame *f);

/* A reply's payload: {"response": response, "status": "ok" or "error"}. */
struct str phoenix_reply(struct arena *a, int ok, struct str response);
