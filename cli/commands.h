#pragma once
/* Every command's entry; commands.c puts them in order. */
#include "cli/cli.h"

extern const struct cmd cmd_completion_entry, cmd_help_entry, cmd_version_entry;
