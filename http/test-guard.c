#include "http/guard.h"
#include "core/mem.h"
#include "core/test.h"

#include <stdio.h>
#include <arpa/inet.h>
#include <netinet/in.h>

/* 0 may be called, -1 not. */
static int
check(const struct guard *g, const char *host, const char *addr, int port,
    struct error *err)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
		.sin6_port = htons((uint16_t)port) };
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port) };

	if (inet_pton(AF_INET, addr, &in.sin_addr) == 1)
		return guard_check(g, host, (struct sockaddr *)&in, err);
	assert_int_equal(inet_pton(AF_INET6, addr, &in6.sin6_addr), 1);
	return guard_check(g, host, (struct sockaddr *)&in6, err);
}

/* Each range: the last address before, its first, its last, the one after. */
static void
test_edges_of_every_range(void **state)
{
	static const struct {
		const char *before, *first, *last, *after;
	} rows[] = {
		{ NULL, "0.0.0.0", "0.255.255.255", "1.0.0.0" },
		{ "9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0" },
		{ "100.63.255.255", "100.64.0.0", "100.127.255.255",
		    "100.128.0.0" },
		{ "126.255.255.255", "127.0.0.0", "127.255.255.255",
		    "128.0.0.0" },
		{ "169.253.255.255", "169.254.0.0", "169.254.255.255",
		    "169.255.0.0" },
		{ NULL, "169.254.169.254", "169.254.169.254", NULL },
		{ "172.15.255.255", "172.16.0.0", "172.31.255.255",
		    "172.32.0.0" },
		{ "191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0" },
		{ "192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0" },
		{ "192.88.98.255", "192.88.99.0", "192.88.99.255",
		    "192.88.100.0" },
		{ "192.167.255.255", "192.168.0.0", "192.168.255.255",
		    "192.169.0.0" },
		{ "198.17.255.255", "198.18.0.0", "198.19.255.255",
		    "198.20.0.0" },
		{ "198.51.99.255", "198.51.100.0", "198.51.100.255",
		    "198.51.101.0" },
		{ "203.0.112.255", "203.0.113.0", "203.0.113.255",
		    "203.0.114.0" },
		{ "223.255.255.255", "224.0.0.0", "239.255.255.255", NULL },
		{ NULL, "240.0.0.0", "255.255.255.255", NULL },
		{ NULL, "::", "::ffff", NULL },
		{ NULL, "::1", "::1", NULL },
		{ NULL, "::808:808", "::ffff:ffff", NULL },
		{ NULL, "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
		    NULL },
		{ NULL, "100::", "100::ffff:ffff:ffff:ffff", NULL },
		{ NULL, "1fff:ffff::", "1fff:ffff::1", "2000::" },
		{ "2000:ffff::", "2001::", "2001:0:ffff::1", NULL },
		{ NULL, "2001:1::", "2001:1ff:ffff::", "2001:200::" },
		{ "2001:db7:ffff::", "2001:db8::", "2001:db8:ffff::",
		    "2001:db9::" },
		{ "2001:ffff::", "2002::", "2002:808:808::", "2003::" },
		{ "3ffe:ffff::", "3fff::", "3fff:fff:ffff::", "3fff:1000::" },
		{ "3fff:ffff::", "4000::", "5f00::1", NULL },
		{ NULL, "fc00::", "fdff:ffff::", NULL },
		{ NULL, "fe80::", "febf::1", NULL },
		{ NULL, "fec0::", "feff::1", NULL },
		{ NULL, "ff00::", "ff02::1", NULL },
	};
	struct guard g;
	struct error err;

	(void)state;
	assert_int_equal(guard_init(&g, NULL, &err), 0);
	for (size_t i = 0; i < NELEM(rows); i++) {
		assert_int_equal(
		    check(&g, "x.example", rows[i].first, 80, &err), -1);
		assert_string_equal(err.code, "SSRF");
		assert_int_equal(err.fault, FAULT_INPUT);
		assert_int_equal(
		    check(&g, "x.example", rows[i].last, 80, &err), -1);
		if (rows[i].before != NULL)
			assert_int_equal(
			    check(&g, "x", rows[i].before, 80, &err), 0);
		if (rows[i].after != NULL)
			assert_int_equal(
			    check(&g, "x", rows[i].after, 80, &err), 0);
	}
}

/* An IPv4 address inside an IPv6 one is judged as itself. */
static void
test_embedded_addresses(void **state)
{
	static const struct {
		const char *addr;
		int r;
	} rows[] = {
		{ "::ffff:8.8.8.8", 0 },
		{ "::ffff:127.0.0.1", -1 },
		{ "::ffff:10.1.2.3", -1 },
		{ "64:ff9b::8.8.8.8", 0 },
		{ "64:ff9b::127.0.0.1", -1 },
		{ "64:ff9b::169.254.169.254", -1 },
		{ "64:ff9b::1:0:0", -1 },
		{ "::8.8.8.8", -1 },
		{ "2002:7f00:1::", -1 },
		{ "2001:0:7f00:1::", -1 },
		{ "2606:4700::1", 0 },
	};
	struct guard g;
	struct error err;

	(void)state;
	assert_int_equal(guard_init(&g, "", &err), 0);
	for (size_t i = 0; i < NELEM(rows); i++)
		assert_int_equal(
		    check(&g, "x", rows[i].addr, 443, &err), rows[i].r);
	check(&g, "db.internal", "::ffff:10.1.2.3", 443, &err);
	assert_string_equal(err.text,
	    "db.internal is at 10.1.2.3, a private address, which is not on "
	    "the allow-list");
	check(&g, "meta", "169.254.169.254", 80, &err);
	assert_non_null(strstr(err.text, "metadata"));
	assert_int_equal(check(&g, "x", "8.8.8.8", 0, &err), -1);
	assert_int_equal(check(NULL, "x", "127.0.0.1", 80, &err), -1);
	assert_int_equal(check(NULL, "x", "8.8.8.8", 80, &err), 0);
	assert_int_equal(guard_check(&g, "x",
			     &(struct sockaddr){ .sa_family = AF_UNIX }, &err),
	    -1);
}

