#pragma once
/*
 * A Supabase project and its gateway, seen from outside, as one of its users:
 * requests with the user's token, and the token, which is renewed before it
 * expires where there is a refresh token. Supabase Auth takes each of those
 * once, so the next one is kept: in the file that it came from, if any.
 */
#include "cli/session.h"
#include "http/client.h"

struct remote;

/* A token to go on with; or err: there will be none. From the loop. */
typedef void remote_token_fn(
    void *arg, const char *token, const struct error *err);

struct remote_options {
	int supabase;             /* its URL and key are needed in any case */
	const char *refresh_file; /* or NULL */
	remote_token_fn *token;
	void *arg;
};

struct remote *remote_new(
    struct session *s, const struct remote_options *options, struct error *err);
struct remote *remote_free(struct remote *r); /* NULL */

const char *remote_gateway(const struct remote *r); /* without a last "/" */
const char *remote_supabase(const struct remote *r);
const char *remote_key(const struct remote *r);
const char *remote_ca_file(const struct remote *r);
/* NULL: not yet. */
const char *remote_token(const struct remote *r);
/* Is it renewed? Else its end is the end. */
int remote_renews(const struct remote *r);
/* It was refused: renew it now. */
void remote_renew(struct remote *r);

/*
 * A request to Supabase, schema meshhook, as the user. body is NULL with err,
 * whose fault is FAULT_AUTH for 401 and 403, FAULT_RETRY where it may pass.
 */
typedef void remote_fn(
    void *arg, const struct json *body, const struct error *err);
/* path: "/rest/v1/runs?id=eq.1"; post: JSON text, s NULL: a GET. The call dies
 * with its function. */
struct remote_call *remote_ask(struct remote *r, const char *path,
    struct str post, remote_fn *fn, void *arg);
struct remote_call *remote_cancel(struct remote_call *call); /* NULL */

/* Any request with the user's token, to the gateway. NULL: see http/client.h */
struct http_call *remote_start(struct remote *r, const struct http_request *req,
    http_done_fn *fn, void *arg, struct error *err);
/* What an answer of 400 or more says, in words for people: PostgREST's
 * message, a problem's detail. */
void remote_explain(
    const struct http_response *res, const char *whom, struct error *err);
