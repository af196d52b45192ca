#include "monitor/rule/notify.h"
#include "core/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * A trace: "[   5] +a -b ~c =" : a fires, b resolves, c is muted or no longer.
 * What follows: "new a b'", "repeat a", "end" (b': it resolved).
 */
struct trace {
	struct notice notices[16];
	struct notify_group group;
	char names[16][2];
	char got[1024];
	size_t n;
};

static struct notice *
find(struct trace *t, char name)
{
	for (uint32_t i = 0; i < t->group.n; i++)
		if (t->notices[i].alert.s[0] == name)
			return &t->notices[i];
	t->names[t->group.n][0] = name;
	t->notices[t->group.n] = (struct notice){ .alert = { name == 'a' ? "a"
							  : name == 'b'  ? "b"
									 : "c",
						      1 } };
	return &t->notices[t->group.n++];
}

static void
say(struct trace *t, long long now, const char *what)
{
	t->n += (size_t)snprintf(t->got + t->n, sizeof(t->got) - t->n,
	    "[%4lld] %s", now / 1000, what);
	for (uint32_t i = 0; i < t->group.n; i++)
		if (notice_shown(&t->notices[i]))
			t->n += (size_t)snprintf(t->got + t->n,
			    sizeof(t->got) - t->n, " %s%s",
			    t->notices[i].alert.s,
			    t->notices[i].firing ? "" : "'");
	t->n += (size_t)snprintf(t->got + t->n, sizeof(t->got) - t->n, "\n");
}

static void
replay_is(const struct notify_policy *policy, const char *in, const char *want)
{
	struct trace t = { 0 };

	t.group.notices = t.notices;
	while (*in != '\0') {
		long long now =
		    strtoll(in + 1, NULL, 10) * 1000 + 1; /* 0: none */
		int64_t at;

		for (in = strchr(in, ']') + 1; *in != '\n'; in++) {
			if (*in == '+')
				find(&t, in[1])->firing = 1;
			else if (*in == '-')
				find(&t, in[1])->firing = 0;
			else if (*in == '~')
				find(&t, in[1])->muted ^= 1;
		}
		in++;
		switch (notify_due(policy, &t.group, now, &at)) {
		case NOTIFY_NEW:
			say(&t, now, "new");
			notify_sent(&t.group, now);
			break;
		case NOTIFY_REPEAT:
			say(&t, now, "repeat");
			notify_sent(&t.group, now);
			break;
		case NOTIFY_END:
			t.group = (struct notify_group){ .notices = t.notices };
			break;
		case NOTIFY_NOTHING:
			break;
		}
	}
	assert_string_equal(t.got, want);
}

static const struct notify_policy policy = {
	.wait_ms = 5000, .interval_ms = 30000, .repeat_ms = 100000
};

static void
test_waits_for_company(void **state)
{
	(void)state;
	replay_is(&policy,
	    "[   0] +a\n"
	    "[   3] +b\n"
	    "[   5] \n"
	    "[   6] \n",

	    "[   5] new a b\n");
}

static void
test_news_by_interval(void **state)
{
	(void)state;
	replay_is(&policy,
	    "[   0] +a\n"
	    "[   5] \n"
	    "[  10] +b\n"
	    "[  20] -a\n"
	    "[  35] \n"
	    "[  40] -b\n"
	    "[  65] \n"
	    "[  70] +a\n"
	    "[  75] \n",

	    "[   5] new a\n"
	    "[  35] new a' b\n"
	    "[  65] new b'\n"
	    "[  75] new a\n");
}

static void
test_repeats(void **state)
{
	(void)state;
	replay_is(&policy,
	    "[   0] +a\n"
	    "[   5] \n"
	    "[ 104] \n"
	    "[ 105] \n"
	    "[ 205] \n",

	    "[   5] new a\n"
	    "[ 105] repeat a\n"
	    "[ 205] repeat a\n");
}

/* What was silenced is not told, and its end neither; what was told before the
 * silence ends aloud. */
static void
test_muted(void **state)
{
	(void)state;
	replay_is(&policy,
	    "[   0] +a ~a\n"
	    "[   9] -a\n"
	    "[  20] +b\n"
	    "[  25] \n"
	    "[  30] ~b\n"
	    "[ 200] \n"
	    "[ 210] -b\n",

	    "[  25] new b\n"
	    "[ 210] new b'\n");
}

/* It came and went before anybody was told. */
static void
test_too_short(void **state)
{
	(void)state;
	replay_is(&policy,
	    "[   0] +a\n"
	    "[   3] -a\n"
	    "[  10] \n",

	    "");
}

static void
test_clock_set_back(void **state)
{
	(void)state;
	replay_is(&policy,
	    "[1000] +a\n"
	    "[1005] \n"
	    "[ 500] +b\n"
	    "[ 530] \n",

	    "[1005] new a\n"
	    "[ 530] new a b\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_waits_for_company),
		cmocka_unit_test(test_news_by_interval),
		cmocka_unit_test(test_repeats),
		cmocka_unit_test(test_muted),
		cmocka_unit_test(test_too_short),
		cmocka_unit_test(test_clock_set_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
