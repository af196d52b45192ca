#pragma once
/* Every command's entry; commands.c puts them in order. */
#include "cli/cli.h"

extern const struct cmd cmd_completion_entry;
extern const struct cmd cmd_expr_entry;
extern const struct cmd cmd_help_entry;
extern const struct cmd cmd_version_entry;
