#include "realtime/intake/signature.h"
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

static void
add(struct http1_head *head, const char *name, const char *value)
{
	if (value != NULL)
		head->headers[head->n_headers++] =
		    (struct http1_header){ str_of(name), str_of(value) };
}

static int
verify(const char *id, const char *at, const char *signature, const char *body,
    int64_t now, char code[20])
{
	struct signature_scheme scheme =
	    signature_scheme_of(SIGNATURE_STANDARD);
	struct signature_secret s[2];
	struct http1_head head = { 0 };
	struct signature_request req = { .scheme = &scheme,
		.head = &head,
		.body = str_of(body),
		.secrets = s,
		.n_secrets = 2,
		.now_s = now };
	struct signature sig;
	struct error err = { 0 };
	int r;

	assert_int_equal(
	    signature_secret_parse(&scheme,
		STR("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"), &s[0], &err),
	    0);
	assert_int_equal(
	    signature_secret_parse(&scheme, STR(SECRET), &s[1], &err), 0);
	s[0].version = 2;
	s[1].version = 1;
	add(&head, "webhook-id", id);
	add(&head, "webhook-timestamp", at);
	add(&head, "webhook-signature", signature);
	r = signature_verify(&req, &sig, &err);
	memcpy(code, err.code, 20);
	if (r == 0)
		assert_int_equal(sig.signer->version, 1);
	else
		assert_null(sig.signer);
	return r;
}

static void
test_the_specs_example_holds(void **state)
{
	char code[20];

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
	char code[20];

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
		char code[20];

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
	struct signature_scheme standard =
	    signature_scheme_of(SIGNATURE_STANDARD);
	struct signature_scheme hex = signature_scheme_of(SIGNATURE_HMAC);
	struct signature_secret s;
	struct error err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err = (struct error){ 0 };
		assert_int_equal(
		    signature_secret_parse(&standard, str_of(bad[i]), &s, &err),
		    -1);
		assert_int_equal(err.fault, FAULT_CONFIG);
		if (strlen(bad[i]) > 6)
			assert_null(strstr(err.text, bad[i] + 6));
	}
	assert_int_equal(signature_secret_parse(&standard,
			     STR("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), &s, &err),
	    0);
	assert_int_equal(s.n, 24);
	assert_int_equal(
	    signature_secret_parse(&hex, STR("seven77"), &s, &err), -1);
	hex.key = SIGNATURE_KEY_HEX;
	assert_int_equal(
	    signature_secret_parse(&hex, STR("00fFA1b2c3d4e5f6"), &s, &err), 0);
	assert_memory_equal(s.key, "\x00\xff\xa1\xb2\xc3\xd4\xe5\xf6", 8);
	assert_int_equal(
	    signature_secret_parse(&hex, STR("00fFA1b2c3d4e5fg"), &s, &err),
	    -1);
}

/* Examples that the providers' own pages show. */
static const struct example {
	enum signature_type type;
	const char *secret, *body;
	int64_t now;
	const char *headers[4];
} examples[] = {
	{ SIGNATURE_GITHUB, "It's a Secret to Everybody", "Hello, World!", 0,
	    { "x-hub-signature-256",
		"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379"
		"c8b043e17" } },
	{ SIGNATURE_SLACK, "8f742231b10e8888abcd99yyyzzz85a5",
	    "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain="
	    "testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id="
	    "U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
	    "&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2F"
	    "T1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id="
	    "398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
	    1531420618,
	    { "x-slack-signature",
		"v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c6"
		"9b503",
		"x-slack-request-timestamp", "1531420618" } },
};

static int
example_verify(const struct example *x, const char *body, const char *header,
    const struct signature_scheme *scheme)
{
	struct signature_secret secret;
	struct http1_head head = { 0 };
	struct signature_request req = { .scheme = scheme,
		.head = &head,
		.body = str_of(body),
		.secrets = &secret,
		.n_secrets = 1,
		.now_s = x->now };
	struct signature sig;
	struct error err;

	assert_int_equal(
	    signature_secret_parse(scheme, str_of(x->secret), &secret, &err),
	    0);
	add(&head, x->headers[0], header);
	if (x->headers[2] != NULL)
		add(&head, x->headers[2], x->headers[3]);
	return signature_verify(&req, &sig, &err);
}

static void
test_the_providers_examples_hold(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
		const struct example *x = &examples[i];
		struct signature_scheme scheme = signature_scheme_of(x->type);
		char altered[200];

		assert_int_equal(
		    example_verify(x, x->body, x->headers[1], &scheme), 0);
		assert_int_equal(
		    example_verify(x, "other", x->headers[1], &scheme), -1);
		for (size_t at = 0; at < strlen(x->headers[1]); at++) {
			strncpy(altered, x->headers[1], sizeof(altered) - 1);
			altered[at] ^= 1;
			assert_int_equal(
			    example_verify(x, x->body, altered, &scheme), -1);
			altered[at] = '\0';
			assert_int_equal(
			    example_verify(x, x->body, altered, &scheme), -1);
		}
	}
}

