/* Tickets: a user's identity, sealed (supabase/client/ticket.h). */
#include "core/json.h"
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

/* POST /api/logs/stream/ticket */
static void
ticket_for(void *arg, struct request *req, const struct identity *who)
{
	struct identities *ids = arg;
	char expires[TIME_TEXT];
	struct json *v;
	struct str ticket;
	struct error err;
	struct arena a;

	arena_init(&a);
	if (identity_ticket(ids, &a, who, &ticket, &err) < 0) {
		request_problem(req, &(struct problem){ .status = 500 });
	} else {
		v = json_object(&a);
		json_set(&a, v, "ticket", json_string(&a, ticket));
		json_set(&a, v, "expires_at",
		    json_cstring(&a, time_format(who->expires_ms, expires)));
		request_reply(req,
		    &(struct reply){ .status = 201,
			.headers = "Cache-Control: no-store\r\n",
			.body = json_text(&a, v) });
	}
	arena_deinit(&a);
}

static void
ticket_handle(void *arg, struct request *req)
{
	identity_check(arg, req, IDENTITY_USER, ticket_for, arg);
}

size_t
identity_routes(struct identities *ids, struct route *out)
{
	out[0] = (struct route){ .method = "POST",
		.pattern = "/api/logs/stream/ticket",
		.body_max = 1024,
		.handle = ticket_handle,
		.arg = ids };
	return 1;
}
