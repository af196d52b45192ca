#pragma once
/*
 * From argv to a command with its options and arguments. Options may stand
 * before, between and behind the words; "--" ends them. -h, --help and
 * --version become the commands help and version.
 */
#include "cli/cli.h"

/* Fills cmd, opts, given and args. usage() errors name what is wrong and what
 * may have been meant. */
int args_parse(struct cli *cli, int argc, char **argv, struct error *err);
/* Every option that cmd takes: its own, its settings', the global ones. cmd
 * NULL: the global ones. Returns how many. */
size_t args_options(const struct cmd *cmd, struct opt out[OPTIONS_MAX]);
/* verb NULL: the command that is the noun alone. NULL: no such. */
const struct cmd *args_command(const char *noun, const char *verb);
/* Is there a command with this noun? */
int args_noun(const char *noun);
/* "no such command" with a suggestion. */
int args_unknown(const char *noun, const char *verb, struct error *err);
/* Values that were given for settings go into the configuration. */
int args_configure(struct cli *cli, struct error *err);
