#include "core/config.h"
#include "core/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct config config;
static struct error err;

static int
load(const char *one, const char *two)
{
	char *env[3] = { (char *)one, (char *)two, NULL };

	config_deinit(&config);
	config_init(&config);
	memset(&err, 0, sizeof(err));
	return config_load(&config, env, &err);
}

static void
fails(const char *var, const char *text)
{
	assert_int_equal(load(var, NULL), -1);
	assert_int_equal(err.fault, FAULT_CONFIG);
	assert_string_equal(err.text, text);
}

static void
test_table_is_sound(void **state)
{
	(void)state;
	for (int i = SETTING_NONE + 1; i < N_SETTINGS; i++) {
		const struct setting *s = &settings[i];

		assert_non_null(s->env);
		assert_non_null(s->help);
		assert_true(s->groups != 0);
		assert_true(
		    (s->type == SETTING_CHOICE) == (s->choices != NULL));
		/* a preset that its own type refuses would be lost in silence */
		assert_int_equal(load("X=y", NULL), 0);
		if (s->preset != NULL)
			assert_string_equal(
			    config_text(&config, (enum setting_id)i),
			    s->preset);
		for (int k = SETTING_NONE + 1; k < i; k++)
			assert_string_not_equal(s->env, settings[k].env);
	}
}

static void
test_values(void **state)
{
	(void)state;
	assert_int_equal(
	    load("MESHHOOK_WORKER_BATCH=7", "MESHHOOK_WORKER_LEASE=1.5s"), 0);
	assert_int_equal(config_int(&config, SETTING_WORKER_BATCH), 7);
	assert_int_equal(config_int(&config, SETTING_WORKER_LEASE), 1500);
	assert_int_equal(load("MESHHOOK_LOG_FORMAT=text", NULL), 0);
	assert_int_equal(config_int(&config, SETTING_LOG_FORMAT), 2);
	assert_int_equal(load("MESHHOOK_WORKER_BATCH=", NULL), 0);
	assert_int_equal(config_int(&config, SETTING_WORKER_BATCH), 100);
	assert_int_equal(
	    load("MESHHOOK_WORKER_INLINE=0", "MESHHOOK_WORKER_LISTEN=yes"), 0);
	assert_int_equal(config_int(&config, SETTING_WORKER_INLINE), 0);
	assert_int_equal(config_int(&config, SETTING_WORKER_LISTEN), 1);
	assert_int_equal(load("MESHHOOK_STACK_DIR=x", "PATH=/bin"), 0);
	assert_int_equal(
	    config_set(&config, SETTING_WORKER_BATCH, "9", "--batch", &err), 0);
	assert_int_equal(config_int(&config, SETTING_WORKER_BATCH), 9);
}

static void
test_malformed_is_named(void **state)
{
	(void)state;
	fails("MESHHOOK_WORKER_BATCH=many",
	    "MESHHOOK_WORKER_BATCH: \"many\" is no whole number");
	fails("MESHHOOK_WORKER_BATCH=0",
	    "MESHHOOK_WORKER_BATCH: 0 is not between 1 and 1000");
	fails("MESHHOOK_WORKER_BATCH=10x",
	    "MESHHOOK_WORKER_BATCH: \"10x\" is no whole number");
	fails("MESHHOOK_WORKER_BATCH=99999999999999999999",
	    "MESHHOOK_WORKER_BATCH: \"99999999999999999999\" is no whole "
	    "number");
	fails("MESHHOOK_WORKER_LEASE=30",
	    "MESHHOOK_WORKER_LEASE: \"30\" is no duration such as 250ms, 30s "
	    "or 5m");
	fails("MESHHOOK_WORKER_INLINE=maybe",
	    "MESHHOOK_WORKER_INLINE: \"maybe\" is neither on nor off");
	fails("MESHHOOK_LOG_LEVEL=wran",
	    "MESHHOOK_LOG_LEVEL: \"wran\" is none of "
	    "trace|debug|info|warn|error; did you mean \"warn\"?");
	fails("MESHHOOK_DB_URL=localhost",
	    "MESHHOOK_DB_URL: not of the form "
	    "postgresql://USER:PASSWORD@HOST:PORT/DATABASE");
}

static void
test_unknown_is_named(void **state)
{
	(void)state;
	fails("MESHHOOK_WORKER_BACTH=10",
	    "MESHHOOK_WORKER_BACTH: no such setting; did you mean "
	    "MESHHOOK_WORKER_BATCH?");
	fails("MESHHOOK_CLEMENTINES=1",
	    "MESHHOOK_CLEMENTINES: no such setting; all: meshhook help "
	    "--configuration");
	/* only secrets come from files */
	fails("MESHHOOK_WORKER_BATCH_FILE=/dev/null",
	    "MESHHOOK_WORKER_BATCH_FILE: no such setting; did you mean "
	    "MESHHOOK_WORKER_BATCH?");
}

