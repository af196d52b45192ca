#include "realtime/wire/http1.h"

#include <string.h>
#include <strings.h>

/* RFC 9110, 5.6.2: what names and methods are made of. */
static int
is_token(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9') ||
	    (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static int
refuse(struct http1_refusal *why, int status, const char *reason)
{
	*why = (struct http1_refusal){ status, reason };
	return -1;
}

int
http1_name_is(struct str name, const char *other)
{
	return strlen(other) == name.n &&
	    strncasecmp(name.s, other, name.n) == 0;
}

struct str
http1_get(const struct http1_head *head, const char *name)
{
	for (size_t i = 0; i < head->n_headers; i++)
		if (http1_name_is(head->headers[i].name, name))
			return head->headers[i].value;
	return (struct str){ 0 };
}

/* A line without its CRLF, the rest behind it. A lone CR or LF is no line's
 * end (9112, 2.2: readers differ about it), and is refused. */
static int
line_next(struct str *rest, struct str *line, struct http1_refusal *why)
{
	const char *lf = memchr(rest->s, '\n', rest->n);
	size_t n;

	if (lf == NULL || lf == rest->s || lf[-1] != '\r')
		return refuse(why, 400, "a line of the head ends in CR LF");
	n = (size_t)(lf - rest->s) - 1;
	if (memchr(rest->s, '\r', n) != NULL || memchr(rest->s, 0, n) != NULL)
		return refuse(why, 400, "a control character in the head");
	*line = (struct str){ rest->s, n };
	rest->s += n + 2;
	rest->n -= n + 2;
	return 0;
}

/* 9112, 3: method SP request-target SP HTTP-version, single spaces. */
static int
request_line(struct str line, struct http1_head *out, struct http1_refusal *why)
{
	const char *end = line.s + line.n, *p = line.s, *query;
	struct str target;

	while (p < end && is_token((unsigned char)*p))
		p++;
	out->method = (struct str){ line.s, (size_t)(p - line.s) };
	if (out->method.n == 0 || out->method.n > 32 || p == end || *p != ' ')
		return refuse(why, 400, "malformed request line");
	target.s = ++p;
	while (p<end && * p> ' ' && *p < 127)
		p++;
	target.n = (size_t)(p - target.s);
	if (end - p != 9 || memcmp(p, " HTTP/", 6) != 0)
		return refuse(why, 400, "malformed request line");
	if (memcmp(p + 6, "1.1", 3) != 0 && memcmp(p + 6, "1.0", 3) != 0)
		return refuse(why, 505, "only HTTP/1.1 is spoken here");
	out->keep_alive = p[8] == '1';
	if (str_is(target, "*") && str_is(out->method, "OPTIONS"))
		target = STR("/");
	if (target.n == 0 || target.s[0] != '/' ||
	    memchr(target.s, '#', target.n) != NULL)
		return refuse(why, 400, "the target of a request is a path");
	query = memchr(target.s, '?', target.n);
	out->path = target;
	if (query != NULL) {
		out->path.n = (size_t)(query - target.s);
		out->query =
		    (struct str){ query + 1, target.n - out->path.n - 1 };
	}
	return 0;
}

static int
header_line(struct str line, struct http1_head *out, struct http1_refusal *why)
{
	struct http1_header *h = &out->headers[out->n_headers];
	size_t n = 0;

	while (n < line.n && is_token((unsigned char)line.s[n]))
		n++;
	if (n == 0 || n == line.n || line.s[n] != ':') /* folded lines, too */
		return refuse(why, 400, "malformed header");
	if (out->n_headers == HTTP1_HEADERS)
		return refuse(why, 431, "too many headers");
	h->name = (struct str){ line.s, n };
	h->value = (struct str){ line.s + n + 1, line.n - n - 1 };
	while (h->value.n > 0 && (*h->value.s == ' ' || *h->value.s == '\t'))
		h->value = (struct str){ h->value.s + 1, h->value.n - 1 };
	while (h->value.n > 0 &&
	    (h->value.s[h->value.n - 1] == ' ' ||
		h->value.s[h->value.n - 1] == '\t'))
		h->value.n--;
	for (size_t i = 0; i < h->value.n; i++) {
		unsigned char c = (unsigned char)h->value.s[i];

		if ((c < ' ' && c != '\t') || c == 127)
			return refuse(
			    why, 400, "a control character in the head");
	}
	out->n_headers++;
	return 0;
}

/* 9112, 6.2: digits only. 16 of them never overflow. */
static int
content_length(struct str v, struct http1_head *out, struct http1_refusal *why)
{
	if (out->has_length)
		return refuse(why, 400, "more than one Content-Length");
	if (v.n == 0)
		return refuse(why, 400, "Content-Length is digits");
	for (size_t i = 0; i < v.n; i++)
		if (v.s[i] < '0' || v.s[i] > '9')
			return refuse(why, 400, "Content-Length is digits");
	if (v.n > 16)
		return refuse(why, 413, "the body is too large");
	for (size_t i = 0; i < v.n; i++)
		out->body_bytes = out->body_bytes * 10 + (v.s[i] - '0');
	out->has_length = 1;
	return 0;
}

/* Does a list by commas have this word? */
static int
list_has(struct str list, const char *word)
{
	while (list.n > 0) {
		const char *comma = memchr(list.s, ',', list.n);
		size_t n = comma != NULL ? (size_t)(comma - list.s) : list.n;
		struct str w = { list.s, n };

		while (w.n > 0 && (w.s[0] == ' ' || w.s[0] == '\t'))
			w = (struct str){ w.s + 1, w.n - 1 };
		while (w.n > 0 && (w.s[w.n - 1] == ' ' || w.s[w.n - 1] == '\t'))
			w.n--;
		if (http1_name_is(w, word))
			return 1;
		n += comma != NULL;
		list = (struct str){ list.s + n, list.n - n };
	}
	return 0;
}

/* The headers that decide where this request ends and what follows it. */
static int
framing(struct http1_head *out, struct http1_refusal *why)
{
	int hosts = 0, old = !out->keep_alive;

	for (size_t i = 0; i < out->n_headers; i++) {
		struct http1_header *h = &out->headers[i];

		if (http1_name_is(h->name, "transfer-encoding"))
			return refuse(why, 411,
			    "send Content-Length, not Transfer-Encoding");
		if (http1_name_is(h->name, "content-length") &&
		    content_length(h->value, out, why) < 0)
			return -1;
		if (http1_name_is(h->name, "host"))
			hosts++;
		if (http1_name_is(h->name, "expect")) {
			if (!http1_name_is(h->value, "100-continue"))
				return refuse(why, 417, "unknown expectation");
			out->expects_continue = !old;
		}
		if (http1_name_is(h->name, "connection")) {
			if (list_has(h->value, "close"))
				out->keep_alive = 0;
			else if (old && list_has(h->value, "keep-alive"))
				out->keep_alive = 1;
		}
	}
	if (hosts > 1 || (hosts == 0 && !old))
		return refuse(why, 400, "exactly one Host is required");
	return 0;
}

/* Where the head ends, or 0. Searched bytes are not searched again. */
static size_t
head_end(struct str bytes, size_t *scanned)
{
	size_t from = *scanned > 3 ? *scanned - 3 : 0;
	const char *end = bytes.n > from
	    ? memmem(bytes.s + from, bytes.n - from, "\r\n\r\n", 4)
	    : NULL;

	*scanned = bytes.n;
	return end != NULL ? (size_t)(end - bytes.s) + 4 : 0;
}

int
http1_parse(struct str bytes, size_t *scanned, struct http1_head *out,
    struct http1_refusal *why)
{
	struct str rest, line;
	size_t n = head_end(bytes, scanned);

	if (n > HTTP1_HEAD_MAX || (n == 0 && bytes.n >= HTTP1_HEAD_MAX))
		return refuse(why, 431, "the head is over 16 KiB");
	if (n == 0)
		return HTTP1_MORE;
	out->query = STR("");
	out->n_headers = 0;
	out->body_bytes = 0;
	out->has_length = out->expects_continue = 0;
	out->bytes = n;
	rest = (struct str){ bytes.s, n };
	if (line_next(&rest, &line, why) < 0 ||
	    request_line(line, out, why) < 0)
		return -1;
	for (;;) {
		if (line_next(&rest, &line, why) < 0)
			return -1;
		if (line.n == 0)
			return framing(out, why);
		if (header_line(line, out, why) < 0)
			return -1;
	}
}

const char *
http1_phrase(int status)
{
	static const struct {
		int status;
		const char *phrase;
	} phrases[] = {
		{ 200, "OK" },
		{ 201, "Created" },
		{ 202, "Accepted" },
		{ 204, "No Content" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 408, "Request Timeout" },
		{ 409, "Conflict" },
		{ 411, "Length Required" },
		{ 413, "Content Too Large" },
		{ 415, "Unsupported Media Type" },
		{ 417, "Expectation Failed" },
		{ 422, "Unprocessable Content" },
		{ 426, "Upgrade Required" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 503, "Service Unavailable" },
		{ 505, "HTTP Version Not Supported" },
	};

	for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
		if (phrases[i].status == status)
			return phrases[i].phrase;
	return "Unknown";
}
