#include "supabase/client/vault.h"
#include "core/base64.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

enum { NONCE_BYTES = 12, TAG_BYTES = 16 };

int
secret_eq(struct str x, struct str y)
{
	return x.n == y.n && (x.n == 0 || CRYPTO_memcmp(x.s, y.s, x.n) == 0);
}

void
secret_wipe(void *p, size_t n)
{
	if (p != NULL)
		OPENSSL_cleanse(p, n);
}

/* One key, "base64" or "id:base64". Only its place in the list is told. */
static int
key_parse(struct vault *v, struct str s, struct error *err)
{
	struct vault_key *key = &v->keys[v->n];
	const char *colon = memchr(s.s, ':', s.n);
	struct str id = STR("k1"), bytes;
	struct arena a;
	int r = 0;

	if (colon != NULL) {
		id = (struct str){ s.s, (size_t)(colon - s.s) };
		s = (struct str){ colon + 1, s.n - id.n - 1 };
	}
	if (id.n == 0 || id.n > VAULT_KEY_ID || memchr(id.s, '.', id.n))
		return fail(err, FAULT_CONFIG, "KEY",
		    "key %zu: its id must have 1 to %d characters and no dot",
		    v->n + 1, VAULT_KEY_ID);
	arena_init(&a);
	if (base64_decode(&a, s, &bytes) < 0 || bytes.n != VAULT_KEY_BYTES) {
		r = fail(err, FAULT_CONFIG, "KEY",
		    "key %zu: not %d bytes in base64", v->n + 1,
		    VAULT_KEY_BYTES);
	} else {
		memcpy(key->id, id.s, id.n);
		key->id[id.n] = '\0';
		memcpy(key->key, bytes.s, VAULT_KEY_BYTES);
		secret_wipe((void *)(uintptr_t)bytes.s, bytes.n);
		v->n++;
	}
	arena_deinit(&a);
	return r;
}

static const struct vault_key *
key_find(const struct vault *v, struct str id)
{
	for (size_t i = 0; i < v->n; i++)
		if (str_is(id, v->keys[i].id))
			return &v->keys[i];
	return NULL;
}

static struct str
trimmed(struct str s)
{
	while (s.n > 0 && strchr(" \t\r\n", s.s[0]) != NULL)
		s = (struct str){ s.s + 1, s.n - 1 };
	while (s.n > 0 && strchr(" \t\r\n", s.s[s.n - 1]) != NULL)
		s.n--;
	return s;
}

int
vault_init(struct vault *v, struct str keys, struct error *err)
{
	*v = (struct vault){ 0 };
	while (keys.n > 0) {
		const char *comma = memchr(keys.s, ',', keys.n);
		struct str one = { keys.s,
			comma != NULL ? (size_t)(comma - keys.s) : keys.n };

		if (v->n == VAULT_KEYS)
			return fail(err, FAULT_CONFIG, "KEY",
			    "more than %d keys", VAULT_KEYS);
		if (key_parse(v, trimmed(one), err) < 0) {
			vault_deinit(v);
			return -1;
		}
		keys.n -= one.n + (comma != NULL);
		keys.s += one.n + (comma != NULL);
	}
	if (v->n == 0)
		return fail(err, FAULT_CONFIG, "KEY", "no key given");
	for (size_t i = 1; i < v->n; i++) {
		if (key_find(v, str_of(v->keys[i].id)) == &v->keys[i])
			continue;
		vault_deinit(v);
		return fail(
		    err, FAULT_CONFIG, "KEY", "two keys have the same id");
	}
	return 0;
}

void
vault_deinit(struct vault *v)
{
	secret_wipe(v, sizeof(*v));
}

/* What is authenticated beside the secret; lengths keep fields apart. */
static struct str
place_bytes(struct arena *a, const struct vault_place *place, const char *key)
{
	char project[UUID_TEXT];

	uuid_format(&place->project, project);
	return str_of(arena_printf(a, "v1|%s|%zu:%.*s|%d|%s", project,
	    place->name.n, STR_FMT(place->name), place->version, key));
}

static const unsigned char *
bytes_of(struct str s)
{
	return (const unsigned char *)s.s;
}

