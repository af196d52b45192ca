/*
 * What a request whose signature holds says: the value of its body, what tells
 * it from others, and the input that the endpoint's mapping makes of it.
 */
#include "core/hex.h"
#include "core/json.h"
#include "core/mem.h"
#include "realtime/intake/intake-impl.h"
#include "realtime/wire/query.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { DEPTH_MAX = 128, FIELDS_MAX = 1000 };

static int
type_is(struct str type, const char *name)
{
	size_t n = 0;

	while (n < type.n && type.s[n] != ';' && type.s[n] != ' ')
		n++;
	return n == strlen(name) && strncasecmp(type.s, name, n) == 0;
}

static int
type_is_json(struct str type)
{
	size_t n = 0;

	while (n < type.n && type.s[n] != ';' && type.s[n] != ' ')
		n++;
	return type.s == NULL || type_is(type, "application/json") ||
	    (n > 17 && strncasecmp(type.s, "application/", 12) == 0 &&
		strncasecmp(type.s + n - 5, "+json", 5) == 0);
}

/* A field that comes again makes a list. */
static int
field_add(struct arena *a, struct json *o, struct str name, struct str value)
{
	struct json *was = json_get_str(o, name), *v = json_string(a, value);

	if (was == NULL)
		return json_set_str(a, o, name, v);
	if (was->type != JSON_ARRAY) {
		struct json *list = json_array(a);

		if (json_push(a, list, was) < 0 ||
		    json_set_str(a, o, name, list) < 0)
			return -1;
		was = list;
	}
	return json_push(a, was, v);
}

/* a=1&b=2 as {"a": "1", "b": "2"}; what isn't UTF-8 is refused. */
static int
form_parse(
    struct arena *a, struct str text, struct json **out, struct error *err)
{
	struct json *o = json_object(a);
	int n = 0;

	while (text.n > 0) {
		const char *end = memchr(text.s, '&', text.n), *eq;
		struct str field = { text.s,
			end != NULL ? (size_t)(end - text.s) : text.n };
		struct str value = { "", 0 };
		size_t skip = field.n + (end != NULL);

		text.s += skip;
		text.n -= skip;
		eq = memchr(field.s, '=', field.n);
		if (eq != NULL) {
			value = (struct str){ eq + 1,
				field.n - (size_t)(eq - field.s) - 1 };
			field.n = (size_t)(eq - field.s);
		}
		if (field.n == 0 && value.n == 0)
			continue;
		if (++n > FIELDS_MAX ||
		    field_add(
			a, o, form_decode(a, field), form_decode(a, value)) < 0)
			return fail(err, FAULT_INPUT, "FORM",
			    "more than %d fields", FIELDS_MAX);
	}
	/* as a JSON text, to have its UTF-8 checked */
	return json_parse(a, json_text(a, o), NULL, out, err);
}

/* A provider's form that holds nothing but JSON is that. */
static int
form_body(struct arena *a, const struct request *req, struct json **out,
    struct error *err)
{
	struct json_limits limits = { .depth = DEPTH_MAX };
	struct json *payload, *v;
	struct error ignored;

	if (form_parse(a, req->body, out, err) < 0)
		return 400;
	payload = json_get(*out, "payload");
	if ((*out)->n == 1 && json_is(payload, JSON_STRING) &&
	    json_parse(a, json_str(payload), &limits, &v, &ignored) == 0)
		*out = v;
	return 0;
}

/* 0, or the status of what is wrong with a body; err has the words. */
static int
body_read(struct arena *a, const struct endpoint *e, const struct request *req,
    struct json **out, struct error *err)
{
	struct json_limits limits = { .bytes = INTAKE_BODY_MAX,
		.depth = DEPTH_MAX };
	struct str type = http1_get(&req->head, "content-type");

	if (e->scheme.type != SIGNATURE_STANDARD &&
	    type_is(type, "application/x-www-form-urlencoded")) {
		int status = form_body(a, req, out, err);

		if (status != 0)
			return status;
	} else if (!type_is_json(type)) {
		fail(err, FAULT_INPUT, "TYPE",
		    "a webhook's body is application/json");
		return 415;
	} else if (json_parse(a, req->body, &limits, out, err) < 0) {
		return 400;
	}
	return json_storable(*out, err) < 0 ? 422 : 0;
}

