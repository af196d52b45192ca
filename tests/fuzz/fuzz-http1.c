/* A head reads the same in pieces as whole, and is made of its own bytes; its
 * query gives what it has, or is refused. */
#include "realtime/wire/http1.h"
#include "realtime/wire/query.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void
within(struct str all, struct str s)
{
	FUZZ_CHECK(s.n == 0 || (s.s >= all.s && s.s + s.n <= all.s + all.n));
}

static void
check_head(const struct http1_head *head, struct str bytes)
{
	struct str value;
	struct arena a;

	bytes.n = head->bytes;
	FUZZ_CHECK(head->bytes >= 4 && head->bytes <= HTTP1_HEAD_MAX);
	FUZZ_CHECK(memcmp(bytes.s + bytes.n - 4, "\r\n\r\n", 4) == 0);
	FUZZ_CHECK(head->body_bytes >= 0);
	FUZZ_CHECK(head->has_length || head->body_bytes == 0);
	FUZZ_CHECK(head->path.n > 0 && head->path.s[0] == '/');
	FUZZ_CHECK(memchr(head->path.s, '?', head->path.n) == NULL);
	within(bytes, head->method);
	within(bytes, head->query);
	for (size_t i = 0; i < head->n_headers; i++) {
		within(bytes, head->headers[i].name);
		within(bytes, head->headers[i].value);
		FUZZ_CHECK(
		    !http1_name_is(head->headers[i].name, "transfer-encoding"));
	}
	arena_init(&a);
	if (query_get(&a, head->query, "a", &value) == 0)
		FUZZ_CHECK(value.n <= head->query.n);
	arena_deinit(&a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str all = { (const char *)data, size };
	struct http1_refusal why;
	struct http1_head head;
	size_t scanned = 0;
	int whole = http1_parse(all, &scanned, &head, &why), r = HTTP1_MORE;

	if (whole == 0)
		check_head(&head, all);
	else if (whole < 0)
		FUZZ_CHECK(why.status >= 400 && why.reason != NULL);
	scanned = 0;
	for (size_t part = 1; part <= 3 && r == HTTP1_MORE; part++)
		r = http1_parse((struct str){ all.s, size * part / 3 },
		    &scanned, &head, &why);
	FUZZ_CHECK(r == whole);
	return 0;
}
