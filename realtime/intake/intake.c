#include "realtime/intake/intake.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/time.h"
#include "realtime/intake/intake-impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SWEEP_MS = 250,
	ARENA_MAX = 256 << 20, /* of a body's tree, whatever its text */
};

static const struct problem unavailable = { .status = 503,
	.kind = "unavailable",
	.detail = "the database can't be reached; send it again",
	.headers = "Retry-After: 2\r\n" };

static void
asking_end(struct asking *a)
{
	endpoint_wait_cancel(&a->wait);
	list_remove(&a->link);
	free(a);
}

static void
asking_gone(struct request *req)
{
	asking_end(req->owner);
}

/* Long enough that waiting for it is not worth the client's while. */
static int
outage(const struct intake *in)
{
	return in->away_ms != 0 &&
	    loop_now_ms(in->loop) - in->away_ms > INTAKE_OUTAGE_MS;
}

static void
endpoint_known(struct request *req, struct endpoint *e, const struct error *err)
{
	req->gone = NULL;
	if (err != NULL)
		request_problem(req, &unavailable);
	else if (e == NULL)
		request_problem(req,
		    &(struct problem){ .status = 404,
			.kind = "endpoint",
			.detail = "there is no such endpoint" });
	else
		request_read(req, e->max_body);
}

static void
endpoint_found(
    struct endpoint_wait *wait, struct endpoint *e, const struct error *err)
{
	struct asking *a = list_entry(wait, struct asking, wait);
	struct request *req = a->req;

	asking_end(a);
	endpoint_known(req, e, err);
}

static void
intake_begin(void *arg, struct request *req)
{
	struct intake *in = arg;
	struct endpoint *e;
	struct asking *a;
	struct error err;
	int r;

	if (outage(in)) {
		request_problem(req, &unavailable);
		return;
	}
	a = xcalloc(1, sizeof(*a));
	list_init(&a->link);
	a->req = req;
	a->intake = in;
	a->wait.fn = endpoint_found;
	r = endpoint_get(
	    in->endpoints, req->params[0], req->params[1], &e, &a->wait, &err);
	if (r == ENDPOINT_LATER) {
		a->deadline_ms = loop_now_ms(in->loop) + INTAKE_DEADLINE_MS;
		list_append(&in->asking, &a->link);
		req->owner = a;
		req->gone = asking_gone;
		return;
	}
	asking_end(a);
	endpoint_known(req, e, r < 0 ? &err : NULL);
}

static void take(struct intake *in, struct request *req,
    const struct quota_state *granted, int fetched);

static void
rating_end(struct rating *r)
{
	quota_wait_cancel(&r->wait);
	jwks_cancel(&r->keys);
	endpoint_wait_cancel(&r->secrets);
	list_remove(&r->link);
	free(r);
}

static void
rating_gone(struct request *req)
{
	rating_end(req->owner);
}

static struct rating *
rating_new(struct intake *in, struct request *req)
{
	struct rating *r = xcalloc(1, sizeof(*r));

	list_init(&r->link);
	list_init(&r->wait.link);
	list_init(&r->keys.link);
	list_init(&r->secrets.link);
	r->req = req;
	r->intake = in;
	r->deadline_ms = loop_now_ms(in->loop) + INTAKE_DEADLINE_MS;
	return r;
}

static void
rating_hold(struct rating *r)
{
	list_append(&r->intake->rating, &r->link);
	r->req->owner = r;
	r->req->gone = rating_gone;
}

static void
keys_came(struct jwks_wait *wait, const struct error *err)
{
	struct rating *r = list_entry(wait, struct rating, keys);
	struct intake *in = r->intake;
	struct request *req = r->req;

	rating_end(r);
	req->gone = NULL;
	if (err != NULL)
		log_warn("intake.keys", E_(err));
	take(in, req, NULL, 1);
}

/* 1: it waits for the keys at its endpoint's URL. */
static int
keys_wait(struct intake *in, struct request *req, struct endpoint *e)
{
	struct rating *r = rating_new(in, req);
	struct error err;

	r->keys.fn = keys_came;
	if (e->jwks != NULL &&
	    jwks_refresh(e->jwks, &r->keys, &err) == JWKS_LATER) {
		rating_hold(r);
		return 1;
	}
	rating_end(r);
	return 0;
}

static void
secrets_came(
    struct endpoint_wait *wait, struct endpoint *e, const struct error *err)
{
	struct rating *r = list_entry(wait, struct rating, secrets);
	struct intake *in = r->intake;
	struct request *req = r->req;

	(void)e;
	(void)err; /* what is known is what it is held against again */
	rating_end(r);
	req->gone = NULL;
	take(in, req, NULL, 1);
}

/* 1: it waits for its endpoint to be read again. */
static int
secrets_wait(struct intake *in, struct request *req, struct endpoint *e)
{
	struct rating *r = rating_new(in, req);

	r->secrets.fn = secrets_came;
	if (endpoint_doubt(in->endpoints, e, &r->secrets) == ENDPOINT_LATER) {
		rating_hold(r);
		return 1;
	}
	rating_end(r);
	return 0;
}

