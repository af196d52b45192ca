/*
 * What the tests ask of flows, one JSON object a line:
 *
 *	flow-cli check FILE...   {"file", "problems": [[pointer, text, hint]]}
 *	flow-cli plan FILE       the plan
 *	flow-cli replay FILE...  {"file", "ok", "seq", "text", "facts", "status"} of
 *	                         {"definition", "events": [{"type", "payload"}]}
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/flow/replay.h"

static struct json *
read_json(struct arena *a, const char *path)
{
	static char bytes[8 << 20];
	struct json *json = NULL;
	struct error err;
	FILE *f = fopen(path, "rb");
	size_t n;

	if (f == NULL) {
		perror(path);
		exit(2);
	}
	n = fread(bytes, 1, sizeof(bytes), f);
	fclose(f);
	if (json_parse(a, (struct str){ bytes, n }, NULL, &json, &err) < 0) {
		fprintf(stderr, "%s: %s\n", path, err.text);
		exit(2);
	}
	return json;
}

static void
check(struct arena *a, const char *path)
{
	struct problems problems = { 0 };
	struct json *o = json_object(a), *list = json_array(a);
	struct flow *flow;

	flow_parse(a, read_json(a, path), &flow, &problems);
	for (uint32_t i = 0; i < problems.n; i++) {
		const struct problem *p = &problems.items[i];
		struct json *one = json_array(a);

		json_push(a, one, json_cstring(a, p->pointer));
		json_push(a, one, json_cstring(a, p->text));
		json_push(a, one,
		    p->hint != NULL ? json_cstring(a, p->hint) : json_null());
		json_push(a, list, one);
	}
	json_set(a, o, "file", json_cstring(a, path));
	json_set(a, o, "problems", list);
	puts(json_text(a, o).s);
}

static struct flow *
flow_read(struct arena *a, const struct json *definition, const char *path)
{
	struct problems problems = { 0 };
	struct flow *flow = NULL;

	if (flow_parse(a, definition, &flow, &problems) < 0) {
		fprintf(stderr, "%s: %s: %s\n", path, problems.items[0].pointer,
		    problems.items[0].text);
		exit(2);
	}
	return flow;
}

static void
plan(struct arena *a, const char *path)
{
	struct json *out;
	struct error err;

	if (flow_plan(a, flow_read(a, read_json(a, path), path), &out, &err) <
	    0)
		exit(1);
	puts(json_text(a, out).s);
}

static void
replay(struct arena *a, const char *path)
{
	struct json *json = read_json(a, path), *o = json_object(a);
	struct json *list = json_get(json, "events");
	struct flow *flow = flow_read(a, json_get(json, "definition"), path);
	uint32_t n = list != NULL ? list->n : 0;
	struct event *events = arena_array(a, n, sizeof(*events));
	struct replay r;

	for (uint32_t i = 0; i < n; i++)
		events[i] = (struct event){
			.seq = (int32_t)i + 1,
			.type = json_str(json_get(list->items[i], "type")).s,
			.payload = json_get(list->items[i], "payload"),
		};
	json_set(
	    a, o, "ok", json_bool(replay_check(a, flow, events, n, &r) == 0));
	json_set(a, o, "file", json_cstring(a, path));
	json_set(a, o, "seq", json_int(a, r.seq));
	json_set(a, o, "text", r.text ? json_cstring(a, r.text) : NULL);
	json_set(a, o, "facts", json_int(a, r.facts));
	json_set(a, o, "status", json_cstring(a, run_status_name(r.status)));
	puts(json_text(a, o).s);
}

int
main(int argc, char **argv)
{
	void (*todo)(struct arena *, const char *) = NULL;

	if (argc > 2 && strcmp(argv[1], "check") == 0)
		todo = check;
	else if (argc > 2 && strcmp(argv[1], "plan") == 0)
		todo = plan;
	else if (argc > 2 && strcmp(argv[1], "replay") == 0)
		todo = replay;
	if (todo == NULL) {
		fprintf(
		    stderr, "usage: %s check|plan|replay FILE...\n", argv[0]);
		return 2;
	}
	for (int i = 2; i < argc; i++) {
		struct arena a;

		arena_init(&a);
		todo(&a, argv[i]);
		arena_deinit(&a);
	}
	return 0;
}
