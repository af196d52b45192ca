#include "supabase/client/jwt.h"
#include "core/base64.h"
#include "supabase/client/vault.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
/* last: cmocka has a macro named fail */
#include "core/test.h"

static const char secret[] =
    "super-secret-jwt-token-with-at-least-32-characters";
static const int64_t now_s = 1795000000;
static const char good[] =
    "{\"sub\":\"u\",\"role\":\"authenticated\","
    "\"exp\":1795000060,\"iss\":\"me\",\"aud\":[\"x\",\"us\"]}";

/* One of each kind of key, and the sets that hold them. */
static struct fixture {
	EVP_PKEY *rsa, *ec;
	struct arena arena;
	struct jwt_keys shared, public;
	struct str jwks, rsa_pem;
} f;

static struct str
url(struct str bytes)
{
	struct str text = base64_encode(&f.arena, bytes);
	char *s = arena_strndup(&f.arena, text.s, text.n);

	while (text.n > 0 && s[text.n - 1] == '=')
		s[--text.n] = '\0';
	for (size_t i = 0; i < text.n; i++)
		s[i] = (char)(s[i] == '+' ? '-' : s[i] == '/' ? '_' : s[i]);
	return (struct str){ s, text.n };
}

static struct str
hs256(struct str text, const void *key, size_t n)
{
	unsigned char *mac = arena_alloc(&f.arena, 32);

	assert_non_null(HMAC(EVP_sha256(), key, (int)n,
	    (const unsigned char *)text.s, text.n, mac, NULL));
	return (struct str){ (char *)mac, 32 };
}

static struct str
signed_by(EVP_PKEY *key, struct str text)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	unsigned char *sig = arena_zalloc(&f.arena, 1024);
	size_t n = 1024;

	assert_int_equal(
	    EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, key), 1);
	assert_int_equal(
	    EVP_DigestSign(c, sig, &n, (const unsigned char *)text.s, text.n),
	    1);
	EVP_MD_CTX_free(c);
	return (struct str){ (char *)sig, n };
}

/* DER to r and s. */
static struct str
es256(EVP_PKEY *key, struct str text)
{
	struct str der = signed_by(key, text);
	const unsigned char *p = (const unsigned char *)der.s;
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)der.n);
	unsigned char *raw = arena_zalloc(&f.arena, 64);

	assert_non_null(sig);
	BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32);
	BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32);
	ECDSA_SIG_free(sig);
	return (struct str){ (char *)raw, 64 };
}

static struct str
unsigned_token(const char *header, const char *claims)
{
	return str_of(arena_printf(
	    &f.arena, "%s.%s", url(str_of(header)).s, url(str_of(claims)).s));
}

static struct str
with_signature(struct str text, struct str signature)
{
	return str_of(
	    arena_printf(&f.arena, "%s.%s", text.s, url(signature).s));
}

/* A token of good claims and a signature by what the algorithm says. */
static struct str
token(const char *header, const char *claims)
{
	struct str text = unsigned_token(header, claims);

	if (strstr(header, "\"HS256\"") != NULL)
		return with_signature(
		    text, hs256(text, secret, sizeof(secret) - 1));
	if (strstr(header, "\"RS256\"") != NULL)
		return with_signature(text, signed_by(f.rsa, text));
	return with_signature(text, es256(f.ec, text));
}

static const struct jwt_rules rules = { .now_s = 1795000000 };

static int
verify(const struct jwt_keys *keys, struct str text, struct error *err)
{
	struct jwt jwt;
	int r = jwt_verify(&f.arena, text, keys, &rules, &jwt, err);

	if (r == 0)
		assert_int_equal(jwt.expires_s, now_s + 60);
	return r;
}

static void
accepted(const struct jwt_keys *keys, struct str text)
{
	struct error err = { 0 };

	if (verify(keys, text, &err) != 0)
		fail_msg("%s: %s", err.code, err.text);
}

static void
refused(const struct jwt_keys *keys, struct str text, const char *code)
{
	struct error err = { 0 };

	assert_int_not_equal(verify(keys, text, &err), 0);
	assert_int_equal(err.fault, FAULT_AUTH);
	assert_string_equal(err.code, code);
}

static struct str
bignum_url(const EVP_PKEY *key, const char *name)
{
	BIGNUM *n = NULL;
	unsigned char bytes[1024];
	struct str s = { (char *)bytes, 0 };

	assert_int_equal(EVP_PKEY_get_bn_param(key, name, &n), 1);
	s.n = strcmp(name, "n") == 0 || strcmp(name, "e") == 0
	    ? (size_t)BN_bn2bin(n, bytes)
	    : (size_t)BN_bn2binpad(n, bytes, 32);
	BN_free(n);
	return url(s);
}

