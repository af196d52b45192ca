#pragma once
/*
 * A message about alerts as each kind of channel wants it. Pure: from the
 * outbox's body (judge-message.c) and the channel's target to a request's
 * parts; who sends it adds signatures and sends.
 *
 *     slack         incoming webhook: blocks within Slack's limits, fallback text
 *     pagerduty     Events API v2: trigger and resolve under one dedup_key
 *     alertmanager  webhook, version 4
 *     webhook       {type, timestamp, data}, to be signed by Standard Webhooks
 *     discord       webhook: embeds within Discord's limits, nobody mentioned
 *     email         a plain message
 *
 * Whatever the alerts hold is cut to what the receiver takes, and escaped as
 * it wants. An alert about a failed run ("run") gets a link to it ("link").
 */
#include "core/error.h"
#include "core/json.h"

struct format_message {
	const struct json *body;
	struct str dedup_key;
	int again;           /* it may have arrived before */
	const char *console; /* a link's beginning; NULL: none */
};

struct format_out {
	struct str url, body;
	struct str subject;       /* of a mail */
	const char *content_type; /* NULL: none */
	struct str authorization; /* a header's value, secret; or none */
};

/* The kinds, NULL-terminated. */
extern const char *const format_kinds[];

/* What a channel of this kind needs in its target: FAULT_INPUT names what is
 * missing or isn't a URL. *show: what of it may be shown. */
int format_target_check(struct arena *a, const char *kind,
    const struct json *target, struct str *show, struct error *err);

int format_message(struct arena *a, const char *kind, const struct json *target,
    const struct format_message *m, struct format_out *out, struct error *err);
