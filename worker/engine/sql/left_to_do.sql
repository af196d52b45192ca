select meshhook_engine.left_to_do($1) as left_to_do
