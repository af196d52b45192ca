/*
 * A body of POST /api/logs/publish; NDJSON where its first byte is 'n'. What is
 * read goes only where the token may write, and can be stored.
 */
#include <string.h>

#include "core/json.h"
#include "core/utf8.h"
#include "realtime/lines/lines.h"
#include "tests/fuzz/fuzz.h"

static const struct lines_scope scope = { .project = { { 7 } },
	.slug = { "acme", 4 },
	.service = { "etl", 3 },
	.now_ms = 1795000000000,
	.seed = 5 };

static void
check_channel(const struct line_channel *c)
{
	struct uuid run;

	FUZZ_CHECK(uuid_cmp(&c->project, &scope.project) == 0);
	FUZZ_CHECK(str_eq(c->service, scope.service) ||
	    (str_is(c->service, "run") && uuid_parse(c->resource, &run) == 0));
	FUZZ_CHECK(c->resource.n <= LINE_NAME_MAX);
	for (size_t i = 0; i < c->resource.n; i++)
		FUZZ_CHECK(strchr("abcdefghijklmnopqrstuvwxyz"
				  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-",
			       c->resource.s[i]) != NULL);
}

static void
check_line(struct arena *a, const struct lines *all, const struct line *l)
{
	struct json *attrs;

	FUZZ_CHECK(l->channel < all->channels.n);
	FUZZ_CHECK(l->level >= 1 && l->level <= 24);
	FUZZ_CHECK(l->message.n + l->attrs.n <= LINE_BYTES_MAX);
	FUZZ_CHECK(memchr(l->message.s, '\0', l->message.n) == NULL);
	FUZZ_CHECK(utf8_valid(l->message));
	FUZZ_CHECK(l->client_ms == LINE_NO_TIME ||
	    (l->client_ms > 0 && l->client_ms < scope.now_ms * 2));
	FUZZ_CHECK(l->id.n <= LINE_ID_MAX);
	if (l->attrs.s == NULL)
		return;
	FUZZ_CHECK(json_parse(a, l->attrs, NULL, &attrs, NULL) == 0);
	FUZZ_CHECK(json_is(attrs, JSON_OBJECT) && attrs->n > 0);
	FUZZ_CHECK(json_storable(attrs, NULL) == 0);
}

/* Each channel stands once. */
static void
check_set(const struct line_channels *set)
{
	for (uint32_t i = 0; i < set->n && i < 100; i++) {
		check_channel(&set->at[i]);
		for (uint32_t j = 0; j < i; j++)
			FUZZ_CHECK(
			    !str_eq(set->at[i].service, set->at[j].service) ||
			    !str_eq(set->at[i].resource, set->at[j].resource));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str body;
	struct error err = { 0 };
	struct lines lines;
	struct arena a;

	if (size == 0)
		return 0;
	body = (struct str){ (const char *)data + 1, size - 1 };
	arena_init(&a);
	if (lines_parse(&a, body, data[0] == 'n', &scope, &lines, &err) < 0) {
		FUZZ_CHECK(err.text[0] != '\0' && utf8_valid(str_of(err.text)));
		FUZZ_CHECK(err.fault == FAULT_INPUT ||
		    (err.fault == FAULT_AUTH &&
			strcmp(err.code, "SCOPE") == 0));
	} else {
		uint32_t ids = 0;

		FUZZ_CHECK(lines.n > 0 && lines.n <= LINES_MAX);
		check_set(&lines.channels);
		for (uint32_t i = 0; i < lines.n; i++) {
			check_line(&a, &lines, &lines.at[i]);
			ids += lines.at[i].id.s != NULL;
		}
		FUZZ_CHECK(ids == lines.n_ids);
	}
	arena_deinit(&a);
	return 0;
}
