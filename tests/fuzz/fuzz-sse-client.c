/* However a stream is cut, it holds the same events. The first byte says how. */
#include "core/buf.h"
#include "realtime/follow/sse-client.h"
#include "tests/fuzz/fuzz.h"

static void
note(void *arg, const struct sse_event *e)
{
	FUZZ_CHECK(e->type.n > 0);
	buf_addstr(arg, e->type);
	buf_addc(arg, '|');
	buf_addstr(arg, e->data);
	buf_addc(arg, '|');
	buf_addstr(arg, e->id);
	buf_addc(arg, '\n');
}

static int
feed(struct str text, size_t piece, struct buf *got, int64_t *retry_ms)
{
	struct sse_client c;
	struct error err;
	int r = 0;

	sse_client_init(&c, 4096);
	while (r == 0 && text.n > 0) {
		size_t n = text.n < piece ? text.n : piece;

		r = sse_client_feed(
		    &c, (struct str){ text.s, n }, note, got, &err);
		text.s += n;
		text.n -= n;
	}
	if (r < 0)
		fuzz_check_error(&err);
	*retry_ms = c.retry_ms;
	sse_client_deinit(&c);
	return r;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole, pieces;
	int64_t whole_ms, pieces_ms;
	struct str text = { (const char *)data + 1, size - 1 };

	if (size == 0)
		return 0;
	buf_init(&whole);
	buf_init(&pieces);
	/* an oversized event may be noticed a piece later, never overlooked */
	if (feed(text, text.n + 1, &whole, &whole_ms) == 0 &&
	    feed(text, (size_t)data[0] % 7 + 1, &pieces, &pieces_ms) == 0) {
		FUZZ_CHECK(str_eq(buf_str(&whole), buf_str(&pieces)));
		FUZZ_CHECK(whole_ms == pieces_ms);
	}
	buf_deinit(&whole);
	buf_deinit(&pieces);
	return 0;
}
