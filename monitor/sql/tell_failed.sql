-- $1 fence
select meshhook_engine.tell_failed($1) as told
