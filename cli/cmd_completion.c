#include "cli/commands.h"
#include "cli/help.h"

#include <string.h>

static int
cmd_completion(struct cli *cli, struct error *err)
{
	if (strcmp(cli->args[0], "bash") == 0)
		completion_bash(cli->out.file);
	else if (strcmp(cli->args[0], "zsh") == 0)
		completion_zsh(cli->out.file);
	else
		return usage(err,
		    "no completion for \"%.40s\"\n"
		    "there is one for bash and one for zsh",
		    cli->args[0]);
	return EXIT_OK;
}

static const struct example examples[] = {
	{ "completion bash > /etc/bash_completion.d/meshhook",
	    "install it for all users of bash" },
	{ "completion zsh > ~/.zfunc/_meshhook",
	    "install it in a folder of zsh's fpath" },
	{ NULL, NULL },
};
const struct cmd cmd_completion_entry = {
	.noun = "completion",
	.args = "bash|zsh",
	.help = "print a completion script",
	.text = "The script completes commands, options and their values. To "
		"try it in the shell at hand: source <(meshhook completion "
		"bash).",
	.examples = examples,
	.min_args = 1,
	.max_args = 1,
	.fn = cmd_completion,
};
