select meshhook_engine.outbox_trim() as done
