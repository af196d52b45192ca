#pragma once
/* Every command's entry; commands.c puts them in order. */
#include "cli/cli.h"

extern const struct cmd cmd_completion_entry;
extern const struct cmd cmd_doctor_entry;
extern const struct cmd cmd_endpoint_create_entry;
extern const struct cmd cmd_endpoint_list_entry;
extern const struct cmd cmd_endpoint_rotate_entry;
extern const struct cmd cmd_endpoint_test_entry;
extern const struct cmd cmd_expr_entry;
extern const struct cmd cmd_gateway_entry;
extern const struct cmd cmd_monitor_entry;
extern const struct cmd cmd_help_entry;
extern const struct cmd cmd_logs_entry;
extern const struct cmd cmd_project_create_entry;
extern const struct cmd cmd_project_list_entry;
extern const struct cmd cmd_queue_stats_entry;
extern const struct cmd cmd_recover_entry;
extern const struct cmd cmd_replay_entry;
extern const struct cmd cmd_run_cancel_entry;
extern const struct cmd cmd_run_events_entry;
extern const struct cmd cmd_run_explain_entry;
extern const struct cmd cmd_run_list_entry;
extern const struct cmd cmd_run_show_entry;
extern const struct cmd cmd_run_start_entry;
extern const struct cmd cmd_secret_delete_entry;
extern const struct cmd cmd_secret_list_entry;
extern const struct cmd cmd_secret_rotate_entry;
extern const struct cmd cmd_secret_rotate_kek_entry;
extern const struct cmd cmd_secret_set_entry;
extern const struct cmd cmd_service_token_create_entry;
extern const struct cmd cmd_service_token_list_entry;
extern const struct cmd cmd_service_token_revoke_entry;
extern const struct cmd cmd_version_entry;
extern const struct cmd cmd_worker_entry;
extern const struct cmd cmd_workflow_list_entry;
extern const struct cmd cmd_workflow_publish_entry;
extern const struct cmd cmd_workflow_push_entry;
extern const struct cmd cmd_workflow_show_entry;
extern const struct cmd cmd_workflow_validate_entry;
