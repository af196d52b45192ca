/* The table. Commands of one noun stand together: help relies on it. */
#include "cli/commands.h"

#include <stddef.h>

const struct cmd *const commands[] = {
	&cmd_worker_entry,
	&cmd_gateway_entry,
	&cmd_project_create_entry,
	&cmd_project_list_entry,
	&cmd_endpoint_create_entry,
	&cmd_endpoint_list_entry,
	&cmd_endpoint_test_entry,
	&cmd_endpoint_rotate_entry,
	&cmd_workflow_validate_entry,
	&cmd_workflow_push_entry,
	&cmd_workflow_publish_entry,
	&cmd_workflow_list_entry,
	&cmd_workflow_show_entry,
	&cmd_run_start_entry,
	&cmd_run_list_entry,
	&cmd_run_show_entry,
	&cmd_run_events_entry,
	&cmd_run_cancel_entry,
	&cmd_logs_entry,
	&cmd_service_token_create_entry,
	&cmd_service_token_list_entry,
	&cmd_service_token_revoke_entry,
	&cmd_replay_entry,
	&cmd_expr_entry,
	&cmd_queue_stats_entry,
	&cmd_doctor_entry,
	&cmd_recover_entry,
	&cmd_completion_entry,
	&cmd_version_entry,
	&cmd_help_entry,
	NULL,
};
