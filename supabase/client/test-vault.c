#include "supabase/client/vault.h"
#include "core/test.h"

static const char two_keys[] =
    "new:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=,"
    "old:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

static struct vault_place
place_of(const char *name, int version)
{
	return (struct vault_place){ .project = { { 1, 2, 3 } },
		.name = str_of(name),
		.version = version };
}

static struct str
sealed_by(const char *keys, struct arena *a, const struct vault_place *place,
    struct str secret)
{
	struct vault v;
	struct str out;

	assert_int_equal(vault_init(&v, str_of(keys), NULL), 0);
	assert_int_equal(vault_seal(&v, a, place, secret, &out, NULL), 0);
	vault_deinit(&v);
	return out;
}

static void
test_round_trip(void **state)
{
	struct vault_place place = place_of("endpoint/x", 1);
	struct str plain = { "a\0b", 3 }, text, back;
	struct arena a;
	struct vault v;

	(void)state;
	arena_init(&a);
	text = sealed_by(two_keys, &a, &place, plain);
	assert_memory_equal(text.s, "v1.new.", 7);
	assert_null(strstr(text.s,
	    "a"
	    "b\n"));
	assert_int_equal(vault_init(&v, str_of(two_keys), NULL), 0);
	assert_int_equal(vault_open(&v, &a, &place, text, &back, NULL), 0);
	assert_true(str_eq(plain, back));
	vault_deinit(&v);
	arena_deinit(&a);
}

static void
test_bound_to_its_place(void **state)
{
	struct vault_place place = place_of("n", 1);
	struct vault_place others[] = { place_of("m", 1), place_of("n", 2),
		place_of("n", 1) };
	struct arena a;
	struct vault v;
	struct str text, back;
	struct error err;

	(void)state;
	others[2].project.bytes[15] = 9;
	arena_init(&a);
	text = sealed_by(two_keys, &a, &place, STR("secret"));
	assert_int_equal(vault_init(&v, str_of(two_keys), NULL), 0);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(
		    vault_open(&v, &a, &others[i], text, &back, &err), -1);
		assert_string_equal(err.code, "ENVELOPE");
	}
	arena_deinit(&a);
}

/* Each single changed character is noticed. */
static void
test_tampering(void **state)
{
	struct vault_place place = place_of("n", 1);
	struct arena a;
	struct vault v;
	struct str text, back;

	(void)state;
	arena_init(&a);
	text = sealed_by(two_keys, &a, &place, STR("secret"));
	assert_int_equal(vault_init(&v, str_of(two_keys), NULL), 0);
	for (size_t i = 0; i < text.n; i++) {
		char *bad = arena_strndup(&a, text.s, text.n);

		bad[i] = bad[i] == 'Q' ? 'R' : 'Q';
		assert_int_equal(vault_open(&v, &a, &place,
				     (struct str){ bad, text.n }, &back, NULL),
		    -1);
	}
	/* the padding alone is optional */
	for (size_t n = 0; n < text.n - 2; n++)
		assert_int_equal(vault_open(&v, &a, &place,
				     (struct str){ text.s, n }, &back, NULL),
		    -1);
	arena_deinit(&a);
}

static void
test_rotation(void **state)
{
	struct vault_place place = place_of("n", 1);
	struct arena a;
	struct vault v;
	struct str text, back;
	struct error err;

	(void)state;
	arena_init(&a);
	text = sealed_by("old:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=", &a,
	    &place, STR("s"));
	assert_int_equal(vault_init(&v, str_of(two_keys), NULL), 0);
	assert_int_equal(vault_open(&v, &a, &place, text, &back, NULL), 0);
	assert_int_equal(
	    vault_init(
		&v, STR("AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI"), NULL),
	    0);
	assert_int_equal(vault_open(&v, &a, &place, text, &back, &err), -1);
	assert_string_equal(err.code, "KEY");
	assert_int_equal(err.fault, FAULT_CONFIG);
	arena_deinit(&a);
}

static void
test_bad_keys(void **state)
{
	static const char *const bad[] = { "", "secretsecret", "id:", ":AAAA",
		"a.b:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
		"a:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=,"
		"a:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=" };
	struct vault v;
	struct error err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(vault_init(&v, str_of(bad[i]), &err), -1);
		assert_int_equal(err.fault, FAULT_CONFIG);
		assert_null(strstr(err.text, "secretsecret"));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_bound_to_its_place),
		cmocka_unit_test(test_tampering),
		cmocka_unit_test(test_rotation),
		cmocka_unit_test(test_bad_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
