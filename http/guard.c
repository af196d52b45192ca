#include "http/guard.h"
#include "core/mem.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A network; IPv4 in the last four bytes of a v4-mapped address, so that one
 * comparison serves both. */
struct guard_net {
	uint8_t addr[16];
	uint8_t bits; /* of 128 */
};

struct guard_entry {
	char *host; /* NULL: a network */
	struct guard_net net;
	int port; /* 0: any */
};

/* IANA's special-purpose registries (RFC 6890), and what is deprecated. */
static const struct guard_range {
	const char *net, *kind;
} ranges[] = {
	{ "0.0.0.0/8", "an address of this host" },
	{ "10.0.0.0/8", "a private address" },
	{ "100.64.0.0/10", "a carrier's shared address" },
	{ "127.0.0.0/8", "a loopback address" },
	{ "169.254.169.254/32", "the cloud's metadata service" },
	{ "169.254.0.0/16", "a link-local address" },
	{ "172.16.0.0/12", "a private address" },
	{ "192.0.0.0/24", "a protocol assignment" },
	{ "192.0.2.0/24", "a documentation address" },
	{ "192.88.99.0/24", "a 6to4 relay" },
	{ "192.168.0.0/16", "a private address" },
	{ "198.18.0.0/15", "a benchmarking address" },
	{ "198.51.100.0/24", "a documentation address" },
	{ "203.0.113.0/24", "a documentation address" },
	{ "224.0.0.0/4", "a multicast address" },
	{ "255.255.255.255/32", "the broadcast address" },
	{ "240.0.0.0/4", "a reserved address" },
	{ "::/128", "an address of this host" },
	{ "::1/128", "a loopback address" },
	{ "::/96", "a v4-compatible address" },
	{ "64:ff9b:1::/48", "a local NAT64 address" },
	{ "100::/64", "a discard address" },
	{ "2001::/32", "a Teredo address" },
	{ "2001::/23", "a protocol assignment" },
	{ "2001:db8::/32", "a documentation address" },
	{ "2002::/16", "a 6to4 address" },
	{ "3fff::/20", "a documentation address" },
	{ "fc00::/7", "a private address" },
	{ "fe80::/10", "a link-local address" },
	{ "fec0::/10", "a site-local address" },
	{ "ff00::/8", "a multicast address" },
};

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
static const uint8_t nat64[12] = { 0x00, 0x64, 0xff, 0x9b };

/* The 16 bytes that are judged, and the port; -1 for another family. */
static int
subject(const struct sockaddr *sa, uint8_t out[16], int *port)
{
	if (sa->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, sa, sizeof(in));
		memcpy(out, mapped, 12);
		memcpy(out + 12, &in.sin_addr, 4);
		*port = ntohs(in.sin_port);
		return 0;
	}
	if (sa->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, sa, sizeof(in6));
		memcpy(out, &in6.sin6_addr, 16);
		if (memcmp(out, nat64, 12) == 0)
			memcpy(out, mapped, 12);
		*port = ntohs(in6.sin6_port);
		return 0;
	}
	return -1;
}

static int
net_has(const struct guard_net *net, const uint8_t addr[16])
{
	size_t whole = net->bits / 8;
	int rest = net->bits % 8;

	if (memcmp(net->addr, addr, whole) != 0)
		return 0;
	return rest == 0 ||
	    ((net->addr[whole] ^ addr[whole]) >> (8 - rest)) == 0;
}

