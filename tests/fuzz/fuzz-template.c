/*
 * A line of template (JSON), then a document: whatever values there are, a URL
 * keeps its literal beginning and its structure, a header has no control bytes.
 */
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "worker/flow/template.h"

/* How often a byte is in the literal text, outside of {{ }}; in all of it. */
static size_t
count(struct str s, char c)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += s.s[i] == c;
	return n;
}

static void
check_url(struct str written, struct str url)
{
	const char *open = memmem(written.s, written.n, "{{", 2);
	struct str fixed = written, path;

	if (open == NULL)
		return;
	path.s = memmem(url.s, url.n, "://", 3);
	FUZZ_CHECK(path.s != NULL);
	for (path.s += 3; *path.s != '\0' && strchr("/?#", *path.s) == NULL;)
		path.s++;
	path.n = strcspn(path.s, "?#");
	fixed.n = (size_t)(open - written.s);
	FUZZ_CHECK(url.n >= fixed.n && memcmp(url.s, fixed.s, fixed.n) == 0);
	/* values add no delimiter */
	FUZZ_CHECK(count(url, '/') <= count(written, '/'));
	FUZZ_CHECK(count(url, '?') <= count(written, '?'));
	FUZZ_CHECK(count(url, '#') <= count(written, '#'));
	FUZZ_CHECK(count(url, '&') <= count(written, '&'));
	FUZZ_CHECK(memmem(path.s, path.n, "/../", 4) == NULL);
	for (size_t i = 0; i < url.n; i++)
		FUZZ_CHECK((unsigned char)url.s[i] > 0x20);
}

static void
check_header(struct str value)
{
	for (size_t i = 0; i < value.n; i++)
		FUZZ_CHECK(
		    (unsigned char)value.s[i] >= 0x20 || value.s[i] == '\t');
}

static void
note_ref(void *arg, struct str root, struct str name)
{
	(void)arg;
	FUZZ_CHECK(root.s != NULL || name.s == NULL);
}

static void
render(struct arena *a, const struct template *t, const struct json *written,
    const struct json *data)
{
	const struct expr_limits limits = { .steps = 20000, .bytes = 50000 };
	struct error err;
	struct json *v;

	for (int mode = TEMPLATE_PLAIN; mode <= TEMPLATE_HEADER; mode++) {
		if (template_render(a, t, data, &limits,
			(enum template_mode)mode, &v, &err) < 0) {
			fuzz_check_error(&err);
			continue;
		}
		FUZZ_CHECK(!template_is_const(t) || v == written);
		if (mode == TEMPLATE_URL && json_is(v, JSON_STRING))
			check_url(json_str(written), json_str(v));
		if (mode == TEMPLATE_HEADER)
			check_header(json_str(v));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str input = { (const char *)data, size };
	struct str line = fuzz_line(&input);
	struct json *written, *v;
	struct template *t;
	struct error err;
	struct arena a;

	arena_init_cap(&a, 64 << 20);
	if (json_parse(&a, input, NULL, &v, NULL) < 0)
		v = NULL;
	if (json_parse(&a, line, NULL, &written, NULL) < 0)
		written = json_string(&a, line);
	if (template_compile(&a, written, &t, &err) == 0) {
		template_refs(t, note_ref, NULL);
		render(&a, t, written, v);
	} else {
		fuzz_check_error(&err);
	}
	arena_deinit(&a);
	return 0;
}
