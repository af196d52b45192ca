/* Service tokens: the database knows their hashes; what it said is kept for
 * seconds, and append_logs() asks again with every batch. */
#include "core/log.h"
#include "core/time.h"
#include "core/hex.h"
#include "realtime/identity/identity-impl.h"
#include "realtime/realtime-sql.h"

#include <stdio.h>
#include <string.h>

enum { HASH_HEX = 2 * SHA256_DIGEST_LENGTH };

static struct service_slot *
slot_of(struct identities *ids, const unsigned char *hash)
{
	return &ids->slots[(hash[0] << 8 | hash[1]) % SERVICE_SLOTS];
}

static void
slot_answer(const struct service_slot *s, struct identity_wait *wait)
{
	struct identity who = { .kind = IDENTITY_SERVICE,
		.id = s->id,
		.project = s->project,
		.expires_ms = s->expires_ms,
		.claims = STR("{}") };

	if (s->state != SLOT_KNOWN || s->expires_ms <= time_wall_ms()) {
		identity_refuse(wait, FAULT_AUTH, "TOKEN",
		    "the service token is unknown, revoked or expired");
		return;
	}
	memcpy(who.slug, s->slug, sizeof(who.slug));
	memcpy(who.service, s->service, sizeof(who.service));
	wait->fn(wait, &who, NULL);
}

static void
slot_read(struct identities *ids, struct service_slot *s,
    const unsigned char *hash, struct rows *rows)
{
	memcpy(s->hash, hash, SHA256_DIGEST_LENGTH);
	s->read_ms = loop_now_ms(ids->loop);
	s->loading = 0;
	s->state = rows->n > 0 ? SLOT_KNOWN : SLOT_ABSENT;
	if (rows->n == 0)
		return;
	rows_uuid(rows, 0, "id", &s->id);
	rows_uuid(rows, 0, "project_id", &s->project);
	snprintf(s->slug, sizeof(s->slug), "%s", rows_text(rows, 0, "project"));
	snprintf(s->service, sizeof(s->service), "%s",
	    rows_text(rows, 0, "service"));
	s->expires_ms = rows_null(rows, 0, "expires_at")
	    ? INT64_MAX
	    : rows_time_ms(rows, 0, "expires_at");
}

static void
looked_up(void *arg, struct rows *rows, const struct error *err)
{
	struct pending *p = arg;
	struct identities *ids = p->ids;
	struct service_slot *s = slot_of(ids, p->hash);
	struct identity_wait *wait;

	ids->n_loads--;
	if (err == NULL)
		slot_read(ids, s, p->hash, rows);
	else if (memcmp(s->hash, p->hash, sizeof(s->hash)) == 0)
		s->loading = 0;
	if (err != NULL)
		log_warn("service_token.lookup", E_(err));
	wait = pending_end(p);
	if (wait == NULL)
		return;
	if (err == NULL)
		slot_answer(s, wait);
	else
		identity_refuse(wait, FAULT_RETRY, err->code,
		    "the service token can't be looked up now");
}

/* wait NULL: behind the scenes. */
static int
load(struct identities *ids, const unsigned char *hash,
    struct identity_wait *wait)
{
	char hex[HASH_HEX + 1];
	struct pending *p;

	if (ids->n_loads >= SERVICE_LOADS_MAX)
		return -1;
	p = pending_new(ids, wait);
	memcpy(p->hash, hash, sizeof(p->hash));
	hex_put(hex, hash, SHA256_DIGEST_LENGTH);
	hex[HASH_HEX] = '\0';
	if (db_call(ids->db, &sql_service_token, looked_up, p, NULL,
		db_text(hex)) < 0) {
		pending_end(p);
		return -1;
	}
	ids->n_loads++;
	return 0;
}

void
service_check(
    struct identities *ids, struct str token, struct identity_wait *wait)
{
	unsigned char hash[SHA256_DIGEST_LENGTH];
	struct service_slot *s;
	int64_t age;

	SHA256((const unsigned char *)token.s, token.n, hash);
	s = slot_of(ids, hash);
	age = loop_now_ms(ids->loop) - s->read_ms;
	if (memcmp(s->hash, hash, sizeof(hash)) == 0 &&
	    ((s->state == SLOT_KNOWN && age < SERVICE_STALE_MS) ||
		(s->state == SLOT_ABSENT && age < SERVICE_ABSENT_MS))) {
		if (age >= SERVICE_FRESH_MS && !s->loading)
			s->loading = load(ids, hash, NULL) == 0;
		slot_answer(s, wait);
		return;
	}
	if (load(ids, hash, wait) < 0)
		identity_refuse(wait, FAULT_RETRY, "BUSY",
		    "the service token can't be looked up now");
}