static int
make_keys(void **state)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *pem;
	long n;

	(void)state;
	arena_init(&f.arena);
	f.rsa = EVP_RSA_gen(2048);
	f.ec = EVP_EC_gen("P-256");
	f.jwks = str_of(arena_printf(&f.arena,
	    "{\"keys\":[{\"kty\":\"oct\",\"k\":\"%s\"},"
	    "{\"kty\":\"RSA\",\"kid\":\"r1\",\"use\":\"sig\",\"alg\":\"RS256\","
	    "\"n\":\"%s\",\"e\":\"%s\"},"
	    "{\"kty\":\"EC\",\"kid\":\"e1\",\"crv\":\"P-256\",\"x\":\"%s\","
	    "\"y\":\"%s\"}]}",
	    url(str_of(secret)).s, bignum_url(f.rsa, "n").s,
	    bignum_url(f.rsa, "e").s,
	    bignum_url(f.ec, OSSL_PKEY_PARAM_EC_PUB_X).s,
	    bignum_url(f.ec, OSSL_PKEY_PARAM_EC_PUB_Y).s));
	assert_int_equal(
	    jwt_keys_add_secret(&f.shared, str_of(secret), NULL), 0);
	assert_int_equal(jwt_keys_add_jwks(&f.public, f.jwks, NULL), 0);
	assert_int_equal(f.public.n, 2); /* never the symmetric one */
	PEM_write_bio_PUBKEY(bio, f.rsa);
	n = BIO_get_mem_data(bio, &pem);
	f.rsa_pem.s = arena_strndup(&f.arena, pem, (size_t)n);
	f.rsa_pem.n = (size_t)n;
	BIO_free(bio);
	return 0;
}

static int
free_keys(void **state)
{
	(void)state;
	EVP_PKEY_free(f.rsa);
	EVP_PKEY_free(f.ec);
	jwt_keys_deinit(&f.shared);
	jwt_keys_deinit(&f.public);
	arena_deinit(&f.arena);
	return 0;
}

static void
test_each_algorithm(void **state)
{
	(void)state;
	accepted(&f.shared, token("{\"alg\":\"HS256\",\"typ\":\"JWT\"}", good));
	accepted(&f.shared, token("{\"alg\":\"HS256\",\"kid\":\"any\"}", good));
	accepted(&f.public, token("{\"alg\":\"RS256\",\"kid\":\"r1\"}", good));
	accepted(&f.public, token("{\"alg\":\"ES256\",\"kid\":\"e1\"}", good));
	accepted(&f.public, token("{\"alg\":\"ES256\"}", good));
}

/* RFC 7515, A.1 and A.3: keys and signatures of others. */
static void
test_rfc_vectors(void **state)
{
	static const char key[] = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_"
				  "T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
	static const char hs[] =
	    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
	    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
	    "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
	    "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
	static const char es[] =
	    "eyJhbGciOiJFUzI1NiJ9."
	    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
	    "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
	    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSA"
	    "pmWQxfKTUJqPP3-Kg6NU1Q";
	static const char jwks[] =
	    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
	    "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
	    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";
	struct jwt_rules then = { .now_s = 1300819379 };
	struct jwt_keys keys = { 0 };
	struct str bytes;
	struct jwt jwt;

	(void)state;
	assert_int_equal(base64_decode(&f.arena, str_of(key), &bytes), 0);
	assert_int_equal(jwt_keys_add_secret(&keys, bytes, NULL), 0);
	assert_int_equal(jwt_keys_add_jwks(&keys, str_of(jwks), NULL), 0);
	assert_int_equal(
	    jwt_verify(&f.arena, str_of(hs), &keys, &then, &jwt, NULL), 0);
	assert_int_equal(
	    jwt_verify(&f.arena, str_of(es), &keys, &then, &jwt, NULL), 0);
	then.now_s++;
	assert_int_equal(
	    jwt_verify(&f.arena, str_of(es), &keys, &then, &jwt, NULL), -1);
	jwt_keys_deinit(&keys);
}

