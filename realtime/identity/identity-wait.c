/* Who was found, and those who wait for it. */
#include "core/mem.h"
#include "realtime/identity/identity-impl.h"
#include "realtime/realtime-sql.h"

#include <stdlib.h>
#include <string.h>

const char *
identity_role_name(enum identity_role role)
{
	return role == IDENTITY_AUTHENTICATED ? "authenticated" : "anon";
}

struct identity *
identity_keep(const struct identity *who)
{
	struct identity *copy = xmalloc(sizeof(*copy) + who->claims.n + 1);
	char *text = (char *)(copy + 1);

	*copy = *who;
	memcpy(text, who->claims.n > 0 ? who->claims.s : "", who->claims.n);
	text[who->claims.n] = '\0';
	copy->claims.s = text;
	return copy;
}

struct identity *
identity_free(struct identity *who)
{
	free(who);
	return NULL;
}

struct pending *
pending_new(struct identities *ids, struct identity_wait *wait)
{
	struct pending *p = xcalloc(1, sizeof(*p));

	p->ids = ids;
	p->wait = wait;
	if (wait != NULL)
		wait->pending = p;
	list_init(&p->keys.link);
	list_append(&ids->pending, &p->link);
	return p;
}

struct identity_wait *
pending_end(struct pending *p)
{
	struct identity_wait *wait = p->wait;

	if (wait != NULL)
		wait->pending = NULL;
	jwks_cancel(&p->keys);
	list_remove(&p->link);
	free(p->token);
	free(p);
	return wait;
}

void
identity_cancel(struct identity_wait *wait)
{
	struct pending *p = wait->pending;

	if (p == NULL)
		return;
	wait->pending = NULL;
	p->wait = NULL;
	if (p->token != NULL) /* a call of the database's will end it */
		pending_end(p);
}

void
identity_refuse(struct identity_wait *wait, enum fault fault, const char *code,
    const char *why)
{
	struct error err;

	fail(&err, fault, code, "%s", why);
	wait->fn(wait, NULL, &err);
}

static void
became(void *arg, struct rows *rows, const struct error *err)
{
	(void)arg; /* its failing fails what follows */
	(void)rows;
	(void)err;
}

int
identity_become(struct db *db, const struct identity *who, struct error *err)
{
	return db_call(db, &sql_become, became, NULL, err,
	    db_text(identity_role_name(who->role)), db_str(who->claims));
}