#define KEY "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static void
test_secret_from_file(void **state)
{
	char path[] = "/tmp/test-config-XXXXXX", var[64];
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, KEY "\n", sizeof(KEY)), sizeof(KEY));
	snprintf(var, sizeof(var), "MESHHOOK_INTAKE_KEY_FILE=%s", path);
	assert_int_equal(load(var, NULL), 0);
	assert_string_equal(config_text(&config, SETTING_INTAKE_KEY), KEY);
	assert_int_equal(load(var, "MESHHOOK_INTAKE_KEY=" KEY), -1);
	assert_string_equal(err.text,
	    "MESHHOOK_INTAKE_KEY: given both by itself and by "
	    "MESHHOOK_INTAKE_KEY_FILE");
	assert_int_equal(load("MESHHOOK_INTAKE_KEY=" KEY, var), -1);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(load(var, NULL), -1);
	assert_non_null(strstr(err.text, "is empty"));
	close(fd);
	unlink(path);
	assert_int_equal(load(var, NULL), -1);
	assert_non_null(strstr(err.text, "No such file"));
}

static void
test_bad_key_is_not_repeated(void **state)
{
	(void)state;
	fails("MESHHOOK_INTAKE_KEY=hunter2",
	    "MESHHOOK_INTAKE_KEY: not 32 bytes in base64; make one with: "
	    "openssl rand -base64 32");
	fails("MESHHOOK_INTAKE_KEY=a:" KEY ",b:",
	    "MESHHOOK_INTAKE_KEY: not 32 bytes in base64; make one with: "
	    "openssl rand -base64 32");
	assert_int_equal(
	    load("MESHHOOK_INTAKE_KEY=new:" KEY ",old:" KEY, NULL), 0);
}

static void
test_fallback_and_alias(void **state)
{
	(void)state;
	assert_int_equal(load("SUPABASE_DB_URL=postgresql://a/s", NULL), 0);
	assert_string_equal(
	    config_text(&config, SETTING_WORKER_DB_URL), "postgresql://a/s");
	/* our own name is stronger than the alias, in whatever order */
	assert_int_equal(load("SUPABASE_DB_URL=postgresql://a/s",
			     "MESHHOOK_DB_URL=postgresql://b/m"),
	    0);
	assert_string_equal(
	    config_text(&config, SETTING_DB_URL), "postgresql://b/m");
	assert_int_equal(load("MESHHOOK_DB_URL=postgresql://b/m",
			     "SUPABASE_DB_URL=postgresql://a/s"),
	    0);
	assert_string_equal(
	    config_text(&config, SETTING_DB_URL), "postgresql://b/m");
	assert_int_equal(load("MESHHOOK_DB_URL=postgresql://b/m",
			     "MESHHOOK_WORKER_DB_URL=postgresql://w/m"),
	    0);
	assert_string_equal(
	    config_text(&config, SETTING_WORKER_DB_URL), "postgresql://w/m");
	assert_int_equal(load("X=y", NULL), 0);
	assert_int_equal(config_need(&config, SETTING_DB_URL, &err), -1);
	assert_string_equal(err.text,
	    "MESHHOOK_DB_URL is not set\nit gives the database, as its "
	    "operator (role postgres); or say --db-url\nof "
	    "the local stack: eval \"$(scripts/stack env)\"");
}

static void
test_masked(void **state)
{
	static const char *const cases[][2] = {
		{ "postgresql://u:secret@h:5432/d",
		    "postgresql://u:***@h:5432/d" },
		{ "postgres://u:p@ss:w@h/d?x=1", "postgres://u:***@h/d?x=1" },
		{ "postgresql://u@h/d", "postgresql://u@h/d" },
		{ "postgresql://h/d?user=u&password=x&sslmode=require",
		    "postgresql://h/d?user=u&password=***&sslmode=require" },
		{ "host=h password=secret user=u",
		    "host=h password=*** user=u" },
		{ "host=h password='a b' user=u password=z",
		    "host=h password=*** user=u password=***" },
		{ "password='open", "password=***" },
		{ "postgresql://h/d?x=a@b:c", "postgresql://h/d?x=a@b:c" },
	};
	struct arena a;

	(void)state;
	arena_init(&a);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(
		    config_masked(&a, cases[i][0]), cases[i][1]);
	arena_deinit(&a);
}

static void
test_env_is_wiped(void **state)
{
	char *value;

	(void)state;
	setenv("MESHHOOK_INTAKE_KEY", KEY, 1);
	setenv("MESHHOOK_WORKER_BATCH", "5", 1);
	value = getenv("MESHHOOK_INTAKE_KEY");
	config_wipe_env();
	assert_int_equal(value[0], '\0');
	assert_null(getenv("MESHHOOK_INTAKE_KEY"));
	assert_string_equal(getenv("MESHHOOK_WORKER_BATCH"), "5");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_is_sound),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_malformed_is_named),
		cmocka_unit_test(test_unknown_is_named),
		cmocka_unit_test(test_secret_from_file),
		cmocka_unit_test(test_bad_key_is_not_repeated),
		cmocka_unit_test(test_fallback_and_alias),
		cmocka_unit_test(test_masked),
		cmocka_unit_test(test_env_is_wiped),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	config_deinit(&config);
	return failed;
}
