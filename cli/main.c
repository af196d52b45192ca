#include "cli/args.h"
#include "cli/help.h"
#include "cli/session.h"
#include "core/harden.h"
#include "core/log.h"
#include "core/mem.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static int
exit_status(const struct error *err)
{
	if (strcmp(err->code, "USAGE") == 0)
		return EXIT_USAGE;
	switch (err->fault) {
	case FAULT_CONFIG:
		return EXIT_CONFIG;
	case FAULT_AUTH:
		return EXIT_AUTH;
	case FAULT_NONE:
	case FAULT_RETRY:
	case FAULT_INPUT:
	case FAULT_BUG:
		break;
	}
	return EXIT_FAILED;
}

/* The first line is what is wrong, the others what to do. */
static void
print_error(const struct error *err)
{
	int colour = isatty(STDERR_FILENO) && colour_wanted();
	size_t n = strcspn(err->text, "\n");
	struct buf b;

	buf_init(&b);
	buf_adds(&b, colour ? "\033[31merror:\033[0m " : "error: ");
	out_escape(&b, (struct str){ err->text, n });
	while (err->text[n] != '\0') {
		size_t at = n + 1;

		n = at + strcspn(err->text + at, "\n");
		buf_adds(&b, "\n  ");
		out_escape(&b, (struct str){ err->text + at, n - at });
	}
	buf_addc(&b, '\n');
	fwrite(b.bytes, 1, b.len, stderr);
	buf_deinit(&b);
}

/* -o, --no-color, -q and -v mean the same for every command. */
static int
take_globals(struct cli *cli, struct error *err)
{
	const char *format = cli_opt(cli, "output");

	cli->out.format = cli->cmd->format;
	cli->quiet = cli_opt(cli, "quiet") != NULL;
	cli->verbose = cli_opt(cli, "verbose") != NULL;
	if (cli_opt(cli, "no-color") != NULL) {
		setenv("NO_COLOR", "1", 1);
		cli->out.colour = 0;
	}
	if (format == NULL)
		return 0;
	if (out_format_parse(format, &cli->out.format) < 0)
		return usage(err,
		    "--output: \"%.60s\" is no format\n"
		    "one of text, table, json, csv",
		    format);
	if ((cli->cmd->formats & OUT_BIT(cli->out.format)) == 0)
		return usage(err, "%s does not print %s",
		    cmd_name(&cli->arena, cli->cmd), format);
	return 0;
}

/* Commands that need no setting work whatever the environment says. */
static int
configure(struct cli *cli, struct error *err)
{
	/* those that hold a key, and what it seals */
	static const unsigned keys = SETTING_G_WORKER | SETTING_G_GATEWAY |
	    SETTING_G_MONITOR | SETTING_G_SECRET | SETTING_G_INTAKE;
	enum log_level level;

	if (cli->cmd->settings == 0)
		return 0;
	if ((cli->cmd->settings & keys) != 0)
		harden_process();
	if (config_load(&cli->config, environ, err) < 0 ||
	    args_configure(cli, err) < 0)
		return -1;
	config_wipe_env();
	level = (enum log_level)config_int(&cli->config, SETTING_LOG_LEVEL);
	if (cli->verbose && level > LOG_DEBUG)
		level = LOG_DEBUG;
	log_setup(level,
	    (enum log_format)config_int(&cli->config, SETTING_LOG_FORMAT));
	return 0;
}

static int
run(struct cli *cli, int argc, char **argv, struct error *err)
{
	if (args_parse(cli, argc, argv, err) < 0 || take_globals(cli, err) < 0)
		return -1;
	if (configure(cli, err) < 0)
		return -1;
	return cli->cmd->fn != NULL ? cli->cmd->fn(cli, err)
				    : session_command(cli, err);
}

/* A reader that has seen enough (head) is no failure; a full disk is. */
static int
finish(int status, struct error *err)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	fail(err, FAULT_RETRY, "WRITE", "standard output: can't write");
	print_error(err);
	return status == EXIT_OK ? EXIT_FAILED : status;
}

int
main(int argc, char **argv)
{
	struct cli *cli = xcalloc(1, sizeof(*cli));
	struct error err = { 0 };
	int status;

	setlocale(LC_CTYPE, "C.UTF-8");
	arena_init(&cli->arena);
	config_init(&cli->config);
	out_init(&cli->out, stdout);
	status = run(cli, argc, argv, &err);
	if (status < 0) {
		fflush(stdout);
		status = exit_status(&err);
		print_error(&err);
	}
	status = finish(status, &err);
	out_deinit(&cli->out);
	config_deinit(&cli->config);
	arena_deinit(&cli->arena);
	free(cli);
	return status;
}
