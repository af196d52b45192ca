select meshhook.cancel_run($1::uuid, $2) as cancelled