static void
test_allow_list(void **state)
{
	static const struct {
		const char *host, *addr;
		int port, r;
	} rows[] = {
		{ "127.0.0.1", "127.0.0.1", 8080, 0 },
		{ "127.0.0.1", "127.0.0.1", 8081, -1 },
		{ "any.name", "127.0.0.1", 8080, 0 },
		{ "x", "10.255.0.1", 1, 0 },
		{ "x", "11.0.0.1", 1, 0 },
		{ "x", "::ffff:10.0.0.1", 1, 0 },
		{ "LocalHost", "::1", 99, 0 },
		{ "localhost.", "::1", 99, -1 },
		{ "x", "::1", 9000, 0 },
		{ "x", "::1", 9001, -1 },
		{ "api.internal", "192.168.1.1", 8443, 0 },
		{ "api.internal", "192.168.1.1", 443, -1 },
		{ "x", "fd00::1", 443, 0 },
		{ "x", "fe80::1", 443, -1 },
		{ "x", "fc00::1", 443, -1 },
		{ "x", "172.16.5.7", 443, 0 },
		{ "x", "172.16.5.7", 80, -1 },
		{ "x", "172.16.6.7", 443, -1 },
	};
	struct guard g;
	struct error err;

	(void)state;
	assert_int_equal(
	    guard_init(&g,
		"127.0.0.1:8080,10.0.0.0/8 localhost,, [::1]:9000\n"
		"api.internal:8443, fd00::/8 172.16.5.0/24:443",
		&err),
	    0);
	for (size_t i = 0; i < NELEM(rows); i++)
		assert_int_equal(
		    check(&g, rows[i].host, rows[i].addr, rows[i].port, &err),
		    rows[i].r);
	guard_deinit(&g);
	guard_deinit(&g);
	assert_int_equal(guard_init(&g, "0.0.0.0/0,::/0", &err), 0);
	assert_int_equal(check(&g, "x", "127.0.0.1", 1, &err), 0);
	assert_int_equal(check(&g, "x", "fe80::1", 1, &err), 0);
	guard_deinit(&g);
}

static void
test_wrong_entries_are_named(void **state)
{
	static const char *const bad[] = { "10.0.0.0/33", "10.0.0/8", "1.2.3",
		"::1/129", "host:0", "host:65536", "host:", "host:x", "[::1",
		"[::1]x", "[::1]:", "/8", "ho st!", "-x", ".x", "10.0.0.0/",
		"10.0.0.0/8x", "http://x", "*", "10.0.0.0/-1", "a]b", "[x" };
	struct guard g;
	struct error err;

	(void)state;
	for (size_t i = 0; i < NELEM(bad); i++) {
		char list[64];

		snprintf(list, sizeof(list), "localhost,%s", bad[i]);
		assert_int_equal(guard_init(&g, list, &err), -1);
		assert_int_equal(err.fault, FAULT_CONFIG);
		assert_int_equal(g.n, 0);
	}
	guard_init(&g, "ok,10.0.0.0/33", &err);
	assert_non_null(strstr(err.text, "\"10.0.0.0/33\" is not a network"));
}

/* The host of a URL, on its port, and nothing beside it. */
static void
test_a_url(void **state)
{
	struct guard g;
	struct error err;

	(void)state;
	assert_int_equal(
	    guard_init_url(&g, "http://127.0.0.1:8080/a?b=10.0.0.1", &err), 0);
	assert_int_equal(check(&g, "127.0.0.1", "127.0.0.1", 8080, &err), 0);
	assert_int_equal(check(&g, "127.0.0.1", "127.0.0.1", 8081, &err), -1);
	assert_int_equal(check(&g, "10.0.0.1", "10.0.0.1", 8080, &err), -1);
	guard_deinit(&g);
	assert_int_equal(guard_init_url(&g, "https://api.internal", &err), 0);
	assert_int_equal(check(&g, "api.internal", "10.0.0.1", 443, &err), 0);
	guard_deinit(&g);
	assert_int_equal(guard_init_url(&g, "api.internal", &err), -1);
	assert_int_equal(guard_init_url(&g, "ftp://api.internal", &err), -1);
	assert_int_equal(err.fault, FAULT_CONFIG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edges_of_every_range),
		cmocka_unit_test(test_embedded_addresses),
		cmocka_unit_test(test_allow_list),
		cmocka_unit_test(test_wrong_entries_are_named),
		cmocka_unit_test(test_a_url),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
