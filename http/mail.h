#pragma once
/*
 * Mail out, by SMTP, on the same client as calls: the same guard, loop and
 * outcomes. The response's status is the server's last code: 4yz may pass,
 * 5yz will not.
 *
 * A message is plain text in base64, so that nothing in it can be taken for a
 * header, a line that is too long, or the end. STARTTLS is required with
 * smtp:// unless told otherwise.
 */
#include "http/client.h"

struct mail {
	struct str url; /* smtps://USER:PASSWORD@HOST, smtp://HOST:587 */
	struct str from;
	const struct str *to; /* addresses alone: a@b */
	uint32_t n_to;
	struct str subject, body; /* UTF-8 */
	struct str id;            /* of Message-ID, stays for a repeat */
	int64_t at_ms;
	int plain; /* STARTTLS isn't required */
};

/* As http_call_start. */
struct http_call *mail_send(struct http *http, const struct mail *mail,
    http_done_fn *fn, void *arg, struct error *err);
