select meshhook_engine.publish_version($1, $2, $3) as version
