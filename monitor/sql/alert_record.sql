-- $1 fence, $2 the tick's time, $3 changes, $4 groups, $5 messages, $6 problems of rules
select meshhook_engine.alert_record($1, $2, $3, $4, $5, $6)
