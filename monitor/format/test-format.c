#include "monitor/format/format.h"
#include "core/test.h"
#include "core/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const firing =
    "{\"kind\":\"new\",\"status\":\"firing\",\"at\":\"2026-11-21T12:00:00."
    "000Z\","
    "\"group\":{\"rule\":\"backlog\"},\"more\":2,\"alerts\":[{\"id\":\"a1\","
    "\"rule\":\"backlog\",\"severity\":\"critical\",\"status\":\"firing\","
    "\"project\":\"shop\",\"labels\":{\"queue\":\"backlog\"},\"value\":312.5,"
    "\"since\":\"2026-11-21T11:59:00.000Z\","
    "\"fired_at\":\"2026-11-21T12:00:00.000Z\",\"resolved_at\":null,"
    "\"summary\":\"Work <waits> & waits @everyone\",\"description\":\"More.\","
    "\"runbook\":\"docs/monitoring.md#backlog\"}]}";
static const char *const resolved =
    "{\"kind\":\"new\",\"status\":\"resolved\","
    "\"at\":\"2026-11-21T12:05:00.000Z\",\"group\":{\"rule\":\"x\"},\"more\":0,"
    "\"alerts\":[{\"id\":\"a1\",\"rule\":\"x\",\"severity\":\"info\","
    "\"status\":\"resolved\",\"project\":null,\"labels\":{},\"value\":1,"
    "\"fired_at\":\"2026-11-21T12:00:00.000Z\","
    "\"resolved_at\":\"2026-11-21T12:05:00.000Z\",\"summary\":\"\","
    "\"description\":\"\",\"runbook\":\"\"}]}";

static const char *const failed =
    "{\"kind\":\"new\",\"status\":\"firing\","
    "\"at\":\"2026-11-21T12:00:00.000Z\",\"group\":{\"rule\":\"lead-failed\"},"
    "\"more\":0,\"alerts\":[{\"id\":\"r1\",\"rule\":\"lead-failed\","
    "\"severity\":\"warning\",\"status\":\"firing\",\"project\":\"shop\","
    "\"labels\":{\"workflow\":\"lead\",\"run\":\"r1\",\"step\":\"crm\","
    "\"code\":\"HTTP503\"},\"value\":1,"
    "\"fired_at\":\"2026-11-21T12:00:00.000Z\",\"resolved_at\":null,"
    "\"summary\":\"A run of lead failed at step crm: HTTP503\","
    "\"description\":\"the service is <busy>\",\"runbook\":\"\",\"run\":\"r1\","
    "\"workflow\":\"lead\",\"step\":\"crm\",\"error\":{\"code\":\"HTTP503\","
    "\"message\":\"the service is <busy>\"}}]}";

struct made {
	struct arena a;
	struct format_out out;
	struct json *v; /* the body, where it is JSON */
};

static void
make(struct made *t, const char *kind, const char *target, const char *body)
{
	struct json *to, *of;
	struct error err;
	struct format_message m = { .dedup_key = STR("c1:{\"rule\":\"x\"}"),
		.console = "https://console.example" };

	arena_init(&t->a);
	assert_int_equal(json_parse(&t->a, str_of(target), NULL, &to, &err), 0);
	assert_int_equal(json_parse(&t->a, str_of(body), NULL, &of, &err), 0);
	m.body = of;
	if (format_message(&t->a, kind, to, &m, &t->out, &err) < 0)
		fail_msg("%s", err.text);
	if (strcmp(kind, "email") != 0)
		assert_int_equal(
		    json_parse(&t->a, t->out.body, NULL, &t->v, &err), 0);
}

/* "blocks.1.text.text" */
static const char *
at(struct made *t, const char *path)
{
	const struct json *v = t->v;

	while (*path != '\0') {
		size_t n = strcspn(path, ".");

		v = json_is(v, JSON_ARRAY)
		    ? json_at(v, strtoul(path, NULL, 10))
		    : json_get_str(v, (struct str){ path, n });
		path += n + (path[n] == '.');
	}
	return json_is(v, JSON_STRING) ? json_str(v).s : json_text(&t->a, v).s;
}

