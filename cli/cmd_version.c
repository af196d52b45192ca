#include "cli/commands.h"
#include "core/json.h"

static const struct column columns[] = {
	{ "version", "version", COLUMN_TEXT },
	{ "build", "build", COLUMN_TEXT },
};

static int
cmd_version(struct cli *cli, struct error *err)
{
	struct json *o = json_object(&cli->arena);

	(void)err;
	json_set(&cli->arena, o, "version",
	    json_cstring(&cli->arena, MESHHOOK_VERSION));
	json_set(
	    &cli->arena, o, "build", json_cstring(&cli->arena, MESHHOOK_BUILD));
	OUT_OBJECT(&cli->out, &cli->arena, columns, o);
	return EXIT_OK;
}

static const struct example examples[] = {
	{ "version -o json", "for a script" },
	{ NULL, NULL },
};
const struct cmd cmd_version_entry = {
	.noun = "version",
	.args = "",
	.help = "print the version",
	.text = "The version of this program and how it was built. The "
		"database's schema has a version of its own: see doctor.",
	.examples = examples,
	.formats = OUT_RECORDS,
	.format = OUT_TEXT,
	.fn = cmd_version,
};
