select meshhook_engine.reseal_secret($1, $2, $3, $4) as done
