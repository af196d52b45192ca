#include "cli/help.h"
#include "cli/args.h"

#include <stdio.h>
#include <string.h>

enum { WIDTH = 78, INDENT = 4 };

const struct help_status help_statuses[] = {
	{ EXIT_OK, "done" },
	{ EXIT_FAILED, "failed, or what was asked about has failed" },
	{ EXIT_USAGE, "the command line is wrong" },
	{ EXIT_AUTH, "refused: wrong credentials or missing rights" },
	{ EXIT_GAP, "logs --strict: lines are missing" },
	{ EXIT_CONFIG, "the configuration or the database's set-up is wrong" },
	{ EXIT_INTERRUPTED, "ended by Ctrl-C" },
	{ 0, NULL },
};

/* Fill lines up to width; text's own newlines stay. */
void
help_wrap(FILE *f, const char *text, int indent, int width)
{
	int column = 0;

	while (*text != '\0') {
		int n = (int)strcspn(text, " \n");

		if (column > 0 && column + 1 + n > width) {
			fputc('\n', f);
			column = 0;
		}
		if (n > 0) {
			column += fprintf(
			    f, "%*s%.*s", column > 0 ? 1 : indent, "", n, text);
			text += n;
		}
		if (*text == '\n') {
			fputc('\n', f);
			column = 0;
			text++;
		} else if (*text == ' ') {
			text++;
		}
	}
	if (column > 0)
		fputc('\n', f);
}

static void
heading(const struct out *out, const char *title)
{
	fprintf(out->file, "%s%s%s\n", out_on(out, COLOUR_BOLD), title,
	    out_off(out));
}

static void
print_status(const struct out *out)
{
	heading(out, "\nEXIT STATUS");
	for (const struct help_status *s = help_statuses; s->meaning; s++) {
		fprintf(out->file, "    %-4d ", s->status);
		help_wrap(out->file, s->meaning, 0, WIDTH - 9);
	}
}

static int
is_alone(const struct cmd *const *c)
{
	return (*c)->verb == NULL;
}

static void
print_line(const struct out *out, const struct cmd *cmd)
{
	char name[40];

	snprintf(name, sizeof(name), "%s%s%s", cmd->noun,
	    cmd->verb != NULL ? " " : "", cmd->verb != NULL ? cmd->verb : "");
	fprintf(out->file, "    %s%-20s%s  %s\n", out_on(out, COLOUR_CYAN),
	    name, out_off(out), cmd->help);
}

void
help_overview(const struct out *out)
{
	const char *noun = "";

	fputs("meshhook: durable workflows on Supabase\n\n"
	      "usage: meshhook COMMAND [OPTIONS] [ARGUMENTS]\n",
	    out->file);
	for (const struct cmd *const *c = commands; *c != NULL; c++) {
		if (strcmp((*c)->noun, noun) != 0 && !is_alone(c))
			fputc('\n', out->file);
		else if (is_alone(c) && (c == commands || !is_alone(c - 1)))
			fputc('\n', out->file);
		noun = (*c)->noun;
		print_line(out, *c);
	}
	fputs("\nmeshhook help COMMAND explains one, with examples; what is "
	      "listed or shown takes\n-o text|table|json|csv. "
	      "All settings: meshhook help --configuration\n",
	    out->file);
}

void
help_noun(const struct out *out, const char *noun)
{
	fprintf(out->file,
	    "usage: meshhook %s COMMAND [OPTIONS] [ARGUMENTS]\n\n", noun);
	for (const struct cmd *const *c = commands; *c != NULL; c++) {
		if (strcmp((*c)->noun, noun) == 0)
			print_line(out, *c);
	}
	fprintf(out->file, "\nmeshhook help %s COMMAND explains one.\n", noun);
}

static void
print_formats(FILE *f, const struct cmd *cmd)
{
	fprintf(f, "%*sone of", INDENT * 2, "");
	for (int i = 0; i < N_OUT_FORMATS; i++) {
		if ((cmd->formats & OUT_BIT(i)) != 0)
			fprintf(f, " %s", out_format_name((enum out_format)i));
	}
	fprintf(f, "; preset: %s\n", out_format_name(cmd->format));
}

