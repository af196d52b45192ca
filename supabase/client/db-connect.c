#include "supabase/client/db-impl.h"
#include "core/mem.h"
#include "core/retry.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const char *
option(const struct db *db, const char *keyword)
{
	for (const PQconninfoOption *o = db->url; o->keyword != NULL; o++)
		if (strcmp(o->keyword, keyword) == 0)
			return o->val;
	return NULL;
}

static void
where_set(struct db *db)
{
	const char *host = option(db, "host"), *port = option(db, "port");
	struct buf b;

	buf_init(&b);
	buf_addf(&b, "%s%s:%s", host != NULL && host[0] == '/' ? "socket:" : "",
	    host != NULL ? host : "default", port != NULL ? port : "5432");
	db->where = b.bytes;
}

/* libpq's messages quote what they stumble over, which may be the password:
 * only what stands before the first quote is handed on. */
int
db_url_parse(struct db *db, const char *url, struct error *err)
{
	char *message = NULL;
	char why[128];

	if (url == NULL || url[0] == '\0')
		return fail(err, FAULT_CONFIG, "URL", "no database URL given");
	db->url = PQconninfoParse(url, &message);
	if (db->url == NULL) {
		db_one_line(message != NULL ? message : "", why, sizeof(why));
		why[strcspn(why, "\"")] = '\0';
		PQfreemem(message);
		return fail(err, FAULT_CONFIG, "URL",
		    "not a database URL (postgresql://user:password@host:port/"
		    "name): %s",
		    why[0] != '\0' ? why : "malformed");
	}
	where_set(db);
	return 0;
}

void
db_url_free(struct db *db)
{
	for (PQconninfoOption *o = db->url; o != NULL && o->keyword != NULL;
	     o++)
		if (o->val != NULL && strstr(o->keyword, "password") != NULL)
			explicit_bzero(o->val, strlen(o->val));
	PQconninfoFree(db->url);
	db->url = NULL;
}

void
db_one_line(const char *message, char *out, size_t room)
{
	const char *location = strstr(message, "\nLOCATION:");
	size_t n =
	    location != NULL ? (size_t)(location - message) : strlen(message);

	while (n > 0 && message[n - 1] == '\n')
		n--;
	if (n >= room)
		n = room - 1;
	for (size_t i = 0; i < n; i++)
		out[i] =
		    message[i] == '\n' || message[i] == '\t' ? ' ' : message[i];
	out[n] = '\0';
}

/* libpq doesn't hand out the SQLSTATE of a refused connection, but a verbose
 * message holds it: "FATAL:  28P01: password ...". */
