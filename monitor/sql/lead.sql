-- $1 who asks, $2 ms to lead
select meshhook_engine.lead($1, $2 * interval '1 millisecond') as fence
