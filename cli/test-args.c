#include "cli/args.h"
#include "core/mem.h"
#include "core/test.h"

static struct cli cli;
static struct error err;

static int
parse(const char *line)
{
	char *argv[16] = { "meshhook" };
	int argc = 1;
	char *copy;

	arena_deinit(&cli.arena);
	config_deinit(&cli.config);
	memset(&cli, 0, sizeof(cli));
	memset(&err, 0, sizeof(err));
	arena_init(&cli.arena);
	config_init(&cli.config);
	copy = arena_strdup(&cli.arena, line);
	while (*copy != '\0') {
		argv[argc++] = copy;
		copy += strcspn(copy, " ");
		if (*copy == ' ')
			*copy++ = '\0';
	}
	return args_parse(&cli, argc, argv, &err);
}

static void
is(const char *line, const char *name)
{
	assert_int_equal(parse(line), 0);
	assert_string_equal(cmd_name(&cli.arena, cli.cmd), name);
}

static void
refused(const char *line, const char *text)
{
	assert_int_equal(parse(line), -1);
	assert_string_equal(err.code, "USAGE");
	assert_string_equal(err.text, text);
}

static void
test_commands(void **state)
{
	(void)state;
	is("", "help");
	is("--help", "help");
	is("--version", "version");
	is("version", "version");
	is("run start flow", "run start");
	is("-o json run start flow", "run start");
	is("run -o json start flow", "run start");
	is("run start --help", "help");
	assert_string_equal(cli.args[0], "run");
	assert_string_equal(cli.args[1], "start");
	is("run", "help"); /* a noun alone is explained */
}

static void
test_options(void **state)
{
	(void)state;
	is("run list --limit 5 --status=failed -n7", "run list");
	assert_string_equal(cli_opt(&cli, "limit"), "7"); /* the last counts */
	assert_string_equal(cli_opt(&cli, "status"), "failed");
	assert_null(cli_opt(&cli, "workflow"));
	is("run start flow a=b -w -- --wait -x", "run start");
	assert_int_equal(cli.n_args, 4);
	assert_string_equal(cli.args[2], "--wait");
	assert_string_equal(cli_opt(&cli, "wait"), "");
	is("logs latest -fv -n 3", "logs");
	assert_non_null(cli_opt(&cli, "follow"));
	assert_non_null(cli_opt(&cli, "verbose"));
	assert_string_equal(cli_opt(&cli, "tail"), "3");
	is("logs latest -fn3", "logs");
	assert_string_equal(cli_opt(&cli, "tail"), "3");
	is("logs x --include a --include b", "logs");
	assert_string_equal(cli_opt(&cli, "include"), "a\nb");
	is("workflow validate -", "workflow validate");
	assert_string_equal(cli.args[0], "-");
}

static void
test_settings_are_options(void **state)
{
	(void)state;
	is("run list --project acme", "run list");
	assert_int_equal(args_configure(&cli, &err), 0);
	assert_string_equal(config_text(&cli.config, SETTING_PROJECT), "acme");
	is("run list --log-level lots", "run list");
	assert_int_equal(args_configure(&cli, &err), -1);
	assert_string_equal(err.code, "USAGE");
	assert_string_equal(err.text,
	    "--log-level: \"lots\" is none of trace|debug|info|warn|error");
}

static void
test_refused(void **state)
{
	(void)state;
	refused(
	    "rnu list", "no command \"rnu\"\ndid you mean \"meshhook run\"?");
	refused("run lits",
	    "no command \"run lits\"\ndid you mean \"meshhook run list\"?");
	refused(
	    "run banana", "no command \"run banana\"\nsee: meshhook help run");
	refused("banana", "no command \"banana\"\nsee: meshhook help");
	refused("run list --stauts x",
	    "no option --stauts\ndid you mean --status?");
	refused("run list -x", "no option -x\nsee: meshhook help run list");
	refused("run list --limit", "--limit needs a value: N");
	refused("logs x --follow=yes", "--follow takes no value");
	refused("run list --status done",
	    "--status: \"done\" is none of running|succeeded|failed|cancelled");
	refused("run show",
	    "run show: an argument is missing\n"
	    "usage: meshhook run show RUN");
	refused("run show a b",
	    "run show: one argument too many: \"b\"\n"
	    "usage: meshhook run show RUN");
}

/* Every entry has what its page prints, and no letter or name twice. */
static void
test_table_is_sound(void **state)
{
	(void)state;
	for (const struct cmd *const *c = commands; *c != NULL; c++) {
		struct opt opts[OPTIONS_MAX];
		size_t n = args_options(*c, opts);

		assert_non_null((*c)->args);
		assert_non_null((*c)->help);
		assert_non_null((*c)->text);
		assert_non_null((*c)->examples);
		assert_int_equal((*c)->fn == NULL, (*c)->open != NULL);
		assert_int_equal((*c)->fn == NULL, (*c)->run != NULL);
		assert_true((*c)->formats == 0 ||
		    ((*c)->formats & OUT_BIT((*c)->format)) != 0);
		assert_ptr_equal(args_command((*c)->noun, (*c)->verb), *c);
		for (size_t i = 0; i < n; i++) {
			assert_non_null(opts[i].help);
			for (size_t k = 0; k < i; k++) {
				assert_string_not_equal(
				    opts[i].name, opts[k].name);
				assert_true(opts[i].letter == 0 ||
				    opts[i].letter != opts[k].letter);
			}
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_settings_are_options),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_table_is_sound),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	arena_deinit(&cli.arena);
	config_deinit(&cli.config);
	return failed;
}
