#include "monitor/part.h"
#include "core/mem.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

enum {
	LEVEL = 6,
	GZIP_WINDOW = 15 + 16,
	MEM_LEVEL = 8,
	ROOM = 16384,
};

void
part_init(struct part *p)
{
	*p = (struct part){ 0 };
	buf_init(&p->packed);
}

void
part_deinit(struct part *p)
{
	if (p->z != NULL)
		deflateEnd(p->z);
	free(p->z);
	buf_deinit(&p->packed);
	part_init(p);
}

static void
pack(struct part *p, struct str bytes, int flush)
{
	z_stream *z = p->z;

	z->next_in = (Bytef *)(uintptr_t)bytes.s;
	z->avail_in = (uInt)bytes.n;
	do {
		buf_reserve(&p->packed, ROOM);
		z->next_out = (Bytef *)p->packed.bytes + p->packed.len;
		z->avail_out = ROOM;
		deflate(z, flush);
		p->packed.len += ROOM - z->avail_out;
	} while (z->avail_out == 0);
}

void
part_add(struct part *p, struct str line)
{
	if (p->z == NULL) {
		p->z = xcalloc(1, sizeof(z_stream));
		if (deflateInit2(p->z, LEVEL, Z_DEFLATED, GZIP_WINDOW,
			MEM_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
			abort(); /* no memory, as in xmalloc */
	}
	pack(p, line, Z_NO_FLUSH);
	pack(p, STR("\n"), Z_NO_FLUSH);
	p->rows++;
}

struct str
part_end(struct part *p)
{
	if (p->z != NULL) {
		pack(p, (struct str){ 0 }, Z_FINISH);
		deflateEnd(p->z);
		free(p->z);
		p->z = NULL;
	}
	return buf_str(&p->packed);
}

void *
sha256_begin(void)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();

	if (c == NULL || EVP_DigestInit_ex(c, EVP_sha256(), NULL) != 1)
		abort();
	return c;
}

void
sha256_add(void *sha, struct str bytes)
{
	EVP_DigestUpdate(sha, bytes.s, bytes.n);
}

void
sha256_end(void *sha, char hex[SHA256_HEX])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int n = 0;

	EVP_DigestFinal_ex(sha, digest, &n);
	EVP_MD_CTX_free(sha);
	for (unsigned int i = 0; i < n && i < SHA256_HEX / 2; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

void
sha256_hex(struct str bytes, char hex[SHA256_HEX])
{
	void *sha = sha256_begin();

	sha256_add(sha, bytes);
	sha256_end(sha, hex);
}
