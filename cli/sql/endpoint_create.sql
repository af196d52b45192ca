select meshhook_engine.create_endpoint($1, $2, $3, $4, $5, $6)::text as id
