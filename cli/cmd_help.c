#include "cli/commands.h"
#include "cli/args.h"
#include "cli/help.h"

#include <string.h>

static int
show_topic(struct cli *cli, struct error *err)
{
	const char *noun = cli->args[0];
	const char *verb = cli->n_args > 1 ? cli->args[1] : NULL;
	const struct cmd *cmd = args_command(noun, verb);

	if (cmd != NULL && (verb == NULL || cmd->verb != NULL))
		help_command(&cli->out, cmd);
	else if (verb == NULL && args_noun(noun))
		help_noun(&cli->out, noun);
	else if (cmd != NULL)
		return usage(err, "%s has no sub-commands", noun);
	else
		return args_unknown(noun, verb, err);
	return EXIT_OK;
}

static int
cmd_help(struct cli *cli, struct error *err)
{
	if (cli_opt(cli, "markdown") != NULL)
		docs_commands(cli->out.file);
	else if (cli_opt(cli, "configuration") != NULL)
		docs_configuration(cli->out.file);
	else if (cli->n_args > 0)
		return show_topic(cli, err);
	else
		help_overview(&cli->out);
	return EXIT_OK;
}

static const struct opt opts[] = {
	{ .name = "markdown", .help = "print docs/cli.md" },
	{ .name = "configuration", .help = "print docs/configuration.md" },
	{ .name = NULL },
};
static const struct example examples[] = {
	{ "help", "list the commands" },
	{ "help run start", "explain one; the same as: meshhook run start -h" },
	{ "help --configuration", "list all settings" },
	{ NULL, NULL },
};
const struct cmd cmd_help_entry = {
	.noun = "help",
	.args = "[COMMAND]",
	.help = "explain a command",
	.text = "Without a command, lists them all. Every page has the "
		"options, the environment that is read, examples and the exit "
		"statuses.",
	.opts = opts,
	.examples = examples,
	.max_args = 2,
	.fn = cmd_help,
};
