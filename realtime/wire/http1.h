#pragma once
/*
 * The head of an HTTP/1.1 request (RFC 9112), read strictly: what two readers
 * could take for two different requests is refused, never repaired. So a
 * request can't be smuggled past a proxy, and what isn't understood is closed.
 *
 * Pure: slices point into the bytes that were given.
 */
#include <stdint.h>

#include "core/arena.h"

enum {
	HTTP1_HEAD_MAX = 16384, /* bytes of request line and headers */
	HTTP1_HEADERS = 100,
};

struct http1_header {
	struct str name, value; /* value without white space around it */
};

struct http1_head {
	struct str method, path, query; /* query without '?' */
	struct http1_header headers[HTTP1_HEADERS];
	size_t n_headers;
	size_t bytes;       /* of the head, its empty line included */
	int64_t body_bytes; /* Content-Length; 0 without */
	int has_length;
	int keep_alive;
	int expects_continue; /* and waits for "100 Continue" */
};

/* Why a head is refused: answer it, then close. */
struct http1_refusal {
	int status;
	const char *reason; /* for people */
};

/*
 * Read a head. *scanned is 0 at first and remembers, while more bytes come,
 * how far they were searched for the head's end.
 *     0  done
 *     1  HTTP1_MORE: not all of it is there
 *    -1  refused
 */
enum { HTTP1_MORE = 1 };
int http1_parse(struct str bytes, size_t *scanned, struct http1_head *out,
    struct http1_refusal *why);

/* A header's value by its name, which is compared without case; s NULL when
 * absent. Of several, the first. */
struct str http1_get(const struct http1_head *head, const char *name);
int http1_name_is(struct str name, const char *other);

/* The standard's phrase for a status: "Not Found". */
const char *http1_phrase(int status);
