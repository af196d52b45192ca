#pragma once
/*
 * A part of an archive in the making: rows as JSON, one a line, packed by gzip
 * as they come, so that a part takes what its file will take and no more.
 */
#include <stdint.h>

#include "core/buf.h"

enum { SHA256_HEX = 65 };

struct part {
	void *z; /* NULL: nothing was added */
	struct buf packed;
	int64_t rows;
};

void part_init(struct part *p);
void part_deinit(struct part *p); /* idempotent; empty again */
void part_add(struct part *p, struct str line);
/* Nothing is added any more: its bytes. */
struct str part_end(struct part *p);

/* SHA-256 in hex, as sha256sum prints it. */
void sha256_hex(struct str bytes, char hex[SHA256_HEX]);
/* The same of bytes that come one after another; sha256_end frees. */
void *sha256_begin(void);
void sha256_add(void *sha, struct str bytes);
void sha256_end(void *sha, char hex[SHA256_HEX]);
