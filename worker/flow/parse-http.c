#include "worker/flow/parse-impl.h"

#include <string.h>
#include <strings.h>

enum { PAIRS = 100 };
static const int64_t HOUR = 3600000;

void
http_method(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	static const char *const words[] = { "GET", "HEAD", "POST", "PUT",
		"PATCH", "DELETE", "OPTIONS", NULL };
	union node_config *c = into;
	int i;

	if (want_word(p, at, v, words, &i) == 0)
		c->http.method = str_of(words[i]);
}

/* Where the authority ends: at the first of these, or where s does. */
static size_t
authority_end(struct str s, size_t from)
{
	while (from < s.n && strchr("/?#", s.s[from]) == NULL)
		from++;
	return from;
}

static int
port_is_good(struct str port)
{
	long n = 0;

	if (port.n == 0 || port.n > 5)
		return 0;
	for (size_t i = 0; i < port.n; i++) {
		if (port.s[i] < '0' || port.s[i] > '9')
			return 0;
		n = n * 10 + (port.s[i] - '0');
	}
	return n > 0 && n <= 65535;
}

/* What is wrong with "host", "host:port" or "[v6]:port"; NULL: nothing. */
static const char *
authority_fault(struct str s)
{
	size_t host = 0;

	if (memchr(s.s, '@', s.n) != NULL)
		return "must not hold a user or password: use a header";
	if (s.n > 0 && s.s[0] == '[') {
		const char *close = memchr(s.s, ']', s.n);

		if (close == NULL)
			return "has an IPv6 address without its ]";
		host = (size_t)(close - s.s) + 1;
		if (strspn(s.s + 1, "0123456789abcdefABCDEF:.") != host - 2)
			return "has a malformed IPv6 address";
	} else {
		while (host < s.n && s.s[host] != ':') {
			unsigned char c = (unsigned char)s.s[host++];

			if (c <= ' ' || c == 0x7f || strchr("<>\"\\^`{|}", c))
				return "has a character in its host that no "
				       "host has";
		}
	}
	if (host == 0)
		return "has no host";
	if (host < s.n &&
	    (s.s[host] != ':' ||
		!port_is_good((struct str){ s.s + host + 1, s.n - host - 1 })))
		return "has a malformed port";
	return NULL;
}

/* Scheme and host are the definition's, never the data's. */
static void
url_check(struct parser *p, const struct json_path *at, struct str url)
{
	const char *why, *brace = memmem(url.s, url.n, "{{", 2);
	size_t literal = brace != NULL ? (size_t)(brace - url.s) : url.n;
	size_t from, to;

	if (url.n >= 7 && strncasecmp(url.s, "http://", 7) == 0)
		from = 7;
	else if (url.n >= 8 && strncasecmp(url.s, "https://", 8) == 0)
		from = 8;
	else {
		problem(p, at, NULL,
		    "must begin with http:// or https://, not by a template");
		return;
	}
	to = authority_end((struct str){ url.s, literal }, from);
	if (to == literal && brace != NULL) {
		problem(p, at, "put a / before the first {{",
		    "the host must come from the definition, not from data");
		return;
	}
	why = authority_fault((struct str){ url.s + from, to - from });
	if (why != NULL)
		problem(p, at, NULL, "the URL %s", why);
	for (size_t i = to; i < literal; i++)
		if ((unsigned char)url.s[i] <= ' ' || url.s[i] == 0x7f) {
			problem(p, at, "write %20 for a blank",
			    "the URL has a blank or a control character");
			break;
		}
}

void
http_url(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	union node_config *c = into;
	uint32_t before = p->problems->n;
	struct error err;

	c->http.url = want_text(p, at, v);
	if (c->http.url != NULL)
		url_check(p, at, json_str(v));
	if (c->http.url != NULL && p->problems->n == before &&
	    template_check(c->http.url, TEMPLATE_URL, &err) < 0)
		problem(p, at, NULL, "%s", err.text);
}

/* The engine's and the protocol's own. */
static int
header_reserved(struct str name)
{
	static const char *const words[] = { "host", "content-length",
		"transfer-encoding", "connection", "upgrade", "te", "trailer",
		"expect", "keep-alive", "proxy-connection",
		"proxy-authorization", "idempotency-key" };

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (name.n == strlen(words[i]) &&
		    strncasecmp(name.s, words[i], name.n) == 0)
			return 1;
	return 0;
}