/* What tells this webhook from others; the body's digest as a last resort. */
static void
key_make(const struct endpoint *e, const struct signature *sig,
    const struct json *body, struct item *item)
{
	struct str id = sig->id;
	char *at;

	if (e->scheme.id_member[0] != '\0')
		id = json_str(json_get(body, e->scheme.id_member));
	if (signature_id_valid(id)) {
		memcpy(item->key, id.s, id.n);
		item->key[id.n] = '\0';
		return;
	}
	at = stpcpy(item->key, "sha256:");
	hex_put(at, item->digest, INTAKE_DIGEST);
	at[2 * INTAKE_DIGEST] = '\0';
}

/* Those that the endpoint names, and never the keys to something. */
static struct json *
headers_make(
    struct arena *a, const struct endpoint *e, const struct request *req)
{
	struct json *o = json_object(a), *v;
	struct error ignored;

	for (size_t i = 0; i < e->n_headers; i++) {
		const char *name =
		    arena_strndup(a, e->headers[i].s, e->headers[i].n);
		struct str value = http1_get(&req->head, name);

		if (value.s == NULL || strcmp(name, "authorization") == 0 ||
		    strcmp(name, "cookie") == 0 ||
		    strcmp(name, "proxy-authorization") == 0)
			continue;
		v = json_string(a, value);
		if (json_storable(v, &ignored) == 0 &&
		    json_parse(a, json_text(a, v), NULL, &v, &ignored) == 0)
			json_set(a, o, name, v);
	}
	return o;
}

/* {body, headers, query, method} -> the run's input. */
static int
map(struct intake *in, const struct endpoint *e, const struct request *req,
    struct json *body, struct json **out, struct error *err)
{
	const struct expr_limits limits = { .steps = 200000, .bytes = 4 << 20 };
	struct arena *a = &in->arena;
	struct json *doc = json_object(a), *query;

	if (form_parse(a, req->head.query, &query, err) < 0)
		return fail_in(err, "query");
	json_set(a, doc, "body", body);
	json_set(a, doc, "headers", headers_make(a, e, req));
	json_set(a, doc, "query", query);
	json_set(a, doc, "method", json_string(a, req->head.method));
	if (expr_eval(a, e->mapping, doc, &limits, out, err) < 0 ||
	    json_storable(*out, err) < 0)
		return fail_in(err, "mapping");
	return 0;
}

/* Slack asks whether the address is whose it seems (url_verification). */
static int
is_challenge(const struct endpoint *e, const struct json *body)
{
	return e->scheme.type == SIGNATURE_SLACK &&
	    str_is(json_str(json_get(body, "type")), "url_verification") &&
	    json_is(json_get(body, "challenge"), JSON_STRING);
}

int
intake_read(struct intake *in, struct endpoint *e, struct request *req,
    const struct signature *sig, struct item *item, struct error *err)
{
	struct arena *a = &in->arena;
	struct json *body, *input, *o;
	struct str text;
	int status;

	arena_reset(a);
	status = body_read(a, e, req, &body, err);
	if (status != 0)
		return status;
	if (is_challenge(e, body)) {
		o = json_object(a);
		json_set(a, o, "challenge", json_get(body, "challenge"));
		text = json_text(a, o);
		item->made = xmemdup(text.s, text.n);
		item->n_made = text.n;
		return INTAKE_CHALLENGE;
	}
	EVP_Digest(
	    req->body.s, req->body.n, item->digest, NULL, EVP_sha256(), NULL);
	key_make(e, sig, body, item);
	input = body;
	if (e->mapping != NULL && map(in, e, req, body, &input, err) < 0)
		return 422;
	if (e->mapping != NULL ||
	    type_is(http1_get(&req->head, "content-type"),
		"application/x-www-form-urlencoded")) {
		text = json_text(a, input);
		if (text.s == NULL) {
			fail(err, FAULT_INPUT, "limit",
			    "the input is too large");
			return 422;
		}
		item->made = xmemdup(text.s, text.n);
		item->n_made = text.n;
	}
	if (e->keep_body) {
		text = json_text(a, headers_make(a, e, req));
		item->kept = xmemdup(text.s, text.n);
	}
	return 0;
}
