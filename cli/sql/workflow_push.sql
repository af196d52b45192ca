select meshhook.push_workflow($1, $2, $3)::text as id
