#include "core/time.h"
#include "realtime/lines/history-impl.h"
#include "realtime/wire/sse.h"

#include <string.h>

enum { PAGE_BYTES = 4 << 20 };

static void
line_json(struct buf *b, struct rows *rows, int row)
{
	struct str channel = rows_str(rows, row, "channel"), text;
	char at[TIME_TEXT];

	buf_adds(b, "{\"channel\":");
	sse_json(b, channel);
	buf_addf(b, ",\"epoch\":%lld", (long long)rows_int(rows, row, "epoch"));
	buf_addf(b, ",\"seq\":%lld", (long long)rows_int(rows, row, "seq"));
	buf_addf(b, ",\"ts\":\"%s\"",
	    time_format(rows_time_ms(rows, row, "ts"), at));
	buf_addf(b, ",\"level\":%lld,\"message\":",
	    (long long)rows_int(rows, row, "level"));
	sse_json(b, rows_str(rows, row, "message"));
	text = rows_str(rows, row, "attrs");
	buf_adds(b, ",\"attrs\":");
	buf_addstr(b, text.s != NULL ? text : STR("null"));
	text = rows_str(rows, row, "source");
	if (text.s != NULL) {
		buf_adds(b, ",\"source\":");
		sse_json(b, text);
	}
	if (!rows_null(rows, row, "client_ts"))
		buf_addf(b, ",\"client_ts\":\"%s\"",
		    time_format(rows_time_ms(rows, row, "client_ts"), at));
	buf_addc(b, '}');
}

/* Quoted always, which spreadsheets take as text as well. */
static void
line_csv(struct buf *b, struct rows *rows, int row)
{
	char at[TIME_TEXT];

	buf_add_quoted(b, rows_str(rows, row, "channel"));
	buf_addf(b, ",%lld", (long long)rows_int(rows, row, "seq"));
	buf_addf(b, ",%s", time_format(rows_time_ms(rows, row, "ts"), at));
	buf_addf(b, ",%lld,", (long long)rows_int(rows, row, "level"));
	buf_add_quoted(b, rows_str(rows, row, "message"));
	buf_addc(b, ',');
	if (!rows_null(rows, row, "attrs"))
		buf_add_quoted(b, rows_str(rows, row, "attrs"));
	buf_addc(b, ',');
	if (!rows_null(rows, row, "source"))
		buf_add_quoted(b, rows_str(rows, row, "source"));
	buf_addc(b, ',');
	if (!rows_null(rows, row, "client_ts"))
		buf_adds(
		    b, time_format(rows_time_ms(rows, row, "client_ts"), at));
	buf_adds(b, "\r\n");
}

/* Where the page behind these n lines begins; "" when this was the last. */
static void
cursor_write(
    struct buf *b, const struct history_query *q, struct rows *rows, int n)
{
	int last = n - 1;
	struct uuid channel;
	char text[UUID_TEXT];

	if (n == rows->n && n < q->limit)
		return;
	rows_uuid(rows, last, "channel_id", &channel);
	buf_addf(b, "%lld.%s.%lld", (long long)rows_time(rows, last, "ts"),
	    uuid_format(&channel, text),
	    (long long)rows_int(rows, last, "seq"));
}

/* The same query with another cursor (RFC 8288). */
static void
link_write(struct buf *b, struct str query, const char *cursor)
{
	buf_adds(b, "Link: </api/logs?");
	while (query.n > 0) {
		const char *amp = memchr(query.s, '&', query.n);
		size_t n = amp != NULL ? (size_t)(amp - query.s) : query.n;
		struct str pair = { query.s, n };

		n += amp != NULL;
		query = (struct str){ query.s + n, query.n - n };
		if (pair.n >= 7 && memcmp(pair.s, "cursor=", 7) == 0)
			continue;
		for (size_t i = 0; i < pair.n; i++)
			if (pair.s[i] == '>') /* would end the link */
				buf_adds(b, "%3E");
			else
				buf_addc(b, pair.s[i]);
		buf_addc(b, '&');
	}
	buf_addf(b, "cursor=%s>; rel=\"next\"\r\n", cursor);
}

/* How many lines there was room for: a page that is not read is kept whole. */
static int
lines_write(struct buf *body, const struct history_query *q, struct rows *rows)
{
	int row = 0;

	for (; row < rows->n && (row == 0 || body->len < PAGE_BYTES); row++) {
		if (q->format == HISTORY_JSON && row > 0)
			buf_addc(body, ',');
		if (q->format == HISTORY_CSV)
			line_csv(body, rows, row);
		else
			line_json(body, rows, row);
		if (q->format == HISTORY_NDJSON)
			buf_addc(body, '\n');
	}
	return row;
}

const char *
history_write(struct buf *body, struct buf *headers,
    const struct history_query *q, struct rows *rows)
{
	static const char *const types[] = { "application/json",
		"application/x-ndjson",
		"text/csv; charset=utf-8; header=present" };
	struct buf cursor;
	int n;

	buf_adds(body,
	    q->format == HISTORY_CSV
		? "channel,seq,ts,level,message,attrs,source,client_ts\r\n"
		: q->format == HISTORY_JSON ? "{\"lines\":["
					    : "");
	n = lines_write(body, q, rows);
	buf_init(&cursor);
	cursor_write(&cursor, q, rows, n);
	buf_adds(headers, "Cache-Control: no-store\r\n");
	if (cursor.len > 0)
		link_write(headers, q->query, cursor.bytes);
	if (q->format == HISTORY_JSON && cursor.len > 0)
		buf_addf(body, "],\"next\":\"%s\"}", cursor.bytes);
	else if (q->format == HISTORY_JSON)
		buf_adds(body, "],\"next\":null}");
	buf_deinit(&cursor);
	return types[q->format];
}
