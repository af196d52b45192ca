#pragma once
/* What judge.c (steps), judge-load.c (from the database) and judge-message.c
 * (for the outbox) share. */
#include "core/json.h"
#include "core/lookup.h"
#include "monitor/judge.h"

struct rule {
	struct str id, name, severity_name, summary, description, runbook;
	enum severity severity;
	struct json *labels, *inhibited_by;
	struct alert_rule pure;
	struct alerts now, next; /* next: while a step is recorded */
	int enabled;
	const char *problem; /* why it can't be evaluated */
	int problem_told;
};

struct silence {
	struct str project, rule; /* empty: any */
	struct json *labels;
	int64_t from_ms, to_ms;
};

struct alert_channel {
	struct str id, project, name;
	enum severity least;
	struct json *group_by;
	struct notify_policy policy;
};

/* An alert that resolved, until all groups that were told of it are told so. */
struct over {
	uint32_t rule;
	struct alert alert;
};

struct group {
	uint32_t channel;
	struct str key;
	struct notify_group pure;
	const struct alert **alerts; /* by notice */
	uint32_t *rules;
	int gone;
};

/* A notice's: each of them has one, so that it is found by its alert. */
struct seat {
	uint32_t group, notice;
};

struct world {
	struct arena arena;
	struct over *over;
	uint32_t n_over;
	struct group *groups;
	uint32_t n_groups;
	struct lookup by_key; /* groups, by channel and key */
	struct seat *seats;
	struct lookup by_alert; /* seats, by their alerts' ids */
};

struct judge {
	struct monitor *m;
	struct arena config;
	struct rule *rules;
	uint32_t n_rules;
	struct lookup by_name; /* rules */
	struct silence *silences;
	uint32_t n_silences;
	struct alert_channel *channels;
	uint32_t n_channels;
	struct json *projects;     /* id: slug */
	struct cond_metric *reads; /* what all rules look at */
	size_t n_reads;
	int64_t version; /* -1: to be loaded */
	int busy;        /* a load or a record is under way */
	struct world worlds[2];
	int at; /* the world that is recorded; the other is a step's */
};

/* Of a world nothing is left. */
void world_reset(struct world *w);
/* From alert_load()'s answer: rules, channels, silences, and the world. */
int judge_take(struct judge *j, struct str text, struct error *err);

int alert_silenced(const struct judge *j, const struct rule *rule,
    const struct alert *alert, int64_t now_ms);
struct str alert_group_key(struct arena *a, const struct alert_channel *c,
    const struct rule *rule, const struct alert *alert);
/* The message of a group, as the outbox keeps it. */
struct json *group_message(struct judge *j, struct arena *a,
    const struct group *g, const char *kind, int64_t now_ms);
struct json *json_time(struct arena *a, int64_t ms); /* 0: null */
struct json *json_labels(struct arena *a, const struct alert *alert);
