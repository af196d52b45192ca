/* A cursor that is read is written as the same text. */
#include "realtime/wire/cursor.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = { (const char *)data, size };
	struct error err;
	struct cursor c;
	char again[CURSOR_TEXT];
	size_t n;

	if (cursor_read(text, &c, &err) < 0) {
		fuzz_check_error(&err);
		return 0;
	}
	n = cursor_write(&c, again);
	FUZZ_CHECK(str_eq(text, (struct str){ again, n }));
	return 0;
}
