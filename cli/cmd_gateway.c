#include "cli/commands.h"
#include "realtime/gateway.h"

static int
cmd_gateway(struct cli *cli, struct error *err)
{
	const struct config *c = &cli->config;
	const char *secret = config_text(c, SETTING_JWT_SECRET);
	int realtime = (int)config_int(c, SETTING_LOCAL_REALTIME);
	struct local_options local;

	if (config_need(c, SETTING_GATEWAY_DB_URL, err) < 0 ||
	    config_need(c, SETTING_INTAKE_KEY, err) < 0 ||
	    (realtime && config_need(c, SETTING_JWT_SECRET, err) < 0) ||
	    (realtime &&
		config_need(c, SETTING_LOCAL_REALTIME_DB_URL, err) < 0))
		return -1;
	if (realtime)
		local = (struct local_options){
			.db_url = config_text(c, SETTING_LOCAL_REALTIME_DB_URL),
			.jwt_secret = str_of(secret),
		};
	return gateway_main(&(struct gateway_options){
	    .db_url = config_text(c, SETTING_GATEWAY_DB_URL),
	    .host = config_text(c, SETTING_GATEWAY_HOST),
	    .port = (int)config_int(c, SETTING_GATEWAY_PORT),
	    .intake_keys = str_of(config_text(c, SETTING_INTAKE_KEY)),
	    .jwt_secret = secret != NULL ? str_of(secret) : (struct str){ 0 },
	    .jwks_url = config_text(c, SETTING_JWKS_URL),
	    .jwt_issuer = config_text(c, SETTING_JWT_ISSUER),
	    .jwt_audience = config_text(c, SETTING_JWT_AUDIENCE),
	    .publish_rate = (uint32_t)config_int(c, SETTING_PUBLISH_RATE),
	    .user_rate = (uint32_t)config_int(c, SETTING_USER_RATE),
	    .cors_origins = config_text(c, SETTING_CORS_ORIGINS),
	    .connections = (uint32_t)config_int(c, SETTING_GATEWAY_CONNECTIONS),
	    .http_allow = config_text(c, SETTING_HTTP_ALLOW),
	    .endpoint_rate = (uint32_t)config_int(c, SETTING_GATEWAY_RATE),
	    .endpoint_burst = (uint32_t)config_int(c, SETTING_GATEWAY_BURST),
	    .streams = (uint32_t)config_int(c, SETTING_GATEWAY_STREAMS),
	    .streams_of_user =
		(uint32_t)config_int(c, SETTING_GATEWAY_STREAMS_OF_USER),
	    .streams_of_project =
		(uint32_t)config_int(c, SETTING_GATEWAY_STREAMS_OF_PROJECT),
	    .metrics_by_project = (int)config_int(c, SETTING_METRICS_PROJECTS),
	    .drain_ms = config_int(c, SETTING_GATEWAY_DRAIN),
	    .local = realtime ? &local : NULL,
	});
}

static const struct example examples[] = {
	{ "gateway", "listen on 127.0.0.1:54332" },
	{ "gateway --host 0.0.0.0 --port 8080",
	    "in a container, behind a proxy that ends TLS" },
	{ NULL, NULL },
};
const struct cmd cmd_gateway_entry = {
	.noun = "gateway",
	.args = "",
	.help = "take in webhooks, serve logs until told to stop",
	.text = "Listens for POST /hooks/{project}/{endpoint} and starts a run "
		"for each signed webhook; GET /api/logs/stream follows log "
		"lines, GET /api/logs reads them back, POST /api/logs/publish "
		"takes those of services. GET /livez says that it lives, "
		"/readyz that it reaches the database, /health and /metrics "
		"how it fares; docs/openapi.yaml has them all. Put a proxy "
		"that ends TLS before it. SIGTERM stops accepting and "
		"finishes what is in flight. Uses two connections.",
	.examples = examples,
	.settings = SETTING_G_GATEWAY | SETTING_G_LOG,
	.max_args = 0,
	.fn = cmd_gateway,
};
