#pragma once
/*
 * A server of good and bad manners, on the loop of the test that calls it. The
 * path of a request says how it behaves; see the routes in test-server.c.
 */
#include "core/buf.h"
#include "core/list.h"
#include "core/loop.h"

struct test_server {
	struct loop *loop;
	struct loop_io *io;
	struct list conns;
	int fd, port;
	uint32_t n_conns, n_requests; /* ever */
	uint32_t refusals;            /* 503s that /fail gives before its 200 */
	struct buf last;              /* the last whole request, as it came */
};

struct test_server *test_server_new(struct loop *loop);
struct test_server *test_server_free(struct test_server *s);
