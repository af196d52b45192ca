/* What people read about a call, without what they must not see. */
#include "core/time.h"
#include "http/client.h"

#include <string.h>

enum { SHOWN_URL = 300 };

/* From the first of `stop` on, or the end. */
static size_t
until(struct str s, size_t from, const char *stop)
{
	size_t i = from;

	while (i < s.n && (s.s[i] == '\0' || strchr(stop, s.s[i]) == NULL))
		i++;
	return i;
}

static size_t
copy(char *out, size_t at, struct str s, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		unsigned char c = (unsigned char)s.s[i];

		out[at++] = (char)(c <= 0x20 || c >= 0x7f ? '?' : c);
	}
	return at;
}

/* "a=1&b=2" to "a=&b="; a key without a value may be a secret itself. */
static size_t
copy_keys(char *out, size_t at, struct str s, size_t from, size_t to)
{
	while (from < to) {
		size_t end = until(s, from, "&");
		size_t key = until(s, from, "=&");

		end = end < to ? end : to;
		if (key < end) {
			at = copy(out, at, s, from, key);
			out[at++] = '=';
		} else {
			out[at++] = '*';
		}
		if (end < to)
			out[at++] = '&';
		from = end + 1;
	}
	return at;
}

char *
http_url_redacted(struct arena *a, struct str url)
{
	char *out = arena_alloc(a, 2 * url.n + 8);
	size_t scheme = until(url, 0, ":/?#"), host, end, query, at = 0;

	if (out == NULL)
		return "";
	host = url.n >= scheme + 3 && memcmp(url.s + scheme, "://", 3) == 0
	    ? scheme + 3
	    : 0;
	at = copy(out, at, url, 0, host);
	end = until(url, host, "/?#\\");
	for (size_t i = host; i < end; i++)
		if (url.s[i] == '@')
			host = i + 1; /* the last one ends the userinfo */
	query = until(url, end, "?#");
	at = copy(out, at, url, host, query);
	if (query < url.n && url.s[query] == '?') {
		out[at++] = '?';
		at = copy_keys(out, at, url, query + 1, until(url, query, "#"));
	}
	if (at > SHOWN_URL) {
		memcpy(out + SHOWN_URL - 3, "...", 3);
		at = SHOWN_URL;
	}
	out[at] = '\0';
	return out;
}

char *
http_summary(struct arena *a, const struct http_request *req,
    const struct http_response *res)
{
	const char *url = http_url_redacted(a, req->url);
	char took[TIME_TEXT];

	duration_format(res->timing.total / 1000, took);
	if (res->outcome == HTTP_ANSWERED)
		return arena_printf(a, "%.*s %s answered %d in %s",
		    STR_FMT(req->method), url, res->status, took);
	return arena_printf(a, "%.*s %s failed after %s: %s",
	    STR_FMT(req->method), url, took, res->error.text);
}
