#include "realtime/signature.h"
#include "core/test.h"

#include <stdio.h>

/* The specification's own example (Standard Webhooks 1.0, "Signature
 * scheme"), which its reference libraries test with, too. */
#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define ID "msg_p5jXN8AQM9LWM0D4loKWxJek"
#define AT "1614265330"
#define BODY "{\"test\": 2432232314}"
#define SIGNED "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
enum { NOW = 1614265330 };

static int
verify(const char *id, const char *at, const char *signature, const char *body,
    int64_t now, char code[16])
{
	struct signature_secret s[2];
	const struct signature_secret *signer;
	struct signature_headers h = { 0 };
	struct error err = { 0 };
	int r;

	assert_int_equal(
	    signature_secret_parse(
		STR("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"), &s[0], &err),
	    0);
	assert_int_equal(signature_secret_parse(STR(SECRET), &s[1], &err), 0);
	s[0].version = 2;
	s[1].version = 1;
	if (id != NULL)
		h.id = str_of(id);
	if (at != NULL)
		h.timestamp = str_of(at);
	if (signature != NULL)
		h.signature = str_of(signature);
	r = signature_verify(&h, str_of(body), s, 2, now, &signer, &err);
	memcpy(code, err.code, 16);
	if (r == 0)
		assert_int_equal(signer->version, 1);
	else
		assert_null(signer);
	return r;
}

static void
test_the_specs_example_holds(void **state)
{
	char code[16];

	(void)state;
	assert_int_equal(verify(ID, AT, SIGNED, BODY, NOW, code), 0);
	assert_int_equal(verify(ID, AT, SIGNED, BODY, NOW + 300, code), 0);
	assert_int_equal(verify(ID, AT, SIGNED, BODY, NOW - 300, code), 0);
}

/* One of several, as while the sender's secret rotates. */
static void
test_any_candidate_counts(void **state)
{
	static const char *const lists[] = {
		"v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= " SIGNED,
		SIGNED " v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc=",
		"v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFym"
		"JaA7AZdpXwVLPo3mNl8EM+m7TBAAQ== " SIGNED,
		"  " SIGNED " junk",
	};
	char code[16];

	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(verify(ID, AT, lists[i], BODY, NOW, code), 0);
}

static void
test_whatever_is_altered_is_refused(void **state)
{
	static const struct {
		const char *id, *at, *signature, *body, *code;
		int64_t now;
	} cases[] = {
		{ ID, AT, SIGNED, "{\"test\": 2432232315}", "SIGNATURE", NOW },
		{ ID, AT, SIGNED, BODY " ", "SIGNATURE", NOW },
		{ ID, AT, SIGNED, "", "SIGNATURE", NOW },
		{ "msg_q", AT, SIGNED, BODY, "SIGNATURE", NOW },
		{ ID, "1614265331", SIGNED, BODY, "SIGNATURE", NOW },
		{ ID, "01614265330", SIGNED, BODY, "SIGNATURE", NOW },
		{ ID, AT, "v1,", BODY, "SIGNATURE", NOW },
		{ ID, AT, "", BODY, "SIGNATURE", NOW },
		{ ID, AT, "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
		    BODY, "SIGNATURE", NOW },
		{ ID, AT, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OF=",
		    BODY, "SIGNATURE", NOW },
		{ ID, AT, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE",
		    BODY, "SIGNATURE", NOW },
		{ ID, AT, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", BODY,
		    "SIGNATURE", NOW },
		{ NULL, AT, SIGNED, BODY, "HEADERS", NOW },
		{ ID, NULL, SIGNED, BODY, "HEADERS", NOW },
		{ ID, AT, NULL, BODY, "HEADERS", NOW },
		{ "a b", AT, SIGNED, BODY, "HEADERS", NOW },
		{ "\xc3\xa9", AT, SIGNED, BODY, "HEADERS", NOW },
		{ "", AT, SIGNED, BODY, "HEADERS", NOW },
		{ ID, "", SIGNED, BODY, "HEADERS", NOW },
		{ ID, "-1614265330", SIGNED, BODY, "HEADERS", NOW },
		{ ID, "1614265330.0", SIGNED, BODY, "HEADERS", NOW },
		{ ID, "9999999999999999999", SIGNED, BODY, "HEADERS", NOW },
		{ ID, AT, SIGNED, BODY, "CLOCK", NOW + 301 },
		{ ID, AT, SIGNED, BODY, "CLOCK", NOW - 301 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char code[16];

		assert_int_equal(
		    verify(cases[i].id, cases[i].at, cases[i].signature,
			cases[i].body, cases[i].now, code),
		    -1);
		assert_string_equal(code, cases[i].code);
	}
}

static void
test_secrets_that_are_none(void **state)
{
	static const char *const bad[] = { "", "whsec_",
		"whsec_c2hvcnQ=", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
		"not base64 at all!!!",
		"whsec_====", "MfKQ9r8GKYqrTwjU\nPD8ILPZIo2LaLaS" };
	struct signature_secret s;
	struct error err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err = (struct error){ 0 };
		assert_int_equal(
		    signature_secret_parse(str_of(bad[i]), &s, &err), -1);
		assert_int_equal(err.fault, FAULT_CONFIG);
		if (strlen(bad[i]) > 6)
			assert_null(strstr(err.text, bad[i] + 6));
	}
	assert_int_equal(signature_secret_parse(
			     STR("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), &s, &err),
	    0);
	assert_int_equal(s.n, 24);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_specs_example_holds),
		cmocka_unit_test(test_any_candidate_counts),
		cmocka_unit_test(test_whatever_is_altered_is_refused),
		cmocka_unit_test(test_secrets_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
