/*
 * The first line is a token, what is behind it a key set. No token holds that
 * isn't signed, one that holds does so for each reading, and no other byte in
 * it holds, too.
 */
#include <string.h>

#include "core/utf8.h"
#include "supabase/client/jwt.h"
#include "tests/fuzz/fuzz.h"

static const struct jwt_rules rules = { .now_s = 1795000000 };

static int
verify(const struct jwt_keys *keys, struct str token)
{
	struct error err = { 0 };
	struct arena a;
	struct jwt jwt;
	int r;

	arena_init(&a);
	r = jwt_verify(&a, token, keys, &rules, &jwt, &err);
	FUZZ_CHECK(r >= -1 && r <= JWT_UNKNOWN_KEY);
	if (r == 0) {
		FUZZ_CHECK(json_is(jwt.claims, JSON_OBJECT));
		FUZZ_CHECK(jwt.expires_s > rules.now_s);
	} else {
		FUZZ_CHECK(err.fault == FAULT_AUTH && err.text[0] != '\0' &&
		    utf8_valid(str_of(err.text)));
	}
	arena_deinit(&a);
	return r;
}

/* The signature's first character: all of its bits count. */
static void
check_other(const struct jwt_keys *keys, struct str token)
{
	char *copy = malloc(token.n), *last = memrchr(token.s, '.', token.n);
	size_t at = (size_t)(last - token.s) + 1;

	FUZZ_CHECK(copy != NULL && last != NULL && at < token.n);
	memcpy(copy, token.s, token.n);
	copy[at] = copy[at] == 'A' ? 'B' : 'A';
	FUZZ_CHECK(verify(keys, (struct str){ copy, token.n }) != 0);
	free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = { (const char *)data, size },
		   token = fuzz_line(&rest);
	struct jwt_keys keys = { 0 };
	struct error err = { 0 };

	FUZZ_CHECK(jwt_keys_add_secret(&keys,
		       STR("a secret of thirty-two bytes or more"), &err) == 0);
	if (jwt_keys_add_jwks(&keys, rest, &err) < 0) {
		FUZZ_CHECK(keys.n == 1);
		fuzz_check_error(&err);
	}
	for (size_t i = 1; i < keys.n; i++)
		FUZZ_CHECK(keys.keys[i].alg != JWT_HS256);
	if (verify(&keys, token) == 0)
		check_other(&keys, token);
	jwt_keys_deinit(&keys);
	return 0;
}