static int
seal(const struct vault_key *key, const unsigned char nonce[NONCE_BYTES],
    struct str aad, struct str secret, unsigned char *out)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n = 0, last = 0, ok;

	ok = c != NULL &&
	    EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key->key, nonce) ==
		1 &&
	    EVP_EncryptUpdate(c, NULL, &n, bytes_of(aad), (int)aad.n) == 1 &&
	    EVP_EncryptUpdate(c, out, &n, bytes_of(secret), (int)secret.n) ==
		1 &&
	    EVP_EncryptFinal_ex(c, out + n, &last) == 1 &&
	    EVP_CIPHER_CTX_ctrl(
		c, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, out + secret.n) == 1;
	EVP_CIPHER_CTX_free(c);
	return ok;
}

int
vault_seal(const struct vault *v, struct arena *a,
    const struct vault_place *place, struct str secret, struct str *out,
    struct error *err)
{
	const struct vault_key *key = &v->keys[0];
	unsigned char nonce[NONCE_BYTES];
	unsigned char *sealed = arena_alloc(a, secret.n + TAG_BYTES);
	struct str n = { (const char *)nonce, sizeof(nonce) };
	struct str c = { (const char *)sealed, secret.n + TAG_BYTES };

	if (secret.n > 1 << 20)
		return fail(
		    err, FAULT_INPUT, "TOOLARGE", "secret is over 1 MiB");
	if (RAND_bytes(nonce, sizeof(nonce)) != 1 ||
	    !seal(key, nonce, place_bytes(a, place, key->id), secret, sealed))
		return fail(err, FAULT_BUG, "OPENSSL", "could not encrypt");
	*out = str_of(arena_printf(a, "v1.%s.%s.%s", key->id,
	    base64_encode(a, n).s, base64_encode(a, c).s));
	return 0;
}

static int
unseal(const struct vault_key *key, struct str nonce, struct str aad,
    struct str sealed, unsigned char *out)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n = 0, len = (int)sealed.n - TAG_BYTES, last = 0, ok;
	void *tag = (void *)(uintptr_t)(sealed.s + len);

	ok = c != NULL &&
	    EVP_DecryptInit_ex(
		c, EVP_aes_256_gcm(), NULL, key->key, bytes_of(nonce)) == 1 &&
	    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) == 1 &&
	    EVP_DecryptUpdate(c, NULL, &n, bytes_of(aad), (int)aad.n) == 1 &&
	    EVP_DecryptUpdate(c, out, &n, bytes_of(sealed), len) == 1 &&
	    EVP_DecryptFinal_ex(c, out + n, &last) == 1;
	EVP_CIPHER_CTX_free(c);
	return ok;
}

/* Split "v1.<key id>.<nonce>.<sealed>" at its dots. */
static int
envelope_split(struct str s, struct str part[4])
{
	for (int i = 0; i < 4; i++) {
		const char *dot = memchr(s.s, '.', s.n);

		if ((dot == NULL) != (i == 3))
			return -1;
		part[i] = (struct str){ s.s,
			dot != NULL ? (size_t)(dot - s.s) : s.n };
		if (dot != NULL)
			s = (struct str){ dot + 1, s.n - part[i].n - 1 };
	}
	return str_is(part[0], "v1") ? 0 : -1;
}

int
vault_open(const struct vault *v, struct arena *a,
    const struct vault_place *place, struct str envelope, struct str *out,
    struct error *err)
{
	struct str part[4], nonce, sealed;
	const struct vault_key *key;
	unsigned char *secret;

	if (envelope_split(envelope, part) < 0 ||
	    base64_decode(a, part[2], &nonce) < 0 || nonce.n != NONCE_BYTES ||
	    base64_decode(a, part[3], &sealed) < 0 || sealed.n < TAG_BYTES)
		return fail(err, FAULT_INPUT, "ENVELOPE", "malformed envelope");
	key = key_find(v, part[1]);
	if (key == NULL)
		return fail(err, FAULT_CONFIG, "KEY",
		    "sealed under the key \"%.*s\", which is not held",
		    part[1].n > VAULT_KEY_ID ? VAULT_KEY_ID : (int)part[1].n,
		    part[1].s);
	secret = arena_alloc(a, sealed.n - TAG_BYTES + 1);
	if (!unseal(key, nonce, place_bytes(a, place, key->id), sealed, secret))
		return fail(err, FAULT_INPUT, "ENVELOPE",
		    "sealed under another key named \"%s\", or for another "
		    "place",
		    key->id);
	secret[sealed.n - TAG_BYTES] = '\0';
	*out = (struct str){ (const char *)secret, sealed.n - TAG_BYTES };
	return 0;
}
