#include "realtime/wire/sse.h"
#include "core/time.h"

#include <string.h>

static const char *const names[] = { "trace", "debug", "info", "warn", "error",
	"fatal" };

int
sse_level(struct str name)
{
	int n = 0;

	for (int i = 0; i < 6; i++)
		if (str_is(name, names[i]))
			return i * 4 + 1;
	if (name.n < 1 || name.n > 2)
		return -1;
	for (size_t i = 0; i < name.n; i++) {
		if (name.s[i] < '0' || name.s[i] > '9')
			return -1;
		n = n * 10 + name.s[i] - '0';
	}
	return n >= 1 && n <= 24 ? n : -1;
}

/* How a byte is written: 0 as it is, 'u' as \u00XX, else behind a '\'. */
static char
escape(unsigned char c)
{
	switch (c) {
	case '"':
	case '\\':
		return (char)c;
	case '\n':
		return 'n';
	case '\r':
		return 'r';
	case '\t':
		return 't';
	default:
		return c < 0x20 ? 'u' : 0;
	}
}

void
sse_json(struct buf *b, struct str text)
{
	static const char hex[] = "0123456789abcdef";
	size_t from = 0;

	buf_addc(b, '"');
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.s[i];
		char how = c > '\\' ? 0 : escape(c);

		if (how == 0)
			continue;
		buf_add(b, text.s + from, i - from);
		from = i + 1;
		buf_addc(b, '\\');
		buf_addc(b, how);
		if (how != 'u')
			continue;
		buf_adds(b, "00");
		buf_addc(b, hex[c >> 4]);
		buf_addc(b, hex[c & 15]);
	}
	buf_add(b, text.s + from, text.n - from);
	buf_addc(b, '"');
}

void
sse_log_head(struct buf *b, struct str channel, int epoch)
{
	buf_adds(b, "event: log\ndata: {\"channel\":");
	sse_json(b, channel);
	buf_addf(b, ",\"epoch\":%d,\"lines\":[", epoch);
}

void
sse_log_line(struct buf *b, const struct sse_line *line)
{
	char ts[TIME_TEXT];

	buf_addf(b, "{\"seq\":%lld,\"ts\":\"%s\",\"level\":%d,\"message\":",
	    (long long)line->seq, time_format(line->ts_ms, ts), line->level);
	sse_json(b, line->message);
	if (line->attrs.s != NULL) {
		buf_adds(b, ",\"attrs\":");
		buf_addstr(b, line->attrs);
	}
	if (line->source.s != NULL) {
		buf_adds(b, ",\"source\":");
		sse_json(b, line->source);
	}
	buf_adds(b, "},");
}

static void
end(struct buf *b, struct str id)
{
	if (id.s != NULL) {
		buf_adds(b, "id: ");
		buf_addstr(b, id);
		buf_addc(b, '\n');
	}
	buf_addc(b, '\n');
}

void
sse_log_tail(struct buf *b, struct str id)
{
	buf_adds(b, "]}\n");
	end(b, id);
}

void
sse_event(struct buf *b, const char *name, struct str data, struct str id)
{
	buf_addf(b, "event: %s\ndata: ", name);
	buf_addstr(b, data);
	buf_addc(b, '\n');
	end(b, id);
}

void
sse_gap(struct buf *b, const struct sse_gap_event *gap, struct str id)
{
	static const char *const reasons[] = { "expired", "reset", "slow" };

	buf_adds(b, "event: gap\ndata: {\"channel\":");
	sse_json(b, gap->channel);
	buf_addf(b, ",\"epoch\":%d,\"from\":%lld,\"to\":", gap->epoch,
	    (long long)gap->from);
	if (gap->to > 0)
		buf_addf(b, "%lld", (long long)gap->to);
	else
		buf_adds(b, "null");
	buf_addf(b, ",\"reason\":\"%s\"}\n", reasons[gap->reason]);
	end(b, id);
}

void
sse_id(struct buf *b, struct str id)
{
	end(b, id);
}

void
sse_retry(struct buf *b, int64_t ms)
{
	buf_addf(b, "retry: %lld\n\n", (long long)ms);
}
