#include "worker/flow/parse-impl.h"

enum { ATTEMPTS = 100 };
static const int64_t WEEK = 7 * 86400000LL;

static void
retry_attempts(struct parser *p, const struct json_path *at,
    const struct json *v, void *into)
{
	int64_t n;

	if (want_integer(p, at, v, 1, ATTEMPTS, &n) == 0)
		((struct retry_policy *)into)->max_attempts = (uint32_t)n;
}

static void
retry_backoff(struct parser *p, const struct json_path *at,
    const struct json *v, void *into)
{
	want_duration(p, at, v, WEEK, &((struct retry_policy *)into)->base_ms);
}

static void
retry_cap(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	want_duration(p, at, v, WEEK, &((struct retry_policy *)into)->cap_ms);
}

static void
retry_factor(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	double f = json_num(v);

	if (want(p, at, v, JSON_NUMBER) < 0)
		return;
	if (!(f >= 1.0 && f <= 100.0))
		problem(p, at, NULL, "must be from 1 to 100");
	else
		((struct retry_policy *)into)->factor = f;
}

static void
retry_jitter(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	if (want(p, at, v, JSON_TRUE) == 0)
		((struct retry_policy *)into)->jitter = json_is(v, JSON_TRUE);
}

static void
retry_statuses(struct parser *p, const struct json_path *at,
    const struct json *v, void *into)
{
	struct retry_policy *policy = into;
	int64_t n;

	if (want(p, at, v, JSON_ARRAY) < 0)
		return;
	if (v->n > RETRY_RANGES) {
		problem(
		    p, at, NULL, "must have at most %d items", RETRY_RANGES);
		return;
	}
	policy->n_statuses = v->n;
	for (uint32_t i = 0; i < v->n; i++) {
		if (want_integer(p, AT_ITEM(at, i), v->items[i], 400, 599, &n))
			continue;
		policy->statuses[i].from = policy->statuses[i].to = (uint16_t)n;
	}
}

static void
retry_connection(struct parser *p, const struct json_path *at,
    const struct json *v, void *into)
{
	if (want(p, at, v, JSON_TRUE) == 0)
		((struct retry_policy *)into)->on_connection =
		    json_is(v, JSON_TRUE);
}

static void
retry_after_cap(struct parser *p, const struct json_path *at,
    const struct json *v, void *into)
{
	want_duration(
	    p, at, v, WEEK, &((struct retry_policy *)into)->retry_after_cap_ms);
}

static const struct field fields[] = {
	{ "attempts", retry_attempts, 0 },
	{ "backoff", retry_backoff, 0 },
	{ "factor", retry_factor, 0 },
	{ "cap", retry_cap, 0 },
	{ "jitter", retry_jitter, 0 },
	{ "statuses", retry_statuses, 0 },
	{ "connection_errors", retry_connection, 0 },
	{ "retry_after_cap", retry_after_cap, 0 },
	{ NULL, NULL, 0 },
};

/* "retry": {} is the default policy; none at all is a single attempt. */
void
retry_parse(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	struct retry_policy *policy = arena_alloc(p->a, sizeof(*policy));

	(void)into;
	*policy = retry_default();
	if (fields_parse(p, at, v, fields, policy) == 0)
		p->nodes[p->node].retry = policy;
}
