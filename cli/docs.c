/* The reference pages in docs/, printed from the tables. */
#include "cli/help.h"
#include "cli/args.h"
#include "core/time.h"

#include <stdio.h>
#include <string.h>

/* In a table's cell a bar would end it. */
static void
print_cell(FILE *f, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '|')
			fputc('\\', f);
		fputc(*text, f);
	}
}

static void
print_options(FILE *f, const struct cmd *cmd)
{
	struct opt opts[OPTIONS_MAX], global[OPTIONS_MAX];
	size_t n = args_options(cmd, opts),
	       n_global = args_options(NULL, global);
	/* the global ones stand last, and once for all at the top */
	size_t own = n - n_global + (cmd->formats == 0);

	if (own == 0)
		return;
	fputs("| option | |\n|---|---|\n", f);
	for (size_t i = 0; i < own; i++) {
		const struct opt *o = &opts[i];

		fputs("| `", f);
		if (o->letter != 0)
			fprintf(f, "-%c, ", o->letter);
		fprintf(f, "--%s%s%s` | ", o->name, o->arg != NULL ? " " : "",
		    o->arg != NULL ? o->arg : "");
		print_cell(f, o->help);
		if (o->choices != NULL) {
			fputs(": ", f);
			print_cell(f, o->choices);
		}
		fputs(" |\n", f);
	}
	fputc('\n', f);
}

static void
print_command(FILE *f, const struct cmd *cmd)
{
	const char *verb = cmd->verb != NULL ? cmd->verb : "";
	const char *space = cmd->verb != NULL ? " " : "";

	fprintf(f, "### meshhook %s%s%s\n\n", cmd->noun, space, verb);
	fprintf(f, "`meshhook %s%s%s [OPTIONS]%s%s`: %s\n\n%s\n\n", cmd->noun,
	    space, verb, *cmd->args != '\0' ? " " : "", cmd->args, cmd->help,
	    cmd->text);
	print_options(f, cmd);
	fputs("```sh\n", f);
	for (const struct example *e = cmd->examples; e->run != NULL; e++)
		fprintf(f, "# %s\nmeshhook %s\n", e->what, e->run);
	fputs("```\n\n", f);
}

void
docs_commands(FILE *f)
{
	struct opt global[OPTIONS_MAX];
	size_t n = args_options(NULL, global);

	fputs("# The command line\n\n"
	      "Printed by `meshhook help --markdown`; a test holds it against "
	      "the program.\n\n"
	      "Options may stand anywhere after `meshhook`; `--` ends them. "
	      "Settings that are no\noption are in "
	      "[configuration.md](configuration.md).\n\n"
	      "| every command takes | |\n|---|---|\n",
	    f);
	for (size_t i = 0; i < n; i++) {
		fputs("| `", f);
		if (global[i].letter != 0)
			fprintf(f, "-%c, ", global[i].letter);
		fprintf(f, "--%s%s%s` | %s%s |\n", global[i].name,
		    global[i].arg != NULL ? " " : "",
		    global[i].arg != NULL ? global[i].arg : "", global[i].help,
		    global[i].letter == 'o'
			? ": text, table, json, csv; only where something is "
			  "listed or shown"
			: "");
	}
	fputs("\nWith `-o json` a command prints one object; a list is one "
	      "object a line.\n\n| exit status | |\n|---|---|\n",
	    f);
	for (const struct help_status *s = help_statuses; s->meaning; s++)
		fprintf(f, "| %d | %s |\n", s->status, s->meaning);
	fputs("\n## Commands\n\n", f);
	for (const struct cmd *const *c = commands; *c != NULL; c++)
		print_command(f, *c);
}

static const struct {
	unsigned group;
	const char *title;
} sections[] = {
	{ SETTING_G_DB | SETTING_G_PROJECT, "The operator's commands" },
	{ SETTING_G_LOG, "Every process" },
	{ SETTING_G_WORKER, "Worker" },
	{ SETTING_G_GATEWAY, "Gateway" },
	{ SETTING_G_MONITOR, "Monitor" },
};

static void
print_range(FILE *f, const struct setting *s)
{
	char least[TIME_TEXT], most[TIME_TEXT];

	if (s->type == SETTING_CHOICE)
		print_cell(f, s->choices);
	else if (s->type == SETTING_INT)
		fprintf(
		    f, "%lld to %lld", (long long)s->min, (long long)s->max);
	else if (s->type == SETTING_MS)
		fprintf(f, "duration, %s to %s", duration_format(s->min, least),
		    duration_format(s->max, most));
	else
		print_cell(f, setting_type_name(s->type));
}

static void
print_setting(FILE *f, const struct setting *s)
{
	fprintf(f, "| `%s`", s->env);
	if (s->secret)
		fprintf(f, "<br>`%s_FILE`", s->env);
	if (s->alias != NULL)
		fprintf(f, "<br>`%s`", s->alias);
	if (s->flag != NULL)
		fprintf(f, "<br>`--%s`", s->flag);
	fputs(" | ", f);
	print_range(f, s);
	fputs(" | ", f);
	if (s->preset != NULL)
		fprintf(f, "`%s`", s->preset);
	else if (s->fallback != SETTING_NONE)
		fprintf(f, "that of `%s`", settings[s->fallback].env);
	fprintf(f, " | %s |\n", s->help);
}

void
docs_configuration(FILE *f)
{
	fputs("# Configuration\n\n"
	      "Printed by `meshhook help --configuration`; a test holds it "
	      "against the program.\n\n"
	      "A value comes from, strongest first: a flag, the environment, "
	      "the preset. An empty\nvalue is none. A secret may stand in a "
	      "file that `NAME_FILE` names; it is wiped from\nthe process's "
	      "environment once it is read. An unknown `MESHHOOK_` variable "
	      "and a\nmalformed value end the program with exit status 78 and "
	      "an error that names them.\nDurations are spelled `250ms`, "
	      "`1.5s`, `10m`, `2h`.\n",
	    f);
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		fprintf(f,
		    "\n## %s\n\n| name | value | preset | |\n"
		    "|---|---|---|---|\n",
		    sections[i].title);
		for (int s = SETTING_NONE + 1; s < N_SETTINGS; s++) {
			if ((settings[s].groups & sections[i].group) != 0)
				print_setting(f, &settings[s]);
		}
	}
	fputs("\n`NO_COLOR`, when not empty, turns colours off "
	      "(<https://no-color.org>).\n",
	    f);
}