/* Whose is it? -1: it was answered, or waits. fetched: for no keys again. */
static int
verified(struct intake *in, struct request *req, struct endpoint *e,
    int fetched, struct signature *sig)
{
	struct signature_request what = {
		.scheme = &e->scheme,
		.head = &req->head,
		.body = req->body,
		.secrets = e->secrets,
		.n_secrets = e->n_secrets,
		.now_s = time_wall_ms() / 1000,
		.keys = e->jwks != NULL ? jwks_keys(e->jwks) : NULL,
		.arena = &in->token,
	};
	struct error err;
	int r;

	arena_reset(&in->token);
	r = signature_verify(&what, sig, &err);
	if (r == 0)
		return 0;
	if (r == SIGNATURE_UNKNOWN_KEY && !fetched && keys_wait(in, req, e))
		return -1;
	if (r < 0 && !fetched && strcmp(err.code, "SIGNATURE") == 0 &&
	    secrets_wait(in, req, e))
		return -1;
	request_problem(req,
	    &(struct problem){
		.status = 401, .kind = "signature", .detail = err.text });
	return -1;
}

static void
accept_webhook(struct intake *in, struct request *req, struct endpoint *e,
    const struct signature *sig, const struct quota_state *rate)
{
	struct item *item = xcalloc(1, sizeof(*item));
	struct error err = { 0 };
	int status = intake_read(in, e, req, sig, item, &err);

	if (status != 0) {
		if (status == INTAKE_CHALLENGE)
			request_reply(req,
			    &(struct reply){ .status = 200,
				.body = { item->made, item->n_made } });
		else
			request_problem(req,
			    &(struct problem){ .status = status,
				.kind = "body",
				.detail = err.text });
		item_free(item);
		return;
	}
	list_init(&item->link);
	item->intake = in;
	item->req = req;
	item->endpoint = e->id;
	item->secret_version = sig->signer != NULL ? sig->signer->version : 0;
	item->rate = *rate;
	item->received_ms = time_wall_ms();
	item->deadline_ms = loop_now_ms(in->loop) + INTAKE_DEADLINE_MS;
	item_push(item);
}

static const struct problem crowded = { .status = 503,
	.kind = "overload",
	.detail = "too many webhooks wait",
	.headers = "Retry-After: 1\r\n" };

static void
refuse_rate(struct request *req, const struct quota_state *rate)
{
	char headers[QUOTA_HEADERS];

	request_problem(req,
	    &(struct problem){ .status = 429,
		.kind = "rate",
		.detail = "more than this endpoint takes",
		.headers = quota_headers(rate, headers) });
}

static void
rated(struct quota_wait *wait, enum quota_verdict verdict,
    const struct quota_state *state)
{
	struct rating *r = list_entry(wait, struct rating, wait);
	struct intake *in = r->intake;
	struct request *req = r->req;

	rating_end(r);
	req->gone = NULL;
	if (verdict == QUOTA_GRANTED)
		take(in, req, state, 1);
	else if (verdict == QUOTA_REFUSED)
		refuse_rate(req, state);
	else
		request_problem(req, &unavailable);
}

/* 1: within the rate, with *state. Else it is answered, now or later. */
static int
within_rate(struct intake *in, struct request *req, struct endpoint *e,
    struct quota_state *state)
{
	struct quota_limit limit = e->limit;
	enum quota_verdict verdict;
	struct rating *r;
	int got;

	*state = (struct quota_state){ 0 };
	if (limit.rate == 0)
		limit = (struct quota_limit){ (int32_t)in->o.rate,
			(int32_t)in->o.burst };
	if (limit.rate == 0)
		return 1;
	if (limit.burst == 0)
		limit.burst = 2 * limit.rate;
	r = rating_new(in, req);
	r->wait.fn = rated;
	got =
	    endpoint_quota(in->endpoints, e, &limit, &r->wait, &verdict, state);
	if (got == QUOTA_LATER) {
		rating_hold(r);
		return 0;
	}
	rating_end(r);
	if (got < 0)
		request_problem(req, &unavailable);
	else if (verdict == QUOTA_REFUSED)
		refuse_rate(req, state);
	return got == 0 && verdict == QUOTA_GRANTED;
}

/* granted: it waited for its rate, and all else is looked at again; fetched:
 * the keys of tokens were. */
