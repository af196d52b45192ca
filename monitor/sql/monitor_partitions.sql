select meshhook_engine.ensure_partitions() as done
