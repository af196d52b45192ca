/* The table. Commands of one noun stand together: help relies on it. */
#include "cli/commands.h"

#include <stddef.h>

const struct cmd *const commands[] = {
	&cmd_expr_entry,
	&cmd_completion_entry,
	&cmd_version_entry,
	&cmd_help_entry,
	NULL,
};
