#include "cli/commands.h"
#include "monitor/monitor.h"

static int
cmd_monitor(struct cli *cli, struct error *err)
{
	const struct config *c = &cli->config;

	if (config_need(c, SETTING_MONITOR_DB_URL, err) < 0)
		return -1;
	return monitor_main(&(struct monitor_options){
	    .db_url = config_text(c, SETTING_MONITOR_DB_URL),
	    .interval_ms = config_int(c, SETTING_MONITOR_INTERVAL),
	    .lease_ms = config_int(c, SETTING_MONITOR_LEASE),
	    .intake_keys = config_text(c, SETTING_INTAKE_KEY),
	    .http_allow = config_text(c, SETTING_HTTP_ALLOW),
	    .ca_file = config_text(c, SETTING_HTTP_CA_FILE),
	    .console_url = config_text(c, SETTING_CONSOLE_URL),
	    .ping_url = config_text(c, SETTING_MONITOR_PING_URL),
	    .archive = config_text(c, SETTING_ARCHIVE),
	    .supabase_url = config_text(c, SETTING_SUPABASE_URL),
	    .storage_key = config_text(c, SETTING_STORAGE_KEY),
	    .gateway_url = config_text(c, SETTING_MONITOR_GATEWAY_URL),
	});
}

static const struct example examples[] = {
	{ "monitor", "measure every 5 s, or stand by while another does" },
	{ "monitor --interval 1s --lease 4s", "see everything sooner" },
	{ NULL, NULL },
};
const struct cmd cmd_monitor_entry = {
	.noun = "monitor",
	.args = "",
	.help = "watch the queue's health until told to stop",
	.text = "Measures the queue, every project's share of it, the "
		"processes and the database, and keeps it in "
		"meshhook.queue_metrics. Run two: one leads by a lease in the "
		"database, the other takes over when that runs out. A tick is "
		"one statement, whose cost doesn't grow with the queue. The "
		"leader judges what it measured by the alert rules, and sends "
		"messages about alerts to the channels (meshhook alert), for "
		"which it needs MESHHOOK_INTAKE_KEY. It also sees to the rest: "
		"partitions ahead, counters held against what they count, and, "
		"where meshhook retention says so, old months archived and "
		"dropped.",
	.examples = examples,
	.settings = SETTING_G_MONITOR | SETTING_G_LOG,
	.max_args = 0,
	.fn = cmd_monitor,
};
