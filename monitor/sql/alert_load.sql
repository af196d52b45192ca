select meshhook_engine.alert_load()::text as state