static void
test_slack(void **state)
{
	struct made t;

	(void)state;
	make(&t, "slack",
	    "{\"url\":\"https://hooks.slack.com/services/T/B/x\"}", firing);
	assert_string_equal(at(&t, "text"),
	    "FIRING: backlog: Work &lt;waits&gt; &amp; waits @everyone");
	assert_string_equal(at(&t, "blocks.0.text.text"), "FIRING: backlog");
	assert_string_equal(at(&t, "blocks.1.text.text"),
	    ":red_circle: *Work &lt;waits&gt; &amp; waits @everyone*\n"
	    "project=shop, queue=backlog\nMore.\n"
	    "What to do: docs/monitoring.md#backlog");
	assert_string_equal(at(&t, "blocks.2.elements.0.text"), "and 2 more");
	assert_string_equal(at(&t, "blocks.3.elements.0.text"),
	    "<https://console.example/p/shop/health|Open the console>");
	arena_deinit(&t.a);
	make(&t, "slack", "{\"url\":\"https://hooks.slack.com/x\"}", resolved);
	assert_string_equal(at(&t, "text"), "RESOLVED: x: x");
	arena_deinit(&t.a);
}

static void
test_pagerduty(void **state)
{
	struct made t;

	(void)state;
	make(&t, "pagerduty", "{\"routing_key\":\"R\"}", firing);
	assert_true(
	    str_is(t.out.url, "https://events.pagerduty.com/v2/enqueue"));
	assert_string_equal(at(&t, "event_action"), "trigger");
	assert_string_equal(at(&t, "routing_key"), "R");
	assert_string_equal(at(&t, "dedup_key"), "c1:{\"rule\":\"x\"}");
	assert_string_equal(at(&t, "payload.severity"), "critical");
	assert_string_equal(at(&t, "payload.component"), "shop");
	arena_deinit(&t.a);
	make(&t, "pagerduty", "{\"routing_key\":\"R\"}", resolved);
	assert_string_equal(at(&t, "event_action"), "resolve");
	assert_string_equal(at(&t, "dedup_key"), "c1:{\"rule\":\"x\"}");
	arena_deinit(&t.a);
}

static void
test_programs(void **state)
{
	struct made t;

	(void)state;
	make(&t, "alertmanager",
	    "{\"url\":\"http://a.example/\",\"token\":\"s3\"}", firing);
	assert_true(str_is(t.out.authorization, "Bearer s3"));
	assert_string_equal(at(&t, "version"), "4");
	assert_string_equal(at(&t, "alerts.0.labels"),
	    "{\"alertname\":\"backlog\",\"severity\":\"critical\","
	    "\"project\":\"shop\",\"queue\":\"backlog\"}");
	assert_string_equal(at(&t, "alerts.0.endsAt"), "0001-01-01T00:00:00Z");
	arena_deinit(&t.a);
	make(&t, "webhook",
	    "{\"url\":\"https://a.example/\",\"secret\":\"whsec_x\"}",
	    resolved);
	assert_string_equal(at(&t, "type"), "alert.resolved");
	assert_string_equal(at(&t, "data.alerts.0.id"), "a1");
	assert_string_equal(at(&t, "data.again"), "false");
	arena_deinit(&t.a);
	make(&t, "discord", "{\"url\":\"https://discord.com/x\"}", firing);
	assert_string_equal(at(&t, "allowed_mentions"), "{\"parse\":[]}");
	assert_string_equal(at(&t, "embeds.0.color"), "14687834");
	arena_deinit(&t.a);
	make(&t, "email",
	    "{\"url\":\"smtp://m.example\",\"from\":\"a@b\",\"to\":[\"c@d\"]}",
	    firing);
	assert_true(str_is(t.out.subject, "FIRING: backlog"));
	assert_non_null(strstr(t.out.body.s, "Work <waits> & waits"));
	arena_deinit(&t.a);
}

/* The step, the error and a link, in each of them. */
static void
test_failed_run(void **state)
{
	static const char link[] = "https://console.example/p/shop/runs/r1";
	struct made t;

	(void)state;
	make(&t, "slack", "{\"url\":\"https://hooks.slack.com/x\"}", failed);
	assert_string_equal(at(&t, "blocks.1.text.text"),
	    ":large_yellow_circle: *A run of lead failed at step crm: HTTP503*"
	    "\nproject=shop, workflow=lead, run=r1, step=crm, code=HTTP503"
	    "\nthe service is &lt;busy&gt;"
	    "\n<https://console.example/p/shop/runs/r1|Open the run>");
	arena_deinit(&t.a);
	make(&t, "pagerduty", "{\"routing_key\":\"R\"}", failed);
	assert_string_equal(at(&t, "links.0.href"), link);
	assert_string_equal(at(&t, "payload.custom_details.0.link"), link);
	assert_string_equal(at(&t, "payload.custom_details.0.step"), "crm");
	assert_string_equal(at(&t, "payload.custom_details.0.error.message"),
	    "the service is <busy>");
	arena_deinit(&t.a);
	make(&t, "alertmanager", "{\"url\":\"http://a.example/\"}", failed);
	assert_string_equal(at(&t, "alerts.0.generatorURL"), link);
	assert_string_equal(at(&t, "alerts.0.labels.run"), "r1");
	assert_string_equal(at(&t, "alerts.0.annotations.description"),
	    "the service is <busy>");
	arena_deinit(&t.a);
	make(&t, "webhook",
	    "{\"url\":\"https://a.example/\",\"secret\":\"whsec_x\"}", failed);
	assert_string_equal(at(&t, "data.alerts.0.link"), link);
	assert_string_equal(at(&t, "data.alerts.0.error.code"), "HTTP503");
	arena_deinit(&t.a);
	make(&t, "discord", "{\"url\":\"https://discord.com/x\"}", failed);
	assert_string_equal(at(&t, "embeds.0.url"), link);
	assert_non_null(strstr(at(&t, "embeds.0.description"), "step=crm"));
	arena_deinit(&t.a);
	make(&t, "email",
	    "{\"url\":\"smtp://m.example\",\"from\":\"a@b\",\"to\":[\"c@d\"]}",
	    failed);
	assert_non_null(strstr(t.out.body.s, link));
	assert_non_null(strstr(t.out.body.s, "at step crm: HTTP503"));
	assert_non_null(strstr(t.out.body.s, "the service is <busy>"));
	arena_deinit(&t.a);
}

