#include "cli/args.h"
#include "core/suggest.h"

#include <stdio.h>
#include <string.h>

enum { WORDS_NOUN = 1, WORDS_VERB = 2 };

static const struct opt global_opts[] = {
	{ .name = "output",
	    .letter = 'o',
	    .arg = "FORMAT",
	    .help = "how records are printed" },
	{ .name = "no-color",
	    .help = "no colours, as with NO_COLOR in the environment" },
	{ .name = "quiet",
	    .letter = 'q',
	    .help = "only what was asked for, and errors" },
	{ .name = "verbose",
	    .letter = 'v',
	    .help = "say what is done; log at level debug" },
	{ .name = "help", .letter = 'h', .help = "explain the command" },
	{ .name = NULL },
};

static const char *
setting_arg(enum setting_type type)
{
	static const char *const names[] = {
		[SETTING_TEXT] = "TEXT",
		[SETTING_URL] = "URL",
		[SETTING_KEY] = "KEY",
		[SETTING_INT] = "N",
		[SETTING_BOOL] = "on|off",
		[SETTING_MS] = "DURATION",
		[SETTING_CHOICE] = "WORD",
	};

	return names[type];
}

size_t
args_options(const struct cmd *cmd, struct opt out[OPTIONS_MAX])
{
	const struct opt *own = cmd != NULL ? cmd->opts : NULL;
	size_t n = 0;

	for (; own != NULL && own->name != NULL; own++)
		out[n++] = *own;
	for (int i = SETTING_NONE + 1; cmd != NULL && i < N_SETTINGS; i++) {
		const struct setting *s = &settings[i];

		if (s->flag == NULL || (s->groups & cmd->settings) == 0)
			continue;
		out[n++] = (struct opt){
			.name = s->flag,
			.arg = setting_arg(s->type),
			.help = s->help,
			.choices = s->choices,
			.setting = (enum setting_id)i,
		};
	}
	for (const struct opt *o = global_opts; o->name != NULL; o++) {
		if (o->letter == 'o' && cmd != NULL && cmd->formats == 0)
			continue;
		out[n++] = *o;
	}
	return n;
}

const struct cmd *
args_command(const char *noun, const char *verb)
{
	for (const struct cmd *const *c = commands; *c != NULL; c++) {
		if (strcmp((*c)->noun, noun) != 0)
			continue;
		if ((*c)->verb == NULL ||
		    (verb != NULL && strcmp((*c)->verb, verb) == 0))
			return *c;
	}
	return NULL;
}

int
args_noun(const char *noun)
{
	for (const struct cmd *const *c = commands; *c != NULL; c++) {
		if (strcmp((*c)->noun, noun) == 0)
			return 1;
	}
	return 0;
}

int
args_unknown(const char *noun, const char *verb, struct error *err)
{
	int known = args_noun(noun);
	struct suggest near;

	suggest_init(&near, str_of(known ? verb : noun));
	for (const struct cmd *const *c = commands; *c != NULL; c++) {
		if (!known)
			suggest_add(&near, str_of((*c)->noun));
		else if (strcmp((*c)->noun, noun) == 0)
			suggest_add(&near, str_of((*c)->verb));
	}
	if (near.best.s != NULL)
		return usage(err,
		    "no command \"%s%s%.60s\"\n"
		    "did you mean \"meshhook %s%s%.*s\"?",
		    known ? noun : "", known ? " " : "", known ? verb : noun,
		    known ? noun : "", known ? " " : "", STR_FMT(near.best));
	return usage(err,
	    "no command \"%s%s%.60s\"\n"
	    "see: meshhook help%s%s",
	    known ? noun : "", known ? " " : "", known ? verb : noun,
	    known ? " " : "", known ? noun : "");
}

/* The option that word ("--name", "--name=value", "-n", "-nVALUE") spells, or
 * -1. *value: what is attached to it, or NULL. */
static int
find_option(
    const struct opt *opts, size_t n, const char *word, const char **value)
{
	size_t len = strcspn(word, "=");

	for (size_t i = 0; i < n; i++) {
		if (word[1] != '-') {
			if (opts[i].letter != word[1])
				continue;
			*value = word[2] != '\0' ? word + 2 : NULL;
			return (int)i;
		}
		if (strlen(opts[i].name) == len - 2 &&
		    memcmp(opts[i].name, word + 2, len - 2) == 0) {
			*value = word[len] == '=' ? word + len + 1 : NULL;
			return (int)i;
		}
	}
	return -1;
}

