/*
 * A frame behind one byte that says how it came: bit 0 version 2, bit 1
 * binary. What was read can be written, and reads as the same again.
 */
#include <string.h>

#include "realtime/wire/phoenix.h"
#include "tests/fuzz/fuzz.h"

static void
check_same(const struct phoenix_frame *x, const struct phoenix_frame *y)
{
	FUZZ_CHECK(x->kind == y->kind && x->json == y->json);
	FUZZ_CHECK(str_eq(x->topic, y->topic) && str_eq(x->event, y->event));
	FUZZ_CHECK(str_eq(x->ref, y->ref));
	FUZZ_CHECK(str_eq(x->join_ref, y->join_ref));
	FUZZ_CHECK((x->payload == NULL) == (y->payload == NULL));
	if (x->payload != NULL)
		FUZZ_CHECK(json_equal(x->payload, y->payload));
	FUZZ_CHECK(str_eq(x->meta, y->meta));
	FUZZ_CHECK(x->kind == PHOENIX_TEXT || str_eq(x->body, y->body));
}

static void
check_text(
    struct arena *a, enum phoenix_version version, struct phoenix_frame *f)
{
	struct phoenix_frame again;
	struct phoenix_broadcast b;
	struct error err;

	f->body = json_text(a, f->payload);
	FUZZ_CHECK(phoenix_read(a, version, phoenix_write(a, version, 0, f), 0,
		       &again, &err) == 0);
	check_same(f, &again);
	FUZZ_CHECK(phoenix_read(a, version, phoenix_write(a, version, 1, f), 0,
		       &again, &err) == 0);
	if (phoenix_broadcast(a, f, &b) == 0)
		FUZZ_CHECK(str_is(f->event, "broadcast"));
}

static void
check_binary(struct arena *a, struct phoenix_frame *f)
{
	struct phoenix_frame again;
	struct phoenix_broadcast b;
	struct str bytes;
	struct error err;

	FUZZ_CHECK(utf8_valid(f->topic) && utf8_valid(f->event));
	FUZZ_CHECK(phoenix_write_binary(a, f, &bytes, &err) == 0);
	FUZZ_CHECK(phoenix_read(a, PHOENIX_V2, bytes, 1, &again, &err) == 0);
	check_same(f, &again);
	FUZZ_CHECK(phoenix_broadcast(a, f, &b) == 0);
	FUZZ_CHECK(!f->json == (b.payload == NULL));
	if (!f->json)
		return;
	/* the same for a client of version 1 */
	again = (struct phoenix_frame){ .topic = f->topic,
		.event = STR("broadcast"),
		.body = phoenix_broadcast_text(a, f) };
	FUZZ_CHECK(
	    phoenix_read(a, PHOENIX_V1, phoenix_write(a, PHOENIX_V1, 1, &again),
		0, &again, &err) == 0);
	FUZZ_CHECK(phoenix_broadcast(a, &again, &b) == 0);
	FUZZ_CHECK(str_eq(b.event, f->event));
	FUZZ_CHECK(json_equal(b.payload, f->payload));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str bytes = { (const char *)data + 1, size - 1 };
	enum phoenix_version version;
	struct phoenix_frame f;
	struct error err = { 0 };
	struct arena a;

	if (size == 0)
		return 0;
	version = data[0] & 1 ? PHOENIX_V2 : PHOENIX_V1;
	arena_init(&a);
	if (phoenix_read(&a, version, bytes, data[0] & 2, &f, &err) < 0)
		fuzz_check_error(&err);
	else if (f.kind == PHOENIX_TEXT)
		check_text(&a, version, &f);
	else
		check_binary(&a, &f);
	arena_deinit(&a);
	return 0;
}
