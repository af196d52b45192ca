select meshhook_engine.release($1, $2)
