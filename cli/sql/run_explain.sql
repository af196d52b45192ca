select meshhook_engine.explain($1::uuid)::text as record
