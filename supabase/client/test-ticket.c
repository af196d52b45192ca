#include "supabase/client/ticket.h"
#include "core/test.h"

#include <string.h>

static const char *const one = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
static const char *const other = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";

static void
make(const char *key, struct arena *a, struct str *out)
{
	struct ticket t = { .has_user = 1,
		.authenticated = 1,
		.expires_ms = 1795233600730,
		.claims = STR("{\"role\":\"authenticated\"}") };
	struct vault vault;
	struct error err;

	memset(t.id.bytes, 1, sizeof(t.id.bytes));
	memset(t.user.bytes, 2, sizeof(t.user.bytes));
	assert_int_equal(vault_init(&vault, str_of(key), &err), 0);
	assert_int_equal(ticket_seal(&vault, a, &t, out, &err), 0);
	vault_deinit(&vault);
}

static int
opens(struct arena *a, struct str text, struct ticket *out)
{
	struct vault vault;
	struct error err;
	int r;

	assert_int_equal(vault_init(&vault, str_of(one), &err), 0);
	r = ticket_open(&vault, a, text, out, &err);
	vault_deinit(&vault);
	return r;
}

/* All that it says comes back, and it fits into a URL as it is. */
static void
test_round(void **state)
{
	struct arena a;
	struct ticket t;
	struct str text;

	(void)state;
	arena_init(&a);
	make(one, &a, &text);
	assert_int_equal(strspn(text.s,
			     "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvw"
			     "xyz0123456789._-"),
	    text.n);
	assert_int_equal(opens(&a, text, &t), 0);
	assert_int_equal(t.id.bytes[15], 1);
	assert_int_equal(t.user.bytes[0], 2);
	assert_true(t.has_user && t.authenticated);
	assert_true(t.expires_ms == 1795233600730);
	assert_string_equal(t.claims.s, "{\"role\":\"authenticated\"}");
	arena_deinit(&a);
}

/* Another key's, one that was changed anywhere, or none at all. */
static void
test_refused(void **state)
{
	struct arena a;
	struct ticket t;
	struct str text;

	(void)state;
	arena_init(&a);
	make(other, &a, &text);
	assert_int_equal(opens(&a, text, &t), -1);
	make(one, &a, &text);
	for (size_t i = 0; i < text.n; i++) {
		char *copy = arena_strndup(&a, text.s, text.n);

		copy[i] = copy[i] == 'x' ? 'y' : 'x';
		assert_int_equal(opens(&a, str_of(copy), &t), -1);
	}
	assert_int_equal(opens(&a, STR(""), &t), -1);
	assert_int_equal(opens(&a, STR("mht_"), &t), -1);
	arena_deinit(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
