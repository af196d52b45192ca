select meshhook_engine.compact_counters()
