-- $1 fence, $2 message, $3 outcome, $4 status, $5 problem, $6 ms until it is due again
select meshhook_engine.outbox_done($1, $2, $3, $4, $5, $6 * interval '1 millisecond')
