#pragma once
/*
 * The process that faces the outside: takes webhooks in, serves live logs.
 * It holds nothing but its connections; any of it can be killed at any instruction.
 *
 * gateway_main listens at once and answers 503 until the database is there. It
 * returns after SIGTERM or SIGINT: it stops accepting, finishes what is in
 * flight within drain_ms, and returns 0; 78 when it can't listen, can't read
 * its key, or the schema is older than it needs; 1 for anything else.
 */
#include <stdint.h>

#include "core/arena.h"
#include "realtime/local/local.h"

struct gateway_options {
	const char *db_url;
	const char *host;                      /* an address; NULL: 127.0.0.1 */
	int port;                              /* 0: any that is free */
	struct str intake_keys;                /* as vault_init() takes them */
	struct str jwt_secret;                 /* s NULL: no HS256 */
	const char *jwks_url;                  /* NULL: no RS256, no ES256 */
	const char *jwt_issuer, *jwt_audience; /* NULL: any */
	uint32_t connections;  /* of clients, at once; 0: 4,096 */
	uint32_t publish_rate; /* lines/s of one service token; 0: unlimited */
	uint32_t user_rate;    /* requests/s of one user; 0: unlimited */
	const char *cors_origins; /* by commas, or "*"; NULL: none */
	const char *http_allow;   /* private addresses of endpoints' key sets */
	uint32_t endpoint_rate;   /* webhooks/s of one endpoint; 0: unlimited */
	uint32_t endpoint_burst;  /* beyond the rate; 0: twice the rate */
	uint32_t streams;         /* of live logs; 0: any number */
	uint32_t streams_of_user; /* 0: 32 */
	uint32_t streams_of_project;       /* 0: 2,000 */
	int metrics_by_project;            /* or of all together */
	int64_t drain_ms;                  /* 0: what is in flight is cut */
	const struct local_options *local; /* NULL: no Realtime endpoint */
};

int gateway_main(const struct gateway_options *options);
