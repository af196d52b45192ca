#include "realtime/server/cors.h"

#include <string.h>

/* scheme://host[:port], lower case and without a path, as browsers send it. */
static int
is_origin(struct str s)
{
	const char *p = memmem(s.s, s.n, "://", 3);
	size_t host;

	if (p == NULL || p == s.s)
		return 0;
	host = s.n - (size_t)(p + 3 - s.s);
	for (size_t i = 0; i < s.n; i++)
		if (s.s[i] <= ' ' || s.s[i] >= 127 ||
		    (s.s[i] >= 'A' && s.s[i] <= 'Z'))
			return 0;
	return host > 0 && memchr(p + 3, '/', host) == NULL;
}

int
cors_init(struct cors *c, const char *list, struct error *err)
{
	*c = (struct cors){ 0 };
	for (const char *p = list; p != NULL && *p != '\0';) {
		struct str s = { p, strcspn(p, ", ") };

		p += s.n + (p[s.n] != '\0');
		if (s.n == 0)
			continue;
		if (str_is(s, "*"))
			c->any = 1;
		else if (!is_origin(s))
			return fail(err, FAULT_CONFIG, "CONFIG",
			    "MESHHOOK_CORS_ORIGINS: \"%.*s\" is no origin "
			    "such as https://app.example",
			    STR_FMT(s));
		else if (c->n == CORS_ORIGINS)
			return fail(err, FAULT_CONFIG, "CONFIG",
			    "MESHHOOK_CORS_ORIGINS: more than %d",
			    CORS_ORIGINS);
		else
			c->origins[c->n++] = s;
	}
	return 0;
}

static int
allowed(const struct cors *c, struct str origin)
{
	for (size_t i = 0; i < c->n; i++)
		if (str_eq(c->origins[i], origin))
			return 1;
	return 0;
}

void
cors_headers(
    const struct cors *c, const struct http1_head *head, struct buf *out)
{
	struct str origin = http1_get(head, "origin");

	if (!c->any && c->n > 0)
		buf_adds(out, "Vary: Origin\r\n");
	if (origin.s == NULL || (!c->any && !allowed(c, origin)))
		return;
	if (c->any)
		buf_adds(out, "Access-Control-Allow-Origin: *\r\n");
	else
		buf_addf(out, "Access-Control-Allow-Origin: %.*s\r\n",
		    STR_FMT(origin));
	buf_adds(out,
	    str_is(head->method, "OPTIONS")
		? "Access-Control-Allow-Methods: GET, HEAD, POST\r\n"
		  "Access-Control-Allow-Headers: authorization, content-type, "
		  "last-event-id\r\n"
		  "Access-Control-Max-Age: 600\r\n"
		: "Access-Control-Expose-Headers: Link, Retry-After\r\n");
}
