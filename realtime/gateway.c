#include "realtime/gateway.h"
#include "core/harden.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/mem.h"
#include "core/time.h"
#include "realtime/realtime-sql.h"
#include "realtime/lines/history.h"
#include "realtime/identity/identity.h"
#include "realtime/intake/intake.h"
#include "realtime/lines/publish.h"
#include "realtime/scrape.h"
#include "realtime/server/server.h"
#include "realtime/stats.h"
#include "realtime/stream/stream.h"
#include "supabase/client/schema.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
	HEARTBEAT_MS = 15000,
	FDS_OF_OURS = 64, /* beside clients' */
	EXIT_CONFIG = 78,
	MODULES = 16,
};

struct gateway {
	const struct gateway_options *o;
	struct loop *loop;
	struct db *db;
	struct flush *flush;
	struct vault vault;
	struct identities *identities;
	struct streams *streams;
	struct listen *listen;
	struct guard guard; /* of what endpoints make it fetch */
	struct http *http;
	struct intake *intake;
	struct publish *publish;
	struct history *history;
	struct stats *stats;
	struct scrape *scrape;
	struct metrics metrics;
	struct cors cors;
	struct local *local; /* NULL: not asked for */
	struct server *server;
	struct loop_signal *term, *interrupt;
	struct loop_timer *beat, *deadline;
	struct route routes[MODULES * MODULE_ROUTES];
	struct uuid id;
	int connected; /* once, at least: the URL is right */
	int serving;   /* connected to a schema that fits */
	int beating;   /* a heartbeat is on its way */
	int draining;
};

static void
livez(void *arg, struct request *req)
{
	(void)arg;
	request_reply(req,
	    &(struct reply){
		.status = 200, .type = "text/plain", .body = STR("ok\n") });
}

static void
readyz(void *arg, struct request *req)
{
	struct gateway *g = arg;

	if (g->serving && db_ready(g->db) && !g->draining)
		request_reply(req,
		    &(struct reply){ .status = 200,
			.type = "text/plain",
			.body = STR("ready\n") });
	else
		request_problem(req,
		    &(struct problem){ .status = 503,
			.kind = "unavailable",
			.detail = g->draining ? "this gateway is ending"
					      : "the database can't be reached",
			.headers = "Retry-After: 2\r\n" });
}

static void
ignored(void *arg, struct rows *rows, const struct error *err)
{
	(void)arg;
	(void)rows;
	if (err != NULL)
		log_debug("gateway.heartbeat", E_(err));
}

static void
beaten(void *arg, struct rows *rows, const struct error *err)
{
	struct gateway *g = arg;

	(void)rows;
	g->beating = 0;
	if (err != NULL)
		log_debug("gateway.heartbeat", E_(err));
	else
		stats_heard(g->stats);
}

static void
beat(void *arg)
{
	struct gateway *g = arg;
	char host[65] = "";
	struct buf info;

	if (!g->serving || g->beating)
		return;
	gethostname(host, sizeof(host) - 1);
	buf_init(&info);
	stats_heartbeat(g->stats, &info);
	g->beating = db_call(g->db, &sql_gateway_heartbeat, beaten, g, NULL,
			 db_uuid(&g->id), db_text(host), db_int4(getpid()),
			 db_text(MESHHOOK_VERSION), db_bool(g->draining),
			 db_jsonb(buf_str(&info))) == 0;
	buf_deinit(&info);
}

static void
give_up(struct gateway *g, const struct error *err)
{
	log_error("gateway.config", E_(err));
	loop_stop(g->loop, EXIT_CONFIG);
}

static void
schema_seen(void *arg, struct rows *rows, const struct error *cause)
{
	struct gateway *g = arg;
	struct error err;
	int r = schema_fits(rows, cause, &err);

	if (r < 0)
		give_up(g, &err);
	if (r != 0)
		return;
	g->serving = 1;
	log_info("gateway.ready", S_("database", db_where(g->db)));
	beat(g);
	intake_database(g->intake, 1);
	publish_database(g->publish, 1);
	stats_database(g->stats, 1);
	streams_database(g->streams, 1);
}

static void
db_changed(void *arg, enum db_state state, const struct error *cause)
{
	struct gateway *g = arg;
	struct error err;

	g->serving = 0;
	g->connected |= state == DB_READY;
	if (state == DB_READY)
		schema_ask(
		    g->db, "meshhook_engine.intake", schema_seen, g, &err);
	else if (cause != NULL && !g->connected && cause->fault != FAULT_RETRY)
		give_up(g, cause);
	else if (cause != NULL)
		log_warn("db.lost", E_(cause));
	if (state != DB_READY && g->publish != NULL) {
		intake_database(g->intake, 0);
		publish_database(g->publish, 0);
		stats_database(g->stats, 0);
	}
	if (state != DB_READY && g->streams != NULL)
		streams_database(g->streams, 0);
}