static void
header_check(struct parser *p, const struct json_path *at, struct str name)
{
	int good = name.n > 0 && name.n <= 128;

	for (size_t i = 0; good && i < name.n; i++) {
		char c = name.s[i];

		good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c >= '0' && c <= '9') ||
		    (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
	}
	if (!good)
		problem(p, at, NULL, "is not a header's name (RFC 9110, 5.1)");
	else if (header_reserved(name))
		problem(p, at, NULL, "this header is set by the engine");
}

static void
secret_seen(void *arg, struct str root, struct str name)
{
	(void)name;
	*(int *)arg |= str_is(root, "secrets");
}

static int
uses_secret(const struct template *t)
{
	int uses = 0;

	if (t != NULL)
		template_refs(t, secret_seen, &uses);
	return uses;
}

static uint32_t
pairs_parse(struct parser *p, const struct json_path *at, const struct json *v,
    struct pair **out)
{
	if (want(p, at, v, JSON_OBJECT) < 0)
		return 0;
	if (v->n > PAIRS) {
		problem(p, at, NULL, "must have at most %d members", PAIRS);
		return 0;
	}
	*out = arena_zalloc(p->a, v->n * sizeof(**out));
	for (uint32_t i = 0; i < v->n; i++) {
		struct json_path here = { .up = at, .key = v->of[i].key };

		(*out)[i].name = v->of[i].key;
		if (json_is(v->of[i].value, JSON_ARRAY) ||
		    json_is(v->of[i].value, JSON_OBJECT))
			want(p, &here, v->of[i].value, JSON_STRING);
		else
			(*out)[i].value =
			    want_template(p, &here, v->of[i].value);
		(*out)[i].secret = uses_secret((*out)[i].value);
	}
	return v->n;
}

void
http_query(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	union node_config *c = into;

	c->http.n_query = pairs_parse(p, at, v, &c->http.query);
}

void
http_headers(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	union node_config *c = into;

	struct error err;

	c->http.n_headers = pairs_parse(p, at, v, &c->http.headers);
	for (uint32_t i = 0; i < c->http.n_headers; i++) {
		struct pair *h = &c->http.headers[i];
		struct json_path here = { .up = at, .key = h->name };

		header_check(p, &here, h->name);
		if (h->value != NULL &&
		    template_check(h->value, TEMPLATE_HEADER, &err) < 0)
			problem(p, &here, NULL, "%s", err.text);
		for (uint32_t j = 0; j < i; j++)
			if (c->http.headers[j].name.n == h->name.n &&
			    strncasecmp(c->http.headers[j].name.s, h->name.s,
				h->name.n) == 0)
				problem(p, &here, NULL,
				    "the header is there already");
	}
}

void
http_body(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	((union node_config *)into)->http.body = want_template(p, at, v);
}

void
http_body_text(struct parser *p, const struct json_path *at,
    const struct json *v, void *into)
{
	((union node_config *)into)->http.body_text = want_text(p, at, v);
}

void
http_timeout(struct parser *p, const struct json_path *at, const struct json *v,
    void *into)
{
	want_duration(
	    p, at, v, HOUR, &((union node_config *)into)->http.timeout_ms);
}

void
http_deadline(struct parser *p, const struct json_path *at,
    const struct json *v, void *into)
{
	want_duration(p, at, v, 30 * 24 * HOUR,
	    &((union node_config *)into)->http.deadline_ms);
}

void
http_redirects(struct parser *p, const struct json_path *at,
    const struct json *v, void *into)
{
	int64_t n;

	if (want_integer(p, at, v, 0, 5, &n) == 0)
		((union node_config *)into)->http.max_redirects = (int)n;
}

void
http_check(struct parser *p, const struct json_path *at, const struct json *v,
    union node_config *c)
{
	int body = json_get(v, "body") != NULL;
	int text = json_get(v, "body_text") != NULL;

	if (c->http.method.s == NULL)
		c->http.method = STR("GET");
	if (c->http.timeout_ms == 0)
		c->http.timeout_ms = 30000;
	c->http.body_secret =
	    uses_secret(c->http.body) || uses_secret(c->http.body_text);
	if (body && text)
		problem(p, at, NULL,
		    "must have only one of \"body\" or "
		    "\"body_text\", has both");
	if ((body || text) &&
	    (str_is(c->http.method, "GET") || str_is(c->http.method, "HEAD")))
		problem(p, AT_KEY(at, body ? "body" : "body_text"),
		    "set \"method\"", "a %.*s request has no body",
		    STR_FMT(c->http.method));
}
