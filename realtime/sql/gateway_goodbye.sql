select meshhook_engine.goodbye($1);
