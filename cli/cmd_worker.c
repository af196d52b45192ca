#include "cli/commands.h"
#include "worker/engine/worker.h"

static int
cmd_worker(struct cli *cli, struct error *err)
{
	const struct config *c = &cli->config;
	const char *keys = config_text(c, SETTING_SECRET_KEY);

	if (config_need(c, SETTING_WORKER_DB_URL, err) < 0)
		return -1;
	return worker_main(&(struct worker_options){
	    .database_url = config_text(c, SETTING_WORKER_DB_URL),
	    .http_allow = config_text(c, SETTING_HTTP_ALLOW),
	    .http_ca_file = config_text(c, SETTING_HTTP_CA_FILE),
	    .secret_keys = keys != NULL ? str_of(keys) : (struct str){ "", 0 },
	    .max_in_flight = (uint32_t)config_int(c, SETTING_WORKER_CALLS),
	    .batch = (uint32_t)config_int(c, SETTING_WORKER_BATCH),
	    .lease_ms = config_int(c, SETTING_WORKER_LEASE),
	    .drain_ms = config_int(c, SETTING_WORKER_DRAIN),
	    .poll_ms = config_int(c, SETTING_WORKER_POLL),
	    .poll_fast_ms = config_int(c, SETTING_WORKER_POLL_FAST),
	    .no_inline = !config_int(c, SETTING_WORKER_INLINE),
	    .no_listen = !config_int(c, SETTING_WORKER_LISTEN),
	    .drain = cli_opt(cli, "drain") != NULL,
	});
}

static const struct opt opts[] = {
	{ .name = "drain",
	    .help = "exit 0 when nothing is left to do: no message waits or "
		    "is in any worker's hands, no delay or retry is due "
		    "within a minute" },
	{ .name = NULL },
};
static const struct example examples[] = {
	{ "worker", "until SIGTERM; start as many as needed" },
	{ "worker --drain", "carry out what there is, then exit 0" },
	{ "worker --http-allow 127.0.0.0/8",
	    "for local use: http_call may reach this machine" },
	{ NULL, NULL },
};
const struct cmd cmd_worker_entry = {
	.noun = "worker",
	.args = "",
	.help = "carry out steps until told to stop",
	.text = "Takes messages from the queue, carries their steps out and "
		"records what came of them. It holds nothing that the "
		"database does not know and may be killed at any moment. "
		"SIGTERM drains: what is in flight ends or is given back "
		"within the deadline. Uses two connections.",
	.opts = opts,
	.examples = examples,
	.settings = SETTING_G_WORKER | SETTING_G_LOG,
	.max_args = 0,
	.fn = cmd_worker,
};
