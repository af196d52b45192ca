#pragma once
/* What the commands about alerts share. */
#include "cli/session.h"

/* Connect, and find the project that is meant: --project or MESHHOOK_PROJECT.
 * Without one, or with --installation, it is the installation as a whole. */
int alert_open(struct session *s, struct cli *cli, struct error *err);
/* The project's id for a statement, or null. */
struct db_param alert_scope(const struct session *s);
/* An option's duration in units of so many ms; null unless given. */
int alert_duration(struct cli *cli, const char *name, int64_t unit_ms,
    struct db_param *out, struct error *err);
/* --label NAME=VALUE lines as an object; null unless given. */
int alert_labels(struct cli *cli, struct db_param *out, struct error *err);
/* on, off; null unless given. */
struct db_param alert_switch(const struct cli *cli, const char *name);
/* Which of the words, NULL-terminated, the first argument is; the first of
 * them where there is none. -1 with what it may be. */
int alert_word(struct cli *cli, const char *const words[], struct error *err);
/* So many arguments behind that word. */
int alert_args(struct cli *cli, size_t least, size_t most, const char *form,
    struct error *err);

#define ALERT_INSTALLATION                                                     \
	{                                                                      \
		.name = "installation",                                        \
		.help = "of the installation as a whole, whatever "            \
			"MESHHOOK_PROJECT says"                                \
	}
enum { ALERT_SETTINGS = SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG };
