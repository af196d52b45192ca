#include "cli/commands.h"
#include "core/json.h"
#include "worker/flow/expr.h"

#include <stdio.h>

static int
cmd_expr(struct cli *cli, struct error *err)
{
	const char *file = cli->n_args > 1 ? cli->args[1] : "-";
	struct arena *a = &cli->arena;
	struct json *data, *result;
	struct expr *expr;
	struct str text;

	if (expr_compile(a, str_of(cli->args[0]), &expr, err) < 0)
		return fail_in(err, "expression");
	if (cli_read_json(cli, file, &data, err) < 0)
		return -1;
	if (expr_eval(a, expr, data, NULL, &result, err) < 0)
		return fail_in(err, "expression");
	if (cli_opt(cli, "raw") != NULL && json_is(result, JSON_STRING))
		text = json_str(result);
	else if (cli->out.format == OUT_JSON)
		text = json_text(a, result);
	else
		text = json_pretty(a, result);
	fwrite(text.s, 1, text.n, cli->out.file);
	fputc('\n', cli->out.file);
	return EXIT_OK;
}

static const struct opt opts[] = {
	{ .name = "raw",
	    .letter = 'r',
	    .help = "a result that is a string as it is, without quotes" },
	{ .name = NULL },
};
static const struct example examples[] = {
	{ "expr 'items[?price > `10`].name' order.json", "on a file" },
	{ "expr -r email < lead.json", "on standard input" },
	{ NULL, NULL },
};
const struct cmd cmd_expr_entry = {
	.noun = "expr",
	.args = "EXPRESSION [FILE]",
	.help = "evaluate JMESPath as a workflow does",
	.text = "Evaluates the expression on a JSON document, a file or "
		"standard input, with the engine's own evaluator and its "
		"limits. In a workflow the document has input, steps and run. "
		"The result is indented, with -o json on one line.",
	.opts = opts,
	.examples = examples,
	.formats = OUT_BIT(OUT_TEXT) | OUT_BIT(OUT_JSON),
	.format = OUT_TEXT,
	.min_args = 1,
	.max_args = 2,
	.fn = cmd_expr,
};