static void
take(struct intake *in, struct request *req, const struct quota_state *granted,
    int fetched)
{
	struct endpoint_wait unused;
	struct quota_state rate;
	struct signature sig;
	struct endpoint *e;
	struct error err = { 0 };

	/* known since begin, unless it was crowded out, or gone, meanwhile */
	if (endpoint_get(in->endpoints, req->params[0], req->params[1], &e,
		&unused, &err) != 0 ||
	    e == NULL) {
		endpoint_wait_cancel(&unused);
		request_problem(req, &unavailable);
		return;
	}
	if (e->broken.fault != FAULT_NONE) {
		request_problem(req,
		    &(struct problem){ .status = 409,
			.kind = "disabled",
			.detail = "the endpoint's scheme or mapping is none" });
		return;
	}
	if (verified(in, req, e, fetched, &sig) < 0)
		return;
	if (granted != NULL)
		rate = *granted;
	else if (!within_rate(in, req, e, &rate))
		return;
	if (in->n_queue >= INTAKE_QUEUE_MAX)
		request_problem(req, &crowded);
	else
		accept_webhook(in, req, e, &sig, &rate);
}

static void
intake_handle(void *arg, struct request *req)
{
	take(arg, req, NULL, 0);
}

size_t
intake_routes(struct intake *in, struct route *out)
{
	out[0] = (struct route){ .method = "POST",
		.pattern = "/hooks/{project}/{endpoint}",
		.begin = intake_begin,
		.handle = intake_handle,
		.arg = in };
	return 1;
}

static void
sweep(void *arg)
{
	struct intake *in = arg;
	int64_t now = loop_now_ms(in->loop);

	intake_expire(in, now, &unavailable);
	while (!list_empty(&in->asking)) {
		struct asking *a =
		    list_entry(in->asking.next, struct asking, link);
		struct request *req = a->req;

		if (a->deadline_ms > now)
			break;
		asking_end(a);
		endpoint_known(req, NULL, &(struct error){ 0 });
	}
	while (!list_empty(&in->rating)) {
		struct rating *r =
		    list_entry(in->rating.next, struct rating, link);

		if (r->deadline_ms > now)
			break;
		rated(&r->wait, QUOTA_UNKNOWN, NULL);
	}
}

static void
pause_over(void *arg)
{
	struct intake *in = arg;

	in->paused = 0;
	intake_pump(in);
}

static double
queued(void *arg)
{
	const struct intake *in = arg;

	return (double)in->n_queue;
}

static void
metrics_start(struct intake *in, struct metrics *m)
{
	in->stored = metrics_counter(m, "meshhook_intake_webhooks", NULL,
	    "Webhooks that started a run.");
	in->duplicates = metrics_counter(m, "meshhook_intake_duplicates", NULL,
	    "Webhooks that had come before.");
	in->refused = metrics_counter(m, "meshhook_intake_refused", NULL,
	    "Webhooks whose signature held and that were refused.");
	metrics_gauge(m, "meshhook_intake_queued", NULL,
	    "Webhooks that wait for a transaction.", queued, in);
}

struct intake *
intake_new(struct loop *loop, const struct intake_options *options)
{
	struct intake *in = xcalloc(1, sizeof(*in));
	struct uuid random;

	uuid_random(&random);
	in->slot = random.bytes[0]; /* so that two gateways rarely share one */
	in->loop = loop;
	in->away_ms = loop_now_ms(loop); /* until told */
	in->o = *options;
	in->endpoints =
	    endpoints_new(loop, options->db, options->vault, options->http);
	arena_init_cap(&in->arena, ARENA_MAX);
	arena_init_cap(&in->token, ARENA_MAX);
	list_init(&in->asking);
	list_init(&in->rating);
	list_init(&in->queue);
	list_init(&in->sent);
	list_init(&in->resend);
	in->pump = loop_defer_new(loop, intake_pump, in);
	in->sweep = loop_timer_new(loop, sweep, in);
	in->pause = loop_timer_new(loop, pause_over, in);
	loop_timer_every(in->sweep, SWEEP_MS);
	db_array_init(&in->endpoint, DB_UUID);
	db_array_init(&in->version, DB_INT4);
	db_array_init(&in->key, DB_TEXT);
	db_array_init(&in->input, DB_JSONB);
	db_array_init(&in->meta, DB_JSONB);
	db_array_init(&in->digest, DB_BYTEA);
	db_array_init(&in->body, DB_BYTEA);
	db_array_init(&in->kept, DB_JSONB);
	metrics_start(in, options->metrics);
	return in;
}

struct intake *
intake_free(struct intake *in)
{
	if (in == NULL)
		return NULL;
	batches_free(in);
	loop_defer_free(in->pump);
	loop_timer_free(in->sweep);
	loop_timer_free(in->pause);
	endpoints_free(in->endpoints);
	db_array_deinit(&in->endpoint);
	db_array_deinit(&in->version);
	db_array_deinit(&in->key);
	db_array_deinit(&in->input);
	db_array_deinit(&in->meta);
	db_array_deinit(&in->digest);
	db_array_deinit(&in->body);
	db_array_deinit(&in->kept);
	arena_deinit(&in->arena);
	arena_deinit(&in->token);
	free(in);
	return NULL;
}

void
intake_database(struct intake *in, int there)
{
	if (there)
		loop_defer_call(in->pump);
	if (there || in->away_ms == 0)
		in->away_ms = there ? 0 : loop_now_ms(in->loop);
}
