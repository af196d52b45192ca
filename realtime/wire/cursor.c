#include "realtime/wire/cursor.h"

#include "core/base64.h"

#include <string.h>

enum {
	VERSION = 1,
	KEY_BYTES = 6,
	EPOCH_BYTES = 4,
	SEQ_BYTES = 9, /* 63 bits */
	BYTES = 2 + CURSOR_MAX * (KEY_BYTES + EPOCH_BYTES + SEQ_BYTES),
};
/* so that no text that is short enough holds more bytes */
_Static_assert(CURSOR_TEXT == (BYTES * 4 + 2) / 3 + 1, "the longest cursor");

/* FNV-1a over 64 bits, folded to 48. */
uint64_t
cursor_key(struct str channel)
{
	uint64_t h = 14695981039346656037ULL;

	for (size_t i = 0; i < channel.n; i++)
		h = (h ^ (unsigned char)channel.s[i]) * 1099511628211ULL;
	return (h >> 48 ^ h) & 0xffffffffffffULL;
}

/* The first entry whose key is not less. */
static uint32_t
place(const struct cursor *c, uint64_t key)
{
	uint32_t from = 0, to = c->n;

	while (from < to) {
		uint32_t mid = from + (to - from) / 2;

		if (c->entries[mid].key < key)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

int
cursor_set(struct cursor *c, const struct cursor_entry *e)
{
	uint32_t i = place(c, e->key);

	if (i == c->n || c->entries[i].key != e->key) {
		if (c->n == CURSOR_MAX)
			return -1;
		memmove(c->entries + i + 1, c->entries + i,
		    (c->n - i) * sizeof(*c->entries));
		c->n++;
	}
	c->entries[i] = *e;
	return 0;
}

const struct cursor_entry *
cursor_get(const struct cursor *c, uint64_t key)
{
	uint32_t i = place(c, key);

	return i < c->n && c->entries[i].key == key ? &c->entries[i] : NULL;
}

static unsigned char *
put_little(unsigned char *p, uint64_t v, int bytes)
{
	for (int i = 0; i < bytes; i++)
		*p++ = (unsigned char)(v >> 8 * i);
	return p;
}

static unsigned char *
put_varint(unsigned char *p, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*p++ = (unsigned char)(v | 0x80);
	*p++ = (unsigned char)v;
	return p;
}

size_t
cursor_write(const struct cursor *c, char out[CURSOR_TEXT])
{
	unsigned char bytes[BYTES], *p = bytes;

	*p++ = VERSION;
	*p++ = (unsigned char)c->n;
	for (uint32_t i = 0; i < c->n; i++) {
		p = put_little(p, c->entries[i].key, KEY_BYTES);
		p = put_little(p, c->entries[i].epoch, EPOCH_BYTES);
		p = put_varint(p, (uint64_t)c->entries[i].seq);
	}
	return base64url_put(out, bytes, (size_t)(p - bytes));
}

struct reader {
	const unsigned char *p, *end;
};

static int
get_little(struct reader *r, int bytes, uint64_t *v)
{
	if (r->end - r->p < bytes)
		return -1;
	*v = 0;
	for (int i = 0; i < bytes; i++)
		*v |= (uint64_t)*r->p++ << 8 * i;
	return 0;
}

/* At most 63 bits, in as few bytes as they take. */
static int
get_varint(struct reader *r, int64_t *v)
{
	uint64_t out = 0;

	for (int i = 0; i < SEQ_BYTES && r->p < r->end; i++) {
		unsigned char b = *r->p++;

		out |= (uint64_t)(b & 0x7f) << 7 * i;
		if (b >= 0x80)
			continue;
		*v = (int64_t)out;
		return b == 0 && i > 0 ? -1 : 0;
	}
	return -1;
}

static int
get_entry(struct reader *r, struct cursor_entry *e)
{
	uint64_t epoch;

	if (get_little(r, KEY_BYTES, &e->key) < 0 ||
	    get_little(r, EPOCH_BYTES, &epoch) < 0 ||
	    get_varint(r, &e->seq) < 0)
		return -1;
	e->epoch = (uint32_t)epoch;
	if (e->epoch == CURSOR_ABSENT)
		return e->seq == 0 ? 0 : -1;
	return e->epoch == CURSOR_PATTERN || e->epoch <= INT32_MAX ? 0 : -1;
}

int
cursor_read(struct str text, struct cursor *out, struct error *err)
{
	unsigned char bytes[BYTES];
	struct reader r = { bytes, bytes };
	struct cursor_entry e;
	ptrdiff_t n = text.n < CURSOR_TEXT ? base64url_get(bytes, text) : -1;

	out->n = 0;
	if (n < 2 || bytes[0] != VERSION || bytes[1] > CURSOR_MAX)
		goto refused;
	r.p += 2;
	r.end += n;
	for (int i = 0; i < bytes[1]; i++) {
		if (get_entry(&r, &e) < 0)
			goto refused;
		if (i > 0 && e.key <= out->entries[i - 1].key)
			goto refused;
		cursor_set(out, &e);
	}
	if (r.p == r.end)
		return 0;
refused:
	out->n = 0;
	return fail(err, FAULT_INPUT, "CURSOR",
	    "the last event id is not one that this service gave");
}
