-- $1 fence, $2 archive, $3 why
select meshhook_engine.archive_failed($1, $2, $3)
