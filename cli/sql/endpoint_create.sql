select meshhook_engine.create_endpoint($1, $2, $3, $4, $5, $6, $7)::text as id
