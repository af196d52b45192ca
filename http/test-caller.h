#pragma once
/* What the tests of the client share: a server, a client, one call at a time
 * whose response is kept. */
#include "http/client.h"
#include "http/test-server.h"
/* last: cmocka has a macro named fail */
#include "core/test.h"

struct got {
	int n; /* done functions called */
	enum http_outcome outcome;
	struct http_response res; /* strings below */
	char *body;
	char code[sizeof(((struct error *)0)->code)], type[64], etag[64],
	    request_id[16], private[16];
	struct retry_try retry;
};

struct caller {
	struct loop *loop;
	struct loop_timer *watchdog;
	struct test_server *server;
	struct guard guard;
	struct http *http;
	struct error err;
	struct got got;
	int stop_after; /* stop the loop after so many; 0: each */
	char url[1024];
};

/* cmocka's setup and teardown; *state is the caller. */
int caller_setup(void **state);
int caller_teardown(void **state);
/* A fresh client with other options; the guard is the caller's. */
void caller_renew(struct caller *c, struct http_options options);

/* "http://127.0.0.1:port/path"; path may be a whole URL. Borrowed. */
struct str caller_url(struct caller *c, const char *path);
/* One call from its start to its end. */
const struct got *caller_send(struct caller *c, struct http_request req);
const struct got *caller_get(struct caller *c, const char *path);
/* A done function for struct caller, and the loop run that waits for it. */
void caller_done(void *arg, const struct http_response *res);
void caller_wait(struct caller *c);