static struct signature_scheme
parsed(const char *text)
{
	struct signature_scheme scheme;
	struct arena a;
	struct json *v;
	struct error err;

	arena_init(&a);
	assert_int_equal(json_parse(&a, str_of(text), NULL, &v, &err), 0);
	assert_int_equal(signature_scheme_parse(v, &scheme, &err), 0);
	arena_deinit(&a);
	return scheme;
}

/* What we sign we verify, and nothing that differs from it. */
static void
round_trip(const char *config, const char *secret_text)
{
	struct signature_scheme scheme = parsed(config);
	struct signature_secret secret;
	struct http1_head head = { 0 };
	struct signature_request req = { .scheme = &scheme,
		.head = &head,
		.body = STR(BODY),
		.secrets = &secret,
		.n_secrets = 1,
		.now_s = NOW };
	struct signature sig;
	struct arena a;
	struct error err;
	int timed = scheme.time_header[0] || scheme.time_prefix[0] ||
	    scheme.type == SIGNATURE_JWT;

	arena_init(&a);
	req.arena = &a;
	assert_int_equal(
	    signature_secret_parse(&scheme, str_of(secret_text), &secret, &err),
	    0);
	head.n_headers =
	    signature_sign(&a, &req, STR("delivery-1"), head.headers);
	assert_int_equal(signature_verify(&req, &sig, &err), 0);
	assert_ptr_equal(sig.signer, &secret);
	if (scheme.id_header[0] != '\0' || scheme.type == SIGNATURE_JWT)
		assert_true(str_is(sig.id, "delivery-1"));
	req.now_s = NOW + scheme.tolerance_s + 1;
	assert_int_equal(signature_verify(&req, &sig, &err), timed ? -1 : 0);
	req.now_s = NOW;
	req.body.n--;
	assert_int_equal(signature_verify(&req, &sig, &err), -1);
	req.body.n++;
	secret.key[0] ^= 1;
	assert_int_equal(signature_verify(&req, &sig, &err), -1);
	assert_string_equal(err.code, "SIGNATURE");
	secret.key[0] ^= 1;
	req.n_secrets = 0;
	assert_int_equal(signature_verify(&req, &sig, &err), -1);
	arena_deinit(&a);
}

