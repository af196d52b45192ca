/* The table itself: what can be set, and what it means. */
#include "core/config.h"

const struct setting settings[N_SETTINGS] = {
	[SETTING_DB_URL] = {
		.env = "MESHHOOK_DB_URL", .alias = "SUPABASE_DB_URL",
		.flag = "db-url", .type = SETTING_URL, .groups = SETTING_G_DB,
		.secret = 1,
		.help = "the database, as its operator (role postgres)",
	},
	[SETTING_WORKER_DB_URL] = {
		.env = "MESHHOOK_WORKER_DB_URL", .type = SETTING_URL,
		.groups = SETTING_G_WORKER, .secret = 1,
		.fallback = SETTING_DB_URL,
		.help = "the database, as a worker (role meshhook_worker)",
	},
	[SETTING_GATEWAY_DB_URL] = {
		.env = "MESHHOOK_GATEWAY_DB_URL", .type = SETTING_URL,
		.groups = SETTING_G_GATEWAY, .secret = 1,
		.fallback = SETTING_DB_URL,
		.help = "the database, as a gateway (role meshhook_gateway)",
	},
	[SETTING_MONITOR_DB_URL] = {
		.env = "MESHHOOK_MONITOR_DB_URL", .type = SETTING_URL,
		.groups = SETTING_G_MONITOR, .secret = 1,
		.fallback = SETTING_DB_URL,
		.help = "the database, as a monitor (role meshhook_monitor)",
	},
	[SETTING_PROJECT] = {
		.env = "MESHHOOK_PROJECT", .flag = "project",
		.type = SETTING_TEXT, .groups = SETTING_G_PROJECT,
		.help = "the project, by slug or id; not needed where there is one",
	},
	[SETTING_LOG_LEVEL] = {
		.env = "MESHHOOK_LOG_LEVEL", .flag = "log-level",
		.type = SETTING_CHOICE, .groups = SETTING_G_LOG,
		.preset = "info", .choices = "trace|debug|info|warn|error",
		.help = "the least level of the process's own log on stderr",
	},
	[SETTING_LOG_FORMAT] = {
		.env = "MESHHOOK_LOG_FORMAT", .flag = "log-format",
		.type = SETTING_CHOICE, .groups = SETTING_G_LOG,
		.preset = "auto", .choices = "auto|json|text",
		.help = "one JSON object a line, or lines for people; "
			"auto: by whether stderr is a terminal",
	},
	[SETTING_WORKER_BATCH] = {
		.env = "MESHHOOK_WORKER_BATCH", .flag = "batch",
		.type = SETTING_INT, .groups = SETTING_G_WORKER,
		.preset = "100", .min = 1, .max = 1000,
		.help = "messages taken by one claim",
	},
	[SETTING_WORKER_CALLS] = {
		.env = "MESHHOOK_WORKER_CALLS", .flag = "calls",
		.type = SETTING_INT, .groups = SETTING_G_WORKER,
		.preset = "500", .min = 1, .max = 50000,
		.help = "messages, and so HTTP calls, held at once",
	},
	[SETTING_WORKER_INLINE] = {
		.env = "MESHHOOK_WORKER_INLINE", .flag = "inline",
		.type = SETTING_BOOL, .groups = SETTING_G_WORKER,
		.preset = "on",
		.help = "run pure steps in one go with the step before them",
	},
	[SETTING_WORKER_LISTEN] = {
		.env = "MESHHOOK_WORKER_LISTEN", .flag = "listen",
		.type = SETTING_BOOL, .groups = SETTING_G_WORKER,
		.preset = "on",
		.help = "be woken by NOTIFY where that works; off saves a connection",
	},
	[SETTING_WORKER_LEASE] = {
		.env = "MESHHOOK_WORKER_LEASE", .flag = "lease",
		.type = SETTING_MS, .groups = SETTING_G_WORKER,
		.preset = "30s", .min = 1000, .max = 3600000,
		.help = "how long a claimed message stays ours unless extended",
	},
	[SETTING_WORKER_POLL] = {
		.env = "MESHHOOK_WORKER_POLL", .flag = "poll",
		.type = SETTING_MS, .groups = SETTING_G_WORKER,
		.preset = "1s", .min = 10, .max = 60000,
		.help = "how often an idle worker looks where NOTIFY wakes it",
	},
	[SETTING_WORKER_POLL_FAST] = {
		.env = "MESHHOOK_WORKER_POLL_FAST", .flag = "poll-fast",
		.type = SETTING_MS, .groups = SETTING_G_WORKER,
		.preset = "120ms", .min = 10, .max = 60000,
		.help = "how often it looks where NOTIFY doesn't, as behind a "
			"transaction pooler",
	},
	[SETTING_WORKER_DRAIN] = {
		.env = "MESHHOOK_WORKER_DRAIN", .flag = "drain-within",
		.type = SETTING_MS, .groups = SETTING_G_WORKER,
		.preset = "25s", .min = 0, .max = 600000,
		.help = "how long SIGTERM waits for what is in flight",
	},
	[SETTING_HTTP_ALLOW] = {
		.env = "MESHHOOK_HTTP_ALLOW", .flag = "http-allow",
		.type = SETTING_TEXT,
		.groups = SETTING_G_WORKER | SETTING_G_GATEWAY | SETTING_G_MONITOR,
		.help = "private addresses that http_call, the key sets of "
			"endpoints, and messages about alerts may reach: CIDRs "
			"and host names, by commas",
	},
	[SETTING_HTTP_CA_FILE] = {
		.env = "MESHHOOK_HTTP_CA_FILE", .flag = "http-ca-file",
		.type = SETTING_TEXT,
		.groups = SETTING_G_WORKER | SETTING_G_MONITOR | SETTING_G_REMOTE,
		.help = "certificates (PEM) to trust in place of the system's",
	},
	[SETTING_GATEWAY_HOST] = {
		.env = "MESHHOOK_GATEWAY_HOST", .flag = "host",
		.type = SETTING_TEXT, .groups = SETTING_G_GATEWAY,
		.preset = "127.0.0.1",
		.help = "the address to listen on",
	},
	[SETTING_GATEWAY_PORT] = {
		.env = "MESHHOOK_GATEWAY_PORT", .flag = "port",
		.type = SETTING_INT, .groups = SETTING_G_GATEWAY,
		.preset = "54332", .min = 0, .max = 65535,
		.help = "the port to listen on; 0: any that is free",
	},
	[SETTING_GATEWAY_CONNECTIONS] = {
		.env = "MESHHOOK_GATEWAY_CONNECTIONS", .flag = "connections",
		.type = SETTING_INT, .groups = SETTING_G_GATEWAY,
		.preset = "4096", .min = 16, .max = 1000000,
		.help = "clients that may be connected at once",
	},
	[SETTING_GATEWAY_RATE] = {
		.env = "MESHHOOK_GATEWAY_RATE", .flag = "rate",
		.type = SETTING_INT, .groups = SETTING_G_GATEWAY,
		.preset = "0", .min = 0, .max = 1000000,
		.help = "webhooks a second that an endpoint without a rate of its own "
			"takes, over all gateways; 0: any number",
	},
	[SETTING_GATEWAY_BURST] = {
		.env = "MESHHOOK_GATEWAY_BURST", .flag = "burst",
		.type = SETTING_INT, .groups = SETTING_G_GATEWAY,
		.preset = "0", .min = 0, .max = 1000000,
		.help = "webhooks beyond the rate taken at once; 0: twice the rate",
	},
	[SETTING_GATEWAY_STREAMS] = {
		.env = "MESHHOOK_GATEWAY_STREAMS", .flag = "streams",
		.type = SETTING_INT, .groups = SETTING_G_GATEWAY,
		.preset = "0", .min = 0, .max = 1000000,
		.help = "streams of live logs at once; 0: as many as connections",
	},
	[SETTING_GATEWAY_STREAMS_OF_USER] = {
		.env = "MESHHOOK_GATEWAY_STREAMS_OF_USER",
		.type = SETTING_INT, .groups = SETTING_G_GATEWAY,
		.preset = "32", .min = 1, .max = 1000000,
		.help = "streams of live logs that one user may have open here",
	},
	[SETTING_GATEWAY_STREAMS_OF_PROJECT] = {
		.env = "MESHHOOK_GATEWAY_STREAMS_OF_PROJECT",
		.type = SETTING_INT, .groups = SETTING_G_GATEWAY,
		.preset = "2000", .min = 1, .max = 1000000,
		.help = "streams of live logs that one project may have open here",
	},
	[SETTING_GATEWAY_DRAIN] = {
		.env = "MESHHOOK_GATEWAY_DRAIN", .flag = "drain-within",
		.type = SETTING_MS, .groups = SETTING_G_GATEWAY,
		.preset = "10s", .min = 0, .max = 600000,
		.help = "how long SIGTERM waits for requests in flight",
	},
	[SETTING_METRICS_PROJECTS] = {
		.env = "MESHHOOK_METRICS_PROJECTS", .type = SETTING_BOOL,
		.groups = SETTING_G_GATEWAY, .preset = "off",
		.help = "whether /metrics says of each project what it otherwise "
			"says of all together, with their slugs in a label",
	},
	[SETTING_MONITOR_INTERVAL] = {
		.env = "MESHHOOK_MONITOR_INTERVAL", .flag = "interval",
		.type = SETTING_MS, .groups = SETTING_G_MONITOR,
		.preset = "5s", .min = 200, .max = 60000,
		.help = "how often the monitor measures",
	},
	[SETTING_MONITOR_LEASE] = {
		.env = "MESHHOOK_MONITOR_LEASE", .flag = "lease",
		.type = SETTING_MS, .groups = SETTING_G_MONITOR,
		.preset = "7s", .min = 1000, .max = 300000,
		.help = "how long a monitor leads without a word; another takes "
			"over after that",
	},
	[SETTING_MONITOR_PING_URL] = {
		.env = "MESHHOOK_MONITOR_PING_URL", .type = SETTING_TEXT,
		.groups = SETTING_G_MONITOR, .secret = 1,
		.help = "asked every minute while the monitor works, as "
			"Healthchecks.io wants it; who misses it alarms",
	},
	[SETTING_ARCHIVE] = {
		.env = "MESHHOOK_ARCHIVE", .flag = "archive",
		.type = SETTING_TEXT, .groups = SETTING_G_MONITOR,
		.help = "where months of the record go before they are dropped: "
			"a folder, or supabase://BUCKET/PREFIX",
	},
	[SETTING_STORAGE_KEY] = {
		.env = "MESHHOOK_STORAGE_KEY", .type = SETTING_TEXT,
		.groups = SETTING_G_MONITOR, .secret = 1,
		.help = "for an archive in Supabase Storage: a secret key of the "
			"project (or its service_role key)",
	},
	[SETTING_MONITOR_GATEWAY_URL] = {
		.env = "MESHHOOK_MONITOR_GATEWAY_URL", .type = SETTING_TEXT,
		.groups = SETTING_G_MONITOR,
		.help = "the gateway through which the monitor follows a line of "
			"its own every 5 s, to know how long lines take; unless "
			"set, it doesn't",
	},
	[SETTING_CONSOLE_URL] = {
		.env = "MESHHOOK_CONSOLE_URL", .type = SETTING_TEXT,
		.groups = SETTING_G_MONITOR,
		.help = "what links in messages about alerts begin with",
	},
	[SETTING_INTAKE_KEY] = {
		.env = "MESHHOOK_INTAKE_KEY", .type = SETTING_KEY,
		.groups = SETTING_G_GATEWAY | SETTING_G_INTAKE | SETTING_G_MONITOR,
		.secret = 1,
		.help = "the key under which secrets of endpoints and alert "
			"channels are sealed",
	},
	[SETTING_SECRET_KEY] = {
		.env = "MESHHOOK_SECRET_KEY", .type = SETTING_KEY,
		.groups = SETTING_G_WORKER | SETTING_G_SECRET, .secret = 1,
		.help = "the key under which secrets of steps are sealed; "
			"never given to a gateway",
	},
	[SETTING_JWT_SECRET] = {
		.env = "MESHHOOK_JWT_SECRET", .alias = "SUPABASE_JWT_SECRET",
		.type = SETTING_TEXT,
		.groups = SETTING_G_GATEWAY, .secret = 1,
		.help = "the secret of users' tokens that are signed by HS256, as "
			"Supabase Auth has it; 32 bytes or more",
	},
	[SETTING_JWKS_URL] = {
		.env = "MESHHOOK_JWKS_URL", .type = SETTING_TEXT,
		.groups = SETTING_G_GATEWAY,
		.help = "where the public keys of RS256 and ES256 tokens are: "
			"https://PROJECT.supabase.co/auth/v1/.well-known/jwks.json",
	},
	[SETTING_JWT_ISSUER] = {
		.env = "MESHHOOK_JWT_ISSUER", .type = SETTING_TEXT,
		.groups = SETTING_G_GATEWAY,
		.help = "the iss that a user's token must have; none: any",
	},
	[SETTING_JWT_AUDIENCE] = {
		.env = "MESHHOOK_JWT_AUDIENCE", .type = SETTING_TEXT,
		.groups = SETTING_G_GATEWAY,
		.help = "the aud that a user's token must have; none: any",
	},
	[SETTING_CORS_ORIGINS] = {
		.env = "MESHHOOK_CORS_ORIGINS", .type = SETTING_TEXT,
		.groups = SETTING_G_GATEWAY,
		.help = "origins whose pages may call the gateway, by commas: "
			"https://app.example, or * for any; none: no page may",
	},
	[SETTING_PUBLISH_RATE] = {
		.env = "MESHHOOK_PUBLISH_RATE", .type = SETTING_INT,
		.groups = SETTING_G_GATEWAY,
		.preset = "0", .min = 0, .max = 1000000,
		.help = "lines a second that one service token may publish, and "
			"twice as many at once; 0: any number",
	},
	[SETTING_USER_RATE] = {
		.env = "MESHHOOK_USER_RATE", .type = SETTING_INT,
		.groups = SETTING_G_GATEWAY,
		.preset = "50", .min = 0, .max = 1000000,
		.help = "pages of the log a second that one user may read, and "
			"twice as many at once; 0: any number",
	},
	[SETTING_LOCAL_REALTIME] = {
		.env = "MESHHOOK_LOCAL_REALTIME", .type = SETTING_BOOL,
		.groups = SETTING_G_GATEWAY, .preset = "off",
		.help = "serve /realtime/v1/websocket as Supabase Realtime does; "
			"for local development only",
	},
	[SETTING_LOCAL_REALTIME_DB_URL] = {
		.env = "MESHHOOK_LOCAL_REALTIME_DB_URL", .type = SETTING_URL,
		.groups = SETTING_G_GATEWAY, .secret = 1,
		.fallback = SETTING_DB_URL,
		.help = "the database for that, as a role that may become any "
			"user (postgres)",
	},
	[SETTING_GATEWAY_URL] = {
		.env = "MESHHOOK_GATEWAY_URL", .flag = "gateway",
		.type = SETTING_TEXT, .groups = SETTING_G_REMOTE,
		.preset = "http://127.0.0.1:54332",
		.help = "the gateway to ask, with --via gateway",
	},
	[SETTING_SUPABASE_URL] = {
		.env = "MESHHOOK_SUPABASE_URL", .alias = "SUPABASE_URL",
		.flag = "supabase-url", .type = SETTING_TEXT,
		.groups = SETTING_G_REMOTE | SETTING_G_MONITOR,
		.preset = "http://127.0.0.1:54321",
		.help = "the Supabase project: https://abc.supabase.co",
	},
	[SETTING_SUPABASE_KEY] = {
		.env = "MESHHOOK_SUPABASE_KEY",
		.alias = "SUPABASE_PUBLISHABLE_KEY",
		.type = SETTING_TEXT, .groups = SETTING_G_REMOTE, .secret = 1,
		.help = "its publishable (or anon) key",
	},
	[SETTING_TOKEN] = {
		.env = "MESHHOOK_TOKEN", .flag = "token",
		.type = SETTING_TEXT, .groups = SETTING_G_REMOTE, .secret = 1,
		.help = "a user's access token; it ends when that expires",
	},
	[SETTING_REFRESH_TOKEN] = {
		.env = "MESHHOOK_REFRESH_TOKEN",
		.type = SETTING_TEXT, .groups = SETTING_G_REMOTE, .secret = 1,
		.help = "a user's refresh token, of which Supabase Auth gives "
			"access tokens for as long as it takes",
	},
};