/* Any other byte anywhere: not the token that was signed. */
static void
test_tampered(void **state)
{
	const char *headers[] = { "{\"alg\":\"HS256\"}",
		"{\"alg\":\"ES256\"}" };

	(void)state;
	for (int k = 0; k < 2; k++) {
		struct str t = token(headers[k], good);
		const struct jwt_keys *keys = k == 0 ? &f.shared : &f.public;
		char *s = arena_strndup(&f.arena, t.s, t.n);

		for (size_t i = 0; i < t.n; i++) {
			s[i] = (char)(s[i] == 'A' ? 'B' : 'A');
			assert_int_not_equal(
			    verify(keys, (struct str){ s, t.n }, NULL), 0);
			s[i] = t.s[i];
		}
		for (size_t n = 0; n < t.n; n++)
			assert_int_not_equal(
			    verify(keys, (struct str){ t.s, n }, NULL), 0);
	}
}

static void
test_no_algorithm(void **state)
{
	const char *headers[] = { "{\"alg\":\"none\"}", "{\"alg\":\"None\"}",
		"{\"alg\":\"\"}", "{}", "{\"alg\":null}",
		"{\"alg\":[\"HS256\"]}", "{\"alg\":\"hs256\"}",
		"{\"alg\":\"HS384\"}", "{\"alg\":\"PS256\"}" };

	(void)state;
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		struct str text = unsigned_token(headers[i], good);

		refused(&f.shared, with_signature(text, STR("")), "TOKEN");
		refused(&f.shared,
		    with_signature(
			text, hs256(text, secret, sizeof(secret) - 1)),
		    "TOKEN");
	}
	refused(&f.shared,
	    str_of(arena_printf(&f.arena, "%s.",
		unsigned_token("{\"alg\":\"HS256\"}", good).s)),
	    "TOKEN");
}

/* A public key is never a shared secret, in whatever form. */
static void
test_confused_algorithm(void **state)
{
	struct str text =
	    unsigned_token("{\"alg\":\"HS256\",\"kid\":\"r1\"}", good);
	struct jwt_keys both = { 0 };

	(void)state;
	refused(&f.public,
	    with_signature(text, hs256(text, f.rsa_pem.s, f.rsa_pem.n)),
	    "SIGNATURE");
	refused(&f.public,
	    with_signature(text, hs256(text, f.jwks.s, f.jwks.n)), "SIGNATURE");
	refused(&f.public,
	    with_signature(text, hs256(text, secret, sizeof(secret) - 1)),
	    "SIGNATURE");
	assert_int_equal(jwt_keys_add_secret(&both, str_of(secret), NULL), 0);
	assert_int_equal(jwt_keys_add_jwks(&both, f.jwks, NULL), 0);
	refused(&both,
	    with_signature(text, hs256(text, f.rsa_pem.s, f.rsa_pem.n)),
	    "SIGNATURE");
	/* RSA's signature under ES256's name, and the other way round */
	text = unsigned_token("{\"alg\":\"ES256\"}", good);
	refused(
	    &both, with_signature(text, signed_by(f.rsa, text)), "SIGNATURE");
	refused(
	    &both, with_signature(text, signed_by(f.ec, text)), "SIGNATURE");
	text = unsigned_token("{\"alg\":\"RS256\"}", good);
	refused(&both, with_signature(text, es256(f.ec, text)), "SIGNATURE");
	jwt_keys_deinit(&both);
}

static void
test_unknown_key(void **state)
{
	struct error err;

	(void)state;
	assert_int_equal(
	    verify(&f.public, token("{\"alg\":\"RS256\",\"kid\":\"r2\"}", good),
		&err),
	    JWT_UNKNOWN_KEY);
	assert_int_equal(
	    verify(&f.shared, token("{\"alg\":\"RS256\",\"kid\":\"r1\"}", good),
		&err),
	    JWT_UNKNOWN_KEY);
	refused(
	    &f.public, token("{\"alg\":\"RS256\",\"kid\":7}", good), "TOKEN");
	refused(&f.shared, token("{\"alg\":\"HS256\",\"crit\":[\"x\"]}", good),
	    "TOKEN");
	refused(&f.shared, token("{\"alg\":\"HS256\",\"b64\":false}", good),
	    "TOKEN");
}

