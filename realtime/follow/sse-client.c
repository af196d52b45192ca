#include "realtime/follow/sse-client.h"

#include <string.h>

void
sse_client_init(struct sse_client *c, size_t max)
{
	*c = (struct sse_client){ .max = max, .retry_ms = -1 };
	buf_init(&c->line);
	buf_init(&c->type);
	buf_init(&c->data);
	buf_init(&c->id);
}

void
sse_client_deinit(struct sse_client *c)
{
	buf_deinit(&c->line);
	buf_deinit(&c->type);
	buf_deinit(&c->data);
	buf_deinit(&c->id);
}

void
sse_client_reset(struct sse_client *c)
{
	buf_clear(&c->line);
	buf_clear(&c->type);
	buf_clear(&c->data);
	c->began = c->has_data = c->skip_lf = 0;
}

static void
dispatch(struct sse_client *c, sse_fn *fn, void *arg)
{
	struct sse_event event = {
		.type = c->type.len > 0 ? buf_str(&c->type) : STR("message"),
		.data = { c->data.bytes, c->data.len },
		.id = { c->id.len > 0 ? c->id.bytes : "", c->id.len },
	};

	if (c->has_data) {
		event.data.n--; /* the last line's LF */
		fn(arg, &event);
	}
	buf_clear(&c->type);
	buf_clear(&c->data);
	c->has_data = 0;
}

static void
take_retry(struct sse_client *c, struct str value)
{
	int64_t ms = 0;

	if (value.n == 0 || value.n > 12)
		return;
	for (size_t i = 0; i < value.n; i++) {
		if (value.s[i] < '0' || value.s[i] > '9')
			return;
		ms = ms * 10 + (value.s[i] - '0');
	}
	c->retry_ms = ms;
}

static void
take_field(struct sse_client *c, struct str name, struct str value)
{
	if (str_is(name, "data")) {
		buf_addstr(&c->data, value);
		buf_addc(&c->data, '\n');
		c->has_data = 1;
	} else if (str_is(name, "event")) {
		buf_clear(&c->type);
		buf_addstr(&c->type, value);
	} else if (str_is(name, "id")) {
		if (value.n > 0 && memchr(value.s, '\0', value.n) != NULL)
			return;
		buf_clear(&c->id);
		buf_addstr(&c->id, value);
	} else if (str_is(name, "retry")) {
		take_retry(c, value);
	}
}

static void
take_line(struct sse_client *c, struct str line, sse_fn *fn, void *arg)
{
	const char *colon;
	struct str name, value = { "", 0 };

	if (!c->began && line.n >= 3 && memcmp(line.s, "\xef\xbb\xbf", 3) == 0)
		line = (struct str){ line.s + 3, line.n - 3 };
	c->began = 1;
	if (line.n == 0) {
		dispatch(c, fn, arg);
		return;
	}
	colon = memchr(line.s, ':', line.n);
	name = (struct str){ line.s,
		colon != NULL ? (size_t)(colon - line.s) : line.n };
	if (colon != NULL)
		value = (struct str){ colon + 1, line.n - name.n - 1 };
	if (value.n > 0 && value.s[0] == ' ')
		value = (struct str){ value.s + 1, value.n - 1 };
	take_field(c, name, value);
}

/* Bytes before the first CR or LF; all of them when there is none. */
static size_t
line_length(struct str s)
{
	const char *lf = memchr(s.s, '\n', s.n);
	size_t n = lf != NULL ? (size_t)(lf - s.s) : s.n;
	const char *cr = memchr(s.s, '\r', n);

	return cr != NULL ? (size_t)(cr - s.s) : n;
}

int
sse_client_feed(struct sse_client *c, struct str bytes, sse_fn *fn, void *arg,
    struct error *err)
{
	while (bytes.n > 0) {
		size_t n = line_length(bytes);
		struct str line = { bytes.s, n };
		int ends = n < bytes.n;

		if (c->skip_lf && bytes.s[0] == '\n') {
			c->skip_lf = 0;
			bytes = (struct str){ bytes.s + 1, bytes.n - 1 };
			continue;
		}
		c->skip_lf = ends && bytes.s[n] == '\r';
		if (c->line.len + c->data.len + n > c->max)
			return fail(err, FAULT_INPUT, "SSE",
			    "an event has more than %zu bytes", c->max);
		if (!ends || c->line.len > 0) {
			buf_add(&c->line, line.s, line.n);
			line = buf_str(&c->line);
		}
		bytes.s += n + (size_t)ends;
		bytes.n -= n + (size_t)ends;
		if (!ends)
			break;
		take_line(c, line, fn, arg);
		buf_clear(&c->line);
	}
	return 0;
}
