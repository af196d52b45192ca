#include "monitor/rule/notify.h"

/* Something to tell: it fires and wasn't told, or was told and resolved. */
static int
is_news(const struct notice *n)
{
	if (n->firing)
		return !n->muted && !n->told_firing;
	return n->told_firing;
}

int
notice_shown(const struct notice *n)
{
	return n->firing ? !n->muted : n->told_firing;
}

static int64_t
later(int64_t at, int64_t ms)
{
	return at > INT64_MAX - ms ? INT64_MAX : at + ms;
}

enum notify_due
notify_due(const struct notify_policy *policy, struct notify_group *group,
    int64_t now_ms, int64_t *at_ms)
{
	int news = 0, firing = 0, shown = 0;

	for (uint32_t i = 0; i < group->n; i++) {
		news += is_news(&group->notices[i]);
		firing += group->notices[i].firing;
		shown += group->notices[i].firing && !group->notices[i].muted;
	}
	*at_ms = INT64_MAX;
	if (group->sent_ms > now_ms) /* the clock was set back */
		group->sent_ms = now_ms;
	if (group->begun_ms > now_ms)
		group->begun_ms = now_ms;
	if (news > 0) {
		if (group->begun_ms == 0)
			group->begun_ms = now_ms;
		*at_ms = later(group->begun_ms, policy->wait_ms);
		if (group->sent_ms > 0)
			*at_ms = later(group->sent_ms, policy->interval_ms);
		return *at_ms <= now_ms ? NOTIFY_NEW : NOTIFY_NOTHING;
	}
	group->begun_ms = 0;
	if (firing == 0)
		return NOTIFY_END;
	if (shown == 0 || group->sent_ms == 0 || policy->repeat_ms == 0)
		return NOTIFY_NOTHING;
	*at_ms = later(group->sent_ms, policy->repeat_ms);
	return *at_ms <= now_ms ? NOTIFY_REPEAT : NOTIFY_NOTHING;
}

void
notify_sent(struct notify_group *group, int64_t now_ms)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < group->n; i++) {
		struct notice n = group->notices[i];

		if (!n.firing)
			continue;
		if (!n.muted)
			n.told_firing = 1;
		group->notices[kept++] = n;
	}
	group->n = kept;
	group->sent_ms = kept > 0 ? now_ms : 0; /* else it ended with this */
	group->begun_ms = 0;
}
