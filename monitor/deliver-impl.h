#pragma once
/* What deliver.c (the outbox) and deliver-send.c (one message) share. */
#include "core/list.h"
#include "http/client.h"
#include "monitor/deliver.h"
#include "monitor/monitor-impl.h"
#include "supabase/client/vault.h"

struct channel {
	struct list link;
	struct uuid id;
	int per_minute;
	int64_t spent_until_ms; /* its rate is spent until then, at even pace */
	int64_t paused_until_ms;
	uint32_t failures; /* in a row */
	uint32_t in_flight;
};

struct item {
	struct list link;
	struct deliver *d;
	struct channel *channel;
	struct arena arena; /* holds the target: wiped */
	int64_t id, age_ms, created_ms;
	int attempts, again;
	struct str kind, sealed, body, dedup_key, project;
	struct http_call *call;
	/* how it went, once it ended */
	const char *outcome; /* NULL: under way */
	int status;
	int64_t after_ms;
	char problem[120];
	int recording;
};

struct deliver {
	struct monitor *m;
	struct loop_timer *timer;
	int64_t wake_ms; /* when it is set for; 0: it isn't */
	struct guard guard;
	struct http *http;
	struct vault vault;
	struct list items, channels;
	uint32_t n_items;
	int taking, more;
	int64_t took_ms;
	int64_t ping_ms; /* the last one */
	struct http_call *ping;
	loop_fn *drained;
	void *drained_arg;
};

enum {
	DELIVER_TIMEOUT_MS = 10000,
	DELIVER_LEASE_MS = 20000,
	DELIVER_MOST = 32, /* messages at once */
	DELIVER_BURST = 5, /* of a channel, beyond its pace */
	DELIVER_BREAKER = 5,
};

/* Sends it; item_end is called with its outcome, now or later. */
void item_send(struct item *it);
/* How it went: recorded, and whatever follows for its channel. */
void item_end(struct item *it, const char *outcome, int64_t after_ms,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