static void
drained(void *arg)
{
	struct gateway *g = arg;

	loop_stop(g->loop, 0);
}

static void
drain_late(void *arg)
{
	struct gateway *g = arg;

	log_warn(
	    "gateway.cut", I_("connections", server_connections(g->server)));
	loop_stop(g->loop, 0);
}

static void
told_to_end(void *arg, int signo)
{
	struct gateway *g = arg;
	struct error err;

	if (g->draining) { /* told twice: at once */
		loop_stop(g->loop, 128 + signo);
		return;
	}
	g->draining = 1;
	stats_draining(g->stats);
	log_info("gateway.draining", I_("signal", signo),
	    I_("connections", server_connections(g->server)));
	beat(g);
	if (g->serving)
		db_call(g->db, &sql_gateway_goodbye, ignored, NULL, &err,
		    db_uuid(&g->id));
	loop_timer_clear(g->beat);
	loop_timer_set(g->deadline, g->o->drain_ms);
	local_drain(g->local);
	streams_drain(g->streams);
	server_drain(g->server, drained, g);
}

/* A soft limit that fits: libwebsockets keeps tables for all of them. */
static void
limit_fds(uint32_t connections)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return;
	l.rlim_cur = connections + FDS_OF_OURS;
	if (l.rlim_cur > l.rlim_max)
		l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
}

static int
start_identities(struct gateway *g, struct error *err)
{
	struct identities_options o = { .db = g->db,
		.vault = &g->vault,
		.jwt_secret = g->o->jwt_secret,
		.jwks_url = g->o->jwks_url,
		.issuer = g->o->jwt_issuer,
		.audience = g->o->jwt_audience };

	g->identities = identities_new(g->loop, &o, err);
	return g->identities == NULL ? -1 : 0;
}

static void
start_logs(struct gateway *g)
{
	struct history_options history = { .db = g->db,
		.identities = g->identities,
		.metrics = &g->metrics,
		.rate = g->o->user_rate };
	struct stats_options stats = { .db = g->db,
		.identities = g->identities,
		.metrics = &g->metrics,
		.hub = streams_hub(g->streams),
		.version = MESHHOOK_VERSION,
		.gateway = g->id };
	struct scrape_options scrape = { .db = g->db,
		.metrics = &g->metrics,
		.by_project = g->o->metrics_by_project };
	struct publish_options o = { .db = g->db,
		.flush = g->flush,
		.identities = g->identities,
		.metrics = &g->metrics,
		.rate = g->o->publish_rate };

	g->publish = publish_new(g->loop, &o);
	g->history = history_new(g->loop, &history);
	g->stats = stats_new(g->loop, &stats);
	g->scrape = scrape_new(g->loop, &scrape);
}

static void
notified(void *arg, const char *channel, const char *payload)
{
	struct gateway *g = arg;

	streams_notified(g->streams, channel, payload);
}

/* The second connection: what others have committed, and other gateways. */
static int
start_streams(struct gateway *g, const struct db_options *db, struct error *err)
{
	static const char *const channels[] = { "meshhook_logs",
		"meshhook_streams", NULL };
	struct listen_options listen = { .db = *db,
		.channels = channels,
		.via = g->db,
		.fn = notified,
		.arg = g };
	struct streams_options o = { .db = g->db,
		.ids = g->identities,
		.vault = &g->vault,
		.of_user = g->o->streams_of_user,
		.of_project = g->o->streams_of_project,
		.in_all = g->o->streams };

	g->streams = streams_new(g->loop, &o);
	g->listen = listen_new(g->loop, &listen, err);
	streams_listen(g->streams, g->listen);
	return g->listen == NULL ? -1 : 0;
}

static int
start_database(struct gateway *g, struct error *err)
{
	struct db_options db = { .url = g->o->db_url,
		.application_name = "meshhook gateway",
		.on_state = db_changed,
		.arg = g };
	struct intake_options in = { .vault = &g->vault,
		.metrics = &g->metrics,
		.rate = g->o->endpoint_rate,
		.burst = g->o->endpoint_burst };

	if (vault_init(&g->vault, g->o->intake_keys, err) < 0)
		return fail_in(err, "MESHHOOK_INTAKE_KEY");
	g->db = db_new(g->loop, &db, err);
	if (g->db == NULL)
		return -1;
	g->flush = flush_new(g->loop, g->db);
	if (guard_init(&g->guard, g->o->http_allow, err) < 0)
		return fail_in(err, "MESHHOOK_HTTP_ALLOW");
	g->http = http_new(
	    g->loop, &(struct http_options){ .guard = &g->guard }, err);
	if (g->http == NULL)
		return -1;
	in.http = g->http;
	in.db = g->db;
	in.flush = g->flush;
	g->intake = intake_new(g->loop, &in);
	if (start_identities(g, err) < 0)
		return -1;
	if (start_streams(g, &db, err) < 0)
		return -1;
	start_logs(g);
	if (g->o->local == NULL)
		return 0;
	g->local = local_new(g->loop, g->o->local, err);
	return g->local == NULL ? -1 : 0;
}