static int
unknown_option(const struct cli *cli, const char *word, struct error *err)
{
	int named = cli->cmd != NULL && strcmp(cli->cmd->noun, "help") != 0;
	const char *noun = named ? cli->cmd->noun : "";
	const char *verb = named ? cli->cmd->verb : NULL;
	struct suggest near;
	size_t len = strcspn(word, "=");

	suggest_init(&near, (struct str){ word, word[1] == '-' ? len : 0 });
	for (size_t i = 0; i < cli->n_opts; i++)
		suggest_add(&near,
		    str_of(arena_printf((struct arena *)&cli->arena, "--%s",
			cli->opts[i].name)));
	if (near.best.s != NULL)
		return usage(err, "no option %.*s\ndid you mean %.*s?",
		    (int)(len < 60 ? len : 60), word, STR_FMT(near.best));
	return usage(err, "no option %.*s\nsee: meshhook help%s%s%s%s",
	    (int)(len < 60 ? len : 60), word, named ? " " : "", noun,
	    verb != NULL ? " " : "", verb != NULL ? verb : "");
}

static int
check_choice(const struct opt *opt, const char *value, struct error *err)
{
	size_t n = strlen(value);
	struct suggest near;

	suggest_init(&near, str_of(value));
	for (const char *p = opt->choices; *p != '\0';) {
		size_t len = strcspn(p, "|");

		if (len == n && memcmp(p, value, n) == 0)
			return 0;
		suggest_add(&near, (struct str){ p, len });
		p += len + (p[len] == '|');
	}
	if (near.best.s != NULL)
		return usage(err,
		    "--%s: \"%.60s\" is none of %s\n"
		    "did you mean \"%.*s\"?",
		    opt->name, value, opt->choices, STR_FMT(near.best));
	return usage(err, "--%s: \"%.60s\" is none of %s", opt->name, value,
	    opt->choices);
}

/* "-qv": every letter but the last must take nothing. *at moves over the value
 * when that is the next word. */
static int
take_option(struct cli *cli, char **argv, int argc, int *at, struct error *err)
{
	const char *word = argv[*at], *value;
	char letter[3] = "-";
	int i;

	for (;;) {
		i = find_option(cli->opts, cli->n_opts, word, &value);
		if (i < 0)
			return unknown_option(cli, word, err);
		if (cli->opts[i].arg != NULL || word[1] == '-' || value == NULL)
			break;
		cli->given[i] = "";
		letter[1] = value[0];
		word = value[1] != '\0' ? value - 1 : letter;
	}
	if (cli->opts[i].arg == NULL) {
		if (value != NULL)
			return usage(
			    err, "--%s takes no value", cli->opts[i].name);
		cli->given[i] = "";
		return 0;
	}
	if (value == NULL && *at + 1 >= argc)
		return usage(err, "--%s needs a value: %s", cli->opts[i].name,
		    cli->opts[i].arg);
	if (value == NULL)
		value = argv[++*at];
	if (cli->opts[i].many && cli->given[i] != NULL)
		value =
		    arena_printf(&cli->arena, "%s\n%s", cli->given[i], value);
	cli->given[i] = value;
	if (cli->opts[i].choices == NULL ||
	    cli->opts[i].setting != SETTING_NONE)
		return 0;
	return check_choice(&cli->opts[i], value, err);
}

static int
is_option(const char *word)
{
	return word[0] == '-' && word[1] != '\0';
}

/* Of what stands before the command only global options are known. */
static int
find_command(struct cli *cli, int argc, char **argv, unsigned char *used,
    struct error *err)
{
	struct opt opts[OPTIONS_MAX];
	size_t n = args_options(NULL, opts);
	const char *words[2] = { NULL, NULL }, *value;
	int at[2] = { 0, 0 }, n_words = 0;

