select meshhook_engine.heartbeat($1, 'worker', $2, $3, $4, $5, $6)