static size_t
own_routes(struct gateway *g, struct route *out)
{
	out[0] = (struct route){
		.method = "GET", .pattern = "/livez", .handle = livez
	};
	out[1] = (struct route){ .method = "GET",
		.pattern = "/readyz",
		.handle = readyz,
		.arg = g };
	return 2;
}

/* Every module gives its own. */
static size_t
collect_routes(struct gateway *g)
{
	struct route *r = g->routes;

	r += own_routes(g, r);
	r += intake_routes(g->intake, r);
	r += identity_routes(g->identities, r);
	r += publish_routes(g->publish, r);
	r += history_routes(g->history, r);
	r += stats_routes(g->stats, r);
	r += scrape_routes(g->scrape, r);
	r += local_routes(g->local, r);
	r += streams_routes(g->streams, r);
	return (size_t)(r - g->routes);
}

static int
start_server(struct gateway *g, struct error *err)
{
	struct server_options o = { .host = g->o->host,
		.port = g->o->port,
		.routes = g->routes,
		.n_routes = collect_routes(g),
		.cors = &g->cors,
		.answered = stats_answered,
		.arg = g->stats,
		.connections =
		    g->o->connections > 0 ? g->o->connections : 4096 };
	struct rlimit l;

	if (cors_init(&g->cors, g->o->cors_origins, err) < 0)
		return -1;
	limit_fds(o.connections);
	if (getrlimit(RLIMIT_NOFILE, &l) == 0 &&
	    l.rlim_cur < o.connections + FDS_OF_OURS)
		o.connections = l.rlim_cur > 2 * FDS_OF_OURS
		    ? (uint32_t)(l.rlim_cur - FDS_OF_OURS)
		    : FDS_OF_OURS;
	g->server = server_new(g->loop, &o, err);
	if (g->server == NULL)
		return -1;
	stats_server(g->stats, g->server);
	return g->local != NULL ? local_serve(g->local, g->server, err) : 0;
}

static int
start(struct gateway *g, struct error *err)
{
	g->loop = loop_new(err);
	if (g->loop == NULL)
		return -1;
	g->beat = loop_timer_new(g->loop, beat, g);
	g->deadline = loop_timer_new(g->loop, drain_late, g);
	g->term = loop_signal_start(g->loop, SIGTERM, told_to_end, g);
	g->interrupt = loop_signal_start(g->loop, SIGINT, told_to_end, g);
	if (start_database(g, err) < 0 || start_server(g, err) < 0)
		return -1;
	loop_timer_every(g->beat, HEARTBEAT_MS);
	log_info("gateway.listening",
	    S_("host", g->o->host != NULL ? g->o->host : "127.0.0.1"),
	    I_("port", server_port(g->server)));
	return 0;
}

/* Requests first, then the calls they wait for, then what holds them. */
static void
end(struct gateway *g)
{
	if (g->loop == NULL)
		return;
	g->server = server_free(g->server);
	g->local = local_free(g->local);
	g->listen = listen_free(g->listen);
	g->db = db_free(g->db);
	g->streams = streams_free(g->streams);
	g->intake = intake_free(g->intake);
	g->http = http_free(g->http);
	guard_deinit(&g->guard);
	g->scrape = scrape_free(g->scrape);
	g->stats = stats_free(g->stats);
	g->history = history_free(g->history);
	g->publish = publish_free(g->publish);
	g->identities = identities_free(g->identities);
	g->flush = flush_free(g->flush);
	loop_signal_stop(g->term);
	loop_signal_stop(g->interrupt);
	loop_timer_free(g->beat);
	loop_timer_free(g->deadline);
	g->loop = loop_free(g->loop);
	vault_deinit(&g->vault);
	metrics_deinit(&g->metrics);
}

int
gateway_main(const struct gateway_options *options)
{
	struct gateway g = { .o = options };
	struct error err = { 0 };
	int code;

	harden_process();
	uuid_random(&g.id);
	metrics_init(&g.metrics);
	if (start(&g, &err) < 0) {
		log_error("gateway.start", E_(&err));
		code = err.fault == FAULT_CONFIG ? EXIT_CONFIG : 1;
	} else {
		code = loop_run(g.loop);
	}
	end(&g);
	log_info("gateway.ended", I_("code", code));
	return code;
}
