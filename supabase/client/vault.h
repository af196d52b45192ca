#pragma once
/*
 * Secrets at rest: AES-256-GCM envelopes, as text
 *     v1.<key id>.<nonce, base64>.<ciphertext and tag, base64>
 * bound to where they belong: project, name, version and key id are
 * authenticated with them, so that an envelope copied to another place does
 * not open there. Keys are 32 bytes; several can be held, so that keys rotate:
 * the first one seals, each opens what names it.
 */
#include <stddef.h>

#include "core/arena.h"
#include "core/error.h"
#include "core/uuid.h"

enum { VAULT_KEYS = 8, VAULT_KEY_BYTES = 32, VAULT_KEY_ID = 32 };

struct vault {
	struct vault_key {
		char id[VAULT_KEY_ID + 1];
		unsigned char key[VAULT_KEY_BYTES];
	} keys[VAULT_KEYS];
	size_t n;
};

/* What an envelope is bound to. */
struct vault_place {
	struct uuid project;
	struct str name; /* "endpoint/<id>" */
	int version;
};

/*
 * Keys as text: "<base64>", or "id:<base64>,id:<base64>,...", the first one
 * sealing; a key without id has the id "k1". FAULT_CONFIG says what is wrong
 * without repeating any of it.
 */
int vault_init(struct vault *v, struct str keys, struct error *err);
void vault_deinit(struct vault *v); /* wipes; idempotent */

/* A NUL-terminated envelope in the arena. */
int vault_seal(const struct vault *v, struct arena *a,
    const struct vault_place *place, struct str secret, struct str *out,
    struct error *err);
/* FAULT_CONFIG, code "KEY": sealed under a key that isn't held; FAULT_INPUT,
 * code "ENVELOPE": malformed, or not sealed for this place. */
int vault_open(const struct vault *v, struct arena *a,
    const struct vault_place *place, struct str envelope, struct str *out,
    struct error *err);

/* In time that depends on the lengths alone. */
int secret_eq(struct str x, struct str y);
/* Overwrite, so that the compiler can't leave it out. */
void secret_wipe(void *p, size_t n);