static void
test_every_scheme_there_and_back(void **state)
{
	(void)state;
	round_trip("{\"type\": \"standard\"}", SECRET);
	round_trip("{\"type\": \"stripe\", \"tolerance\": 60}", SECRET);
	round_trip("{\"type\": \"github\"}", "some secret");
	round_trip("{\"type\": \"slack\"}", "some secret");
	round_trip("{\"type\": \"shopify\"}", "some secret");
	round_trip("{\"type\": \"jwt\", \"issuer\": \"us\", "
		   "\"audience\": \"them\", \"body_claim\": "
		   "\"payload_hash\"}",
	    "0123456789abcdef0123456789abcdef");
	round_trip("{\"type\": \"hmac\"}", "some secret");
	round_trip("{\"type\": \"hmac\", \"header\": \"Paddle-Signature\", "
		   "\"separator\": \";\", \"prefix\": \"h1=\", "
		   "\"timestamp_prefix\": \"ts=\", "
		   "\"content\": \"{timestamp}:{body}\"}",
	    "some secret");
	round_trip("{\"type\": \"hmac\", \"algorithm\": \"sha1\", "
		   "\"encoding\": \"base64\", \"key\": \"hex\"}",
	    "00112233445566778899aabbccddeeff");
	round_trip("{\"type\": \"hmac\", \"algorithm\": \"sha512\", "
		   "\"timestamp_header\": \"X-At\", \"id_header\": \"X-Id\", "
		   "\"content\": \"{id}|{timestamp}|{body}\"}",
	    "some secret");
}

static void
test_schemes_that_are_none(void **state)
{
	static const char *const bad[] = {
		"{}",
		"{\"type\": \"md5\"}",
		"{\"type\": \"stripe\", \"header\": \"x\"}",
		"{\"type\": \"jwt\", \"jwks_url\": \"ftp://x.example\"}",
		"{\"type\": \"jwt\", \"content\": \"{body}\"}",
		"{\"type\": \"hmac\", \"jwks_url\": \"https://x.example\"}",
		"{\"type\": \"stripe\", \"tolerance\": 0}",
		"{\"type\": \"none\", \"header\": \"x\"}",
		"{\"type\": \"hmac\", \"header\": \"\"}",
		"{\"type\": \"hmac\", \"header\": \"a b\"}",
		"{\"type\": \"hmac\", \"header\": 1}",
		"{\"type\": \"hmac\", \"algorithm\": \"md5\"}",
		"{\"type\": \"hmac\", \"encoding\": \"hex64\"}",
		"{\"type\": \"hmac\", \"content\": \"{timestamp}\"}",
		"{\"type\": \"hmac\", \"content\": \"{timestamp}.{body}\"}",
		"{\"type\": \"hmac\", \"timestamp_header\": \"x\"}",
		"{\"type\": \"hmac\", \"separator\": \"ab\"}",
		"{\"type\": \"hmac\", \"separator\": \"x\"}",
		"{\"type\": \"hmac\", \"id_header\": \"\", "
		"\"content\": \"{id}{body}\"}",
		"{\"type\": \"hmac\", \"timestamp_prefix\": \"t=\", "
		"\"content\": \"{timestamp}{body}\"}",
	};
	struct arena a;

	(void)state;
	arena_init(&a);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct signature_scheme scheme;
		struct error err = { 0 };
		struct json *v;

		assert_int_equal(
		    json_parse(&a, str_of(bad[i]), NULL, &v, &err), 0);
		assert_int_equal(signature_scheme_parse(v, &scheme, &err), -1);
		assert_int_equal(err.fault, FAULT_INPUT);
	}
	arena_deinit(&a);
}

static void
test_none_is_anybodys(void **state)
{
	struct signature_scheme scheme = parsed("{\"type\": \"none\"}");
	struct http1_head head = { 0 };
	struct signature_request req = {
		.scheme = &scheme, .head = &head, .body = STR(BODY)
	};
	struct signature sig;
	struct error err;

	(void)state;
	assert_int_equal(signature_verify(&req, &sig, &err), 0);
	assert_null(sig.signer);
	assert_null(sig.id.s);
	add(&head, "idempotency-key", "k1");
	assert_int_equal(signature_verify(&req, &sig, &err), 0);
	assert_true(str_is(sig.id, "k1"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_specs_example_holds),
		cmocka_unit_test(test_any_candidate_counts),
		cmocka_unit_test(test_whatever_is_altered_is_refused),
		cmocka_unit_test(test_secrets_that_are_none),
		cmocka_unit_test(test_the_providers_examples_hold),
		cmocka_unit_test(test_every_scheme_there_and_back),
		cmocka_unit_test(test_schemes_that_are_none),
		cmocka_unit_test(test_none_is_anybodys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
