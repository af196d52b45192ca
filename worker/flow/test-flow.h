#pragma once
/* What the tests of flows share. */
#include <stdio.h>
#include <stdlib.h>

#include "core/test.h"
#include "worker/flow/flow.h"

/* JSON, in single quotes for double ones where handy. */
static inline struct json *
flow_json(struct arena *a, const char *text)
{
	char *s = arena_strdup(a, text);
	struct json *json = NULL;
	struct error err;

	for (char *c = s; *c != '\0'; c++)
		if (*c == '\'')
			*c = '"';
	if (json_parse(a, str_of(s), NULL, &json, &err) < 0)
		fail_msg("%s", err.text);
	return json;
}

/* The definition; on problems the test fails and tells them. */
static inline struct flow *
flow_of(struct arena *a, const char *text)
{
	struct problems problems = { 0 };
	struct flow *flow;

	if (flow_parse(a, flow_json(a, text), &flow, &problems) == 0)
		return flow;
	for (uint32_t i = 0; i < problems.n; i++)
		print_error("%s: %s\n", problems.items[i].pointer,
		    problems.items[i].text);
	fail_msg("%u problems", problems.n);
	return NULL;
}
