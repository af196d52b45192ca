/*
 * Completion scripts. What can be completed is in the tables, so each script
 * is lists of words and a small fixed function around them.
 */
#include "cli/help.h"
#include "cli/args.h"

#include <stdio.h>
#include <string.h>

/* One word of a list: bare for bash, 'word:what it means' for zsh. */
typedef void word_fn(
    FILE *f, const char *dashes, const char *word, const char *help);

static void
bash_word(FILE *f, const char *dashes, const char *word, const char *help)
{
	(void)help;
	fprintf(f, "%s%s ", dashes, word);
}

static void
zsh_word(FILE *f, const char *dashes, const char *word, const char *help)
{
	fprintf(f, "'%s%s:", dashes, word);
	for (; *help != '\0'; help++) {
		if (*help == '\'')
			fputs("'\\'", f);
		if (*help == ':')
			fputc('\\', f);
		fputc(*help, f);
	}
	fputs("' ", f);
}

/* Every noun once; a noun of several commands is helped by their verbs. */
static void
print_nouns(FILE *f, word_fn *word)
{
	for (const struct cmd *const *c = commands; *c != NULL; c++) {
		char verbs[120] = "";

		if (c != commands && strcmp(c[-1]->noun, (*c)->noun) == 0)
			continue;
		for (const struct cmd *const *v = c;
		     *v != NULL && strcmp((*v)->noun, (*c)->noun) == 0; v++) {
			size_t n = strlen(verbs);

			if ((*v)->verb != NULL)
				snprintf(verbs + n, sizeof(verbs) - n, "%s%s",
				    n > 0 ? ", " : "", (*v)->verb);
		}
		word(f, "", (*c)->noun, *verbs != '\0' ? verbs : (*c)->help);
	}
}

static void
print_verbs(FILE *f, word_fn *word, const char *noun)
{
	for (const struct cmd *const *c = commands; *c != NULL; c++) {
		if (strcmp((*c)->noun, noun) == 0)
			word(f, "", (*c)->verb, (*c)->help);
	}
}

static void
print_options(FILE *f, word_fn *word, const struct cmd *cmd)
{
	struct opt opts[OPTIONS_MAX];
	size_t n = args_options(cmd, opts);

	for (size_t i = 0; i < n; i++)
		word(f, "--", opts[i].name, opts[i].help);
}

static void
print_choices(FILE *f, const char *name, const char *choices)
{
	fprintf(f, "\t--%s) values='", name);
	for (; *choices != '\0'; choices++)
		fputc(*choices == '|' ? ' ' : *choices, f);
	fputs("' ;;\n", f);
}

/* An option of one name takes the same values wherever it occurs. */
static void
print_values(FILE *f)
{
	fputs("\t-o | --output) values='text table json csv' ;;\n", f);
	for (const struct cmd *const *c = commands; *c != NULL; c++) {
		for (const struct opt *o = (*c)->opts; o && o->name; o++) {
			if (o->choices != NULL)
				print_choices(f, o->name, o->choices);
		}
	}
	for (int i = SETTING_NONE + 1; i < N_SETTINGS; i++) {
		if (settings[i].flag != NULL && settings[i].choices != NULL)
			print_choices(f, settings[i].flag, settings[i].choices);
	}
}

/* case arms that set `list` for the noun and verb typed so far. */
static void
print_cases(FILE *f, word_fn *word, const char *open, const char *close)
{
	fprintf(f, "\t\tcase $noun in\n\t\t'') list=%s", open);
	print_nouns(f, word);
	fprintf(f, "%s ;;\n", close);
	for (const struct cmd *const *c = commands; *c != NULL; c++) {
		if ((*c)->verb == NULL ||
		    (c != commands && strcmp(c[-1]->noun, (*c)->noun) == 0))
			continue;
		fprintf(
		    f, "\t\t%s) [[ -n $verb ]] || list=%s", (*c)->noun, open);
		print_verbs(f, word, (*c)->noun);
		fprintf(f, "%s ;;\n", close);
	}
	fputs("\t\tesac\n", f);
}

