#pragma once
/*
 * The settings of every process, in one table (settings[]): help, completion
 * and docs/configuration.md are printed from it.
 *
 * A value comes from, strongest first: a flag, the environment, another
 * setting (`fallback`), the preset. A secret may be given as a file instead,
 * by NAME_FILE. An empty value is none. A MESHHOOK_ variable that the table
 * doesn't know, and a value that isn't of its type, is an error that names it:
 * a typing error never means the preset.
 */
#include <stdint.h>

#include "core/arena.h"
#include "core/error.h"

enum setting_id {
	SETTING_NONE,
	SETTING_DB_URL,
	SETTING_WORKER_DB_URL,
	SETTING_GATEWAY_DB_URL,
	SETTING_MONITOR_DB_URL,
	SETTING_PROJECT,
	SETTING_LOG_LEVEL,
	SETTING_LOG_FORMAT,
	SETTING_WORKER_BATCH,
	SETTING_WORKER_CALLS,
	SETTING_WORKER_INLINE,
	SETTING_WORKER_LISTEN,
	SETTING_WORKER_LEASE,
	SETTING_WORKER_POLL,
	SETTING_WORKER_POLL_FAST,
	SETTING_WORKER_DRAIN,
	SETTING_HTTP_ALLOW,
	SETTING_HTTP_CA_FILE,
	SETTING_GATEWAY_HOST,
	SETTING_GATEWAY_PORT,
	SETTING_GATEWAY_CONNECTIONS,
	SETTING_GATEWAY_RATE,
	SETTING_GATEWAY_BURST,
	SETTING_GATEWAY_STREAMS,
	SETTING_GATEWAY_STREAMS_OF_USER,
	SETTING_GATEWAY_STREAMS_OF_PROJECT,
	SETTING_GATEWAY_DRAIN,
	SETTING_METRICS_PROJECTS,
	SETTING_MONITOR_INTERVAL,
	SETTING_MONITOR_LEASE,
	SETTING_MONITOR_PING_URL,
	SETTING_ARCHIVE,
	SETTING_STORAGE_KEY,
	SETTING_MONITOR_GATEWAY_URL,
	SETTING_CONSOLE_URL,
	SETTING_INTAKE_KEY,
	SETTING_SECRET_KEY,
	SETTING_JWT_SECRET,
	SETTING_JWKS_URL,
	SETTING_JWT_ISSUER,
	SETTING_JWT_AUDIENCE,
	SETTING_CORS_ORIGINS,
	SETTING_PUBLISH_RATE,
	SETTING_USER_RATE,
	SETTING_LOCAL_REALTIME,
	SETTING_LOCAL_REALTIME_DB_URL,
	SETTING_GATEWAY_URL,
	SETTING_SUPABASE_URL,
	SETTING_SUPABASE_KEY,
	SETTING_TOKEN,
	SETTING_REFRESH_TOKEN,
	N_SETTINGS,
};

enum setting_type {
	SETTING_TEXT,
	SETTING_URL, /* of a database; credentials are masked when shown */
	SETTING_KEY, /* 32 bytes in base64, or several: "id:KEY,id:KEY" */
	SETTING_INT,
	SETTING_BOOL, /* on, off, and their like; number: 1, 0 */
	SETTING_MS,   /* "250ms", "30s", "5m" */
	SETTING_CHOICE,
};

/* Who reads it; a command takes the flags of its groups. */
enum {
	SETTING_G_DB = 1,
	SETTING_G_PROJECT = 2,
	SETTING_G_LOG = 4,
	SETTING_G_WORKER = 8,
	SETTING_G_GATEWAY = 16,
	SETTING_G_INTAKE = 32,
	SETTING_G_MONITOR = 64,
	SETTING_G_REMOTE = 128, /* what a user outside reaches it by */
	SETTING_G_SECRET = 256,
};

struct setting {
	const char *env, *alias; /* alias: another variable that gives it */
	const char *flag;        /* without "--"; NULL: none */
	enum setting_type type;
	unsigned groups;
	int secret;
	const char *preset;  /* NULL: none */
	int64_t min, max;    /* INT, MS */
	const char *choices; /* CHOICE: "auto|json|text" */
	enum setting_id fallback;
	const char *help;
};

extern const struct setting settings[N_SETTINGS];

struct config {
	struct arena arena;
	struct config_value {
		const char *text; /* NULL: not given, no preset */
		int64_t number;   /* INT, MS; CHOICE: its index */
	} values[N_SETTINGS];
};

void config_init(struct config *c); /* presets */
void config_deinit(struct config *c);

/* Read the environment ("NAME=value", NULL-terminated). FAULT_CONFIG with code
 * "CONFIG" on the first variable that is unknown or malformed. */
int config_load(struct config *c, char **env, struct error *err);
/* One value, said by `from` ("--batch"), which errors name. */
int config_set(struct config *c, enum setting_id id, const char *text,
    const char *from, struct error *err);
/* -1 unless the setting has a value; the error says how to give it. */
int config_need(const struct config *c, enum setting_id id, struct error *err);

const char *config_text(const struct config *c, enum setting_id id);
int64_t config_int(const struct config *c, enum setting_id id);

/* Overwrite and remove the secrets of this process's own environment, so that
 * neither a child nor /proc/self/environ has them. After config_load. */
void config_wipe_env(void);

/* "postgresql://user:***@host/db?password=***": nothing secret is left. */
const char *config_masked(struct arena *a, const char *url);
const char *setting_type_name(enum setting_type type);