/* "10.0.0.0/8", "::1": -1 unless an address with a sound prefix length. */
static int
net_parse(const char *text, struct guard_net *net)
{
	char addr[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t n = slash != NULL ? (size_t)(slash - text) : strlen(text);
	unsigned long bits, most = 128;
	char *end;

	if (n >= sizeof(addr))
		return -1;
	memcpy(addr, text, n);
	addr[n] = '\0';
	if (inet_pton(AF_INET, addr, net->addr + 12) == 1) {
		memcpy(net->addr, mapped, 12);
		most = 32;
	} else if (inet_pton(AF_INET6, addr, net->addr) != 1) {
		return -1;
	}
	bits = most;
	if (slash != NULL) {
		if (slash[1] < '0' || slash[1] > '9')
			return -1;
		bits = strtoul(slash + 1, &end, 10);
		if (*end != '\0' || bits > most)
			return -1;
	}
	net->bits = (uint8_t)(bits + 128 - most);
	return 0;
}

static int
allowed(
    const struct guard *g, const char *host, const uint8_t addr[16], int port)
{
	for (size_t i = 0; i < g->n; i++) {
		const struct guard_entry *e = &g->entries[i];

		if (e->port != 0 && e->port != port)
			continue;
		if (e->host != NULL ? strcasecmp(e->host, host) == 0
				    : net_has(&e->net, addr))
			return 1;
	}
	return 0;
}

/* NULL for a globally routed unicast address. */
static const char *
special_kind(const uint8_t addr[16])
{
	for (size_t i = 0; i < NELEM(ranges); i++) {
		struct guard_net net;

		if (net_parse(ranges[i].net, &net) == 0 && net_has(&net, addr))
			return ranges[i].kind;
	}
	if (memcmp(addr, mapped, 12) == 0 || (addr[0] & 0xe0) == 0x20)
		return NULL;
	return "not a public address";
}

int
guard_check(const struct guard *g, const char *host, const struct sockaddr *sa,
    struct error *err)
{
	char text[INET6_ADDRSTRLEN] = "?";
	uint8_t addr[16];
	const char *kind;
	int port;

	if (subject(sa, addr, &port) < 0)
		return fail(err, FAULT_INPUT, "SSRF",
		    "%.200s is not an internet address", host);
	if (port == 0)
		return fail(err, FAULT_INPUT, "SSRF", "port 0 of %.200s", host);
	if (g != NULL && allowed(g, host, addr, port))
		return 0;
	kind = special_kind(addr);
	if (kind == NULL)
		return 0;
	if (memcmp(addr, mapped, 12) == 0)
		inet_ntop(AF_INET, addr + 12, text, sizeof(text));
	else
		inet_ntop(AF_INET6, addr, text, sizeof(text));
	return fail(err, FAULT_INPUT, "SSRF",
	    "%.200s is at %s, %s, which is not on the allow-list", host, text,
	    kind);
}

static int
bad_entry(const char *entry, const char *why, struct error *err)
{
	return fail(err, FAULT_CONFIG, "CONFIG",
	    "HTTP allow-list: \"%.100s\" %s; an entry reads like localhost, "
	    "api.internal:8443, 10.0.0.0/8 or [::1]:8080",
	    entry, why);
}

/* 1-65535 and nothing else; -1 otherwise. */
static int
port_parse(const char *s)
{
	char *end;
	unsigned long port;

	if (*s < '0' || *s > '9')
		return -1;
	port = strtoul(s, &end, 10);
	return *end == '\0' && port >= 1 && port <= 65535 ? (int)port : -1;
}

/* Cut the port off text, "[...]" around an address too. */
static int
split_port(char *text, int *port)
{
	char *colon = strchr(text, ':');

	if (*text == '[') {
		size_t n = strcspn(text, "]");

		if (text[n] == '\0' || strchr(text, ':') > text + n)
			return -1;
		colon = text[n + 1] == ':' ? text + n + 1 : NULL;
		if (colon == NULL && text[n + 1] != '\0')
			return -1;
		text[n] = '\0';
		memmove(text, text + 1, n);
	} else if (colon == NULL || strchr(colon + 1, ':') != NULL) {
		return 0; /* none, or a bare IPv6 address */
	}
	if (colon == NULL)
		return 0;
	*colon = '\0';
	*port = port_parse(colon + 1);
	return *port > 0 ? 0 : -1;
}

static int
is_host_name(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n < 254 && s[0] != '.' && s[0] != '-' &&
	    strspn(s,
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		"0123456789._-") == n &&
	    s[strspn(s, "0123456789.")] != '\0';
}

static int
entry_parse(const char *text, struct guard_entry *e, struct error *err)
{
	char host[300];

	if (strlen(text) >= sizeof(host))
		return bad_entry(text, "is too long", err);
	memcpy(host, text, strlen(text) + 1);
	if (split_port(host, &e->port) < 0)
		return bad_entry(text, "has no valid port", err);
	if (net_parse(host, &e->net) == 0)
		return 0;
	if (strchr(host, '/') != NULL)
		return bad_entry(text, "is not a network", err);
	if (!is_host_name(host))
		return bad_entry(text, "is no name, address or network", err);
	e->host = xstrdup(host);
	return 0;
}

int
guard_init(struct guard *g, const char *allow, struct error *err)
{
	static const char blanks[] = ", \t\r\n";

	*g = (struct guard){ 0 };
	while (allow != NULL && *(allow += strspn(allow, blanks)) != '\0') {
		size_t n = strcspn(allow, blanks);
		char *text = xcalloc(n + 1, 1);
		struct guard_entry e = { 0 };
		int r;

		memcpy(text, allow, n);
		r = entry_parse(text, &e, err);
		free(text);
		if (r < 0) {
			guard_deinit(g);
			return -1;
		}
		g->entries =
		    xrealloc(g->entries, (g->n + 1) * sizeof(*g->entries));
		g->entries[g->n++] = e;
		allow += n;
	}
	return 0;
}

int
guard_init_url(struct guard *g, const char *url, struct error *err)
{
	const char *host = strstr(url, "://");
	char *allow;
	int r;

	*g = (struct guard){ 0 };
	if (host == NULL || strncmp(url, "http", 4) != 0)
		return fail(
		    err, FAULT_CONFIG, "CONFIG", "it is no http(s) URL");
	allow = strndup(host + 3, strcspn(host + 3, "/?#"));
	r = guard_init(g, allow, err);
	free(allow);
	return r;
}

void
guard_deinit(struct guard *g)
{
	for (size_t i = 0; i < g->n; i++)
		free(g->entries[i].host);
	free(g->entries);
	*g = (struct guard){ 0 };
}
