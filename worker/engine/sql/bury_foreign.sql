select meshhook_engine.bury_foreign() as buried
