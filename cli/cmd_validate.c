#include "cli/commands.h"
#include "cli/definition.h"

static int
cmd_validate(struct cli *cli, struct error *err)
{
	int valid = 1;

	for (size_t i = 0; i < cli->n_args; i++) {
		struct definition d;

		if (definition_read(cli, cli->args[i], &d, err) < 0)
			return -1;
		if (cli->out.format == OUT_JSON)
			out_row(&cli->out, &cli->arena,
			    definition_report(&cli->arena, &d));
		else if (!cli->quiet || d.flow == NULL)
			definition_print(&cli->out, &d);
		valid &= d.flow != NULL;
	}
	return valid ? EXIT_OK : EXIT_FAILED;
}

static const struct example examples[] = {
	{ "workflow validate examples/*.json", "check some files" },
	{ "workflow validate - -o json < flow.json",
	    "check standard input; problems as JSON, for an editor" },
	{ NULL, NULL },
};
const struct cmd cmd_workflow_validate_entry = {
	.noun = "workflow",
	.verb = "validate",
	.args = "FILE...",
	.help = "check definitions, without a database",
	.text = "Finds everything that is wrong with a definition: its shape "
		"(docs/workflow.schema.json), cycles, unknown and unreachable "
		"steps, bad expressions. Every problem is named by its JSON "
		"pointer, with a suggestion where there is one. What passes "
		"here does not fail at run time for a reason that was in the "
		"definition.",
	.examples = examples,
	.formats = OUT_BIT(OUT_TEXT) | OUT_BIT(OUT_JSON),
	.format = OUT_TEXT,
	.min_args = 1,
	.max_args = -1,
	.fn = cmd_validate,
};
