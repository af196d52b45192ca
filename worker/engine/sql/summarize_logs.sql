select meshhook_engine.summarize_logs()