/* 200 alerts, each with 6,000 bytes of summary and as much description. */
static const char *
long_message(void)
{
	static char text[4000000];
	static char words[6001];
	size_t n;

	for (size_t i = 0; i < 6000; i += 3)
		memcpy(words + i, "\xe2\x82\xac", 3); /* a euro sign */
	n = (size_t)snprintf(
	    text, sizeof(text), "{\"status\":\"firing\",\"alerts\":[");
	for (int i = 0; i < 200; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
		    "%s{\"rule\":\"r\",\"status\":\"firing\",\"summary\":"
		    "\"%s\",\"description\":\"%s\",\"runbook\":\"%s\"}",
		    i > 0 ? "," : "", words, words, words);
	snprintf(text + n, sizeof(text) - n, "]}");
	return text;
}

/* 200 alerts of long texts: within the limits, and whole characters. */
static void
test_limits(void **state)
{
	const char *text = long_message();
	struct made t;

	(void)state;
	for (const char *const *kind = format_kinds; *kind != NULL; kind++) {
		make(&t, *kind,
		    strcmp(*kind, "email") == 0
			? "{\"url\":\"smtp://m\",\"from\":\"a\",\"to\":\"b\"}"
			: "{\"url\":\"https://m\",\"routing_key\":\"r\","
			  "\"secret\":\"s\"}",
		    text);
		assert_true(utf8_valid(t.out.body));
		if (strcmp(*kind, "slack") == 0) {
			const struct json *blocks = json_get(t.v, "blocks");

			assert_in_range(blocks->n, 40, 50);
			for (uint32_t i = 1; i < 40; i++)
				assert_in_range(
				    json_str(
					json_get(json_get(json_at(blocks, i),
						     "text"),
					    "text"))
					.n,
				    1, 3000);
		}
		if (strcmp(*kind, "discord") == 0)
			assert_in_range(json_get(t.v, "embeds")->n, 1, 10);
		arena_deinit(&t.a);
	}
}

static void
test_targets(void **state)
{
	static const struct {
		const char *kind, *target, *want;
	} bad[] = {
		{ "slack", "{}", "a slack channel needs \"url\"" },
		{ "slack", "{\"url\":\"ftp://x\"}",
		    "the url of a slack channel begins with https://" },
		{ "pagerduty", "{}",
		    "a pagerduty channel needs \"routing_key\"" },
		{ "email",
		    "{\"url\":\"https://x\",\"from\":\"a\",\"to\":\"b\"}",
		    "the url of a email channel begins with smtp:// or "
		    "smtps://" },
		{ "pigeon", "{}", "no kind of channel \"pigeon\"" },
	};
	struct arena a;
	struct json *target;
	struct str show;
	struct error err;

	(void)state;
	arena_init(&a);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_parse(&a, str_of(bad[i].target), NULL, &target, NULL);
		assert_int_equal(
		    format_target_check(&a, bad[i].kind, target, &show, &err),
		    -1);
		assert_string_equal(err.text, bad[i].want);
	}
	json_parse(&a,
	    STR("{\"url\":\"https://user:pw@hooks.example/services/secret\"}"),
	    NULL, &target, NULL);
	assert_int_equal(
	    format_target_check(&a, "slack", target, &show, &err), 0);
	assert_true(str_is(show, "https://hooks.example"));
	arena_deinit(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slack),
		cmocka_unit_test(test_pagerduty),
		cmocka_unit_test(test_programs),
		cmocka_unit_test(test_failed_run),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_targets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
