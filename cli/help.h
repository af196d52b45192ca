#pragma once
/* Everything that is printed from the tables of commands and settings. */
#include <stdio.h>

#include "cli/cli.h"

/* Manual pages for a terminal: bold and underline only when out is one. */
void help_overview(const struct out *out);
void help_noun(const struct out *out, const char *noun);
void help_command(const struct out *out, const struct cmd *cmd);

void docs_commands(FILE *f);      /* docs/cli.md */
void docs_configuration(FILE *f); /* docs/configuration.md */
void completion_bash(FILE *f);
void completion_zsh(FILE *f);

/* The columns that a wrapped text has, and its indent. */
void help_wrap(FILE *f, const char *text, int indent, int width);
extern const struct help_status {
	int status;
	const char *meaning;
} help_statuses[]; /* ends with a NULL meaning */
