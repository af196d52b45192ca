#pragma once
/* What the commands about alerts share. */
#include "cli/session.h"
#include "monitor/rule/cond.h"

/* Connect, and find the project that is meant: --project or MESHHOOK_PROJECT.
 * Without one, or with --installation, it is the installation as a whole. */
int alert_open(struct session *s, struct cli *cli, struct error *err);
/* The project's id for a statement, or null. */
struct db_param alert_scope(const struct session *s);
/* An option's duration, of up to 30 days, in units of so many ms; null unless given. */
int alert_duration(struct cli *cli, const char *name, int64_t unit_ms,
    struct db_param *out, struct error *err);
/* --label NAME=VALUE lines as an object; null unless given. */
int alert_labels(struct cli *cli, struct db_param *out, struct error *err);
/* on, off; null unless given. */
struct db_param alert_switch(const struct cli *cli, const char *name);
/* list, add, set or remove, by the first argument; list where there is none. */
int alert_dispatch(
    struct session *s, session_fn *const fns[4], struct error *err);
/* There is no such rule or channel where it was looked for; perhaps it is the
 * installation's. */
int alert_unknown(struct session *s, const char *what, const char *name,
    const char *list, struct error *err);
/* An expression over metrics that there are. */
int alert_condition(
    struct cli *cli, const char *text, struct cond **out, struct error *err);
/* So many arguments behind that word. */
int alert_args(struct cli *cli, size_t least, size_t most, const char *form,
    struct error *err);

/* `list`: what the statement answers for the scope, as a table. */
int alert_list(struct session *s, const struct sql *sql,
    const struct column *columns, size_t n, struct error *err);
/* `remove NAME`, by a statement of scope and name; how many there were. */
int alert_remove(struct session *s, const struct sql *sql, struct error *err);

#define ALERT_INSTALLATION                                                     \
	{                                                                      \
		.name = "installation",                                        \
		.help = "of the installation as a whole, whatever "            \
			"MESHHOOK_PROJECT says"                                \
	}
enum { ALERT_SETTINGS = SETTING_G_DB | SETTING_G_PROJECT | SETTING_G_LOG };
