#pragma once
/*
 * The command line. A command is one const struct cmd in a file of its own,
 * listed in commands.c; parsing, help, completion and docs/cli.md all read
 * that table, so none of them can disagree with it.
 *
 * A command's function returns the exit status, or -1 with *err, which main
 * prints with its next step and turns into one (enum exit_status). The first
 * line of an error says what is wrong, further lines say what to do. Most run
 * in a session with the database (cli/session.h), which is begun before them
 * and closed behind them.
 */
#include "cli/out.h"
#include "core/arena.h"
#include "core/config.h"
#include "core/error.h"

enum exit_status {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_AUTH = 3,
	EXIT_GAP = 4,          /* logs --strict: lines are missing */
	EXIT_CONFIG = 78,      /* as sysexits.h's EX_CONFIG */
	EXIT_INTERRUPTED = 130 /* 128 + SIGINT */
};

struct cli;
struct cmd;
struct session;

typedef int cmd_fn(struct cli *cli, struct error *err);
typedef int session_open_fn(
    struct session *s, struct cli *cli, struct error *err);
typedef int session_fn(struct session *s, struct error *err);

/* An option; a const array of them ends with a NULL name. */
struct opt {
	const char *name; /* without "--" */
	char letter;      /* 0: none */
	const char *arg;  /* what it takes: "FILE"; NULL: nothing */
	const char *help;
	const char *choices;     /* "a|b|c" */
	enum setting_id setting; /* that it gives a value to */
	int many; /* may be repeated: values are joined by newlines */
};

struct example {
	const char *run, *what; /* without the program's name */
};

struct cmd {
	const char *noun, *verb; /* verb: NULL where the noun is the command */
	const char *args, *help; /* "WORKFLOW [KEY=VALUE]...", one line */
	const char *text;        /* paragraphs, by an empty line */
	const struct opt *opts;
	const struct example *examples; /* ends with a NULL run */
	unsigned settings;              /* SETTING_G_* whose values it reads */
	unsigned formats;               /* OUT_BIT()s; 0: prints no records */
	enum out_format format;         /* unless -o says otherwise */
	int min_args, max_args;         /* max -1: any number */
	cmd_fn *fn;                     /* or, in a session that open begins: */
	session_open_fn *open;
	session_fn *run;
};

extern const struct cmd *const commands[]; /* NULL-terminated */

enum { OPTIONS_MAX = 40 };

struct cli {
	struct arena arena;
	struct config config;
	struct out out;
	const struct cmd *cmd;
	struct opt opts[OPTIONS_MAX];   /* all that cmd takes */
	const char *given[OPTIONS_MAX]; /* the value, "" for a flag; or NULL */
	size_t n_opts;
	const char **args;
	size_t n_args;
	int quiet, verbose;
};

/* The value of an option of this command; NULL: not given. */
const char *cli_opt(const struct cli *cli, const char *name);
/* Into *out when given, which otherwise stays. */
int cli_opt_int(const struct cli *cli, const char *name, int64_t min,
    int64_t max, int64_t *out, struct error *err);
/* Likewise, in milliseconds; such_as: "2h, 7d". */
int cli_opt_duration(const struct cli *cli, const char *name, int64_t least_ms,
    const char *such_as, int64_t *out, struct error *err);
/* A wrong command line: exit 2. A line for what, then one for what to do. */
int usage(struct error *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Fails unless text is the id of such a thing as the command `list` shows. */
int cli_id(
    const char *text, const char *what, const char *list, struct error *err);
/* A file, or standard input for "-"; at most 64 MiB. */
int cli_read(
    struct cli *cli, const char *path, struct str *out, struct error *err);
/* The same, parsed. */
struct json;
int cli_read_json(
    struct cli *cli, const char *path, struct json **out, struct error *err);
/* "run start" */
const char *cmd_name(struct arena *a, const struct cmd *cmd);
