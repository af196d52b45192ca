-- $1 fence, $2 archive, $3 where archives go
select meshhook_engine.archive_anew($1, $2, $3)
