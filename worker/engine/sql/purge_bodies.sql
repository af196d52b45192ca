select meshhook_engine.purge_bodies()
