select current_setting('server_version') as server, current_user::text as role,
  pg_backend_pid() as pid, clock_timestamp() as now
