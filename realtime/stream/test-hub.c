/*
 * The hub over real sockets. What its tail would tell is told by requests; the
 * database is one that never answers, so nobody who is behind gets a page.
 */
#include "realtime/stream/hub-impl.h"
#include "realtime/server/test-client.h"

static struct hub *hub;
static struct db *db;
static struct uuid channel_id = { { 7 } };
static struct reader *readers[16];
static int n_readers;
static _Atomic int gone;

static void
over(void *arg, enum reader_end why)
{
	int i = (int)(intptr_t)arg;

	readers[i] = reader_free(readers[i]);
	gone += why == READER_ENDED ? 1 : 100;
}

/* /follow/{seq}/{level} */
static void
follow(void *arg, struct request *req)
{
	static const struct reader_ops ops = { .over = over };
	static const struct reply head = { .status = 200,
		.type = "text/event-stream" };
	struct hub_channel c = { .id = channel_id,
		.channel = STR("logs:s:p:r"),
		.epoch = 5,
		.last_seq = 0,
		.final_seq = -1 };
	struct filter what = { .level = req->params[1].s[0] - '0' };
	int i = n_readers++;

	(void)arg;
	readers[i] =
	    reader_new(hub, filter_new(&what), &ops, (void *)(intptr_t)i);
	assert_int_equal(
	    reader_follow(readers[i], &c, 5, req->params[0].s[0] - '0'), 0);
	reader_start(readers[i], req, &head, STR("event: ready\ndata: {}\n\n"));
}

/* /lines/{n}/{level}: told in one answer */
static void
lines(void *arg, struct request *req)
{
	struct tail_channel *c = tail_find(hub_tail(hub), &channel_id);
	int n = req->params[0].s[0] - '0';

	(void)arg;
	for (int i = 0; c != NULL && i < n; i++) {
		struct sse_line line = { .seq = ++c->seq,
			.level = req->params[1].s[0] - '0',
			.message = STR("m") };

		hub_told.line(hub, c, &line);
	}
	hub_told.told(hub);
	request_reply(req, &(struct reply){ .status = 200 });
}

static void
end(void *arg, struct request *req)
{
	struct tail_channel *c = tail_find(hub_tail(hub), &channel_id);

	(void)arg;
	c->final_seq = c->seq;
	hub_told.end(hub, c);
	hub_told.told(hub);
	request_reply(req, &(struct reply){ .status = 200 });
}

static const struct route routes[] = {
	{ "GET", "/follow/{seq}/{level}", 0, NULL, follow, NULL },
	{ "GET", "/lines/{n}/{level}", 0, NULL, lines, NULL },
	{ "GET", "/end", 0, NULL, end, NULL },
};

static int
setup(void **state)
{
	struct server_options o = { .routes = routes,
		.n_routes = sizeof(routes) / sizeof(routes[0]) };
	struct db_options nowhere = { .url = "postgresql:///x?host=/nowhere" };
	struct error err;

	(void)state;
	if (server_up(&o) < 0)
		return -1;
	db = db_new(loop, &nowhere, &err);
	hub = hub_new(loop, db);
	return server_run();
}

static int
teardown(void **state)
{
	(void)state;
	server_stop();
	for (int i = 0; i < n_readers; i++)
		reader_free(readers[i]);
	db_free(db);
	hub_free(hub);
	loop = loop_free(loop);
	return 0;
}

static int
get(const char *path)
{
	char text[128];
	int fd = dial();

	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n" HOST "\r\n", path);
	say(fd, text);
	return fd;
}

static void
tell(const char *path)
{
	int fd = get(path);

	assert_true(hear(fd, 1) >= 0);
	close(fd);
}

/* Reads until a text is there, from the start of this reading. */
static void
wait_for(int fd, const char *text)
{
	size_t len = 0;

	do {
		ssize_t n = recv(fd, answer + len, sizeof(answer) - 1 - len, 0);

		if (n <= 0)
			fail_msg("no %s in %s", text, answer);
		len += (size_t)n;
		answer[len] = '\0';
	} while (strstr(answer, text) == NULL);
}

/* How often a text is in what was read. */
static int
count(const char *text)
{
	int n = 0;

	for (const char *p = answer; (p = strstr(p, text)) != NULL; p++)
		n++;
	return n;
}

static void
test_all_of_it(void **state)
{
	int all = get("/follow/0/0"), some, ahead;
	int64_t from;

	(void)state;
	wait_for(all, "event: ready");
	some = get("/follow/0/5");
	wait_for(some, "event: ready");
	/* the first line comes at once, in an event with a cursor */
	from = time_mono_ms();
	tell("/lines/1/9");
	wait_for(all, "\n\n");
	assert_non_null(strstr(answer,
	    "event: log\ndata: {\"channel\":\"logs:s:p:r\",\"epoch\":5,"
	    "\"lines\":[{\"seq\":1,"));
	assert_non_null(strstr(answer, "}]}\nid: A"));
	wait_for(some, "\"seq\":1,");
	/* what comes soon after is gathered, and a filter chooses from it */
	tell("/lines/3/4");
	tell("/lines/2/9");
	if (time_mono_ms() - from < HUB_COALESCE_MS) {
		wait_for(all, "\"seq\":6,");
		assert_int_equal(count("event: log"), 1);
		assert_int_equal(count("\"seq\""), 5);
	} else {
		wait_for(all, "\"seq\":6,");
	}
	wait_for(some, "\"seq\":6,");
	assert_null(strstr(answer, "\"seq\":4,"));
	assert_non_null(strstr(answer, "\"seq\":5,"));
	/* one that is ahead gets nothing twice */
	ahead = get("/follow/8/0");
	wait_for(ahead, "event: ready");
	tell("/lines/4/9");
	wait_for(ahead, "\"seq\":10,");
	assert_null(strstr(answer, "\"seq\":8,"));
	assert_non_null(strstr(answer, "\"seq\":9,"));
	/* the end is told to each, and closes */
	tell("/end");
	assert_true(hear(ahead, 0) >= 0);
	assert_non_null(strstr(answer,
	    "event: end\ndata: {\"channel\":\"logs:s:p:r\",\"epoch\":5,"
	    "\"seq\":10}\nid: "));
	assert_true(hear(all, 0) >= 0 && hear(some, 0) >= 0);
	for (int i = 0; i < 2000 && gone < 3; i++)
		usleep(10000);
	assert_int_equal(gone, 3);
	close(all);
	close(some);
	close(ahead);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_of_it),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
