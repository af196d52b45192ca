#pragma once
/*
 * Tickets for streams of live logs: who somebody is, sealed under the intake
 * key, in an alphabet that needs no encoding in a URL. Gateways hold the key,
 * so any of them opens what another sealed; whoever else holds it can be
 * whomever it likes.
 */
#include "supabase/client/vault.h"

#define TICKET_PREFIX "mht_"

struct ticket {
	struct uuid id; /* one stream has it at a time */
	int has_user;
	struct uuid user;
	int authenticated;  /* the role; else anon */
	int64_t expires_ms; /* on the wall's clock; INT64_MAX: never */
	struct str claims;  /* JSON */
};

/* TICKET_PREFIX and the rest, NUL-terminated, in the arena. */
int ticket_seal(const struct vault *vault, struct arena *a,
    const struct ticket *ticket, struct str *out, struct error *err);
/* -1: sealed under another key, or none of ours. Whether it has expired is
 * for the caller to see. */
int ticket_open(const struct vault *vault, struct arena *a, struct str text,
    struct ticket *out, struct error *err);