static void
test_claims(void **state)
{
	static const struct {
		const char *claims, *code;
	} cases[] = {
		{ "{\"exp\":1795000000}", "EXPIRED" },
		{ "{\"exp\":1}", "EXPIRED" },
		{ "{\"exp\":0}", "EXPIRED" },
		{ "{}", "CLAIMS" },
		{ "{\"exp\":null}", "CLAIMS" },
		{ "{\"exp\":\"1795000060\"}", "CLAIMS" },
		{ "{\"exp\":1e400}", "CLAIMS" },
		{ "{\"exp\":-1}", "CLAIMS" },
		{ "{\"exp\":1795000060,\"nbf\":1795000031}", "CLAIMS" },
		{ "{\"exp\":1795000060,\"nbf\":\"x\"}", "TOKEN" },
		{ "[1]", "TOKEN" },
		{ "nonsense", "TOKEN" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		refused(&f.shared,
		    token("{\"alg\":\"HS256\"}", cases[i].claims),
		    cases[i].code);
	accepted(&f.shared,
	    token("{\"alg\":\"HS256\"}",
		"{\"exp\":1795000060.5,\"nbf\":1795000030}"));
}

static void
test_issuer_and_audience(void **state)
{
	struct str t = token("{\"alg\":\"HS256\"}", good);
	struct jwt_rules fit = { .issuer = STR("me"),
		.audience = STR("us"),
		.now_s = now_s },
			 wrong = fit;
	struct jwt jwt;
	struct error err;

	(void)state;
	assert_int_equal(
	    jwt_verify(&f.arena, t, &f.shared, &fit, &jwt, NULL), 0);
	wrong.issuer = STR("you");
	assert_int_equal(
	    jwt_verify(&f.arena, t, &f.shared, &wrong, &jwt, &err), -1);
	assert_string_equal(err.code, "CLAIMS");
	wrong = fit;
	wrong.audience = STR("them");
	assert_int_equal(
	    jwt_verify(&f.arena, t, &f.shared, &wrong, &jwt, &err), -1);
	assert_string_equal(err.code, "CLAIMS");
	t = token("{\"alg\":\"HS256\"}", "{\"exp\":1795000060}");
	assert_int_equal(
	    jwt_verify(&f.arena, t, &f.shared, &fit, &jwt, &err), -1);
}

/* What is no token, and what is too much of one. */
static void
test_malformed(void **state)
{
	struct str t = token("{\"alg\":\"HS256\"}", good);
	char *huge = arena_alloc(&f.arena, JWT_MAX + 2);
	const char *others[] = { "", ".", "..", "...", "a.b.c", "a.b", "x",
		"eyJhbGciOiJIUzI1NiJ9..", "!.!.!" };

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		refused(&f.shared, str_of(others[i]), "TOKEN");
	refused(&f.shared, str_of(arena_printf(&f.arena, "%s=", t.s)), "TOKEN");
	refused(
	    &f.shared, str_of(arena_printf(&f.arena, "%s.x", t.s)), "TOKEN");
	memset(huge, 'a', JWT_MAX + 1);
	refused(&f.shared, (struct str){ huge, JWT_MAX + 1 }, "TOKEN");
	memset(huge, '.', JWT_MAX);
	refused(&f.shared, (struct str){ huge, JWT_MAX }, "TOKEN");
	refused(&(struct jwt_keys){ 0 }, t, "SIGNATURE");
}

static void
test_key_sets(void **state)
{
	static const char *const none[] = { "", "[]", "{}", "{\"keys\":{}}",
		"{\"keys\":[]}", "{\"keys\":[1,null,{}]}",
		"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}",
		"{\"keys\":[{\"kty\":\"oct\",\"k\":"
		"\"AAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		"AAAAAAAAAAAAAAAAAAA\"}]}",
		/* not on the curve */
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":"
		"\"f83OJ3D2xF1B"
		"g8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_tue65"
		"9LNpXW6pCyStikYjKIWI5a1\"}]}" };
	struct jwt_keys keys = { 0 };
	struct error err;

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		assert_int_equal(
		    jwt_keys_add_jwks(&keys, str_of(none[i]), &err), -1);
		assert_int_equal(err.fault, FAULT_INPUT);
		assert_int_equal(keys.n, 0);
	}
	for (int i = 0; i < JWT_KEYS; i++) /* no more than fit */
		jwt_keys_add_jwks(&keys, f.jwks, NULL);
	assert_int_equal(keys.n, JWT_KEYS);
	assert_int_equal(jwt_keys_add_secret(&keys, str_of(secret), &err), -1);
	jwt_keys_deinit(&keys);
	assert_int_equal(
	    jwt_keys_add_secret(&keys, STR("too short for HS256"), &err), -1);
	assert_int_equal(err.fault, FAULT_CONFIG);
	jwt_keys_deinit(&keys);
	jwt_keys_deinit(&keys);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_algorithm),
		cmocka_unit_test(test_rfc_vectors),
		cmocka_unit_test(test_tampered),
		cmocka_unit_test(test_no_algorithm),
		cmocka_unit_test(test_confused_algorithm),
		cmocka_unit_test(test_unknown_key),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_issuer_and_audience),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_key_sets),
	};

	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
