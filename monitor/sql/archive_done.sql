-- $1 fence, $2 archive, $3 the manifest's SHA-256
select meshhook_engine.archive_done($1, $2, $3)
