#pragma once
/*
 * Where a workflow's request may go. Only globally routed unicast addresses
 * pass, judged after resolution and per connection, so neither a spelling of
 * an address, nor a name that resolves inward, nor a redirect gets around it.
 * IPv6 that carries an IPv4 address (mapped, NAT64) is judged by that one;
 * transition schemes that nobody uses any more (6to4, Teredo, v4-compatible)
 * are refused as a whole. What the operator names on the allow-list passes.
 *
 * The verdict depends on (host, address, port) and this guard alone, and
 * libcurl reuses a connection only for the same host and port: so connections
 * may be shared exactly among the calls of one guard.
 */
#include <sys/socket.h>

#include "core/error.h"

struct guard_entry;

struct guard {
	struct guard_entry *entries;
	size_t n;
};

/*
 * The allow-list: entries separated by commas or blanks, each a host name, an
 * address or a network, with or without a port:
 *     localhost  api.internal:8443  127.0.0.1:8080  10.0.0.0/8  [::1]:9000
 *     fd00::/8   [fd00::/8]:443
 * A name allows whatever it resolves to. Empty or NULL: nothing is allowed
 * beyond the public internet. FAULT_CONFIG names the entry that is wrong.
 */
int guard_init(struct guard *g, const char *allow, struct error *err);
/* The host of a URL that the operator gave passes, wherever it is; nothing else
 * within. FAULT_CONFIG: it is no http(s) URL. */
int guard_init_url(struct guard *g, const char *url, struct error *err);
void guard_deinit(struct guard *g); /* idempotent */

/*
 * May host, resolved to this address and port, be called? 0 yes; -1 with code
 * "SSRF" and a sentence that names the address and the kind it is of.
 */
int guard_check(const struct guard *g, const char *host,
    const struct sockaddr *sa, struct error *err);