static void
print_option_cases(FILE *f, word_fn *word, const char *open, const char *close)
{
	fputs("\t\tcase \"$noun $verb\" in\n", f);
	for (const struct cmd *const *c = commands; *c != NULL; c++) {
		fprintf(f, "\t\t\"%s %s\"%s) list=%s", (*c)->noun,
		    (*c)->verb != NULL ? (*c)->verb : "",
		    (*c)->verb != NULL ? "" : "*", open);
		print_options(f, word, *c);
		fprintf(f, "%s ;;\n", close);
	}
	fprintf(f, "\t\t*) list=%s", open);
	print_options(f, word, NULL);
	fprintf(f, "%s ;;\n\t\tesac\n", close);
}

void
completion_bash(FILE *f)
{
	fputs("# Completion for bash. Load it by: "
	      "source <(meshhook completion bash)\n"
	      "_meshhook() {\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} "
	      "prev=${COMP_WORDS[COMP_CWORD-1]}\n"
	      "\tlocal noun='' verb='' list='' values='' i\n"
	      "\tif [[ $cur == '=' ]]; then cur=''\n"
	      "\telif [[ $prev == '=' ]]; then "
	      "prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
	      "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\t[[ ${COMP_WORDS[i]} == [-=]* || ${COMP_WORDS[i-1]} == -o ]] "
	      "&& continue\n"
	      "\t\tif [[ -z $noun ]]; then noun=${COMP_WORDS[i]}\n"
	      "\t\telif [[ -z $verb ]]; then verb=${COMP_WORDS[i]}; fi\n"
	      "\tdone\n"
	      "\tcase $prev in\n",
	    f);
	print_values(f);
	fputs("\tesac\n"
	      "\tif [[ -n $values ]]; then list=$values\n"
	      "\telif [[ $cur == -* ]]; then\n",
	    f);
	print_option_cases(f, bash_word, "'", "'");
	fputs("\telse\n", f);
	print_cases(f, bash_word, "'", "'");
	fputs("\tfi\n"
	      "\tmapfile -t COMPREPLY < <(compgen -W \"$list\" -- \"$cur\")\n"
	      "}\n"
	      "complete -o default -F _meshhook meshhook\n",
	    f);
}

void
completion_zsh(FILE *f)
{
	fputs("#compdef meshhook\n"
	      "# Completion for zsh. Load it by: "
	      "source <(meshhook completion zsh)\n"
	      "_meshhook() {\n"
	      "\tlocal cur=${words[CURRENT]} prev=${words[CURRENT-1]}\n"
	      "\tlocal noun='' verb='' values='' i\n"
	      "\tlocal -a list\n"
	      "\tfor ((i = 2; i < CURRENT; i++)); do\n"
	      "\t\t[[ ${words[i]} == -* || ${words[i-1]} == -o ]] && continue\n"
	      "\t\tif [[ -z $noun ]]; then noun=${words[i]}\n"
	      "\t\telif [[ -z $verb ]]; then verb=${words[i]}; fi\n"
	      "\tdone\n"
	      "\tcase $prev in\n",
	    f);
	print_values(f);
	fputs("\tesac\n"
	      "\tif [[ -n $values ]]; then compadd -- ${=values}; return; fi\n"
	      "\tif [[ $cur == -* ]]; then\n",
	    f);
	print_option_cases(f, zsh_word, "(", ")");
	fputs("\t\t_describe -o option list\n"
	      "\telse\n",
	    f);
	print_cases(f, zsh_word, "(", ")");
	fputs("\t\tif ((${#list})); then _describe command list; "
	      "else _files; fi\n"
	      "\tfi\n"
	      "}\n"
	      "if [[ ${funcstack[1]} == _meshhook ]]; then _meshhook \"$@\"\n"
	      "else compdef _meshhook meshhook; fi\n",
	    f);
}