static void
print_option(
    const struct out *out, const struct cmd *cmd, const struct opt *opt)
{
	const struct setting *s = &settings[opt->setting];
	FILE *f = out->file;

	fprintf(f, "    %s", out_on(out, COLOUR_CYAN));
	if (opt->letter != 0)
		fprintf(f, "-%c, ", opt->letter);
	fprintf(f, "--%s%s%s%s\n", opt->name, opt->arg != NULL ? " " : "",
	    opt->arg != NULL ? opt->arg : "", out_off(out));
	help_wrap(f, opt->help, INDENT * 2, WIDTH);
	if (opt->letter == 'o') {
		print_formats(f, cmd);
	} else if (opt->choices != NULL) {
		fprintf(f, "%*sone of %s%s%s\n", INDENT * 2, "", opt->choices,
		    s->preset != NULL ? "; preset: " : "",
		    s->preset != NULL ? s->preset : "");
	} else if (s->preset != NULL) {
		fprintf(f, "%*spreset: %s\n", INDENT * 2, "", s->preset);
	}
}

static void
print_environment(const struct out *out, const struct cmd *cmd)
{
	if (cmd->settings == 0)
		return;
	heading(out, "\nENVIRONMENT");
	for (int i = SETTING_NONE + 1; i < N_SETTINGS; i++) {
		const struct setting *s = &settings[i];

		if ((s->groups & cmd->settings) == 0)
			continue;
		fprintf(out->file, "    %s%s%s%s%s%s\n",
		    out_on(out, COLOUR_CYAN), s->env,
		    s->secret ? "[_FILE]" : "", s->alias != NULL ? ", " : "",
		    s->alias != NULL ? s->alias : "", out_off(out));
		if (s->flag != NULL)
			fprintf(
			    out->file, "%*sas --%s\n", INDENT * 2, "", s->flag);
		else
			help_wrap(out->file, s->help, INDENT * 2, WIDTH);
	}
}

static void
print_see_also(const struct out *out, const struct cmd *cmd)
{
	int n = 0;

	for (const struct cmd *const *c = commands; *c != NULL; c++) {
		if (*c == cmd || strcmp((*c)->noun, cmd->noun) != 0)
			continue;
		if (n++ == 0)
			heading(out, "\nSEE ALSO");
		fprintf(
		    out->file, "    meshhook %s %s\n", (*c)->noun, (*c)->verb);
	}
}

void
help_command(const struct out *out, const struct cmd *cmd)
{
	struct opt opts[OPTIONS_MAX];
	size_t n = args_options(cmd, opts);
	const char *verb = cmd->verb != NULL ? cmd->verb : "";
	const char *space = cmd->verb != NULL ? " " : "";

	heading(out, "NAME");
	fprintf(out->file, "    meshhook %s%s%s - %s\n", cmd->noun, space, verb,
	    cmd->help);
	heading(out, "\nSYNOPSIS");
	fprintf(out->file, "    meshhook %s%s%s [OPTIONS]%s%s\n", cmd->noun,
	    space, verb, *cmd->args != '\0' ? " " : "", cmd->args);
	heading(out, "\nDESCRIPTION");
	help_wrap(out->file, cmd->text, INDENT, WIDTH);
	heading(out, "\nOPTIONS");
	for (size_t i = 0; i < n; i++)
		print_option(out, cmd, &opts[i]);
	print_environment(out, cmd);
	heading(out, "\nEXAMPLES");
	for (const struct example *e = cmd->examples; e->run != NULL; e++) {
		fprintf(out->file, "    %smeshhook %s%s\n",
		    out_on(out, COLOUR_CYAN), e->run, out_off(out));
		help_wrap(out->file, e->what, INDENT * 2, WIDTH);
	}
	print_status(out);
	print_see_also(out, cmd);
}