static void
refused_state(const char *message, char out[16])
{
	static const char upper[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

	memcpy(out, "08001", 6);
	for (const char *p = strstr(message, ":  "); p != NULL;
	     p = strstr(p + 1, ":  ")) {
		if (strspn(p + 3, upper) != 5 || p[8] != ':')
			continue;
		memcpy(out, p + 3, 5);
		return;
	}
}

static void
refused(struct db *db)
{
	const char *message = PQerrorMessage(db->conn);
	struct error err;
	char state[16], text[400];

	refused_state(message, state);
	db_one_line(message, text, sizeof(text));
	/* a server that doesn't let us in won't until somebody mends it */
	if (strncmp(state, "28", 2) == 0 || strncmp(state, "3D", 2) == 0)
		fail(&err, FAULT_CONFIG, state, "database: %s", text);
	else
		fail(&err, FAULT_RETRY, state, "database: %s", text);
	db_lost(db, &err);
}

static void polled(void *arg, int events);

/* libpq may close one socket and open another within PQconnectPoll, so no
 * watch is kept over the call. */
static void
poll_on(struct db *db)
{
	PostgresPollingStatusType r;

	db->io = loop_io_stop(db->io);
	r = PQconnectPoll(db->conn);
	if (r == PGRES_POLLING_FAILED) {
		refused(db);
		return;
	}
	if (r == PGRES_POLLING_OK) {
		db_connected(db);
		return;
	}
	db->io = loop_io_start(db->loop, PQsocket(db->conn),
	    r == PGRES_POLLING_READING ? LOOP_READ : LOOP_WRITE, polled, db);
}

static void
polled(void *arg, int events)
{
	(void)events;
	poll_on(arg);
}

static void
ignore_notice(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

struct keyword_list {
	const char *keys[80], *values[80];
	size_t n;
};

static void
keyword_set(struct keyword_list *l, const char *key, const char *value)
{
	size_t i = 0;

	while (i < l->n && strcmp(l->keys[i], key) != 0)
		i++;
	if (i == NELEM(l->keys) - 1)
		return;
	l->keys[i] = key;
	l->values[i] = value;
	if (i == l->n)
		l->n++;
}

/* What the URL says counts; what it doesn't say is as a long-lived process
 * needs it. */
static void
keywords_fill(struct keyword_list *l, const struct db *db, char dead_after[24])
{
	keyword_set(l, "application_name", db->name);
	keyword_set(l, "client_encoding", "UTF8");
	keyword_set(l, "keepalives_idle", "10");
	keyword_set(l, "keepalives_interval", "5");
	keyword_set(l, "keepalives_count", "3");
	keyword_set(l, "tcp_user_timeout", dead_after);
	keyword_set(l, "target_session_attrs", "read-write");
	for (const PQconninfoOption *o = db->url; o->keyword != NULL; o++)
		if (o->val != NULL)
			keyword_set(l, o->keyword, o->val);
	if (db->addrs.len == 0)
		return;
	keyword_set(l, "host", db->hosts.bytes);
	keyword_set(l, "hostaddr", db->addrs.bytes);
	keyword_set(l, "port", db->ports.bytes);
}

static void
connect_start(struct db *db)
{
	struct keyword_list l = { 0 };
	char dead_after[24];

	snprintf(dead_after, sizeof(dead_after), "%lld",
	    (long long)db->dead_after_ms);
	keywords_fill(&l, db, dead_after);
	db->phase = PHASE_POLLING;
	db->conn = PQconnectStartParams(l.keys, l.values, 0);
	if (db->conn == NULL)
		abort(); /* the heap is exhausted */
	PQsetNoticeProcessor(db->conn, ignore_notice, NULL);
	PQsetErrorVerbosity(db->conn, PQERRORS_VERBOSE);
	if (PQstatus(db->conn) == CONNECTION_BAD) {
		refused(db);
		return;
	}
	db->io =
	    loop_io_start(db->loop, PQsocket(db->conn), LOOP_WRITE, polled, db);
}

/* The i-th entry of a comma-separated list; the last one stands for those
 * that are missing when `repeat`. */
static struct str
list_entry_at(const char *list, uint32_t i, int repeat)
{
	struct str s = { list, list != NULL ? strcspn(list, ",") : 0 };

	while (i-- > 0 && s.s != NULL) {
		if (s.s[s.n] == '\0')
			return repeat ? s : (struct str){ NULL, 0 };
		s.s += s.n + 1;
		s.n = strcspn(s.s, ",");
	}
	return s;
}

static void
list_add(struct buf *list, struct str s, int first)
{
	if (!first)
		buf_addc(list, ',');
	buf_addstr(list, s);
}

/* Each address is an entry of its own, under the name it was found by. */
static void
address_add(struct db *db, struct str host, const char *addr)
{
	int first = db->hosts.len == 0;

	list_add(&db->hosts, host, first);
	list_add(&db->addrs, str_of(addr), first);
	list_add(
	    &db->ports, list_entry_at(option(db, "port"), db->host, 1), first);
}

static void lookup_next(struct db *db);

static void
looked_up(void *arg, char addrs[][LOOP_ADDR_TEXT], int n, const char *reason)
{
	struct db *db = arg;
	struct str host = list_entry_at(option(db, "host"), db->host, 0);
	struct error err;

	db->lookup = NULL;
	for (int i = 0; i < n; i++)
		address_add(db, host, addrs[i]);
	db->host++;
	if (n == 0 && db->addrs.len == 0 &&
	    list_entry_at(option(db, "host"), db->host, 0).s == NULL) {
		fail(&err, FAULT_RETRY, "08001",
		    "database: host \"%.*s\" not found: %s", STR_FMT(host),
		    reason);
		db_lost(db, &err);
		return;
	}
	lookup_next(db);
}

static int
is_address(const char *host)
{
	unsigned char bytes[16];

	return inet_pton(AF_INET, host, bytes) == 1 ||
	    inet_pton(AF_INET6, host, bytes) == 1;
}

static void
lookup_next(struct db *db)
{
	struct str host = list_entry_at(option(db, "host"), db->host, 0);
	char name[256];

	if (host.s == NULL) {
		connect_start(db);
		return;
	}
	snprintf(name, sizeof(name), "%.*s", STR_FMT(host));
	if (is_address(name)) {
		address_add(db, host, name);
		db->host++;
		lookup_next(db);
		return;
	}
	db->phase = PHASE_LOOKUP;
	db->lookup = loop_lookup_start(db->loop, name, looked_up, db);
	if (db->lookup == NULL)
		looked_up(db, NULL, 0, "name look-up could not start");
}

/* Sockets, given addresses and libpq's own defaults need no look-up. */
static int
needs_lookup(const struct db *db)
{
	const char *host = option(db, "host");

	return host != NULL && host[0] != '\0' && host[0] != '/' &&
	    host[0] != '@' && strstr(host, ",/") == NULL &&
	    option(db, "hostaddr") == NULL;
}

void
db_connect(struct db *db)
{
	buf_clear(&db->hosts);
	buf_clear(&db->addrs);
	buf_clear(&db->ports);
	db->host = 0;
	loop_timer_set(db->timer, db->connect_timeout_ms);
	if (needs_lookup(db))
		lookup_next(db);
	else
		connect_start(db);
}

void
db_connect_later(struct db *db)
{
	struct retry_policy policy = retry_default();
	struct retry_try try = { .cause = RETRY_CONNECTION,
		.retry_after_ms = RETRY_NO_AFTER };

	policy.max_attempts = UINT32_MAX;
	policy.base_ms = 100;
	policy.cap_ms = 10000;
	try.attempt = ++db->failures;
	if (getrandom(&try.random, sizeof(try.random), 0) < 0)
		try.random = 0;
	db->phase = PHASE_WAITING;
	loop_timer_set(db->timer, retry_next(&policy, &try));
}

void
db_disconnect(struct db *db)
{
	db->lookup = loop_lookup_cancel(db->lookup);
	db->io = loop_io_stop(db->io);
	PQfinish(db->conn);
	db->conn = NULL;
}