	for (int i = 1; i < argc && n_words < 2; i++) {
		int o;

		if (strcmp(argv[i], "--") == 0)
			break;
		if (!is_option(argv[i])) {
			words[n_words] = argv[i];
			at[n_words++] = i;
			continue;
		}
		o = find_option(opts, n, argv[i], &value);
		if (o >= 0 && opts[o].arg != NULL && value == NULL)
			i++;
		else if (o < 0 && n_words == 1)
			break; /* of the noun's own: there is no verb */
	}
	if (words[0] == NULL)
		return 0;
	cli->cmd = args_command(words[0], words[1]);
	if (cli->cmd == NULL && (words[1] != NULL || !args_noun(words[0])))
		return args_unknown(words[0], words[1], err);
	if (cli->cmd == NULL)
		return 0;
	used[at[0]] = 1;
	if (cli->cmd->verb != NULL)
		used[at[1]] = 1;
	return 0;
}

static int
count_args(const struct cli *cli, struct error *err)
{
	const struct cmd *cmd = cli->cmd;
	int n = (int)cli->n_args;
	const char *verb = cmd->verb != NULL ? cmd->verb : "";
	const char *space = cmd->verb != NULL ? " " : "";

	if (n < cmd->min_args)
		return usage(err,
		    "%s%s%s: an argument is missing\n"
		    "usage: meshhook %s%s%s %s",
		    cmd->noun, space, verb, cmd->noun, space, verb, cmd->args);
	if (cmd->max_args >= 0 && n > cmd->max_args)
		return usage(err,
		    "%s%s%s: one argument too many: \"%.60s\"\n"
		    "usage: meshhook %s%s%s%s%s",
		    cmd->noun, space, verb, cli->args[cmd->max_args], cmd->noun,
		    space, verb, *cmd->args != '\0' ? " " : "", cmd->args);
	return 0;
}

/* "--help", "run --help", "--version": the command that is meant. */
static void
meant(struct cli *cli, int argc, char **argv)
{
	for (int i = 1; i < argc && cli->cmd == NULL; i++) {
		if (strcmp(argv[i], "--version") == 0)
			cli->cmd = args_command("version", NULL);
	}
	if (cli->cmd == NULL)
		cli->cmd = args_command("help", NULL);
}

static int
take_words(struct cli *cli, int argc, char **argv, const unsigned char *used,
    struct error *err)
{
	int only_args = 0;

	for (int i = 1; i < argc; i++) {
		if (used[i])
			continue;
		if (!only_args && strcmp(argv[i], "--") == 0)
			only_args = 1;
		else if (only_args || !is_option(argv[i]))
			cli->args[cli->n_args++] = argv[i];
		else if (take_option(cli, argv, argc, &i, err) < 0)
			return -1;
	}
	return 0;
}

int
args_parse(struct cli *cli, int argc, char **argv, struct error *err)
{
	unsigned char *used = arena_zalloc(&cli->arena, (size_t)argc + 1);
	const struct cmd *cmd;

	cli->args =
	    arena_zalloc(&cli->arena, sizeof(*cli->args) * ((size_t)argc + 2));
	if (find_command(cli, argc, argv, used, err) < 0)
		return -1;
	if (cli->cmd == NULL)
		meant(cli, argc, argv);
	cli->n_opts = args_options(cli->cmd, cli->opts);
	if (cli->cmd->noun[0] == 'v' && argc == 2)
		return 0; /* "--version" is no option of it */
	if (take_words(cli, argc, argv, used, err) < 0)
		return -1;
	cmd = cli->cmd;
	if (cli_opt(cli, "help") != NULL && strcmp(cmd->noun, "help") != 0) {
		cli->cmd = args_command("help", NULL);
		cli->args[0] = cmd->noun;
		cli->args[1] = cmd->verb;
		cli->n_args = cmd->verb != NULL ? 2 : 1;
		return 0;
	}
	return count_args(cli, err);
}

int
args_configure(struct cli *cli, struct error *err)
{
	for (size_t i = 0; i < cli->n_opts; i++) {
		const struct opt *o = &cli->opts[i];
		char from[48];

		if (cli->given[i] == NULL || o->setting == SETTING_NONE)
			continue;
		snprintf(from, sizeof(from), "--%s", o->name);
		if (config_set(
			&cli->config, o->setting, cli->given[i], from, err) < 0)
			return usage(
			    err, "%s", arena_strdup(&cli->arena, err->text));
	}
	return 0;
}
