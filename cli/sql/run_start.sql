select meshhook.start_run($1, $2, $3, $4, $5)::text as run_id
