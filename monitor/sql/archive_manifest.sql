-- $1 archive
select meshhook_engine.archive_manifest($1) as manifest
