#pragma once
/* Workflow definitions as files: read, checked, their problems reported. */
#include "cli/cli.h"
#include "core/json.h"
#include "worker/flow/flow.h"

struct definition {
	const char *file; /* or the workflow's name, for messages */
	struct json *json;
	struct flow *flow; /* NULL: it has problems */
	struct problems problems;
};

/* Reads and checks. A file that is no JSON has one problem; -1 only when it
 * can't be read. */
int definition_read(
    struct cli *cli, const char *file, struct definition *d, struct error *err);
void definition_check(struct cli *cli, struct definition *d);
/* -1 with every problem in words, as far as there is room. */
int definition_refuse(const struct definition *d, struct error *err);
/* {"file", "valid", "workflow", "nodes", "problems": [...]} */
struct json *definition_report(struct arena *a, const struct definition *d);
/* A line a problem: "FILE: /nodes/3/url: ..." */
void definition_print(const struct out *out, const struct definition *d);
