/*
 * Lines of NAME=value, as an environment: whatever they are, what is taken is
 * of its setting's type and range, and what isn't is named.
 */
#include <string.h>

#include "core/config.h"
#include "tests/fuzz/fuzz.h"

enum { LINES_MOST = 64 };

/* A file that a fuzzer names is none that should be read. */
static int
is_file(struct str line)
{
	const char *is = line.n > 0 ? memchr(line.s, '=', line.n) : NULL;

	return is != NULL && is - line.s >= 5 &&
	    memcmp(is - 5, "_FILE", 5) == 0;
}

static void
check_values(const struct config *c)
{
	struct arena a;

	arena_init(&a);
	for (size_t i = 1; i < N_SETTINGS; i++) {
		const struct setting *s = &settings[i];
		const char *text = config_text(c, (enum setting_id)i);
		int64_t n = config_int(c, (enum setting_id)i);

		if (text == NULL)
			continue;
		if (s->type == SETTING_INT || s->type == SETTING_MS)
			FUZZ_CHECK(n >= s->min && n <= s->max);
		if (s->type == SETTING_BOOL)
			FUZZ_CHECK(n == 0 || n == 1);
		if (s->type == SETTING_URL)
			FUZZ_CHECK(config_masked(&a, text) != NULL);
	}
	arena_deinit(&a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str input = { (const char *)data, size };
	char *env[LINES_MOST + 1] = { NULL };
	struct config c;
	struct error err;
	struct arena a;
	size_t n = 0;

	arena_init(&a);
	while (input.n > 0 && n < LINES_MOST) {
		struct str line = fuzz_line(&input);

		if (!is_file(line))
			env[n++] = arena_strndup(&a, line.s, line.n);
	}
	config_init(&c);
	if (config_load(&c, env, &err) == 0) {
		check_values(&c);
	} else {
		FUZZ_CHECK(err.fault == FAULT_CONFIG);
		FUZZ_CHECK(strstr(err.text, "MESHHOOK_") != NULL ||
		    strstr(err.text, "SUPABASE_") != NULL);
	}
	config_deinit(&c);
	arena_deinit(&a);
	return 0;
}
