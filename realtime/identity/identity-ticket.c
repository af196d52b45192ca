/* Tickets: a user's identity, sealed (supabase/client/ticket.h). */
#include "core/time.h"
#include "realtime/identity/identity-impl.h"

int
identity_ticket(struct identities *ids, struct arena *a,
    const struct identity *who, struct str *out, struct error *err)
{
	struct ticket t = { .has_user = who->has_user,
		.user = who->user,
		.authenticated = who->role == IDENTITY_AUTHENTICATED,
		.expires_ms = who->expires_ms,
		.claims = who->claims };

	uuid_random(&t.id);
	return ticket_seal(ids->vault, a, &t, out, err);
}

void
ticket_check(
    struct identities *ids, struct str token, struct identity_wait *wait)
{
	struct identity who = { .kind = IDENTITY_TICKET };
	struct ticket t;
	struct arena a;

	arena_init(&a);
	if (ticket_open(ids->vault, &a, token, &t, NULL) < 0) {
		identity_refuse(wait, FAULT_AUTH, "TOKEN",
		    "the ticket is none of this gateway's");
	} else if (t.expires_ms <= time_wall_ms()) {
		identity_refuse(wait, FAULT_AUTH, "EXPIRED",
		    "the token behind the ticket has expired");
	} else {
		who.role =
		    t.authenticated ? IDENTITY_AUTHENTICATED : IDENTITY_ANON;
		who.has_user = t.has_user;
		who.user = t.user;
		who.id = t.id;
		who.expires_ms = t.expires_ms;
		who.claims = t.claims;
		wait->fn(wait, &who, NULL);
	}
	arena_deinit(&a);
}
