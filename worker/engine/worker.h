#pragma once
/*
 * The worker: takes messages from the queue, carries them out, records what
 * came of it. It holds nothing that Postgres does not know; killed at any
 * instruction, it loses nothing. See docs/decisions/0001.
 */
#include <stdint.h>

#include "core/arena.h"

struct worker_options {
	const char *database_url;
	const char *http_allow; /* the guard's allow-list; NULL: public only */
	const char *http_ca_file; /* NULL: the system's */
	struct str secret_keys;   /* as vault_init() takes them; n 0: none */
	uint32_t max_in_flight;   /* messages held at once; 0: 500 */
	uint32_t batch;           /* messages of one claim; 0: 100 */
	int64_t lease_ms;         /* 0: 30 s */
	int64_t drain_ms;         /* SIGTERM to giving back; 0: 25 s */
	int64_t poll_ms;          /* when LISTEN works; 0: 1 s */
	int64_t poll_fast_ms;     /* when it doesn't; 0: 120 ms */
	int no_inline;            /* a queue hop before every step */
	int no_listen;            /* poll only */
	int drain;                /* exit 0 when nothing is left to do */
};

/* Runs until told to stop; returns the process's exit code: 0, 1, or 78 for
 * what the operator must mend (already logged). */
int worker_main(const struct worker_options *options);
