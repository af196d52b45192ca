/*
 * A request as it comes: the head, then the signature's headers over the rest.
 * Slices stay within the bytes, a head means the same however it is cut in
 * pieces, and nothing is verified that wasn't signed.
 */
#include <string.h>

#include "realtime/wire/http1.h"
#include "realtime/intake/signature.h"
#include "tests/fuzz/fuzz.h"

static void
check_within(struct str whole, struct str part)
{
	FUZZ_CHECK(part.n == 0 ||
	    (part.s >= whole.s && part.s + part.n <= whole.s + whole.n));
}

static void
check_head(struct str bytes, const struct http1_head *h)
{
	struct str head = { bytes.s, h->bytes };

	FUZZ_CHECK(h->bytes <= bytes.n && h->bytes <= HTTP1_HEAD_MAX);
	FUZZ_CHECK(h->method.n > 0 && h->path.n > 0 && h->path.s[0] == '/');
	FUZZ_CHECK(h->body_bytes >= 0 && (h->has_length || !h->body_bytes));
	FUZZ_CHECK(http1_get(h, "transfer-encoding").s == NULL);
	check_within(head, h->method);
	if (!str_is(h->method, "OPTIONS")) /* whose "*" reads as "/" */
		check_within(head, h->path);
	check_within(head, h->query);
	for (size_t i = 0; i < h->n_headers; i++) {
		const struct http1_header *x = &h->headers[i];

		check_within(head, x->name);
		check_within(head, x->value);
		FUZZ_CHECK(memchr(x->value.s, '\n', x->value.n) == NULL);
	}
}

/* Byte by byte it is found complete at the same place, or refused as well. */
static void
check_pieces(struct str bytes, int whole, size_t n)
{
	struct http1_head h;
	struct http1_refusal why;
	size_t scanned = 0, i = 0;
	int r = HTTP1_MORE;

	while (r == HTTP1_MORE && i++ < bytes.n)
		r = http1_parse((struct str){ bytes.s, i }, &scanned, &h, &why);
	FUZZ_CHECK(r == whole);
	FUZZ_CHECK(r != 0 || (i == n && h.bytes == n));
}

/* A head that one scheme's secret signs signs nothing else. */
static void
check_scheme(const struct signature_scheme *scheme,
    const struct http1_head *head, struct str body, struct arena *arena)
{
	const struct str key = STR("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
	struct signature_secret secret;
	struct signature_request req = { .scheme = scheme,
		.head = head,
		.body = body,
		.secrets = &secret,
		.n_secrets = 1,
		.now_s = 1614265330,
		.arena = arena };
	struct signature sig;
	struct error err = { 0 };

	FUZZ_CHECK(signature_secret_parse(scheme, key, &secret, &err) == 0);
	if (signature_verify(&req, &sig, &err) != 0) {
		FUZZ_CHECK(sig.signer == NULL && err.code[0] != '\0');
		return;
	}
	FUZZ_CHECK(scheme->type == SIGNATURE_NONE || sig.signer == &secret);
	FUZZ_CHECK(sig.id.s == NULL || signature_id_valid(sig.id));
	if (scheme->type == SIGNATURE_NONE)
		return;
	secret.key[0] ^= 1;
	FUZZ_CHECK(signature_verify(&req, &sig, &err) < 0);
}

static void
check_signature(const struct http1_head *head, struct str body)
{
	struct signature_scheme scheme;
	struct error err = { 0 };
	struct arena a;
	struct json *config;

	arena_init_cap(&a, 1 << 20);
	for (int i = 0; i < N_SIGNATURE_TYPES; i++) {
		scheme = signature_scheme_of((enum signature_type)i);
		check_scheme(&scheme, head, body, &a);
	}
	/* the body as a scheme of its own */
	if (json_parse(&a, body, NULL, &config, &err) == 0 &&
	    signature_scheme_parse(config, &scheme, &err) == 0 &&
	    scheme.key == SIGNATURE_KEY_TEXT)
		check_scheme(&scheme, head, body, &a);
	arena_deinit(&a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str bytes = { (const char *)data, size };
	struct http1_head h;
	struct http1_refusal why;
	size_t scanned = 0;
	int r = http1_parse(bytes, &scanned, &h, &why);

	check_pieces(bytes, r, r == 0 ? h.bytes : 0);
	if (r < 0)
		FUZZ_CHECK(why.status >= 400 && why.reason != NULL);
	if (r != 0)
		return 0;
	check_head(bytes, &h);
	check_signature(
	    &h, (struct str){ bytes.s + h.bytes, bytes.n - h.bytes });
	return 0;
}
